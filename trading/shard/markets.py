"""The markets in memory: each rebuilt from its last snapshot and the events since when it is first needed."""

from collections.abc import Callable
from typing import Any

from trading.engine.decide import needs_sweep
from trading.engine.market import Market
from trading.eventlog.append import Head
from trading.snapshots.replay import current_state


class Markets:
    """Markets, the heads of their streams, and which of them have orders left to sweep.

    `connection` answers one that nobody else is using; `keep_alive` is called at every page of events.
    """

    def __init__(self, *, connection: Callable[[], Any], keep_alive: Callable[[], object]) -> None:
        self.loaded: dict[str, Market] = {}
        self.heads: dict[str, Head] = {}
        self.sweeping: set[str] = set()
        self._connection = connection
        self._keep_alive = keep_alive

    def get(self, market_id: str) -> Market:
        """A market as its last event left it; seq 0 and an empty head if it has none."""
        market = self.loaded.get(market_id)
        return market if market is not None else self._load(market_id)

    def note_sweep(self, market: Market) -> None:
        """Remembers whether a market has to be swept."""
        if needs_sweep(market):
            self.sweeping.add(market.market_id)
        else:
            self.sweeping.discard(market.market_id)

    def _load(self, market_id: str) -> Market:
        with self._connection().cursor() as cursor:
            state = current_state(cursor, market_id, progress=lambda events: self._keep_alive())
        market, head = state.market, state.head
        self.loaded[market_id], self.heads[market_id] = market, head
        self.note_sweep(market)
        return market


def live_market_ids(connection: Any, slots: list[int]) -> list[str]:
    """Markets of the slots that may still trade: every stream but those known to have ended."""
    rows = connection.execute(
        "SELECT id::text FROM stream LEFT JOIN market ON market_id = id "
        "WHERE stream.slot = ANY(%s) AND coalesce(status, '') NOT IN ('resolved', 'voided') ORDER BY id",
        [slots],
    ).fetchall()
    return [row[0] for row in rows]
