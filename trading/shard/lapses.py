"""Cancels, in the markets of this process, the orders of clients that were not heard of in time."""

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Any

from trading.dead_man import Lapse, lapsed
from trading.engine.commands import CancelOrders, Command
from trading.engine.market import Market, Order
from trading.ids import first_id_at
from trading.shard.markets import Markets

LATE_US = 60_000_000
"""How long before the last lapse it saw a look begins: none becomes visible later than that."""


class Lapses:
    """Remembers what it has looked at: each lapse is looked at once, and again when slots have come."""

    def __init__(self) -> None:
        self._seen: frozenset[Lapse] = frozenset()
        self._slots: frozenset[int] = frozenset()

    def commands(self, connection: Any, markets: Markets, slots: Collection[int]) -> list[Command]:
        """What is to be cancelled now: one query for what is new, then one walk through the orders of each market in
        which somebody concerned has some."""
        if self._slots != frozenset(slots):
            self._slots, self._seen = frozenset(slots), frozenset()
        last_us = max((lapse.due_us for lapse in self._seen), default=0)
        found = lapsed(connection, since_us=max(0, last_us - LATE_US))
        new = _by_account(lapse for lapse in found if lapse not in self._seen)
        self._seen = frozenset(found)
        return (
            [command for market in markets.loaded.values() for command in _cancels(market, new)]
            if new
            else []
        )


def _by_account(lapses: Iterable[Lapse]) -> dict[str, list[Lapse]]:
    found: dict[str, list[Lapse]] = {}
    for lapse in lapses:
        found.setdefault(lapse.account_id, []).append(lapse)
    return found


def _cancels(market: Market, new: dict[str, list[Lapse]]) -> list[CancelOrders]:
    """O(accounts with open orders or lapses, whichever are fewer), and O(open orders) where they meet."""
    concerned = new.keys() & market.open_counts.keys()
    if not concerned:
        return []
    meant = {
        lapse: None
        for order in market.orders.values()
        if order.account_id in concerned
        for lapse in new[order.account_id]
        if _concerns(lapse, order)
    }
    return [_cancel(market, lapse) for lapse in meant]


def _concerns(lapse: Lapse, order: Order) -> bool:
    return lapse.by in (None, order.by) and order.created_us <= lapse.due_us


def _cancel(market: Market, lapse: Lapse) -> CancelOrders:
    """Orders sent before the lapse that are still on the way are refused, those sent after it are left alone."""
    fence = first_id_at(dt.datetime.fromtimestamp(lapse.due_us // 1_000_000, dt.UTC))
    return CancelOrders(
        market.market_id, lapse.account_id, None, None, by=lapse.by, reason=lapse.reason, fence=fence,
        placed_until_us=lapse.due_us,
    )  # fmt: skip
