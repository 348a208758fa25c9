"""The orders projection: an order as its events left it, and its fills."""

import pytest
from django.db import connection

from tests.trading.projections.written_log import WrittenMarket, funded_account

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def order(order_id):
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT status, reason, quantity, filled, cost_pips, fees_pips, reserved_pips, seq FROM "order" '
            "WHERE order_id = %s", [order_id],
        )  # fmt: skip
        return cursor.fetchone()


def fills(order_id):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT client_order_id, outcome, side, price_pips, quantity, fee_pips, role FROM fill "
            "WHERE order_id = %s ORDER BY seq", [order_id],
        )  # fmt: skip
        return cursor.fetchall()


def test_an_order_and_its_fills_in_one_batch(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    resting = market.place(maker, "sell", 0, 6000, 10, client_order_id="m-1")
    crossing = market.place(taker, "buy", 0, 6500, 4)
    project()
    assert order(resting) == ("open", None, 10, 4, 24_000, 0, 24_000 + 6 * 168, 7)
    assert order(crossing) == ("filled", None, 4, 4, 24_000, 672, 0, 7)
    assert fills(resting) == [("m-1", 0, "sell", 6000, 4, 0, "maker")]
    assert fills(crossing) == [(None, 0, "buy", 6000, 4, 672, "taker")]


def test_an_order_of_an_earlier_batch_is_changed_by_a_later_one(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket()
    resting = market.place(maker, "sell", 1, 6000, 10, client_order_id="m-1")
    project()
    market.place(taker, "sell", 0, 4000, 4)
    project()
    assert order(resting)[:5] == ("open", None, 10, 4, 24_000)
    assert fills(resting) == [("m-1", 1, "sell", 6000, 4, 0, "maker")]
    market.amend(maker, resting, 7)
    project()
    assert order(resting)[:4] == ("open", None, 7, 4)
    market.place(taker, "sell", 0, 4000, 9)
    project()
    assert order(resting)[:4] == ("filled", None, 7, 7)


def test_a_cancelled_order_keeps_what_it_had_filled(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket()
    resting = market.place(maker, "buy", 0, 4000, 10)
    market.place(taker, "sell", 0, 4000, 3)
    project()
    market.cancel(maker, resting)
    project()
    assert order(resting)[:7] == ("cancelled", "by_owner", 10, 3, 12_000, 0, 0)


def test_what_finds_nothing_and_what_is_refused_can_be_looked_up(project):
    trader = funded_account()
    market = WrittenMarket()
    unfilled = market.place(trader, "buy", 0, 4000, 10, tif="IOC")
    off_tick = market.place(trader, "buy", 0, 4001, 10)
    project()
    assert order(unfilled)[:4] == ("cancelled", "unfilled", 10, 0)
    assert order(off_tick)[:4] == ("rejected", "off_tick", 10, 0)
