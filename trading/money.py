"""Money and prices at the edge: integer pips inside, decimal text with four places outside.

1 pip is $0.0001 and a share pays 10,000 pips. Nothing here or below it knows floats or Decimals.
"""

import re

PIPS_PER_DOLLAR = 10_000
SHARE_PIPS = PIPS_PER_DOLLAR

# At most four significant decimals; further zeros are exact and therefore harmless.
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,4})0{0,12})?", re.ASCII)


def format_pips(pips: int) -> str:
    """12_345 -> "1.2345"; negative amounts carry one leading minus."""
    sign = "-" if pips < 0 else ""
    dollars, rest = divmod(abs(pips), PIPS_PER_DOLLAR)
    return f"{sign}{dollars}.{rest:04d}"


def parse_pips(text: str) -> int:
    """The exact number of pips in plain decimal text ("0.65", "0.6500", "12").

    Raises ValueError for a sign, an exponent, digits other than ASCII, more than four
    significant places, or anything that is not a number.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError("must be a decimal number with at most four places")
    whole, fraction = match.group(1), match.group(2) or ""
    return int(whole) * PIPS_PER_DOLLAR + int(fraction.ljust(4, "0"))
