"""Replays the log of a tape's market and compares the book after every row, also of rows that shared a batch.

It reads the exchange's database, and moves the book with the same code that a shard loads a market with.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from ops.tape.player import book_differences
from ops.tape.steps import Amend, Cancel, ExpectedBook, Levels, Place, Row, Step
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.codec import event_from
from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market
from trading.eventlog.codec import StoredEvent
from trading.eventlog.read import read_stream
from trading.money import format_pips

_TOLD_AS: dict[type[Step], type[ev.Event]] = {
    Place: ev.OrderPlaced,
    Cancel: ev.OrderCancelled,
    Amend: ev.OrderAmended,
}

_Command = list[tuple[ev.Event, int]]
"""A command's events, each with its time."""


class Replayed(NamedTuple):
    """How many books were compared; one line for each difference."""

    books: int
    differences: list[str]


def replay(cursor: Any, market_id: str, rows: Iterable[Row], progress: Callable[[int], object]) -> Replayed:
    """Rows and log side by side: the tape's n-th step must be the n-th command that traders gave.

    Ends at the first step that is not. `progress` is told how many rows further each row is.
    """
    market, keys = Market(market_id), dict[str, str | None]()
    commands = _commands_of_traders(market, read_stream(cursor, stream_id=market_id))
    books, differences, before = 0, list[str](), 0
    for row in rows:
        for step in row.steps:
            command = next(commands, [])
            if not _is_told_by(command, step, keys):
                differences.append(f"row {row.number}: {step} stands in the log as {command}")
                return Replayed(books, differences)
            _apply(market, command)
        for expected in row.books:
            differences += _differences(market, row.number, expected)
            books += 1
        progress(row.number - before)
        before = row.number
    differences += [f"after the last row the log has {command}" for command in islice(commands, 1)]
    return Replayed(books, differences)


def _commands_of_traders(market: Market, log: Iterable[StoredEvent]) -> Iterator[_Command]:
    """What follows the market's beginning, which is applied here."""
    for command in _commands(log):
        if isinstance(command[0][0], ev.MarketCreated | ev.MarketOpened):
            _apply(market, command)
        else:
            yield command


def _commands(log: Iterable[StoredEvent]) -> Iterator[_Command]:
    """The events of a stream by command: the first one of each has metadata."""
    command: _Command = []
    for stored in log:
        if stored.metadata and command:
            yield command
            command = []
        command.append((event_from(stored.type, stored.data), stored.recorded_us))
    if command:
        yield command


def _apply(market: Market, command: _Command) -> None:
    for event, at_us in command:
        apply(market, event, at_us)


def _is_told_by(command: _Command, step: Step, keys: dict[str, str | None]) -> bool:
    """Whether a command did this step, to the order of this key; `keys` learns the ids of new orders."""
    for event, _ in command:
        if isinstance(event, ev.OrderPlaced):
            keys[event.order] = event.client_order_id
        if isinstance(event, ev.OrderPlaced | ev.OrderCancelled | ev.OrderAmended):
            return type(event) is _TOLD_AS[type(step)] and keys.get(event.order) == step.key
    return False


def _differences(market: Market, number: int, expected: ExpectedBook) -> list[str]:
    book = market.books[0]
    bids, asks = _top(book.bids.depth(), expected), _top(book.asks.depth(), expected)
    if expected.outcome == 1:
        bids, asks = asks, bids
    if (bids, asks) == (expected.bids, expected.asks):
        return []
    shown = {"bids": _as_shown(bids), "asks": _as_shown(asks)}
    return [f"{line} (replayed)" for line in book_differences(number, expected, shown)]


def _top(levels: Iterable[tuple[int, int]], expected: ExpectedBook) -> Levels:
    """A side of the binary market's one book, in the terms of the outcome that is expected."""
    top = tuple(islice(levels, expected.depth))
    return top if expected.outcome == 0 else tuple((SHARE_PIPS - price, shares) for price, shares in top)


def _as_shown(levels: Levels) -> list[list[str | int]]:
    return [[format_pips(price), shares] for price, shares in levels]
