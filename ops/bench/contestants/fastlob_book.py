"""The book of the PyPI package fastlob: no accounts; its log is switched off, its orders' decimals are made beforehand.

Some operations make it raise KeyError; they are counted, and the flow goes on.
"""

import logging
from collections.abc import Callable
from typing import Any

from fastlob import Orderbook, OrderParams, OrderSide  # type: ignore[import-not-found]

from ops.bench.contestants.contest import Flow, Result, compete


def prepare(flow: Flow) -> Callable[[], Callable[[], Result]]:
    logging.disable(logging.CRITICAL)
    book = Orderbook(start=True)
    steps: list[tuple[int, Any]] = []
    for step in flow:
        if len(step) == 2:
            steps.append((step[0], None))
        else:
            number, _, is_buy, price, quantity = step
            steps.append((number, OrderParams(OrderSide.BID if is_buy else OrderSide.ASK, price, quantity)))
    ids: dict[int, str] = {}
    results: list[Any] = []
    raised = 0

    def work() -> Callable[[], Result]:
        nonlocal raised
        for number, params in steps:
            try:
                if params is None:
                    book.cancel(ids.get(number, ""))
                else:
                    result = book.process(params)
                    ids[number] = result.orderid()
                    results.append(result)
            except KeyError:
                raised += 1
        return count

    def count() -> Result:
        book.stop()
        matched = [result for result in results if result._execprices]
        volume = sum(int(shares) for result in matched for shares in result.execprices().values())
        return Result(sum(result.n_orders_matched() for result in matched), volume, raised)

    return work


if __name__ == "__main__":
    compete(prepare)
