"""Figures as people read them on the pages: prices in cents, money in dollars, chances in percent.

Integers in, text out. The API has its own form (trading.money.format_pips); this one is for HTML, and
static/js/figures.js says the same for what changes after the page has loaded.
"""

import datetime as dt

from trading.money import PIPS_PER_DOLLAR, SHARE_PIPS

PIPS_PER_CENT = 100
UNKNOWN = "\N{EN DASH}"
_COMPACT_STEPS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def price_text(pips: int | None) -> str:
    """6_500 -> "65¢", 6_525 -> "65.25¢"."""
    if pips is None:
        return UNKNOWN
    cents, rest = divmod(pips, PIPS_PER_CENT)
    return f"{cents}.{rest:02d}".rstrip("0").rstrip(".") + "¢" if rest else f"{cents}¢"


def money_text(pips: int | None) -> str:
    """12_345_600 -> "$1,234.56"; two places, or four where two would hide something."""
    if pips is None:
        return UNKNOWN
    sign = "\N{MINUS SIGN}" if pips < 0 else ""
    dollars, rest = divmod(abs(pips), PIPS_PER_DOLLAR)
    fraction = f"{rest:04d}"
    return f"{sign}${dollars:,}.{fraction[:2] if rest % PIPS_PER_CENT == 0 else fraction}"


def signed_money_text(pips: int | None) -> str:
    """As money_text, with a plus before a gain."""
    return ("+" if pips is not None and pips > 0 else "") + money_text(pips)


def compact_money_text(pips: int) -> str:
    """12_345_600_000 -> "$1.23M": for volumes, cut off rather than rounded up."""
    dollars = pips // PIPS_PER_DOLLAR
    for step, letter in _COMPACT_STEPS:
        if dollars >= step:
            whole, rest = divmod(dollars * 100 // step, 100)
            fraction = f".{rest:02d}".rstrip("0").rstrip(".") if whole < 100 else ""
            return f"${whole}{fraction}{letter}"
    return f"${dollars:,}"


def change_text(pips: int | None) -> str:
    """How far a price has come: 250 -> "+2.5¢"; nothing where that is unknown."""
    if pips is None:
        return ""
    sign = "+" if pips > 0 else "\N{MINUS SIGN}" if pips < 0 else ""
    return sign + price_text(abs(pips))


def chance_text(pips: int | None) -> str:
    """6_250 -> "63%"; what is neither impossible nor certain never reads 0% or 100%."""
    if pips is None:
        return UNKNOWN
    if 0 < pips < PIPS_PER_CENT:
        return "<1%"
    if SHARE_PIPS - PIPS_PER_CENT < pips < SHARE_PIPS:
        return ">99%"
    return f"{(pips + PIPS_PER_CENT // 2) // PIPS_PER_CENT}%"


def rate_text(rate_e4: int) -> str:
    """700 -> "7%"."""
    whole, rest = divmod(rate_e4, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%" if rest else f"{whole}%"


def distance_text(moment: dt.datetime, now: dt.datetime) -> str:
    """How far a moment is: "in 3 days", "in 5 h", "2 min ago"."""
    seconds = int((moment - now).total_seconds())
    size = abs(seconds)
    for step, one, many in ((86_400, "day", "days"), (3_600, "h", "h"), (60, "min", "min")):
        if size >= step * (2 if step == 86_400 else 1):
            count = size // step
            text = f"{count} {one if count == 1 else many}"
            break
    else:
        text = "less than a minute"
    # What has just happened may be ahead of this clock by a moment.
    return f"in {text}" if seconds > 0 else f"{text} ago"


def chance_pips(*, last: int | None, bid: int | None, ask: int | None) -> int | None:
    """The price that stands for an outcome's chance: the last trade's, held within today's bid and ask.

    Without a trade it is the middle of bid and ask; with one side only, or nothing, it is unknown.
    """
    if last is None:
        return (bid + ask) // 2 if bid is not None and ask is not None else None
    if bid is not None and last < bid:
        return bid
    if ask is not None and last > ask:
        return ask
    return last
