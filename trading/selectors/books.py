"""A market's order book: from the hash that the shard keeps in Valkey, else from the levels of the read model.

The hash is taken only if it is not behind the read model, which it is after a Valkey that was emptied
or restored. The read model may be a replica's, and the hash then older than the primary's, but not than the answer's
`as_of`. `seq` is the stream version that the levels reflect at least, so a feed can go on from it.
"""

import logging
from typing import Any, NamedTuple

import redis

from trading.checksum import Level, book_checksum
from trading.errors import ReadLag
from trading.ids import market_slot
from trading.market_terms import MarketTerms
from trading.money import SHARE_PIPS
from trading.replicas import reading, wait_until
from trading.selectors.prices import feed_valkey
from trading.snapshots.past import PastMarket

log = logging.getLogger(__name__)

AGREE_WITHIN_S = 2.0

Sides = tuple[dict[int, int], dict[int, int]]
"""(bids, asks) of one book: quantity by price."""


class Book(NamedTuple):
    """One outcome's levels, best first, as deep as was asked for; the checksum covers the ten best of each side."""

    outcome: int
    bids: list[Level]
    asks: list[Level]
    seq: int
    checksum: int


def order_book(terms: MarketTerms, *, outcome: int, depth: int) -> Book:
    """The book of an outcome. Both outcomes of a binary market show its one book."""
    sides, seq = _read(terms, 0 if is_binary(terms) else outcome)
    return _shown(terms, sides, seq, outcome=outcome, depth=depth)


def past_order_book(terms: MarketTerms, past: PastMarket, *, outcome: int, depth: int) -> Book:
    """The same at a past moment."""
    bids, asks = past.books[0 if is_binary(terms) else outcome]
    return _shown(terms, (dict(bids), dict(asks)), past.seq, outcome=outcome, depth=depth)


def _shown(terms: MarketTerms, sides: Sides, seq: int, *, outcome: int, depth: int) -> Book:
    bids, asks = _mirrored(sides) if is_binary(terms) and outcome == 1 else sides
    best_bids, best_asks = sorted(bids.items(), reverse=True), sorted(asks.items())
    checksum = book_checksum([(terms.outcomes[outcome], best_bids, best_asks)])
    return Book(outcome, best_bids[:depth], best_asks[:depth], seq, checksum)


def is_binary(terms: MarketTerms) -> bool:
    """Whether one book, of the first outcome, serves both."""
    return len(terms.outcomes) == 2


def _mirrored(sides: Sides) -> Sides:
    """The other outcome's view: buying it at p is selling this one at 1 - p."""
    bids, asks = sides
    return (
        {SHARE_PIPS - price: quantity for price, quantity in asks.items()},
        {SHARE_PIPS - price: quantity for price, quantity in bids.items()},
    )


def _read(terms: MarketTerms, book: int) -> tuple[Sides, int]:
    published = _published(terms.market_id, book)
    if published is not None and published[1] >= _projected_seq(terms.market_id):
        return published
    return _projected(terms, book)


def _published(market_id: str, book: int) -> tuple[Sides, int] | None:
    """What the shard has published; None if it is not there."""
    try:
        fields: dict[bytes, bytes] = feed_valkey().hgetall(f"book:{market_id}")
    except redis.RedisError as error:
        log.warning("no published books, projected levels serve instead: %s", error)
        return None
    seq = fields.pop(b"seq", None)
    if seq is None:
        return None
    sides: Sides = ({}, {})
    for field, quantity in fields.items():
        index, side, price = field.split(b"|")
        if int(index) == book:
            sides[0 if side == b"bid" else 1][int(price)] = int(quantity)
    return sides, int(seq)


def _projected_seq(market_id: str) -> int:
    with reading().cursor() as cursor:
        cursor.execute("SELECT seq FROM market_summary WHERE market_id = %s", [market_id])
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


# One statement, so one snapshot. The levels are those of the books' checkpoint; the market's seq is that of the
# markets' checkpoint, and may be given out only if the books are as far.
_LEVELS = """
SELECT l.is_bid, l.price_pips, l.quantity,
       (SELECT seq FROM market_summary WHERE market_id = %(market)s),
       (SELECT a.next_offset >= b.next_offset FROM projection_checkpoint a JOIN projection_checkpoint b USING (slot)
        WHERE a.projection = 'books' AND b.projection = 'markets' AND slot = %(slot)s)
FROM (SELECT) AS always LEFT JOIN book_level l ON l.market_id = %(market)s AND l.outcome = %(book)s
"""


def _projected(terms: MarketTerms, book: int) -> tuple[Sides, int]:
    rows: list[tuple[Any, ...]] = []
    wanted = {"market": terms.market_id, "slot": market_slot(terms.market_id), "book": book}

    def books_are_as_far() -> bool:
        with reading().cursor() as cursor:
            cursor.execute(_LEVELS, wanted)
            rows[:] = cursor.fetchall()
        return bool(rows[0][-1])

    if not wait_until(books_are_as_far, timeout_s=AGREE_WITHIN_S):
        raise ReadLag()
    return _sides(rows), rows[0][-2] or 0


def _sides(rows: list[tuple[Any, ...]]) -> Sides:
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for is_bid, price, quantity, *_ in rows:
        if price is not None:
            (bids if is_bid else asks)[price] = quantity
    return bids, asks
