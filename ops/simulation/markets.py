"""The markets that the simulation trades: the demo's own, and no others, each with its belief.

Whoever makes a market on a demo exchange has it to themselves.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from examples.pmarket_client import Client, Problem
from ops.simulation.belief import Belief
from trading.money import parse_pips

log = logging.getLogger(__name__)

PAGE = 500
POPULARITY_FALL = 0.2
"""How much less each market is traded than the one listed before it."""


@dataclass(slots=True)
class SimulatedMarket:
    """A market's terms, what the simulation believes of it, and how it is quoted there."""

    market_id: str
    outcomes: list[str]
    tick_pips: int
    belief: Belief
    popularity: float
    sizes: list[int]
    quoted_pips: list[int] = field(default_factory=list)
    quoted_at_s: float = 0.0
    as_of: str = ""

    @property
    def is_binary(self) -> bool:
        return len(self.outcomes) == 2

    def prices_now(self, noise: float = 0.0) -> list[int]:
        """What the outcomes are worth at this moment, as seen with some noise."""
        self.belief.drift_to(time.monotonic())
        return self.belief.prices_pips(noise)


class Markets:
    """Those that are open now. `priors` are the demo's, by question: a probability for each outcome."""

    def __init__(
        self, client: Client, priors: Mapping[str, Sequence[float]], rng: Random, most: int | None
    ) -> None:
        self._client = client
        self._ranks = {question: rank for rank, question in enumerate(list(priors)[:most])}
        self._priors = priors
        self._rng = rng
        self._open: dict[str, SimulatedMarket] = {}

    def __iter__(self) -> Iterator[SimulatedMarket]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def choose(self) -> SimulatedMarket:
        """One at random, popular ones more often. There must be one."""
        markets = list(self._open.values())
        return self._rng.choices(markets, [market.popularity for market in markets])[0]

    def drop(self, market: SimulatedMarket) -> None:
        """It does not trade any more, or not now; the next look at the list tells."""
        self._open.pop(market.market_id, None)

    async def look(self) -> None:
        """Read the list of open markets: new ones come in, others leave."""
        try:
            rows = [row async for row in self._client.pages("/markets", status="open", limit=PAGE)]
        except Problem as problem:
            log.warning("the list of markets is answered %s", problem)
            return
        listed = {row["market_id"]: row for row in rows if row["question"] in self._ranks}
        for market_id in self._open.keys() - listed.keys():
            del self._open[market_id]
        for market_id in sorted(listed.keys() - self._open.keys(), key=lambda each: self._rank(listed[each])):
            self._open[market_id] = self._new(listed[market_id])

    def _rank(self, row: Mapping[str, Any]) -> int:
        return self._ranks[row["question"]]

    def _new(self, row: Mapping[str, Any]) -> SimulatedMarket:
        outcomes = [outcome["name"] for outcome in row["outcomes"]]
        prior = _last_known(row) or self._priors[row["question"]]
        first = self._rng.randrange(20, 80)
        return SimulatedMarket(
            market_id=row["market_id"],
            outcomes=outcomes,
            tick_pips=parse_pips(row["tick"]),
            belief=Belief(prior, self._rng, time.monotonic()),
            popularity=1 / (1 + POPULARITY_FALL * self._rank(row)),
            sizes=[first, first + self._rng.randrange(20, 80), first + self._rng.randrange(80, 240)],
        )


def _last_known(row: Mapping[str, Any]) -> list[float] | None:
    """Where the market stood when an earlier simulation left it: prices must not jump at a restart."""
    quotes = [(outcome["best_bid"], outcome["best_ask"]) for outcome in row["outcomes"]]
    if any(bid is None or ask is None for bid, ask in quotes):
        return None
    middles = [(parse_pips(bid) + parse_pips(ask)) / 2 for bid, ask in quotes]
    return [middle / sum(middles) for middle in middles]
