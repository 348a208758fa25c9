"""Preferences decide which channels a notification takes; only those channels cost anything."""

import pytest
from django.db import connection

from tests.accounts.notifications.told import notes_of
from tests.trading.projections.written_log import WrittenMarket


def fill(market: WrittenMarket, buyer: str, seller: str) -> None:
    market.place(buyer, "buy", 0, 6000, 1)
    market.place(seller, "sell", 0, 6000, 1)


def webhook_of(account_id: str, *kinds: str):
    from accounts.models import Webhook

    return Webhook.objects.create(
        account_id=account_id, url="http://127.0.0.1:9/", kinds=list(kinds), secret="whsec_x"
    )


def test_by_default_all_is_shown_in_the_app_and_ends_and_sign_ins_are_mailed(make_caller):
    caller = make_caller("mia")
    answer = caller.get("/notification-preferences").json()
    assert {
        kind for kind, cells in answer["kinds"].items() if not (cells.get("in_app") and cells.get("webhook"))
    } == {"statement"}
    assert {kind for kind, cells in answer["kinds"].items() if cells["email"]} == {
        "market_resolved", "market_voided", "market_reversed", "sign_in", "webhook_off",
    }  # fmt: skip
    assert (answer["digest"], answer["email"], answer["email_confirmed"]) == ("off", "", False)


def test_a_change_names_cells_and_leaves_the_others(make_caller):
    from accounts.models import NotificationPreferences

    caller = make_caller("mia")
    before = caller.get("/notification-preferences").json()["kinds"]
    wanted = {"kinds": {"order_filled": {"email": True, "in_app": False}}, "digest": "daily"}
    answer = caller.send("PATCH", "/notification-preferences", wanted).json()
    assert answer["kinds"] == before | {"order_filled": {"in_app": False, "email": True, "webhook": True}}
    assert answer["digest"] == "daily"
    back = {"kinds": {"order_filled": {"email": False, "in_app": True}}}
    assert caller.send("PATCH", "/notification-preferences", back).json()["kinds"] == before
    # What is as it always is takes no space, so a default that changes changes for everybody.
    assert NotificationPreferences.objects.get().choices == {}


@pytest.mark.parametrize(
    "body",
    [
        {"kinds": {"order_filed": {"email": True}}}, {"kinds": {"order_filled": {"fax": True}}},
        {"kinds": {"order_filled": {"email": 1}}}, {"kinds": {"order_filled": {"email": "true"}}},
        {"kinds": {"order_filled": True}}, {"kinds": ["order_filled"]}, {"kinds": None}, {"digest": "weekly"},
        {"digest": 1}, {"digest": None}, {"email": "a@b.example"}, {"x": 1}, [], "x", {"kinds": {"order_filled": None}},
    ],
)  # fmt: skip
def test_a_change_that_is_not_one_is_refused_and_changes_nothing(make_caller, body):
    from accounts.models import NotificationPreferences

    caller = make_caller("mia")
    assert caller.send("PATCH", "/notification-preferences", body).status_code == 400
    assert not NotificationPreferences.objects.exists()


def test_a_key_without_the_scope_trade_reads_and_changes_nothing(make_caller, nobody):
    caller = make_caller("mia", scopes=("read",))
    assert caller.get("/notification-preferences").status_code == 200
    assert caller.send("PATCH", "/notification-preferences", {"digest": "daily"}).status_code == 403
    assert nobody.get("/notification-preferences").status_code == 401


def test_a_kind_that_is_switched_off_in_the_app_is_not_shown_but_may_be_mailed(
    make_caller, someone, follow, jobs
):
    from accounts.models import Notification
    from accounts.notifications.preferences import change

    one = someone("one", email="one@mail.example")
    other = someone("other", email="other@mail.example")
    change(one, cells={"order_filled": {"in_app": False, "email": True}})
    change(other, cells={"order_filled": {"in_app": False}})
    fill(WrittenMarket(), one, other)
    follow()
    assert [name for name, _ in jobs()] == ["accounts.send_email"]
    assert Notification.objects.filter(account_id=one, kind="order_filled", in_app=False).count() == 1
    # Where no channel is wanted there is not even a row.
    assert not Notification.objects.filter(account_id=other, kind="order_filled").exists()
    from accounts.selectors import notifications_of, unread_count

    assert {note.kind for note in notifications_of(one)} == {"deposit"}
    assert unread_count(one) == 1


def test_jobs_are_made_only_for_those_who_want_a_channel(someone, follow, jobs):
    from accounts.notifications.preferences import change

    quiet, off, other_kind, told = (someone(name) for name in ("quiet", "off", "other_kind", "told"))
    for account_id in (off, told):
        webhook_of(account_id, "order_filled", "deposit")
    webhook_of(other_kind, "market_resolved")
    change(off, cells={"order_filled": {"webhook": False}, "deposit": {"webhook": False}})
    market = WrittenMarket()
    fill(market, quiet, off)
    fill(market, other_kind, told)
    follow()
    from accounts.models import Webhook

    (wanted,) = Webhook.objects.filter(account_id=told)
    assert [(name, payload["webhook"]) for name, payload in jobs()] == [
        ("accounts.send_webhook", str(wanted.pk)), ("accounts.send_webhook", str(wanted.pk)),
    ]  # fmt: skip


def test_nobody_who_is_simulated_or_without_an_address_or_inactive_is_mailed(someone, follow, jobs):
    from accounts.models import NotificationPreferences, User
    from accounts.notifications.preferences import change

    simulated = someone("crowd", is_simulated=True, email="crowd@mail.example")
    addressless, unconfirmed, inactive = (
        someone("none"), someone("unsure", email="unsure@mail.example"), someone("gone", email="gone@mail.example"),
    )  # fmt: skip
    NotificationPreferences.objects.filter(account_id=unconfirmed).update(
        confirmed_email="older@mail.example"
    )
    User.objects.filter(account_id=inactive).update(is_active=False)
    webhook_of(simulated, "order_filled")
    webhook_of(inactive, "order_filled")
    for account_id in (simulated, addressless, unconfirmed, inactive):
        change(account_id, cells={"order_filled": {"email": True}})
    market = WrittenMarket()
    fill(market, simulated, addressless)
    fill(market, unconfirmed, inactive)
    follow()
    assert jobs() == []
    assert notes_of(simulated) == []


def test_what_users_want_is_remembered_for_a_moment_and_asked_for_in_bulk(someone, monkeypatch):
    from accounts.notifications import projection as module
    from accounts.notifications.projection import NotificationsProjection

    monkeypatch.setattr(module, "WISHES_S", 2.0)
    asked: list[set[str]] = []
    read = module.read_wishes
    monkeypatch.setattr(module, "read_wishes", lambda c, ids: asked.append(set(ids)) or read(c, ids))
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    one, other, crowd = someone("one"), someone("other"), someone("crowd", is_simulated=True)
    projection = NotificationsProjection()
    with connection.cursor() as cursor:
        for _ in range(2):
            projection._learn_wishes(cursor, [one, other, crowd, one])
        clock[0] += 3
        projection._learn_wishes(cursor, [one, other, crowd])
    # That somebody is simulated does not change.
    assert asked == [{one, other, crowd}, {one, other}]
