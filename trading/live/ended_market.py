"""A market that has ended, as the feed shows it once Valkey has forgotten it: an empty book and its last prices.

The engine rewrites the books of markets that may still trade, and no others; what ended is in the tables alone.
"""

from collections.abc import Sequence

from django.db import connection

from trading.eventlog.codec import decode_json
from trading.live.blocking import in_thread
from trading.live.book_mirror import BookMirror, FeedEnding, FeedTicker

_ENDED = """
    SELECT stream.version, summary.last_prices, summary.volume_pips, summary.open_interest_sets,
           market.status, market.resolution::text, slot.next_offset
    FROM market JOIN slot USING (slot) JOIN stream ON stream.id = market.market_id
    JOIN market_summary summary USING (market_id)
    WHERE market.market_id = %s AND market.status IN ('resolved', 'voided', 'reversed')
"""


async def ended_market(market_id: str, names: Sequence[str]) -> tuple[BookMirror, FeedTicker] | None:
    """Its book and ticker at the end of its stream; None unless it has ended."""
    return await in_thread(lambda: _read(market_id, names))


def _read(market_id: str, names: Sequence[str]) -> tuple[BookMirror, FeedTicker] | None:
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [market_id])
        row = cursor.fetchone()
    if row is None:
        return None
    version, last_prices, volume_pips, open_interest, status, resolution, next_offset = row
    nothing: list[int | None] = [None] * len(names)
    ticker = FeedTicker(
        list(last_prices),
        nothing,
        nothing,
        volume_pips,
        open_interest,
        status,
        _ending_of(resolution),
        next_offset,
    )
    return BookMirror(names, version), ticker


def _ending_of(resolution: str | None) -> FeedEnding | None:
    """The market's column `resolution`, which says nothing of why it was closed."""
    if resolution is None:
        return None
    ending = decode_json(resolution)
    return FeedEnding("", ending["payouts"], ending["settlement"], ending["evidence"])
