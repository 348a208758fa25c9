"""The candles projection: bars by minute and hour, and what an hour was like in a category."""

import pytest
from django.db import connection

from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import START_US, WrittenMarket, funded_account
from trading.projections.candles import HOUR_US, RESOLUTIONS

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

MINUTE_US = RESOLUTIONS["1m"]
HOUR_TO_COME_US = (START_US // HOUR_US + 10) * HOUR_US


def rows(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def bars(market, resolution="1m", outcome=0):
    """(minutes after the hour, open, high, low, close, volume, quantity, trades, bought) of each bar."""
    return rows(
        "SELECT (extract(epoch FROM at) - %s)::int / 60, open_pips, high_pips, low_pips, close_pips, volume_pips, "
        "quantity, trades, buy_quantity FROM trade_bar WHERE market_id = %s AND resolution = %s AND outcome = %s "
        "ORDER BY at", HOUR_TO_COME_US // 1_000_000, market.market_id, resolution, outcome,
    )  # fmt: skip


@pytest.fixture
def pair():
    return funded_account(), funded_account()


def trade(market, pair, price, quantity, *, minute=0, taker="buy", outcome=0):
    """A trade at a price, recorded at a minute."""
    market.at_us = HOUR_TO_COME_US + minute * MINUTE_US
    maker, other = pair
    market.place(maker, "sell" if taker == "buy" else "buy", outcome, price, quantity)
    market.place(other, taker, outcome, price, quantity)


def test_a_bar_opens_with_its_first_trade_and_closes_with_its_last(project, pair):
    market = WrittenMarket()
    for price, quantity in ((5000, 1), (5600, 2), (4400, 3), (5100, 4)):
        trade(market, pair, price, quantity)
    project()
    volume = 5000 + 2 * 5600 + 3 * 4400 + 4 * 5100
    assert bars(market) == [(0, 5000, 5600, 4400, 5100, volume, 10, 4, 10)]
    assert bars(market, "1h") == bars(market)


def test_later_batches_continue_the_bar(project, pair):
    market = WrittenMarket()
    for price in (5000, 5600, 4400, 5100):
        trade(market, pair, price, 1, taker="buy" if price > 5000 else "sell")
        project()
    assert bars(market) == [(0, 5000, 5600, 4400, 5100, 20_100, 4, 4, 2)]


def test_minutes_have_bars_of_their_own_and_the_hour_has_them_all(project, pair):
    market = WrittenMarket()
    for minute, price in ((0, 5000), (1, 5200), (59, 5100), (60, 4000)):
        trade(market, pair, price, 1, minute=minute)
    project()
    assert [row[:5] for row in bars(market)] == [
        (0, *[5000] * 4), (1, *[5200] * 4), (59, *[5100] * 4), (60, *[4000] * 4),
    ]  # fmt: skip
    assert [row[:5] for row in bars(market, "1h")] == [(0, 5000, 5200, 5000, 5100), (60, *[4000] * 4)]


def test_trades_of_the_second_outcome_are_in_the_books_terms(project, pair):
    market = WrittenMarket()
    trade(market, pair, 6500, 2, outcome=1)
    project()
    assert bars(market) == [(0, *[3500] * 4, 7000, 2, 1, 0)]
    assert bars(market, outcome=1) == []


def test_an_implied_match_is_in_the_bars_of_every_outcome(project, pair):
    market = WrittenMarket(("A", "B", "C"))
    market.at_us = HOUR_TO_COME_US
    market.place(pair[0], "buy", 0, 3000, 10)
    market.place(pair[0], "buy", 1, 2500, 10)
    market.place(pair[1], "buy", 2, 5000, 4)
    project()
    prices = [bars(market, outcome=outcome)[0][4] for outcome in range(3)]
    assert sum(prices) == 10_000
    # Who came to the book has sold a set's other shares into theirs.
    assert [bars(market, outcome=outcome)[0][6:] for outcome in range(3)] == [(4, 1, 0), (4, 1, 0), (4, 1, 4)]
    assert rows("SELECT volume_pips, trades FROM activity_hour") == [(40_000, 3)]


def test_an_hour_adds_up_what_makers_and_takers_did_by_category(project, pair):
    calm, busy = WrittenMarket(category="weather"), WrittenMarket(category='a, "b" {c}\\', taker_fee_e4=700)
    trade(calm, pair, 6000, 10)
    trade(busy, pair, 6000, 10, taker="sell")
    trade(busy, pair, 3000, 10, outcome=1, minute=60)
    project()
    fee = 10 * 6000 * 4000 * 700 // 10_000 // 10_000
    assert rows("SELECT category, volume_pips, trades, maker_volume_pips, taker_volume_pips, maker_fees_pips, "
                "taker_fees_pips, taker_buys_pips FROM activity_hour ORDER BY at, category DESC") == [
        ("weather", 60_000, 1, 60_000, 60_000, 0, 0, 60_000),
        ('a, "b" {c}\\', 60_000, 1, 60_000, 60_000, 0, fee, 0),
        ('a, "b" {c}\\', 70_000, 1, 30_000, 30_000, 0, 10 * 3000 * 7000 * 700 // 10_000 // 10_000, 30_000),
    ]  # fmt: skip


def test_bars_hold_exactly_what_the_tape_holds_however_the_log_is_cut(project, projector):
    traders = [funded_account() for _ in range(4)]
    for market in (WrittenMarket(), WrittenMarket(("A", "B", "C"))):
        for minute in (0, 1, 61):
            market.at_us = HOUR_TO_COME_US + minute * MINUTE_US
            market.trade_randomly(traders, 30, seed=minute)
    projector._limit = 1
    while projector.round():
        projector._limit = 1
    for resolution, unit in (("1m", "minute"), ("1h", "hour")):
        assert rows(
            "SELECT market_id, outcome, at, open_pips, high_pips, low_pips, close_pips, volume_pips, quantity, trades, "
            "buy_quantity FROM trade_bar WHERE resolution = %s ORDER BY 1, 2, 3", resolution,
        ) == rows(
            "SELECT market_id, outcome, date_trunc(%s, executed_at), (array_agg(price_pips ORDER BY seq))[1], "
            "max(price_pips), min(price_pips), (array_agg(price_pips ORDER BY seq DESC))[1], "
            "sum(price_pips * quantity)::bigint, sum(quantity)::bigint, count(*), "
            "coalesce(sum(quantity) FILTER (WHERE taker_side = 'buy'), 0)::bigint FROM trade GROUP BY 1, 2, 3 "
            "ORDER BY 1, 2, 3", unit,
        )  # fmt: skip
    once = read_tables()
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    project()
    assert read_tables() == once
