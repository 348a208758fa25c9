"""Markets as rows, for tests that need no engine, and a gateway that answers as it is told."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from trading.errors import ExchangeError

if TYPE_CHECKING:
    from markets.selectors import Listing

NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def new_market(**changes: Any) -> Any:
    """A market that breaks no rule, with changes."""
    from markets.new_market import NewMarket

    return NewMarket(
        **{
            "question": "Will this question be answered?",
            "resolution_criteria": "Yes if somebody answers it.",
            "category": "tests",
            "outcomes": ("Yes", "No"),
            "closes_at": NOW + dt.timedelta(days=30),
            **changes,
        }
    )


@pytest.fixture
def listed(db: None) -> Callable[..., "Listing"]:
    """`listed("Will it?", category="sport", status="open", …)`: a market that the projections have written."""
    from markets import selectors
    from markets.models import Market
    from markets.services import slug_of
    from trading.ids import market_slot
    from trading.models import MarketState, MarketSummary, Outcome

    def make(
        question: str, *, category: str = "tests", outcomes: tuple[str, ...] = ("Yes", "No"),
        criteria: str = "As it says.", summary: dict[str, Any] | None = None, **state: Any,
    ) -> "Listing":  # fmt: skip
        market = Market.objects.create(
            slug=slug_of(question),
            question=question,
            category=category,
            outcomes=list(outcomes),
            resolution_criteria=criteria,
        )
        market_id = market.market_id
        MarketState.objects.create(
            **{
                "market_id": market_id, "slot": market_slot(str(market_id)), "status": "open", "tick_pips": 100,
                "taker_fee_e4": 0, "maker_fee_e4": 0, "created_at": NOW, "closes_at": NOW + dt.timedelta(days=30),
                "seq": 2, **state,
            }
        )  # fmt: skip
        for index, name in enumerate(outcomes):
            Outcome.objects.create(market_id=market_id, index=index, name=name)
        MarketSummary.objects.create(
            **{
                "market_id": market_id, "volume_pips": 0, "trade_count": 0, "trader_count": 0, "open_interest_sets": 0,
                "fees_pips": 0, "last_prices": [None] * len(outcomes), "seq": 2, "updated_at": NOW, **(summary or {}),
            }
        )  # fmt: skip
        return selectors.find(str(market_id))

    return make


def add_bars(row: "Listing", at: dt.datetime, *, volume: int, price: int, outcome: int = 0) -> None:
    """A trade as the projection adds it to its minute and its hour."""
    from django.db import connection

    with connection.cursor() as cursor:
        for resolution, unit in (("1m", "minute"), ("1h", "hour")):
            cursor.execute(
                "INSERT INTO trade_bar AS b "
                "VALUES (%s, %s, %s, date_trunc(%s, %s::timestamptz), %s, %s, %s, %s, %s, 1, 1, 0) "
                "ON CONFLICT (market_id, outcome, resolution, at) DO UPDATE "
                "SET volume_pips = b.volume_pips + excluded.volume_pips",
                [row.market_id, outcome, resolution, unit, at, price, price, price, price, volume],
            )


class ScriptedGateway:
    """Takes commands down; fails as `failure` says."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.actors: list[str] = []
        self.failure: ExchangeError | None = None

    def submit(self, command: Any, *, actor: str, request_id: str | None) -> Any:
        from trading.wire import Outcome

        self.commands.append(command)
        self.actors.append(actor)
        if self.failure is not None:
            raise self.failure
        return Outcome("c", "market", 3, 41, "open")


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> ScriptedGateway:
    scripted = ScriptedGateway()
    monkeypatch.setattr("markets.services.gateway_sync", lambda: scripted)
    # Nobody projects what a scripted gateway accepts.
    monkeypatch.setattr("markets.services.PATIENCE_S", 0)
    return scripted
