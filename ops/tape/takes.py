"""Plays a tape of trades: the house quotes for a run of them, then each trader takes what was quoted for him.

Within a market all goes in the recording's order, each request after the answer to the one before; markets go
side by side. Whoever comes several times in a row within a run sends one batch.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ops.tape.house import HOUSE, OTHER_SIDE, Order, runs
from ops.tape.polymarket import RecordedMarket
from ops.tape.venue import Venue
from trading.money import format_pips


@dataclass(slots=True)
class Takings:
    """What traders sent and what came of it, and one line for each order that was not filled as recorded."""

    sent: int = 0
    filled: int = 0
    batches: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Takings") -> None:
        self.sent += other.sent
        self.filled += other.filled
        self.batches += other.batches
        self.differences += other.differences


def play(
    venue: Venue,
    executor: Executor,
    markets: Mapping[str, RecordedMarket],
    orders: Iterable[Order],
    *,
    batch: int,
    progress: Callable[[int], object],
) -> Takings:
    """Send everything; `progress` is told of orders done, from several threads. The first Problem ends it all."""
    by_market: dict[str, list[Order]] = {}
    for order in orders:
        by_market.setdefault(order.market, []).append(order)
    # What takes longest begins first.
    courses = [
        _Course(venue, markets[name], queue, batch, progress)
        for name, queue in sorted(by_market.items(), key=lambda item: -len(item[1]))
    ]
    stop, takings = threading.Event(), Takings()
    futures = [executor.submit(course.run, stop) for course in courses]
    try:
        for future in futures:
            takings.add(future.result())
    finally:
        stop.set()
    return takings


class _Course:
    """One market's orders, from the first to the last."""

    def __init__(
        self,
        venue: Venue,
        market: RecordedMarket,
        orders: Sequence[Order],
        batch: int,
        progress: Callable[[int], object],
    ) -> None:
        self._venue = venue
        self._market = market
        self._orders = orders
        self._batch = batch
        self._progress = progress
        self._takings = Takings()

    def run(self, stop: threading.Event) -> Takings:
        for run in runs(self._market, self._orders, most=self._batch):
            if stop.is_set():
                break
            self._quote(run)
            for account, orders in groupby(run, key=lambda order: order.account):
                self._take(account, list(orders))
            self._progress(len(run))
        return self._takings

    def _quote(self, run: Sequence[Order]) -> None:
        items = [self._item(order, OTHER_SIDE[order.side], "GTC") for order in run]
        for order, result in zip(run, self._send(HOUSE, items), strict=True):
            if result["status"] not in (200, 201):
                self._takings.differences.append(f"row {order.row}: the house's quote {_refusal(result)}")

    def _take(self, account: str, orders: Sequence[Order]) -> None:
        items = [self._item(order, order.side, "IOC") for order in orders]
        for order, result in zip(orders, self._send(account, items), strict=True):
            self._takings.sent += 1
            if wrong := _wrong_fill(order, result):
                self._takings.differences.append(f"row {order.row}: {account}'s order {wrong}")
            else:
                self._takings.filled += 1

    def _send(self, account: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._takings.batches += 1
        return self._venue.exchange.batch(items, key=self._venue.keys[account])

    def _item(self, order: Order, side: str, time_in_force: str) -> dict[str, Any]:
        return {
            "market_id": self._venue.market_ids[order.market],
            "outcome": self._market.outcomes[order.outcome],
            "side": side,
            "price": format_pips(order.price_pips),
            "quantity": order.quantity_shares,
            "time_in_force": time_in_force,
            "client_order_id": order.key,
        }


def _refusal(result: Mapping[str, Any]) -> str:
    return f"is answered {result['status']} {result.get('code')}: {result.get('detail')}"


def _wrong_fill(order: Order, result: Mapping[str, Any]) -> str | None:
    """Why an order is not filled as recorded: all of it, at the row's price."""
    if result["status"] not in (200, 201):
        return _refusal(result)
    seen = [(fill["price"], fill["quantity"]) for fill in result["order"]["fills"]]
    wanted = [(format_pips(order.price_pips), order.quantity_shares)]
    return None if seen == wanted else f"is filled {seen} instead of {wanted}"
