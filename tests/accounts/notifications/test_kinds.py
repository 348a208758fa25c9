"""Every kind of notification: who is told, in which words, and only once however often the log is read."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection

from tests.accounts.notifications.told import notes_of
from tests.trading.projections.written_log import WrittenMarket, append_to_account
from trading.engine import commands as cmd
from trading.eventlog.codec import LoggedEvent
from trading.ids import market_slot

HOUR = dt.timedelta(hours=1)


def close_in(market: WrittenMarket, left: dt.timedelta) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE market SET closes_at = now() + %s WHERE market_id = %s", [left, market.market_id]
        )


def opened(market: WrittenMarket) -> WrittenMarket:
    """Markets without an opening time are open at once; this one's row says so."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE market SET status = 'open' WHERE market_id = %s", [market.market_id])
    return market


def proposal(market: WrittenMarket, **data: Any) -> LoggedEvent:
    terms = {"resolution": "r-1", "payouts": [10_000, 0], "evidence": "seen", "approvals": 1, "window_us": 0}
    given = terms | data
    slot = market_slot(market.market_id)
    return LoggedEvent(
        slot, 10**6, market.market_id, 99, "resolution_proposed/1", given, True, 1_700_000_000_000_000
    )


def test_an_order_that_expires_is_told_of_once(someone, follow, read_again):
    one = someone("one")
    market = WrittenMarket()
    order_id = market.place(one, "buy", 0, 3000, 7)
    from tests.trading.projections.written_log import append

    append(
        market.market_id,
        (
            "order_expired/1",
            {"account": one, "order": order_id, "quantity": 7, "cash": 21_000, "reserved": 0},
        ),
    )
    follow()
    read_again()
    assert notes_of(one) == [("order_expired", "Your order to buy 7 Yes has expired")]


def test_a_deposit_is_told_of_once_and_says_what_went_into_debt(someone, follow, read_again):
    from accounts.models import Notification

    one = someone("one")
    append_to_account(one, ("funds_deposited/1", {"amount": 50_000, "client_id": None, "repaid": 20_000}))
    follow()
    read_again()
    assert notes_of(one, "deposit") == [
        ("deposit", "$100000.0000 was deposited"),
        ("deposit", "$5.0000 was deposited"),
    ]
    note = Notification.objects.get(account_id=one, title="$5.0000 was deposited")
    assert note.body == "$2.0000 of it repaid your debt."
    assert note.data == {"amount": "5.0000", "repaid": "2.0000"}


def test_holders_and_those_with_open_orders_are_told_once_that_a_market_closes_soon(
    someone, follow, run_jobs
):
    from accounts.notifications.holders import find_closing

    holder, seller, waiting, nobody = (someone(name) for name in ("holder", "seller", "waiting", "nobody"))
    crowd = someone("crowd", is_simulated=True)
    market, other = WrittenMarket(), WrittenMarket()
    market.place(holder, "buy", 0, 6000, 10)
    market.place(seller, "sell", 0, 6000, 10)
    market.place(waiting, "buy", 0, 100, 1)
    market.place(crowd, "buy", 0, 100, 1)
    other.place(nobody, "buy", 0, 100, 1)
    follow()
    opened(market), opened(other)
    close_in(market, dt.timedelta(minutes=61))
    assert find_closing() == 0
    close_in(market, dt.timedelta(minutes=59))
    assert find_closing() == 1
    assert run_jobs() == [("accounts.tell_closing", "done")]
    assert find_closing() == 0
    for account_id in (holder, seller, waiting):
        ((_, title),) = notes_of(account_id, "market_closing")
        assert title.startswith("Market closes at ")
    assert notes_of(nobody) == notes_of(crowd) == []


def test_how_long_before_the_end_is_a_setting(someone, follow, settings):
    from accounts.notifications.holders import find_closing

    market = WrittenMarket()
    market.place(someone("one"), "buy", 0, 100, 1)
    follow()
    close_in(opened(market), 2 * HOUR)
    assert find_closing() == 0
    settings.CLOSING_SOON_S = 3 * 3600
    assert find_closing() == 1


