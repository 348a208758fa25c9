"""The markets in memory: each rebuilt from its last snapshot and the events since when it is first needed."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from trading.engine.commands import Command, ExpireOrders, SweepOrders
from trading.engine.decide import next_expiry_us
from trading.engine.lifecycle import ENDED, needs_sweep
from trading.engine.market import Market
from trading.eventlog.append import Head
from trading.ids import market_slot
from trading.shard.crash_points import reach
from trading.snapshots.replay import current_state

# Ended markets that stay in memory, those last asked for: others would pile up there for as long as a shard lives.
ENDED_KEPT = 32
# Lapses may end thousands of orders at once; commands of clients go on in between.
ASKED_AT_ONCE = 50


class Markets:
    """Markets, the heads of their streams, and what they have to do by themselves.

    `connection` answers one that nobody else is using; `keep_alive` is called at every page of events.
    """

    def __init__(self, *, connection: Callable[[], Any], keep_alive: Callable[[], object]) -> None:
        self.loaded: dict[str, Market] = {}
        self.heads: dict[str, Head] = {}
        self._ended: dict[str, None] = {}  # the one that was asked for last stands last
        self._sweeping: set[str] = set()
        self._expiring: dict[str, int] = {}  # when the next order of a market expires, in µs
        self._asked: list[Command] = []
        self._connection = connection
        self._keep_alive = keep_alive

    def get(self, market_id: str) -> Market:
        """A market as its last event left it; seq 0 and an empty head if it has none."""
        market = self.loaded.get(market_id)
        return market if market is not None else self._load(market_id)

    def drop(self, slots: Collection[int]) -> None:
        """Forgets the markets of these slots."""
        for market_id in [each for each in self.loaded if market_slot(each) in slots]:
            self._forget(market_id)
        self._asked = [command for command in self._asked if market_slot(command.market_id) not in slots]

    def drop_ended(self) -> None:
        """Forgets markets that nothing can happen in any more, but for a few; call while no batch is under way."""
        for market_id in list(self._ended)[:-ENDED_KEPT]:
            self._forget(market_id)

    def note(self, market: Market) -> None:
        """Remembers whether a market has to be swept, when its next order expires, and that it has ended."""
        self._ended.pop(market.market_id, None)
        if market.seq == 0 or market.status in ENDED:
            self._ended[market.market_id] = None
        if needs_sweep(market):
            self._sweeping.add(market.market_id)
        else:
            self._sweeping.discard(market.market_id)
        expires_us = next_expiry_us(market)
        if expires_us is None:
            self._expiring.pop(market.market_id, None)
        else:
            self._expiring[market.market_id] = expires_us

    def ask(self, commands: Iterable[Command]) -> None:
        """Adds what is to be done besides: lapsed orders to cancel."""
        self._asked += commands

    def has_chores(self, now_us: int) -> bool:
        """Whether `chores` would answer any."""
        return (
            bool(self._sweeping or self._asked) or min(self._expiring.values(), default=now_us + 1) <= now_us
        )

    def chores(self, now_us: int) -> list[Command]:
        """What the markets have to do by themselves now; sweeps and expiry come again until they are done, and of
        what was asked for some each time."""
        asked, self._asked = self._asked[:ASKED_AT_ONCE], self._asked[ASKED_AT_ONCE:]
        due = sorted(market_id for market_id, expires_us in self._expiring.items() if expires_us <= now_us)
        return [
            *asked, *(ExpireOrders(market_id) for market_id in due),
            *(SweepOrders(market_id) for market_id in sorted(self._sweeping)),
        ]  # fmt: skip

    def _forget(self, market_id: str) -> None:
        del self.loaded[market_id], self.heads[market_id]
        self._ended.pop(market_id, None)
        self._sweeping.discard(market_id)
        self._expiring.pop(market_id, None)

    def _load(self, market_id: str) -> Market:
        reach("before_load")
        with self._connection().cursor() as cursor:
            state = current_state(cursor, market_id, progress=lambda events: self._keep_alive())
        reach("after_load")
        market, head = state.market, state.head
        self.loaded[market_id], self.heads[market_id] = market, head
        self.note(market)
        return market


def live_market_ids(connection: Any, slots: list[int]) -> list[str]:
    """Markets of the slots that may still trade: every stream but those known to have ended."""
    rows = connection.execute(
        "SELECT id::text FROM stream LEFT JOIN market ON market_id = id "
        "WHERE stream.slot = ANY(%s) AND coalesce(status, '') NOT IN ('resolved', 'voided') ORDER BY id",
        [slots],
    ).fetchall()
    return [row[0] for row in rows]
