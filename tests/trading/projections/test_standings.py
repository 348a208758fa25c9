"""Standings: what a day brought and moved, and how right an account's prices were once a market is resolved."""

import random

import pytest
from django.db import connection

from tests.trading.projections import written_log
from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.projections.standings import DAY_US, Forecast, score_e8

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


class Days:
    """The clock by which events are recorded: noon of today, and as many days later as a test wants."""

    def __init__(self) -> None:
        self.now_us = (written_log.START_US // DAY_US) * DAY_US + DAY_US // 2

    def __call__(self) -> int:
        self.now_us += 1
        return self.now_us

    def pass_one(self) -> None:
        self.now_us += DAY_US


@pytest.fixture(autouse=True)
def days(monkeypatch):
    clock = Days()
    monkeypatch.setattr(written_log, "now_us", clock)
    return clock


def rows(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def by_day(account_id):
    """(realized, volume, score sum, scored markets) of each day, and of all time."""
    *days, in_all = (
        row[1:]
        for row in rows(
            "SELECT day::text, realized_pips, volume_pips, score_sum_e8, scored_markets FROM standing "
            "WHERE account_id = %s ORDER BY isfinite(day) DESC, day",
            account_id,
        )
    )
    assert in_all == tuple(map(sum, zip(*days, strict=True)))
    return days


def forecasts(market, account_id):
    return rows(
        "SELECT outcome, quantity, price_sum, price_sq_sum::bigint FROM forecast "
        "WHERE market_id = %s AND account_id = %s ORDER BY outcome", market.market_id, account_id,
    )  # fmt: skip


def close(market, account_id):
    """What a settlement appends of an account: its shares as they are, and what they pay is not looked at here."""
    holding = market.state.holdings[account_id]
    quantities = [free + held for free, held in zip(holding.free, holding.held, strict=True)]
    about = {"market": market.market_id, "settlement": market.settlement_id}
    append_to_account(account_id, ("position_closed/1", {**about, "quantities": quantities, "payout": 0}))


def trade(market, buyer, seller, outcome, price_pips, quantity):
    market.place(seller, "sell", outcome, price_pips, quantity)
    market.place(buyer, "buy", outcome, price_pips, quantity)


def test_a_day_has_what_was_realized_and_traded_on_it(project, days):
    one, other = funded_account(), funded_account()
    market = WrittenMarket()
    trade(market, one, other, 0, 4000, 10)
    days.pass_one()
    trade(market, other, one, 0, 6000, 4)
    project()
    assert by_day(one) == [(0, 40_000, 0, 0), (4 * 2000, 24_000, 0, 0)]
    assert by_day(other) == [(0, 40_000, 0, 0), (-4 * 2000, 24_000, 0, 0)]


def test_fees_are_taken_off_what_is_realized(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    trade(market, taker, maker, 0, 6500, 100)
    project()
    assert by_day(taker) == [(-15_925, 650_000, 0, 0)]


def test_volume_is_in_the_owners_terms_and_a_forecast_in_the_books(project):
    one, other = funded_account(), funded_account()
    market = WrittenMarket()
    trade(market, one, other, 1, 3000, 10)
    trade(market, one, other, 0, 6000, 5)
    project()
    # The five Yes were paid with No that had cost 3,000 and were worth 4,000.
    assert by_day(one) == [(5 * 1000, 10 * 3000 + 5 * 6000, 0, 0)]
    sums = (0, 15, 10 * 7000 + 5 * 6000, 10 * 7000**2 + 5 * 6000**2)
    assert forecasts(market, one) == forecasts(market, other) == [sums]


def test_each_outcome_of_several_has_its_own_forecast(project):
    one, other = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"))
    trade(market, one, other, 0, 2000, 1)
    trade(market, one, other, 2, 3000, 2)
    project()
    assert forecasts(market, one) == [(0, 1, 2000, 2000**2), (2, 2, 6000, 2 * 3000**2)]


def test_a_closing_scores_the_account_on_the_day_of_the_resolution(project, days):
    one, other = funded_account(), funded_account()
    market = WrittenMarket()
    trade(market, one, other, 0, 6000, 3)
    trade(market, one, other, 1, 1000, 1)
    days.pass_one()
    market.resolve((10_000, 0))
    days.pass_one()
    close(market, one)
    project()
    score = (3 * 4000**2 + 1000**2) // 4
    (first, resolved, closed) = by_day(one)
    assert first[2:] == closed[2:] == (0, 0)
    assert resolved == (0, 0, score, 1)
    assert closed[0] != 0
    # Nobody has closed the other one yet.
    assert all(day[2:] == (0, 0) for day in by_day(other))


def test_who_left_before_the_end_is_scored_with_an_empty_closing(project):
    one, other, third = (funded_account() for _ in range(3))
    market = WrittenMarket()
    trade(market, one, other, 0, 6000, 10)
    trade(market, third, one, 0, 7000, 10)
    market.resolve((0, 10_000))
    assert not any(market.state.holdings[one].free)
    close(market, one)
    project()
    assert by_day(one) == [(10_000, 130_000, (6000**2 + 7000**2) // 2, 1)]


def test_trades_and_closing_in_one_batch_or_two_give_the_same_score(project, projector):
    one, other = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"))
    trade(market, one, other, 0, 2000, 3)
    project()
    trade(market, one, other, 1, 5000, 2)
    market.resolve((5_000, 5_000, 0))
    close(market, one)
    project()
    assert by_day(one)[0][2:] == ((3 * 3000**2 + 0) // 5, 1)


def test_a_void_scores_nobody(project):
    one, other = funded_account(), funded_account()
    market = WrittenMarket()
    trade(market, one, other, 0, 6000, 3)
    market.void()
    close(market, one)
    project()
    assert by_day(one)[0][2:] == (0, 0)


def test_rows_do_not_depend_on_batches_days_and_slots_included(project, projector, days):
    accounts = [funded_account() for _ in range(3)]
    markets = [WrittenMarket(taker_fee_e4=150), WrittenMarket(("A", "B", "C")), WrittenMarket()]
    for seed in range(6):
        for market in markets:
            market.trade_randomly(accounts, 15, seed)
        days.pass_one()
    markets[0].resolve((10_000, 0))
    markets[1].resolve((2_000, 3_000, 5_000))
    markets[2].void()
    for market in markets:
        for account_id in accounts:
            days.now_us += DAY_US // 8
            close(market, account_id)
    project()
    at_once = read_tables()
    assert {row[0] for row in at_once["standing"]} >= {"-infinity"}
    assert sum(row[-1] for row in at_once["standing"]) == 2 * 2 * len(accounts)
    chance = random.Random(5)
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    projector._limit = 1
    while projector.round():
        projector._limit = chance.randrange(1, 40)
    assert read_tables() == at_once


def test_all_time_is_what_positions_have_realized(project):
    accounts = [funded_account() for _ in range(4)]
    for seed, market in enumerate((WrittenMarket(taker_fee_e4=150), WrittenMarket(("A", "B", "C")))):
        market.trade_randomly(accounts, 100, seed)
    project()
    assert rows("SELECT account_id, realized_pips FROM standing WHERE day = '-infinity' ORDER BY 1") == rows(
        "SELECT account_id, sum(realized_pips)::bigint FROM position GROUP BY 1 ORDER BY 1"
    )


def test_the_sums_give_the_score_that_every_share_by_itself_would():
    chance = random.Random(11)
    for payouts in [(10_000, 0, 0), (0, 10_000, 0), (3_333, 3_333, 3_334), (5_000, 5_000, 0)] * 50:
        fills = [
            (chance.randrange(3), chance.randrange(1, 10**6), chance.randrange(1, 10_000))
            for _ in range(chance.randrange(1, 20))
        ]
        sums = {outcome: [0, 0, 0] for outcome in range(3)}
        for outcome, quantity, price in fills:
            for index in range(3):
                sums[outcome][index] += quantity * price**index
        score = score_e8([Forecast(outcome, *each) for outcome, each in sums.items()], payouts)
        shares = sum(quantity for _, quantity, _ in fills)
        error = sum(quantity * (price - payouts[outcome]) ** 2 for outcome, quantity, price in fills)
        assert abs(score * shares - error) * 2 <= shares
        assert 0 <= score <= 10**8


def test_half_a_unit_is_rounded_up():
    assert score_e8([Forecast(0, 2, 10_000 + 9_999, 10_000**2 + 9_999**2)], [10_000]) == 1
    assert score_e8([Forecast(0, 3, 3 * 10_000 - 1, 2 * 10_000**2 + 9_999**2)], [10_000]) == 0
