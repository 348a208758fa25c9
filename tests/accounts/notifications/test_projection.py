"""Notifications: written once from the log, pushed after the commit, listed and read through the API."""

import json

import pytest
import redis
from django.conf import settings as django_settings

from tests.accounts.notifications.told import notes_of
from tests.trading.projections import written_log
from tests.trading.projections.written_log import WrittenMarket, append_to_account
from trading.cash import deposit
from trading.engine import commands as cmd
from trading.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)


def test_maker_and_taker_are_told_once_when_their_orders_are_filled(someone, follow):
    maker, taker = someone("maker"), someone("taker")
    market = WrittenMarket()
    order_id = market.place(maker, "buy", 0, 6000, 10)
    market.place(taker, "sell", 0, 6000, 4)
    follow()
    assert notes_of(maker) == []
    assert notes_of(taker) == [("order_filled", "Sold 4 Yes at $0.6000")]
    market.place(taker, "buy", 1, 4000, 6)
    follow()
    assert notes_of(maker) == [("order_filled", "Bought 10 Yes at $0.6000")]
    assert notes_of(taker)[1:] == [("order_filled", "Bought 6 No at $0.4000")]
    from accounts.models import Notification

    note = Notification.objects.get(account_id=maker, kind="order_filled")
    assert note.body == "Will it?"
    assert note.data == {
        "market_id": market.market_id,
        "order_id": order_id,
        "outcome": "Yes",
        "side": "buy",
        "quantity": 10,
        "filled": 10,
        "average_price": "0.6000",
        "fees": "0.0000",
    }


def test_reading_the_log_again_adds_nothing_and_keeps_what_was_read(someone, follow, read_again):
    from accounts.models import Notification
    from accounts.services import mark_read

    maker, taker = someone("maker"), someone("taker")
    market = WrittenMarket()
    market.place(maker, "buy", 0, 6000, 10)
    market.place(taker, "sell", 0, 6000, 10)
    follow()
    before = list(Notification.objects.order_by("id").values())
    mark_read(account_id=maker, ids=None)
    read_again()
    assert [row["id"] for row in Notification.objects.order_by("id").values()] == [
        row["id"] for row in before
    ]
    assert Notification.objects.get(account_id=maker, kind="order_filled").read_at is not None


def test_the_simulated_and_those_who_are_no_users_are_not_told(someone, follow):
    from accounts.models import Notification

    crowd, nobody = someone("crowd", is_simulated=True), written_log.funded_account()
    market = WrittenMarket()
    market.place(crowd, "buy", 0, 6000, 10)
    market.place(nobody, "sell", 0, 6000, 10)
    follow()
    assert not Notification.objects.exists()


def test_an_own_cancel_is_no_news_but_the_markets_end_is(someone, follow):
    one, other = someone("one"), someone("other")
    market = WrittenMarket()
    market.cancel(one, market.place(one, "buy", 0, 3000, 5))
    market.place(one, "buy", 0, 3000, 7)
    market.place(one, "buy", 0, 6000, 10)
    market.place(other, "sell", 0, 6000, 10)
    market.resolve((10_000, 0))
    follow()
    assert notes_of(one) == [
        ("order_filled", "Bought 10 Yes at $0.6000"),
        ("order_cancelled", "Market closed: your order to buy 7 Yes was cancelled"),
    ]


def test_winner_and_loser_are_told_what_they_were_paid(someone, follow):
    from trading.settlement import settle

    winner, loser = someone("winner"), someone("loser")
    market = WrittenMarket()
    market.place(winner, "buy", 0, 6000, 10)
    market.place(loser, "sell", 0, 6000, 10)
    market.resolve((10_000, 0))
    follow()
    settle(market.settlement_id)
    follow()
    assert notes_of(winner)[1:] == [("market_resolved", "Market resolved: you were paid $10.0000")]
    assert notes_of(loser)[1:] == [("market_resolved", "Market resolved: your shares paid nothing")]


def test_a_void_tells_what_was_returned_once(someone, follow):
    from trading.settlement import settle

    one, other = someone("one"), someone("other")
    market = WrittenMarket()
    market.place(one, "buy", 0, 6000, 10)
    market.place(other, "sell", 0, 6000, 10)
    market.void()
    follow()
    settle(market.settlement_id)
    follow()
    assert notes_of(one)[1:] == [("market_voided", "Market voided: you were returned $6.0000")]
    assert notes_of(other)[1:] == [("market_voided", "Market voided: you were returned $4.0000")]


def test_news_waits_for_the_orders_rows(someone, follow, caplog):
    from accounts.notifications.projection import NotificationsProjection
    from trading.projections.runner import Projector

    maker, taker = someone("maker"), someone("taker")
    market = WrittenMarket()
    market.place(maker, "buy", 0, 6000, 10)
    market.place(taker, "sell", 0, 6000, 10)
    alone = Projector([NotificationsProjection()])
    alone.round()
    alone.close()
    assert notes_of(maker) == []
    assert "has stopped" not in caplog.text
    follow()
    assert len(notes_of(maker)) == 1


