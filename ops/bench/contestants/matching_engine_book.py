"""The engine of the PyPI package matching-engine (Python 3.12): accounts, events, no positions and no money."""

from collections.abc import Callable
from typing import Any

from matching_engine.domain import (  # type: ignore[import-not-found]
    CancelOrder,
    NewOrder,
    SequencedCommand,
    Side,
)
from matching_engine.engine import MatchingEngine  # type: ignore[import-not-found]
from matching_engine.events import Trade  # type: ignore[import-not-found]

from ops.bench.contestants.contest import Flow, Result, compete


def prepare(flow: Flow) -> Callable[[], Callable[[], Result]]:
    engine = MatchingEngine()
    commands: list[Any] = []
    for seq, step in enumerate(flow, 1):
        if len(step) == 2:
            command = CancelOrder(step[0], step[1] + 1)
        else:
            number, account, is_buy, price, quantity = step
            command = NewOrder(number, account + 1, Side.BUY if is_buy else Side.SELL, price, quantity)
        commands.append(SequencedCommand(seq, seq, command))
    events: list[Any] = []

    def work() -> Callable[[], Result]:
        for command in commands:
            events.extend(engine.process(command))
        return count

    def count() -> Result:
        trades = [event for event in events if type(event) is Trade]
        return Result(len(trades), sum(trade.qty for trade in trades))

    return work


if __name__ == "__main__":
    compete(prepare)
