"""How a statement's cells are written: money with four decimals, and texts that no spreadsheet runs.

The file is RFC 4180 in UTF-8 with a byte order mark: people open it by a double click, and spreadsheets take a file
without one for the encoding of their country. Programs read it with `utf-8-sig`.
"""

import datetime as dt

from trading.eventlog.codec import timestamp_text, to_us
from trading.money import format_pips

ENCODING = "utf-8-sig"

COLUMNS = (
    "record", "at", "kind", "amount", "balance", "market_id", "question", "outcome", "side", "quantity", "price", "fee",
    "value", "order_id", "id",
)  # fmt: skip

# A spreadsheet takes a cell that begins with one of these, also of the full width, for a formula, also behind blanks
# (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def user_text(text: str) -> str:
    """A text that a user has written, with an apostrophe before what a spreadsheet would run."""
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def signed_money(pips: int) -> str:
    """A change: 12_345 is "+1.2345"."""
    return f"{'+' if pips > 0 else ''}{format_pips(pips)}"


def money(pips: int | None) -> str:
    """An amount, empty where it is not known."""
    return "" if pips is None else format_pips(pips)


def moment(at: dt.datetime) -> str:
    """RFC 3339 in UTC, with six decimals."""
    return timestamp_text(to_us(at))
