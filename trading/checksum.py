"""The order book's checksum, one rule for REST and the feed: CRC-32 over the ten best levels a side.

Lines are `outcome|bid|price|quantity` and `outcome|ask|price|quantity`, best first, bids before asks, outcomes in
order, joined by a line feed without a final one. `Yes|bid|0.6500|120` and `Yes|ask|0.6700|5` give 3479377447;
an empty book gives 0.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from zlib import crc32

from trading.money import SHARE_PIPS, format_pips

CHECKED_LEVELS = 10

# A book has at most this many prices, so their texts are made once.
PRICE_TEXTS = tuple(format_pips(price_pips) for price_pips in range(SHARE_PIPS + 1))

Level = tuple[int, int]
"""(price_pips, quantity_shares)"""


def book_checksum(sides: Sequence[tuple[str, Sequence[Level], Sequence[Level]]]) -> int:
    """The checksum of (outcome name, bids best first, asks best first) for each outcome shown, in order."""
    return lines_checksum(outcome_lines(name, bids, asks) for name, bids, asks in sides)


def outcome_lines(name: str, bids: Iterable[Level], asks: Iterable[Level]) -> str:
    """The lines of one outcome; empty for an empty book."""
    lines = [
        f"{name}|{side}|{PRICE_TEXTS[price_pips]}|{quantity}"
        for side, levels in (("bid", bids), ("ask", asks))
        for price_pips, quantity in islice(levels, CHECKED_LEVELS)
    ]
    return "\n".join(lines)


def outcome_checksum(name: str, bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """The checksum of one outcome's book."""
    return book_checksum([(name, bids, asks)])


def lines_checksum(outcomes: Iterable[str]) -> int:
    """CRC-32 over each outcome's lines; an outcome without levels has no line, not an empty one."""
    return crc32("\n".join(lines for lines in outcomes if lines).encode())
