"""`market`: the engine, then the naive exchange; four accounts have $1,000 each, Nil has none."""

import pytest

from tests.engine.both_markets import FastMarket, MarketUnderTest, NaiveMarket

PURSE_PIPS = 10_000_000


@pytest.fixture(params=[FastMarket, NaiveMarket], ids=["fast", "naive"])
def market(request: pytest.FixtureRequest) -> MarketUnderTest:
    market: MarketUnderTest = request.param()
    for account in ("ann", "bob", "cat", "dan"):
        market.deposit(account, PURSE_PIPS)
    return market
