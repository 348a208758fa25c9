"""Cancels, in the markets of this process, the orders of clients that were not heard of in time.

An order belongs to a lapse if it was placed, or its id made, until then. Whatever of it is matched before a look sees
the lapse is in the market by then and is cancelled; what is matched afterwards meets a fence.
"""

from collections.abc import Collection, Iterable
from typing import Any

from trading.dead_man import Lapse, lapsed
from trading.engine.commands import FENCE_ONLY_US, CancelOrders, Command, PlaceOrder
from trading.engine.market import Market, Order
from trading.ids import first_id_after
from trading.shard.markets import Markets

LATE_US = 60_000_000
"""How long before the last lapse it saw a look begins: none becomes visible later than that, and no order that was
sent before it is on its way for longer."""


class Lapses:
    """Remembers what it has looked at: each lapse is looked at once, and again when slots have come."""

    def __init__(self) -> None:
        self._seen: frozenset[Lapse] = frozenset()
        self._slots: frozenset[int] = frozenset()
        self._of_account: dict[str, list[Lapse]] = {}

    def commands(self, connection: Any, markets: Markets, slots: Collection[int]) -> list[Command]:
        """What is to be cancelled now: one query for what is new, then one walk through the orders of each market in
        which somebody concerned has some."""
        if self._slots != frozenset(slots):
            self._slots, self._seen = frozenset(slots), frozenset()
        last_us = max((lapse.due_us for lapse in self._seen), default=0)
        found = lapsed(connection, since_us=max(0, last_us - LATE_US))
        new = _by_account(lapse for lapse in found if lapse not in self._seen)
        self._seen, self._of_account = frozenset(found), _by_account(found)
        return (
            [command for market in markets.loaded.values() for command in _cancels(market, new)]
            if new
            else []
        )

    def fences(self, order: PlaceOrder) -> list[CancelOrders]:
        """What its market has to be told first of an order that was sent before its client's lapse."""
        return [
            _cancel(order.market_id, lapse, placed_until_us=FENCE_ONLY_US)
            for lapse in self._of_account.get(order.account_id, ())
            if lapse.by in (None, order.by) and order.order_id < _fence(lapse)
        ]


def _by_account(lapses: Iterable[Lapse]) -> dict[str, list[Lapse]]:
    found: dict[str, list[Lapse]] = {}
    for lapse in lapses:
        found.setdefault(lapse.account_id, []).append(lapse)
    return found


def _cancels(market: Market, new: dict[str, list[Lapse]]) -> list[CancelOrders]:
    """O(accounts with open orders or lapses, whichever are fewer), and O(open orders) of those that have both."""
    return [
        _cancel(market.market_id, lapse, placed_until_us=lapse.due_us)
        for account_id in sorted(new.keys() & market.orders_of.keys())
        for lapse in new[account_id]
        if any(_concerns(lapse, order) for order in market.orders_of[account_id].values())
    ]


def _concerns(lapse: Lapse, order: Order) -> bool:
    return lapse.by in (None, order.by) and (
        order.created_us <= lapse.due_us or order.order_id < _fence(lapse)
    )


def _cancel(market_id: str, lapse: Lapse, *, placed_until_us: int) -> CancelOrders:
    return CancelOrders(
        market_id, lapse.account_id, None, None, by=lapse.by, reason=lapse.reason, fence=_fence(lapse),
        placed_until_us=placed_until_us,
    )  # fmt: skip


def _fence(lapse: Lapse) -> str:
    """An order of the very millisecond counts as sent before: nobody may come back to cancel it."""
    return first_id_after(lapse.due_us)
