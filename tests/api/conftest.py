"""Both lanes, a few traders for the whole session, and a fresh market for each test."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.api.bot import Bot, Lane, Market
from tests.running_exchange import RunningExchange, Trader

MakeMarket = Callable[..., Market]


@pytest.fixture(scope="module", params=["web", "fast"])
def lane(request: pytest.FixtureRequest, exchange: RunningExchange) -> Lane:
    """The DRF lane and the fast lane, one after the other."""
    return Lane(request.param, exchange.http if request.param == "web" else exchange.live_http)


@pytest.fixture(scope="session")
def traders(exchange: RunningExchange) -> list[Trader]:
    """Three accounts that are rich enough for every test; registering costs time."""
    return [exchange.new_trader("1000000.0000") for _ in range(3)]


@pytest.fixture(scope="module")
def alice(lane: Lane, exchange: RunningExchange, traders: list[Trader]) -> Iterator[Bot]:
    yield from _bot(lane, exchange, traders[0])


@pytest.fixture(scope="module")
def bob(lane: Lane, exchange: RunningExchange, traders: list[Trader]) -> Iterator[Bot]:
    yield from _bot(lane, exchange, traders[1])


@pytest.fixture(scope="module")
def carol(lane: Lane, exchange: RunningExchange, traders: list[Trader]) -> Iterator[Bot]:
    yield from _bot(lane, exchange, traders[2])


def _bot(lane: Lane, exchange: RunningExchange, trader: Trader) -> Iterator[Bot]:
    bot = Bot(lane, trader, exchange)
    yield bot
    bot.close()


@pytest.fixture(scope="session")
def staff(exchange: RunningExchange) -> Iterator[httpx.Client]:
    """The operator, on the lane that has everything."""
    with httpx.Client(
        base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers(), timeout=30
    ) as client:
        yield client


@pytest.fixture(scope="session")
def make_market(staff: httpx.Client) -> MakeMarket:
    """Makes a market that trades at once; terms by keyword."""

    def make(*outcomes: str, **terms: Any) -> Market:
        body = {
            "question": f"Will the test {secrets.token_hex(6)} pass?",
            "resolution_criteria": "The suite says so.",
            "category": "tests",
            "outcomes": list(outcomes) or ["Yes", "No"],
            "closes_at": "2050-01-01T00:00:00Z",
            **terms,
        }
        made = staff.post("/markets", json=body)
        assert made.status_code == 201, made.text
        answer = made.json()
        return Market(answer["market_id"], answer["slug"], tuple(body["outcomes"]))

    return make


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    """Yes or No, in steps of a cent, without fees."""
    return make_market()


@contextmanager
def read_side_held(exchange: RunningExchange) -> Iterator[None]:
    """The read model of orders stands still: its projection waits for a row that this holds."""
    with exchange.connect() as connection, connection.transaction():
        connection.execute(
            "SELECT FROM projection_checkpoint WHERE projection = 'orders' ORDER BY slot LIMIT 1 FOR UPDATE"
        )
        yield
