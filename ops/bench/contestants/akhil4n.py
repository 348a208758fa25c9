"""The book of the PyPI package akhil4n-orderbook: price and quantity, no accounts. Prices are given as integers."""

from collections.abc import Callable
from typing import Any

from orderbook import Order, OrderBook, OrderSide  # type: ignore[import-not-found]

from ops.bench.contestants.contest import Flow, Result, compete


def prepare(flow: Flow) -> Callable[[], Callable[[], Result]]:
    book = OrderBook()
    orders: dict[int, Any] = {}
    steps: list[tuple[Any, str | None]] = []
    for step in flow:
        if len(step) == 2:
            steps.append((None, orders[step[0]].order_id))
        else:
            number, _, is_buy, price, quantity = step
            orders[number] = Order(OrderSide.BID if is_buy else OrderSide.ASK, price, quantity)
            steps.append((orders[number], None))

    def work() -> Callable[[], Result]:
        for order, cancelled_id in steps:
            if order is None:
                book.cancel_order(cancelled_id)
            else:
                book.add_limit_order(order)
        return count

    def count() -> Result:
        return Result(len(book.trade_log), sum(trade.quantity_filled for trade in book.trade_log))

    return work


if __name__ == "__main__":
    compete(prepare)
