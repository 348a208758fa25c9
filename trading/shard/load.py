"""Rebuilds markets from their events."""

from collections.abc import Callable
from typing import Any

from trading.engine.apply import apply
from trading.engine.codec import event_from
from trading.engine.market import Market
from trading.eventlog.append import EMPTY, Head
from trading.eventlog.read import read_stream


def load_market(connection: Any, market_id: str, *, keep_alive: Callable[[], object]) -> tuple[Market, Head]:
    """A market as its last committed event left it; seq 0 and an empty head if it has none.

    Calls `keep_alive` every thousand events.
    """
    market, head = Market(market_id), EMPTY
    with connection.cursor() as cursor:
        for stored in read_stream(cursor, stream_id=market_id):
            apply(market, event_from(stored.type, stored.data), stored.recorded_us)
            assert market.seq == stored.version, f"event {stored.event_id} is out of order"
            head = Head(stored.version, stored.hash)
            if stored.version % 1000 == 0:
                keep_alive()
    market.touched.clear()
    return market, head


def live_market_ids(connection: Any, slots: list[int]) -> list[str]:
    """Markets of the slots that may still trade: every stream but those known to have ended."""
    rows = connection.execute(
        "SELECT id::text FROM stream LEFT JOIN market ON market_id = id "
        "WHERE stream.slot = ANY(%s) AND coalesce(status, '') NOT IN ('resolved', 'voided') ORDER BY id",
        [slots],
    ).fetchall()
    return [row[0] for row in rows]
