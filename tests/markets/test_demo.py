"""The demo's questions keep the exchange's own rules."""

import datetime as dt

from markets.demo import demo_markets, demo_priors
from markets.new_market import checked_market

NOW = dt.datetime(2026, 11, 1, 23, 59, tzinfo=dt.UTC)


def test_every_demo_market_may_be_created():
    for market in demo_markets():
        assert checked_market(market.new_market(NOW), now=NOW)


def test_chances_are_of_every_outcome_and_sum_to_one():
    for question, chances in demo_priors().items():
        assert abs(sum(chances) - 1) < 1e-9, question
        assert all(0 < chance < 1 for chance in chances), question


def test_there_are_about_forty_in_several_categories_a_third_with_many_outcomes():
    markets = demo_markets()
    assert len({market.question for market in markets}) == len(markets) >= 40
    assert len({market.category for market in markets}) >= 6
    assert sum(len(market.chances) > 2 for market in markets) >= len(markets) // 3
