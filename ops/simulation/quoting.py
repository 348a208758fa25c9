"""The maker's ladder around a price, and the least that has to change to get it. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

SHARE_PIPS = 10_000


class Quote(NamedTuple):
    """An order the maker wants to have in the book."""

    outcome: str
    side: str
    price_pips: int
    quantity_shares: int


class LiveQuote(NamedTuple):
    """An order the maker has in the book; `remaining_shares` of it are left."""

    order_id: str
    outcome: str
    side: str
    price_pips: int
    remaining_shares: int


def ladder(
    outcome: str, price_pips: int, *, tick_pips: int, half_spread_pips: int, sizes: Sequence[int]
) -> list[Quote]:
    """Bids and asks on the market's ticks, `half_spread_pips` or a little more from the price; one level a size.

    Levels that would lie outside 0 .. $1 are left out, so near the ends a side can be short or empty.
    """
    best_bid = (price_pips - half_spread_pips) // tick_pips * tick_pips
    best_ask = -(-(price_pips + half_spread_pips) // tick_pips) * tick_pips
    if best_ask == best_bid:
        best_ask += tick_pips
    quotes = []
    for level, size in enumerate(sizes):
        for side, price in (("buy", best_bid - level * tick_pips), ("sell", best_ask + level * tick_pips)):
            if 0 < price < SHARE_PIPS:
                quotes.append(Quote(outcome, side, price, size))
    return quotes


def changes(live: Sequence[LiveQuote], wanted: Sequence[Quote]) -> tuple[list[LiveQuote], list[Quote]]:
    """(to cancel, to place): a live quote stays where one is wanted, unless half of it has been taken."""
    missing = {(quote.outcome, quote.side, quote.price_pips): quote for quote in wanted}
    cancels = []
    for quote in live:
        place = (quote.outcome, quote.side, quote.price_pips)
        if place in missing and 2 * quote.remaining_shares >= missing[place].quantity_shares:
            del missing[place]
        else:
            cancels.append(quote)
    return cancels, list(missing.values())
