"""Cancels, in the markets of this process, the orders of clients that were not heard of in time."""

import datetime as dt
from collections.abc import Collection
from typing import Any

from trading.dead_man import Lapse, lapsed
from trading.engine.commands import CancelOrders, Command
from trading.engine.market import Market
from trading.ids import first_id_at
from trading.shard.markets import Markets


class Lapses:
    """Remembers what it has looked at: each lapse is looked at once, and again when slots have come."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, int]] = set()
        self._slots: frozenset[int] = frozenset()

    def commands(self, connection: Any, markets: Markets, slots: Collection[int]) -> list[Command]:
        """What is to be cancelled now. One query, then a look at the open orders of those whom it names."""
        if self._slots != frozenset(slots):
            self._slots = frozenset(slots)
            self._seen.clear()
        found: list[Command] = []
        for lapse in lapsed(connection):
            if (lapse.switch_id, lapse.due_us) not in self._seen:
                self._seen.add((lapse.switch_id, lapse.due_us))
                found += [
                    _cancel(market, lapse) for market in markets.loaded.values() if _concerns(market, lapse)
                ]
        return found


def _concerns(market: Market, lapse: Lapse) -> bool:
    return any(
        lapse.by in (None, order.by) and order.created_us <= lapse.due_us
        for order in market.orders_of.get(lapse.account_id, {}).values()
    )


def _cancel(market: Market, lapse: Lapse) -> CancelOrders:
    """Orders sent before the lapse that are still on the way are refused, those sent after it are left alone."""
    fence = first_id_at(dt.datetime.fromtimestamp(lapse.due_us // 1_000_000, dt.UTC))
    return CancelOrders(
        market.market_id, lapse.account_id, None, None, by=lapse.by, reason=lapse.reason, fence=fence,
        placed_until_us=lapse.due_us,
    )  # fmt: skip
