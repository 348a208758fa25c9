"""What markets were created with, read from the log once each: it never changes."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from trading.eventlog.read import read_creations
from trading.projections.projection import BrokenLog

_MAX_REMEMBERED = 100_000
"""Markets kept; beyond that all are dropped and read again as they are needed."""


class Creation(NamedTuple):
    """How many outcomes a market has, and its category."""

    outcomes: int
    category: str

    @property
    def is_binary(self) -> bool:
        """Whether one book, of the first outcome, serves both."""
        return self.outcomes == 2


class Creations:
    """Creations by market; `learn` the markets of a batch, then ask."""

    def __init__(self) -> None:
        self._known: dict[str, Creation] = {}

    def learn(self, connection: Any, market_ids: Iterable[str]) -> None:
        """Brings the markets into memory. Raises BrokenLog for one whose log does not begin with its creation."""
        markets = set(market_ids)
        wanted = sorted(markets - self._known.keys())
        if not wanted:
            return
        if len(self._known) + len(wanted) > _MAX_REMEMBERED:
            self._known.clear()
            wanted = sorted(markets)
        with connection.cursor() as cursor:
            read = read_creations(cursor, wanted)
        for market_id, data in read.items():
            self._known[market_id] = Creation(len(data["outcomes"]), data["category"])
        for market_id in wanted:
            if market_id not in self._known:
                raise BrokenLog(f"market {market_id} trades but its log does not begin with its creation")

    def __getitem__(self, market_id: str) -> Creation:
        return self._known[market_id]
