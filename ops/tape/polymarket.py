"""Reads Polymarket trade files: what traders did in many markets, with neither a book nor counterparties.

Columns, by name and in any order: t_unix (UTC seconds), market, trader, action buy|sell (the trader's side),
outcome, price_tick (in pips), qty_centi (used as whole shares), and in_grid, whose 0 leaves a row out unread; without
that column every row counts. Other columns are ignored.

Beside it: `markets.json`, a list of markets with the `outcomes` that were traded and `winner_by_last_price`, null where
the recording ends undecided. Refuses (BadTape), naming the row, what cannot have been meant.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ops.tape.steps import BadTape
from trading.money import SHARE_PIPS

COLUMNS = ("t_unix", "market", "trader", "action", "outcome", "price_tick", "qty_centi")
MOST_OUTCOMES = 50
MOST_SHARES = 10**10
"""More than any trade can have meant; as orders of a million it would never end."""


class RecordedMarket(NamedTuple):
    """A market, its outcomes in order, and the index of the one that won, if any did."""

    name: str
    outcomes: tuple[str, ...]
    winner: int | None

    @property
    def is_binary(self) -> bool:
        return len(self.outcomes) == 2


class Trade(NamedTuple):
    """One row: what a trader bought or sold, at his price. `outcome` is an index."""

    row: int
    at_s: int
    market: str
    trader: str
    outcome: int
    side: str
    price_pips: int
    quantity_shares: int


class Recording(NamedTuple):
    """The trades of some time, in the file's order, and how many rows of that time are off the grid."""

    trades: list[Trade]
    left_out: int


class PolymarketTape:
    """A trade file and the list of markets beside it."""

    tick_pips = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        stem = path.name.removesuffix("trades.csv.gz")
        self._markets_path = path.with_name(f"{stem}markets.json" if stem != path.name else "markets.json")
        self.name = stem.strip("_-.") if 0 < len(stem) < len(path.name) else path.resolve().parent.name

    @cached_property
    def markets(self) -> dict[str, RecordedMarket]:
        """Every market of the list, by name."""
        try:
            entries = json.loads(self._markets_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadTape(f"{self._markets_path.name}: {error}") from error
        if isinstance(entries, dict):
            entries = entries.get("markets")
        if not isinstance(entries, list):
            raise BadTape(f"{self._markets_path.name} is no list of markets")
        markets = [_market(entry) for entry in entries]
        named = {market.name: market for market in markets}
        if len(named) != len(markets):
            raise BadTape(f"{self._markets_path.name} has a market twice")
        return named

    def read(self, *, from_s: int | None = None, to_s: int | None = None) -> Recording:
        """What happened in that time: UTC seconds, the end excluded."""
        trades, left_out = list[Trade](), 0
        for row, line in self._lines():
            at_s = _integer(row, line, "t_unix")
            if (from_s is not None and at_s < from_s) or (to_s is not None and at_s >= to_s):
                continue
            if _is_in_grid(row, line):
                trades.append(self._trade(row, at_s, line))
            else:
                left_out += 1
        return Recording(trades, left_out)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each row with its number, from 1."""
        try:
            with gzip.open(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                lines = csv.DictReader(file, skipinitialspace=True)
                if missing := [name for name in COLUMNS if name not in (lines.fieldnames or ())]:
                    raise BadTape(f"{self.path.name} lacks the columns {', '.join(missing)}")
                yield from enumerate(lines, start=1)
        except (gzip.BadGzipFile, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise BadTape(f"{self.path.name}: {error}") from error

    def _trade(self, row: int, at_s: int, line: dict[str, Any]) -> Trade:
        market = self.markets.get(_text(row, line, "market"))
        if market is None:
            raise BadTape(f"row {row}: {self._markets_path.name} has no market {line['market']!r}")
        outcome, side = _text(row, line, "outcome"), _text(row, line, "action").lower()
        price, shares = _integer(row, line, "price_tick"), _integer(row, line, "qty_centi")
        if outcome not in market.outcomes:
            raise BadTape(f"row {row}: {market.name} has no outcome {outcome!r}")
        if side not in ("buy", "sell"):
            raise BadTape(f"row {row}: action is {side!r}, neither buy nor sell")
        if not 0 < price < SHARE_PIPS:
            raise BadTape(f"row {row}: price_tick is {price}, outside 1..{SHARE_PIPS - 1}")
        if not 0 < shares <= MOST_SHARES:
            raise BadTape(f"row {row}: qty_centi is {shares}, outside 1..{MOST_SHARES}")
        trader = _text(row, line, "trader")
        return Trade(row, at_s, market.name, trader, market.outcomes.index(outcome), side, price, shares)


def _market(entry: Any) -> RecordedMarket:
    if not isinstance(entry, dict) or not isinstance(entry.get("market"), str):
        raise BadTape(f"not a market: {entry!r:.100}")
    name, listed, winner = entry["market"], entry.get("outcomes"), entry.get("winner_by_last_price") or None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_OUTCOMES:
        raise BadTape(f"{name}: not a list of 1 to {MOST_OUTCOMES} outcomes: {listed!r:.100}")
    if not all(isinstance(each, str) and each for each in listed) or len(set(listed)) != len(listed):
        raise BadTape(f"{name}: outcomes need names, each its own: {listed!r:.100}")
    if len(listed) == 1:
        # Only what was traded is listed: the other outcome of a binary market is missing, be it the winner.
        listed = [*listed, f"Not {listed[0]}" if winner in (None, listed[0]) else winner]
    if winner is not None and winner not in listed:
        raise BadTape(f"{name}: the winner {winner!r} is none of its outcomes")
    return RecordedMarket(name, tuple(listed), None if winner is None else listed.index(winner))


def _is_in_grid(row: int, line: dict[str, Any]) -> bool:
    if "in_grid" not in line:
        return True
    value = _text(row, line, "in_grid")
    if value not in ("0", "1"):
        raise BadTape(f"row {row}: in_grid is {value!r}, neither 0 nor 1")
    return value == "1"


def _text(row: int, line: dict[str, Any], column: str) -> str:
    text: str = (line[column] or "").strip()
    if not text:
        raise BadTape(f"row {row}: {column} is empty")
    return text


def _integer(row: int, line: dict[str, Any], column: str) -> int:
    text = _text(row, line, column)
    try:
        return int(text)
    except ValueError:
        raise BadTape(f"row {row}: {column} is {text!r:.50}, no whole number") from None
