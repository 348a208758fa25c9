"""What the feed shows of a market that Valkey has forgotten, from the tables."""

import datetime as dt

import pytest
from django.db import connection

from trading.ids import market_slot, new_id
from trading.live.ended_market import _read

NAMES = ("Yes", "No")


def a_market(status: str) -> str:
    market_id, now = new_id(), dt.datetime.now(dt.UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stream (id, slot, version, hash) VALUES (%s, %s, 41, '')",
            [market_id, market_slot(market_id)],
        )
        cursor.execute(
            "INSERT INTO market (market_id, slot, status, tick_pips, taker_fee_e4, maker_fee_e4, created_at, closes_at,"
            " seq) VALUES (%s, %s, %s, 100, 0, 0, %s, %s, 40)",
            [market_id, market_slot(market_id), status, now, now],
        )
        cursor.execute(
            "INSERT INTO market_summary (market_id, volume_pips, open_interest_sets, last_prices, seq, updated_at)"
            " VALUES (%s, 50000, 3, %s, 41, %s)",
            [market_id, [9900, None], now],
        )
    return market_id


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["resolved", "voided"])
def test_ended_market_has_an_empty_book_at_the_end_of_its_stream(status):
    found = _read(a_market(status), NAMES)
    assert found is not None
    mirror, ticker = found
    assert (mirror.seq, mirror.bids(), mirror.asks()) == (41, {"Yes": []}, {"Yes": []})
    assert (ticker.last, ticker.bid, ticker.volume_pips, ticker.open_interest) == (
        [9900, None],
        [None, None],
        50_000,
        3,
    )


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["open", "suspended", "closed"])
def test_market_that_may_have_a_book_is_not_made_up(status):
    assert _read(a_market(status), NAMES) is None


@pytest.mark.django_db
def test_unknown_market_has_not_ended():
    assert _read(new_id(), NAMES) is None