def test_many_holders_are_told_page_by_page_and_a_repetition_adds_nothing(someone, follow, monkeypatch):
    from accounts.models import Notification
    from accounts.notifications import holders

    monkeypatch.setattr(holders, "PAGE", 2)
    market = WrittenMarket()
    accounts = [someone(f"user{index}") for index in range(5)]
    for account_id in accounts:
        market.place(account_id, "buy", 0, 100, 1)
    follow()
    close_in(opened(market), HOUR / 2)
    for _ in range(2):
        holders.tell_closing({"market": market.market_id})
        told = Notification.objects.filter(kind="market_closing").values_list("account_id", flat=True)
        assert sorted(map(str, told)) == sorted(accounts)


def test_holders_are_told_that_a_resolution_was_proposed(someone, follow, run_jobs, jobs):
    from accounts.models import Notification
    from accounts.notifications.projection import NotificationsProjection

    holder, seller, waiting = someone("holder"), someone("seller"), someone("waiting")
    market = WrittenMarket()
    market.place(holder, "buy", 0, 6000, 10)
    market.place(seller, "sell", 0, 6000, 10)
    market.place(waiting, "buy", 0, 100, 1)
    follow()
    for _ in range(2):
        with connection.cursor() as cursor:
            NotificationsProjection().apply(cursor, [proposal(market)])
        assert [name for name, _ in jobs()] == ["accounts.tell_proposed"]
        assert run_jobs() == [("accounts.tell_proposed", "done")]
    for account_id in (holder, seller):
        assert notes_of(account_id, "resolution_proposed") == [
            ("resolution_proposed", "Market is proposed to resolve as Yes")
        ]
    assert notes_of(waiting) == []
    note = Notification.objects.get(account_id=holder, kind="resolution_proposed")
    assert note.data == {
        "market_id": market.market_id,
        "resolution_id": "r-1",
        "kind": "resolve",
        "payouts": ["1.0000", "0.0000"],
        "evidence": "seen",
    }


def test_an_end_at_once_is_told_of_as_an_end_alone(someone, follow, jobs):
    from accounts.notifications.projection import NotificationsProjection

    market = WrittenMarket()
    market.place(someone("holder"), "buy", 0, 6000, 10)
    market.place(someone("seller"), "sell", 0, 6000, 10)
    follow()
    with connection.cursor() as cursor:
        NotificationsProjection().apply(cursor, [proposal(market, approvals=0)])
    assert jobs() == []
    with connection.cursor() as cursor:
        NotificationsProjection().apply(cursor, [proposal(market, approvals=0, window_us=1)])
    assert [name for name, _ in jobs()] == ["accounts.tell_proposed"]


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ({"payouts": None}, "Market is proposed to be voided"),
        ({"payouts": [5_000, 5_000]}, "Market is proposed to resolve as Yes $0.5000, No $0.5000"),
        ({"payouts": [0, 10_000]}, "Market is proposed to resolve as No"),
    ],
)
def test_a_proposal_says_what_it_would_pay(data, title):
    from accounts.notifications.texts import Market, resolution_proposed

    given = {"resolution": "r", "evidence": ""} | data
    note = resolution_proposed(
        "a", Market("m", "Will it?", ["Yes", "No"]), proposal=given, event_id="1-2", at_us=1
    )
    assert note.title == title


def test_an_order_that_its_owner_cancelled_or_that_never_rested_is_no_news(someone, follow):
    one = someone("one")
    market = WrittenMarket()
    market.do(cmd.PlaceOrder(market.market_id, one, "0" * 8 + "-0000-7000-8000-" + "0" * 12, 0, "buy", "limit", 100, 1,
                             "IOC", "cancel_taker", None))  # fmt: skip
    market.cancel(one, market.place(one, "buy", 0, 100, 1))
    follow()
    assert notes_of(one) == []