def test_what_is_new_is_pushed_to_its_owner(someone, follow):
    maker, taker = someone("maker"), someone("taker")
    market = WrittenMarket()
    market.place(maker, "buy", 0, 6000, 10)
    follow()
    listener = redis.Redis.from_url(django_settings.FEED_URL).pubsub()
    listener.subscribe(f"account:{maker}")
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    market.place(taker, "sell", 0, 6000, 10)
    follow()
    changes, pushed = (json.loads(listener.get_message(timeout=5)["data"]) for _ in range(2))
    # Two events name the account: its position was opened, and its order matched.
    assert (changes["type"], changes["prev"], changes["markets"]) == (
        "changes",
        changes["seq"] - 2,
        [market.market_id],
    )
    assert (len(changes["orders"]), len(changes["trades"])) == (1, 1)
    assert (pushed["kind"], pushed["title"], pushed["account_id"]) == (
        "order_filled",
        "Bought 10 Yes at $0.6000",
        maker,
    )
    listener.close()


def test_a_feed_that_is_down_loses_no_row(someone, follow, monkeypatch):
    down = redis.Redis.from_url("redis://127.0.0.1:1/0")
    monkeypatch.setattr("accounts.notifications.live._feed", lambda: down)
    maker, taker = someone("maker"), someone("taker")
    market = WrittenMarket()
    market.place(maker, "buy", 0, 6000, 10)
    market.place(taker, "sell", 0, 6000, 10)
    follow()
    assert len(notes_of(maker)) == 1


def test_the_owner_lists_and_reads_them_and_nobody_else_does(make_caller, follow):
    caller, stranger = make_caller("mia"), make_caller("max")
    mine, theirs = str(caller.user.account_id), str(stranger.user.account_id)
    for account_id in (mine, theirs):
        deposit(account_id=account_id, amount_pips=10**9, client_id=None, actor="tests")
    market = WrittenMarket()
    follow()
    assert caller.post("/notifications/read", {}).json() == {"read": 1}  # the deposit
    for _ in range(3):
        market.place(mine, "buy", 0, 6000, 1)
        market.place(theirs, "sell", 0, 6000, 1)
    follow()
    page = caller.get("/notifications?limit=2").json()
    assert (len(page["results"]), page["unread"]) == (2, 3)
    assert page["results"][0].keys() == {"id", "kind", "title", "body", "data", "created_at", "read_at"}
    rest = caller.get(f"/notifications?limit=2&cursor={page['next']}").json()
    assert (len(rest["results"]), rest["next"]) == (2, None)
    first = page["results"][0]["id"]
    assert stranger.post("/notifications/read", {"ids": [first]}).json() == {"read": 0}
    assert caller.post("/notifications/read", {"ids": [first]}).json() == {"read": 1}
    assert caller.get("/notifications?unread=true").json()["unread"] == 2
    assert caller.post("/notifications/read", {}).json() == {"read": 2}
    assert caller.post("/notifications/read").json() == {"read": 0}
    for wrong in ({"ids": [1]}, {"ids": ["x"]}, {"ids": "all"}, {"all": True}, []):
        assert caller.post("/notifications/read", wrong).status_code == 400
    assert caller.get("/notifications?unread=1").status_code == 400
    assert caller.get("/notifications?unread=").status_code == 400


def test_who_was_paid_is_told_when_the_result_is_undone(someone, follow):
    holder, market = someone("holder"), WrittenMarket()
    market.resolve((10_000, 0))
    about = {"market": market.market_id, "settlement": market.settlement_id}
    append_to_account(
        holder,
        ("payout_reversed/2", {**about, "amount": 20_000, "kind": "win", "owed": 5_000}),
        ("payout_issued/1", {**about, "amount": 10_000, "kind": "returned", "repaid": 0}),
    )
    follow()
    assert notes_of(holder) == [
        ("market_reversed", "Result undone: $2.0000 was taken back"),
        ("market_reversed", "Result undone: you were given $1.0000 back"),
    ]


def test_who_asked_for_it_is_told_that_a_halt_has_cancelled_his_order(someone, follow):
    one, other = someone("one"), someone("other")
    market = WrittenMarket()
    for account_id, on_suspend in ((one, "cancel"), (other, "keep")):
        market.do(cmd.PlaceOrder(market.market_id, account_id, new_id(), 0, "buy", "limit", 100, 7, "GTC",
                                 on_suspend=on_suspend))  # fmt: skip
    market.do(cmd.SuspendMarket(market.market_id, "news"))
    follow()
    assert notes_of(one) == [("order_cancelled", "Market suspended: your order to buy 7 Yes was cancelled")]
    assert notes_of(other) == []


def test_what_was_partly_filled_and_then_withdrawn_by_its_owner_is_no_news(someone, follow):
    one, other = someone("one"), someone("other")
    market = WrittenMarket()
    order_id = market.place(one, "buy", 0, 5_000, 7)
    market.place(other, "sell", 0, 5_000, 3)
    market.cancel(one, order_id)
    follow()
    assert notes_of(one) == []
