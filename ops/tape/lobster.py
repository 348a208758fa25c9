"""Reads LOBSTER driver files: one stock's orders of a day, each known by name, and the book after each message.

Columns: row, t_ns, op, order_id, side B|S, price_tick, qty, expect_maker, sweep. The driver's prices are
moved into 0.0001 .. 0.9999; by how much shows where its first order meets the order-book file beside it
(`*_orderbook_N.csv.gz`: ask price and size, bid price and size, N times, in hundredths of a cent).
"""

import csv
import gzip
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ops.tape.steps import (
    MAKER,
    TAKER,
    Amend,
    BadTape,
    Cancel,
    ExpectedBook,
    ExpectedFill,
    Levels,
    Place,
    Row,
    Step,
)

COLUMNS = ["row", "t_ns", "op", "order_id", "side", "price_tick", "qty", "expect_maker", "sweep"]
UNITS_A_TICK = 100
SIDES = {"B": "buy", "S": "sell"}
RESTING = ("SEED", "ADD", "REVEAL")
GONE = ("CANCEL", "DROP")


class LobsterTape:
    """A driver file and, if it is there, the order-book file beside it."""

    tick_pips = 1
    winner: int | None = None
    knows_every_book = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.split("_driver")[0]
        books = sorted(path.parent.glob(f"{self.name}_orderbook_*.csv.gz"))
        self.book_path = books[0] if books else None

    @cached_property
    def total_rows(self) -> int:
        """As many as the order-book file has, since some messages change nothing."""
        if self.book_path is None:
            return len({line[0] for line in _driver_lines(self.path)})
        return sum(1 for _ in _lines(self.book_path))

    @cached_property
    def shift(self) -> int:
        """Ticks between the order-book file's prices and the driver's."""
        if self.book_path is None:
            return 0
        first = next(_driver_lines(self.path))
        ask, _, bid, *_ = next(_book_lines(self.book_path))
        return (bid if first[4] == "B" else ask) // UNITS_A_TICK - int(first[5])

    def rows(self, *, with_books: bool = True) -> Iterator[Row]:
        totals: dict[str, int] = {}  # Total quantity of each of the maker's orders, as amended.
        by_row = itertools.groupby(_driver_lines(self.path), key=lambda line: int(line[0]))
        if self.book_path is None or not with_books:
            for number, lines in by_row:
                yield Row(number, tuple(_step(line, totals) for line in lines))
            return
        number, lines = next(by_row, (0, iter(())))
        for current, levels in enumerate(_book_lines(self.book_path), start=1):
            steps: tuple[Step, ...] = ()
            if current == number:
                steps = tuple(_step(line, totals) for line in lines)
                number, lines = next(by_row, (0, iter(())))
            yield Row(current, steps, (_book(levels, self.shift),))


def _step(line: list[str], totals: dict[str, int]) -> Step:
    _, _, op, key, side, price, quantity, maker, _ = line
    shares = int(quantity)
    if op in RESTING:
        totals[key] = shares
        return Place(MAKER, key, 0, SIDES[side], int(price), shares, "GTC")
    if op == "TAKE":
        expected = (ExpectedFill(maker, int(price), shares),)
        return Place(TAKER, key, 0, SIDES[side], int(price), shares, "IOC", expected)
    if op in GONE:
        totals.pop(key)
        return Cancel(key)
    if op == "REDUCE":
        totals[key] -= shares
        return Amend(key, totals[key])
    raise BadTape(f"row {line[0]}: unknown operation {op!r}")


def _driver_lines(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        lines = csv.reader(file)
        if next(lines) != COLUMNS:
            raise BadTape(f"{path.name} is not a LOBSTER driver file")
        yield from lines


def _book_lines(path: Path) -> Iterator[list[int]]:
    for line in _lines(path):
        yield list(map(int, line.split(",")))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        yield from file


def _book(values: list[int], shift: int) -> ExpectedBook:
    """A level that does not exist has size 0."""

    def side(first: int) -> Levels:
        levels = zip(values[first::4], values[first + 1 :: 4], strict=True)
        return tuple((price // UNITS_A_TICK - shift, size) for price, size in levels if size)

    return ExpectedBook(0, bids=side(2), asks=side(0), depth=len(values) // 4)
