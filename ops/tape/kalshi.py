"""Reads Kalshi driver files: the resting bids of both outcomes of a binary market, by level.

Columns: src_line, ts_ms, op, side yes|no (whose bids change), price_tick (in pips), qty_centi (used as whole
shares). S and A add bids, C takes some off a level (here: the newest first), X is a trade that took some
(here: the oldest first, which is what the exchange must do), E closes the market.

Beside it: `*_books.jsonl.gz` with the books after some rows, `*_trades.csv.gz` with the venue's prints and
`*_market.json`, its record, with the result.
"""

import csv
import gzip
import json
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

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

COLUMNS = ["src_line", "ts_ms", "op", "side", "price_tick", "qty_centi"]
OUTCOMES = {"yes": 0, "no": 1}
SHARE_PIPS = 10_000
LARGEST_ORDER_SHARES = 1_000_000
WHOLE_BOOK = 500
"""Levels to compare: more than the 99 a side that a grid of one cent has."""


class KalshiTape:
    """A driver file and what lies beside it."""

    tick_pips = 100
    knows_every_book = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.split("_driver")[0]

    @cached_property
    def total_rows(self) -> int:
        return sum(1 for _ in _driver_lines(self.path))

    @cached_property
    def winner(self) -> int | None:
        path = self._beside("market.json")
        if not path.exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        (market,) = [m for m in record.get("markets", [record]) if m.get("ticker", self.name) == self.name]
        return OUTCOMES.get(market.get("result"))

    @cached_property
    def prints(self) -> list[tuple[int, int]] | None:
        """(price of Yes in pips, shares) of the venue's trades, in order; None without the file."""
        path = self._beside("trades.csv.gz")
        if not path.exists():
            return None
        with gzip.open(path, "rt", encoding="ascii", newline="") as file:
            return [(int(line["yes_price_tick"]), int(line["qty_centi"])) for line in csv.DictReader(file)]

    def rows(self, *, with_books: bool = True) -> Iterator[Row]:
        books = self._books() if with_books else {}
        levels = _Levels()
        for number, line in enumerate(_driver_lines(self.path), start=1):
            yield Row(number, tuple(levels.steps(number, line)), books.get(number, ()))

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.name}_{ending}")

    def _books(self) -> dict[int, tuple[ExpectedBook, ...]]:
        path = self._beside("books.jsonl.gz")
        if not path.exists():
            return {}
        with gzip.open(path, "rt", encoding="ascii") as file:
            return {point["after_row"]: _both_books(point) for point in map(json.loads, file)}


class _Order:
    """One of the maker's resting bids: `total` as amended, `left` of it."""

    __slots__ = ("key", "left", "total")

    def __init__(self, key: str, shares: int) -> None:
        self.key = key
        self.total = self.left = shares


class _Levels:
    """The maker's bids at each level, oldest first: the tape names sizes, the exchange wants orders."""

    def __init__(self) -> None:
        self._bids: dict[tuple[str, int], deque[_Order]] = {}

    def steps(self, number: int, line: list[str]) -> Iterator[Step]:
        op, side = line[2], line[3]
        if op == "E":
            yield from self._cancel_all()
            return
        price, shares = int(line[4]), int(line[5])
        if op in ("S", "A"):
            yield from self._add(number, side, price, shares)
        elif op == "C":
            yield from self._reduce(number, side, price, shares)
        elif op == "X":
            yield self._take(number, side, price, shares)
        else:
            raise BadTape(f"row {number}: unknown operation {op!r}")

    def _add(self, number: int, side: str, price: int, shares: int) -> Iterator[Step]:
        bids = self._bids.setdefault((side, price), deque())
        for part, start in enumerate(range(0, shares, LARGEST_ORDER_SHARES)):
            order = _Order(
                f"{number}" if part == 0 else f"{number}.{part}", min(LARGEST_ORDER_SHARES, shares - start)
            )
            bids.append(order)
            yield Place(MAKER, order.key, OUTCOMES[side], "buy", price, order.total, "GTC")

    def _reduce(self, number: int, side: str, price: int, shares: int) -> Iterator[Step]:
        bids = self._bids.get((side, price), deque())
        while shares:
            if not bids:
                raise BadTape(f"row {number}: takes {shares} shares more off {side} {price} than are there")
            order = bids[-1]
            if order.left <= shares:
                shares -= order.left
                bids.pop()
                yield Cancel(order.key)
            else:
                order.left -= shares
                order.total -= shares
                shares = 0
                yield Amend(order.key, order.total)

    def _take(self, number: int, side: str, price: int, shares: int) -> Place:
        bids = self._bids.get((side, price), deque())
        own_price, left = SHARE_PIPS - price, shares
        expected = []
        while left:
            if not bids:
                raise BadTape(f"row {number}: trades {left} shares more at {side} {price} than are there")
            order = bids[0]
            part = min(order.left, left)
            expected.append(ExpectedFill(order.key, own_price, part))
            order.left -= part
            left -= part
            if order.left == 0:
                bids.popleft()
        return Place(TAKER, f"{number}", 1 - OUTCOMES[side], "buy", own_price, shares, "IOC", tuple(expected))

    def _cancel_all(self) -> Iterator[Step]:
        for bids in self._bids.values():
            yield from (Cancel(order.key) for order in bids)
        self._bids.clear()


def _driver_lines(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        lines = csv.reader(file)
        if next(lines) != COLUMNS:
            raise BadTape(f"{path.name} is not a Kalshi driver file")
        yield from lines


def _both_books(point: dict[str, Any]) -> tuple[ExpectedBook, ...]:
    """Bids of one outcome at p are asks of the other at 1 - p."""
    bids = [_best_first(point[name]) for name in OUTCOMES]
    asks = [tuple((SHARE_PIPS - price, shares) for price, shares in bids[1 - outcome]) for outcome in (0, 1)]
    return tuple(ExpectedBook(n, bids=bids[n], asks=asks[n], depth=WHOLE_BOOK) for n in (0, 1))


def _best_first(levels: list[list[int]]) -> Levels:
    return tuple(sorted(((price, shares) for price, shares in levels), reverse=True))
