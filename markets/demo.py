"""The demo's markets: questions of our own, and the chances a simulated crowd believes in at first.

The texts lie in demo_markets.toml. Chances are no money: they are floats, and nothing but the simulation reads them.
"""

import datetime as dt
import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markets.new_market import DEFAULT_TICK_PIPS, NewMarket
from trading.money import parse_pips

SOURCE = Path(__file__).with_name("demo_markets.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoMarket:
    """A question with its outcomes' chances, which sum to 1; `days` is its life."""

    question: str
    criteria: str
    category: str
    days: int
    chances: Mapping[str, float]
    tick_pips: int
    taker_fee_e4: int

    def new_market(self, now: dt.datetime) -> NewMarket:
        """As the services take it, closing at noon UTC."""
        closes_at = (now + dt.timedelta(days=self.days)).replace(hour=12, minute=0, second=0, microsecond=0)
        return NewMarket(
            question=self.question,
            resolution_criteria=self.criteria,
            category=self.category,
            outcomes=tuple(self.chances),
            closes_at=closes_at,
            tick_pips=self.tick_pips,
            taker_fee_e4=self.taker_fee_e4,
        )


@functools.cache
def demo_markets() -> Sequence[DemoMarket]:
    """All of them, the most traded first."""
    rows = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["market"]
    return [
        DemoMarket(
            question=row["question"],
            criteria=row["criteria"],
            category=row["category"],
            days=row["days"],
            chances=row["chances"],
            tick_pips=parse_pips(row["tick"]) if "tick" in row else DEFAULT_TICK_PIPS,
            taker_fee_e4=parse_pips(row.get("taker_fee", "0")),
        )
        for row in rows
    ]


def demo_priors() -> dict[str, list[float]]:
    """The chances by question, in the outcomes' order; the questions in the order of their popularity."""
    return {market.question: list(market.chances.values()) for market in demo_markets()}
