"""The simulation: its pure parts, and a short life against a running exchange."""

import math
import signal
import subprocess
import sys
import time
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.demo import demo_priors
from ops.simulation.belief import Belief
from ops.simulation.quoting import LiveQuote, Quote, changes, ladder
from tests.running_exchange import PROJECT

# Beliefs and quotes -------------------------------------------------------------------------------


def test_a_belief_begins_at_its_prior():
    assert Belief([0.7, 0.3], Random(1), 0.0).prices_pips() == [7000, 3000]


@given(st.integers(0, 1000), st.lists(st.floats(0.02, 1), min_size=2, max_size=12), st.floats(0, 1e5))
def test_prices_stay_between_the_ends_and_add_up_however_long_they_drift(seed, weights, passed_s):
    prior = [weight / sum(weights) for weight in weights]
    belief = Belief(prior, Random(seed), 0.0)
    belief.drift_to(passed_s)
    prices = belief.prices_pips()
    assert all(1 <= price <= 9999 for price in prices)
    assert abs(sum(prices) - 10_000) <= len(prices)


def test_a_belief_moves_by_about_a_cent_in_ten_seconds_and_comes_back_in_the_long_run():
    rng = Random(3)
    short, long = [], []
    for _ in range(400):
        belief = Belief([0.5, 0.5], rng, 0.0)
        belief.drift_to(10.0)
        short.append(belief.prices_pips()[0] - 5000)
        belief.drift_to(100_000.0)
        long.append(belief.prices_pips()[0] - 5000)
    assert 60 < math.sqrt(sum(each**2 for each in short) / 400) < 180
    assert 400 < math.sqrt(sum(each**2 for each in long) / 400) < 1800


def test_the_ladder_stands_on_ticks_around_the_price():
    assert ladder("Yes", 5030, tick_pips=100, half_spread_pips=60, sizes=[10, 20]) == [
        Quote("Yes", "buy", 4900, 10),
        Quote("Yes", "sell", 5100, 10),
        Quote("Yes", "buy", 4800, 20),
        Quote("Yes", "sell", 5200, 20),
    ]


@given(
    st.integers(1, 9999), st.sampled_from([1, 10, 100, 500]), st.integers(0, 800), st.integers(1, 6)
)  # fmt: skip
def test_a_ladder_never_crosses_itself_nor_leaves_the_range(price, tick, half_spread, levels):
    quotes = ladder("A", price, tick_pips=tick, half_spread_pips=half_spread, sizes=[5] * levels)
    bids = [quote.price_pips for quote in quotes if quote.side == "buy"]
    asks = [quote.price_pips for quote in quotes if quote.side == "sell"]
    assert all(0 < each < 10_000 and each % tick == 0 for each in bids + asks)
    assert not bids or not asks or max(bids) < min(asks)


def test_only_what_differs_from_the_wanted_quotes_is_changed():
    kept = LiveQuote("1", "Yes", "buy", 4900, 6)
    half_gone = LiveQuote("2", "Yes", "sell", 5100, 4)
    moved = LiveQuote("3", "Yes", "buy", 4700, 10)
    wanted = [Quote("Yes", "buy", 4900, 10), Quote("Yes", "sell", 5100, 10), Quote("Yes", "buy", 4800, 10)]
    assert changes([kept, half_gone, moved], wanted) == ([half_gone, moved], [wanted[1], wanted[2]])


# Against a running exchange -----------------------------------------------------------------------


@pytest.fixture
def markets(exchange) -> tuple[str, str]:
    """One of the demo's markets, which the simulation trades, and one that it must leave alone."""
    question, chances = next(iter(demo_priors().items()))
    demo = make_market(exchange, question, [f"Outcome {n}" for n in range(len(chances))])
    return demo, make_market(exchange, "Will the simulation leave this market alone?", ["Yes", "No"])


def make_market(exchange, question: str, outcomes: list[str]) -> str:
    body = {
        "question": question,
        "resolution_criteria": "None.",
        "category": "Demo",
        "closes_at": "2060-01-01T00:00:00Z",
        "outcomes": outcomes,
    }
    answer = httpx.post(f"{exchange.http}/api/v1/markets", json=body, headers=exchange.staff_headers())
    assert answer.status_code == 201, answer.text
    return answer.json()["market_id"]


def orders_by_market(exchange) -> dict[str, int]:
    with exchange.connect() as connection:
        rows = connection.execute('SELECT market_id::text, count(*) FROM "order" GROUP BY 1').fetchall()
    return dict(rows)


def test_the_simulation_trades_the_demo_through_restarts_and_stops_when_told(exchange, markets):
    demo, strangers = markets
    command = [
        sys.executable,
        "manage.py",
        "simulate",
        "--rate",
        "40",
        "--traders",
        "3",
        "--url",
        exchange.http,
    ]
    command += ["--orders-url", exchange.live_http, "--seed", "7"]
    simulation = subprocess.Popen(command, cwd=PROJECT, env=exchange.env, stdout=subprocess.PIPE, text=True)
    try:
        trades_reach(exchange, demo, 5)
        exchange.restart("engine", signal.SIGKILL)
        exchange.restart("live")
        trades_reach(exchange, demo, 10)
        simulation.send_signal(signal.SIGTERM)
        assert simulation.wait(timeout=10) == 0
    finally:
        simulation.kill()
        simulation.wait()
    assert strangers not in orders_by_market(exchange)
    with exchange.connect() as connection:
        (simulated,) = connection.execute(
            "SELECT bool_and(u.is_simulated) FROM \"order\" o JOIN accounts_user u USING (account_id) "
            "WHERE o.market_id = %s", [demo],
        ).fetchone()  # fmt: skip
        assert simulated


def trades_reach(exchange, market_id: str, more: int) -> None:
    """Wait until the market has that many trades more than now."""
    with exchange.connect() as connection:

        def trades() -> int:
            query = "SELECT count(*) FROM trade WHERE market_id = %s"
            return connection.execute(query, [market_id]).fetchone()[0]  # fmt: skip

        wanted, deadline = trades() + more, time.monotonic() + 60
        while trades() < wanted:
            assert time.monotonic() < deadline, f"{trades()} trades of {wanted}"
            time.sleep(0.1)
