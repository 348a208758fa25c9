"""Reads LOBSTER driver files: one stock's orders of a day, each known by name, and the book after each message.

Columns: row, t_ns, op, order_id, side B|S, price_tick, qty, expect_maker, sweep. The driver's prices are
moved into 0.0001 .. 0.9999; by how much shows where its first order meets the order-book file beside it
(`*_orderbook_N.csv.gz`: ask price and size, bid price and size, N times, in hundredths of a cent).

Lines with the same `sweep` are one aggressor's order, told fill by fill. It can be played as that one order:
an IOC at its worst price or, if an ADD ends the sweep, a GTC at the ADD's price whose rest is that ADD.
"""

import csv
import gzip
import itertools
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ops.tape.steps import (
    MAKER,
    SWEEPERS,
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
ROW, T_NS, OP, KEY, SIDE, PRICE, QUANTITY, MAKER_KEY, SWEEP = range(len(COLUMNS))
UNITS_A_TICK = 100
SIDES = {"B": "buy", "S": "sell"}
RESTING = ("SEED", "ADD", "REVEAL")
GONE = ("CANCEL", "DROP")


class LobsterTape:
    """A driver file and, if it is there, the order-book file beside it."""

    tick_pips = 1
    winner: int | None = None
    knows_every_book = True

    def __init__(self, path: Path, *, merge_sweeps: bool = False) -> None:
        self.path = path
        self._merge_sweeps = merge_sweeps
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
        orders = _Orders()
        by_row = itertools.groupby(self._acts(), key=lambda act: act.row)
        if self.book_path is None or not with_books:
            for number, acts in by_row:
                yield Row(number, tuple(orders.step(act.lines) for act in acts if act.lines))
            return
        number, acts = next(by_row, (0, iter(())))
        amid_sweep = False
        for current, levels in enumerate(_book_lines(self.book_path), start=1):
            steps: tuple[Step, ...] = ()
            if current == number:
                done = list(acts)
                steps = tuple(orders.step(act.lines) for act in done if act.lines)
                amid_sweep = done[-1].amid_sweep
                number, acts = next(by_row, (0, iter(())))
            yield Row(current, steps, () if amid_sweep else (_book(levels, self.shift),))

    def _acts(self) -> Iterator["_Act"]:
        lines = _driver_lines(self.path)
        if not self._merge_sweeps:
            return (_Act(int(line[ROW]), [line], False) for line in lines)
        by_instant = itertools.groupby(lines, key=lambda line: line[T_NS])
        return itertools.chain.from_iterable(_merged(list(instant)) for _, instant in by_instant)


class _Act(NamedTuple):
    """Lines that become one step of a row. `amid_sweep`: after it the recorded book is not the exchange's."""

    row: int
    lines: list[list[str]]
    amid_sweep: bool


def _merged(instant: list[list[str]]) -> Iterator[_Act]:
    """The lines of one instant, each sweep's in the place of its last one, where its rest joins the queue.

    What lies between a sweep's lines keeps its place and so comes before it (levels that come into view behind
    those being swept), unless it withdraws an order that the sweep has hit already: that comes after.
    """
    unseen = Counter(line[SWEEP] for line in instant if line[SWEEP])
    begun: dict[str, list[list[str]]] = {}
    later: list[list[str]] = []
    for line in instant:
        row, sweep = int(line[ROW]), line[SWEEP]
        if sweep:
            begun.setdefault(sweep, []).append(line)
            unseen[sweep] -= 1
            lines = [] if unseen[sweep] else begun.pop(sweep)
        elif line[OP] in GONE and any(line[KEY] == hit[MAKER_KEY] for sent in begun.values() for hit in sent):
            later.append(line)
            lines = []
        else:
            lines = [line]
        yield _Act(row, lines, bool(begun))
        if not begun:
            yield from (_Act(row, [line], False) for line in later)
            later.clear()


class _Orders:
    """What has to be remembered of resting orders: their total quantity, as amended, and which are no maker's."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._owners: dict[str, str] = {}

    def step(self, lines: list[list[str]]) -> Step:
        return self._of_one(lines[0]) if len(lines) == 1 else self._of_sweep(lines)

    def _of_one(self, line: list[str]) -> Step:
        _, _, op, key, side, price, quantity, maker, _ = line
        shares = int(quantity)
        if op in RESTING:
            self._totals[key] = shares
            return Place(MAKER, key, 0, SIDES[side], int(price), shares, "GTC")
        if op == "TAKE":
            expected = (ExpectedFill(maker, int(price), shares),)
            return Place(TAKER, key, 0, SIDES[side], int(price), shares, "IOC", expected)
        if op in GONE:
            self._totals.pop(key)
            return Cancel(key, self._owners.pop(key, MAKER))
        if op == "REDUCE":
            self._totals[key] -= shares
            return Amend(key, self._totals[key], self._owners.get(key, MAKER))
        raise BadTape(f"row {line[ROW]}: unknown operation {op!r}")

    def _of_sweep(self, lines: list[list[str]]) -> Place:
        *others, last = lines
        rests = last[OP] == "ADD"
        takes = others if rests else lines
        if any(line[OP] != "TAKE" or line[SIDE] != last[SIDE] for line in takes):
            raise BadTape(
                f"row {last[ROW]}: sweep {last[SWEEP]} is not takes of one side and at most an ADD after"
            )
        side, total = SIDES[last[SIDE]], sum(int(line[QUANTITY]) for line in lines)
        expected = _expected(takes)
        if not rests:
            worst = (max if side == "buy" else min)(fill.price_pips for fill in expected)
            return Place(TAKER, takes[0][KEY], 0, side, worst, total, "IOC", expected)
        met = {self._owners.get(fill.maker_key) for fill in expected}
        account = next((account for account in SWEEPERS if account not in met), None)
        if account is None:
            raise BadTape(f"row {last[ROW]}: sweep {last[SWEEP]} meets rests of all accounts that sweep")
        self._totals[last[KEY]], self._owners[last[KEY]] = total, account
        return Place(account, last[KEY], 0, side, int(last[PRICE]), total, "GTC", expected)


def _expected(takes: list[list[str]]) -> tuple[ExpectedFill, ...]:
    """The fills of a sweep: neighbours of one maker are one fill."""
    by_maker = itertools.groupby(takes, key=lambda line: (line[MAKER_KEY], int(line[PRICE])))
    return tuple(
        ExpectedFill(maker, price, sum(int(line[QUANTITY]) for line in lines))
        for (maker, price), lines in by_maker
    )


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
