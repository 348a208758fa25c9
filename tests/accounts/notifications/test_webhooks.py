"""Webhooks: signed deliveries that a receiver can check by itself, tried again, logged, and switched off when dead."""

import datetime as dt
import hashlib
import hmac
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.utils import timezone

from tests.accounts.callers import code_of
from tests.accounts.notifications.told import notes_of
from tests.trading.projections.written_log import WrittenMarket

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def make(caller: Any, server: Any, *kinds: str) -> dict[str, Any]:
    body = {"url": f"{server.url}/in", "kinds": list(kinds) or ["order_filled"]}
    answer = caller.post("/webhooks", body)
    assert answer.status_code == 201, answer.content
    return answer.json()


def fill(account_id: str, someone: Any, follow: Any, name: str = "max") -> None:
    from trading.cash import deposit

    deposit(account_id=account_id, amount_pips=10**9, client_id=None, actor="tests")
    market = WrittenMarket()
    market.place(account_id, "buy", 0, 6000, 2)
    market.place(someone(name), "sell", 0, 6000, 2)
    follow()


def is_signed(asked: Any, secret: str) -> bool:
    """What a receiver does, in words of its own."""
    fields = [field.split("=", 1) for field in asked.headers["x-pmarket-signature"].split(",")]
    at = next(value for name, value in fields if name == "t")
    wanted = hmac.new(secret.encode(), f"{at}.".encode() + asked.body, hashlib.sha256).hexdigest()
    return abs(time.time() - int(at)) < 60 and wanted in [value for name, value in fields if name == "v1"]


@pytest.fixture
def mia(make_caller):
    return make_caller("mia")


def test_a_notification_is_delivered_signed_and_logged(mia, someone, follow, run_jobs, server, read_again):
    made = make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    assert run_jobs() == [("accounts.send_webhook", "done")]
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", "/in", "application/json")
    assert is_signed(asked, made["secret"])
    assert not is_signed(asked, "whsec_another")
    body = json.loads(asked.body)
    assert body["delivery"] == asked.headers["x-pmarket-delivery"]
    note = body["notification"]
    assert (note["kind"], note["title"], note["data"]["filled"]) == (
        "order_filled",
        "Bought 2 Yes at $0.6000",
        2,
    )
    listed = {row["kind"]: row for row in mia.get("/notifications").json()["results"]}
    assert note["id"] == listed["order_filled"]["id"]
    (row,) = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert (row["delivery"], row["kind"], row["try_number"], row["status_code"], row["error"]) == (
        body["delivery"], "order_filled", 1, 200, "",
    )  # fmt: skip
    assert row["duration_ms"] >= 0
    read_again()
    assert run_jobs() == []


def test_the_recipe_of_the_documentation_tells_genuine_deliveries_from_others(mia, run_jobs, server):
    recipe = Path("docs/NOTIFICATIONS.md").read_text().partition("```python\n")[2].partition("```")[0]
    scope: dict[str, Any] = {}
    exec(recipe, scope)
    is_genuine = scope["is_genuine"]
    made = make(mia, server)
    mia.post(f"/webhooks/{made['id']}/test")
    run_jobs()
    header, body = server.asked[0].headers["x-pmarket-signature"], server.asked[0].body
    assert is_genuine(made["secret"], header, body)
    assert not is_genuine(made["secret"], header, body + b" ")
    assert not is_genuine("whsec_x", header, body)
    at, _, signature = header.partition(",")
    late = f"t={int(at[2:]) + 1},{signature}"
    assert not is_genuine(made["secret"], late, body)


def test_a_failure_is_tried_again_under_the_same_delivery_id_until_it_is_taken(
    mia, someone, follow, run_jobs, server
):
    made = make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    server.status = 404
    assert run_jobs() == [("accounts.send_webhook", "postponed")]
    assert run_jobs() == []  # Not before its wait is over.
    assert run_jobs(dt.timedelta(seconds=2)) == [("accounts.send_webhook", "postponed")]
    server.status = 204
    assert run_jobs(dt.timedelta(seconds=10)) == [("accounts.send_webhook", "done")]
    assert len({asked.headers["x-pmarket-delivery"] for asked in server.asked}) == 1
    rows = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert [(row["try_number"], row["status_code"], row["error"]) for row in rows] == [
        (3, 204, ""), (2, 404, "answered 404"), (1, 404, "answered 404"),
    ]  # fmt: skip


def test_a_delivery_is_given_up_after_its_last_wait_without_leaving_work_for_a_person(
    mia, someone, follow, run_jobs, server
):
    from django.db import connection

    from accounts.notifications.deliveries import WAITS_S

    make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    server.status = 404
    later, outcomes = dt.timedelta(), []
    for wait in (*WAITS_S, 0):
        outcomes += [outcome for _, outcome in run_jobs(later)]
        later += dt.timedelta(seconds=wait)
    assert outcomes == ["postponed"] * len(WAITS_S) + ["done"]
    assert len(server.asked) == len(WAITS_S) + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dead_letter")
        assert cursor.fetchone() == (0,)


def test_a_host_that_keeps_failing_is_left_alone_and_waiting_is_no_try(
    mia, someone, follow, run_jobs, server
):
    made = make(mia, server)
    other = make(mia, server, "order_filled")
    fill(str(mia.user.account_id), someone, follow)
    server.status = 503
    later = dt.timedelta()
    for _ in range(6):
        assert {outcome for _, outcome in run_jobs(later)} == {"postponed"}
        later += dt.timedelta(minutes=1)
    # Both lead to one host, so its five failures are theirs together.
    assert len(server.asked) == 5
    server.status = 200
    with redis.Redis.from_url(django_settings.VALKEY_URL) as valkey:
        valkey.hset(f"breaker:webhook:127.0.0.1:{server.port}", "until_ms", 1)
    assert [outcome for _, outcome in run_jobs(later + HOUR)] == ["done", "done"]
    tries = [
        mia.get(f"/webhooks/{each['id']}/deliveries").json()["results"][0]["try_number"]
        for each in (made, other)
    ]
    assert sorted(tries) == [3, 4]


def test_a_slow_endpoint_holds_one_worker_and_the_others_go_on(
    mia, make_caller, someone, follow, run_jobs, server
):
    made = make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    with redis.Redis.from_url(django_settings.VALKEY_URL) as valkey:
        valkey.set(f"busy:webhook:{made['id']}", 1)  # What a delivery that is under way leaves there.
        assert run_jobs() == [("accounts.send_webhook", "postponed")]
        assert server.asked == []
        max_ = make_caller("moritz")
        make(max_, server)
        fill(str(max_.user.account_id), someone, follow, "seller")
        assert ("accounts.send_webhook", "done") in run_jobs()
        valkey.delete(f"busy:webhook:{made['id']}")
    assert run_jobs(HOUR) == [("accounts.send_webhook", "done")]
    (row,) = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert row["try_number"] == 1


def test_an_endpoint_that_fails_for_three_days_is_switched_off_and_its_owner_told(
    mia, someone, follow, run_jobs, server
):
    from accounts.models import Webhook

    made = make(mia, server)
    account_id = str(mia.user.account_id)
    fill(account_id, someone, follow)
    server.status = 410
    run_jobs()
    row = Webhook.objects.get()
    assert row.is_on
    assert row.failing_since is not None
    Webhook.objects.update(failing_since=timezone.now() - 3 * DAY + HOUR)
    run_jobs(dt.timedelta(seconds=10))
    assert Webhook.objects.get().is_on
    Webhook.objects.update(failing_since=timezone.now() - 3 * DAY)
    run_jobs(dt.timedelta(minutes=1))
    assert not Webhook.objects.get().is_on
    assert notes_of(account_id, "webhook_off") == [("webhook_off", "A webhook was switched off")]
    # What still waits is dropped, and nothing new is made.
    asked = len(server.asked)
    assert run_jobs(HOUR) == [("accounts.send_webhook", "done")]
    fill(account_id, someone, follow, "another")
    assert run_jobs(HOUR) == []
    assert len(server.asked) == asked
    changed = mia.send("PATCH", f"/webhooks/{made['id']}", {"is_on": True}).json()
    assert (changed["is_on"], changed["failing_since"]) == (True, None)


def test_a_success_forgets_earlier_failures(mia, someone, follow, run_jobs, server):
    from accounts.models import Webhook

    make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    server.status = 400
    run_jobs()
    server.status = 200
    run_jobs(dt.timedelta(seconds=5))
    assert Webhook.objects.get().failing_since is None


def test_both_secrets_sign_while_the_old_one_runs_out(mia, someone, follow, run_jobs, server):
    from accounts.models import Webhook

    made = make(mia, server)
    rotated = mia.post(f"/webhooks/{made['id']}/secret")
    assert rotated["Cache-Control"] == "no-store"
    new = rotated.json()["secret"]
    assert new != made["secret"]
    mia.post(f"/webhooks/{made['id']}/test")
    run_jobs()
    assert is_signed(server.asked[0], made["secret"])
    assert is_signed(server.asked[0], new)
    Webhook.objects.update(previous_until=timezone.now(), tested_at=None)
    mia.post(f"/webhooks/{made['id']}/test")
    run_jobs()
    assert not is_signed(server.asked[1], made["secret"])
    assert is_signed(server.asked[1], new)


def test_a_secret_is_shown_once(mia, server):
    made = make(mia, server)
    assert made["secret"].startswith("whsec_")
    for answer in (mia.get("/webhooks"), mia.get(f"/webhooks/{made['id']}")):
        assert made["secret"] not in answer.content.decode()
        assert "secret" not in answer.content.decode()


def test_a_test_is_tried_once_and_not_too_often(mia, run_jobs, server):
    made = make(mia, server)
    server.status = 500
    sent = mia.post(f"/webhooks/{made['id']}/test")
    assert sent.status_code == 202
    again = mia.post(f"/webhooks/{made['id']}/test")
    assert code_of(again) == (429, "rate_limited")
    assert run_jobs() == [("accounts.send_webhook", "done")]
    (row,) = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert (row["delivery"], row["kind"], row["status_code"]) == (sent.json()["delivery"], "test", 500)


def test_an_address_that_has_turned_inward_since_is_not_called(
    mia, someone, follow, run_jobs, server, settings
):
    made = make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    settings.OUTSIDE_ALLOW = []
    assert run_jobs() == [("accounts.send_webhook", "postponed")]
    assert server.asked == []
    (row,) = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert (row["status_code"], row["error"]) == (None, "The host is not on the public internet.")


def test_a_server_that_is_not_there_is_in_the_log(mia, someone, follow, run_jobs, settings):
    settings.OUTSIDE_ALLOW = ["127.0.0.0/8"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = mia.post("/webhooks", {"url": f"http://127.0.0.1:{port}/", "kinds": ["order_filled"]}).json()
    fill(str(mia.user.account_id), someone, follow)
    run_jobs()
    (row,) = mia.get(f"/webhooks/{made['id']}/deliveries").json()["results"]
    assert row["status_code"] is None
    assert row["error"].startswith("ConnectError")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:8000/", "http://169.254.169.254/", "http://[::1]/", "http://2130706433/",
        "ftp://example.org/", "http://user:pw@example.org/", "http://127.0.0.1:22/", "javascript:alert(1)", "x", "",
        "http://" + "a" * 600, 7, None, ["http://example.org/"], "http://exam\x00ple.org/",
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_called_is_refused_at_registration(mia, url):
    from accounts.models import Webhook

    answer = mia.post("/webhooks", {"url": url, "kinds": ["order_filled"]})
    assert code_of(answer) == (400, "invalid_request")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": []}, {"kinds": ["order_filed"]}, {"kinds": "order_filled"}, {"kinds": [1]}, {"kinds": None},
        {"kinds": ["order_filled"] * 99}, {"secret": "mine"}, {"account_id": "x"}, {"is_on": 1},
    ],
)  # fmt: skip
def test_bodies_that_are_no_webhooks_are_refused_and_change_nothing(mia, server, change):
    from accounts.models import Webhook

    made = make(mia, server)
    before = list(Webhook.objects.values())
    good = {"url": f"{server.url}/", "kinds": ["order_filled"]}
    assert mia.post("/webhooks", good | change).status_code == 400
    assert mia.send("PATCH", f"/webhooks/{made['id']}", change).status_code == 400
    assert list(Webhook.objects.values()) == before


def test_a_user_has_at_most_five(mia, make_caller, server):
    for _ in range(5):
        make(mia, server)
    sixth = mia.post("/webhooks", {"url": server.url, "kinds": ["deposit"]})
    assert code_of(sixth) == (422, "exceeds_limits")
    make(make_caller("max"), server)
    assert len(mia.get("/webhooks").json()["results"]) == 5


def test_another_users_webhook_is_not_there_for_anything(mia, make_caller, server):
    from accounts.models import Webhook

    made, max_ = make(mia, server), make_caller("max")
    path = f"/webhooks/{made['id']}"
    answers = [
        max_.get(path), max_.delete(path), max_.send("PATCH", path, {"is_on": False}), max_.post(f"{path}/secret"),
        max_.post(f"{path}/test"), max_.get(f"{path}/deliveries"), max_.get("/webhooks/x"), max_.delete("/webhooks/0"),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [404] * 8
    assert Webhook.objects.get().secret == made["secret"]


def test_changing_takes_the_scope_trade(make_caller, server, nobody):
    caller = make_caller("reader", scopes=("read",))
    assert caller.get("/webhooks").status_code == 200
    assert caller.post("/webhooks", {"url": server.url, "kinds": ["deposit"]}).status_code == 403
    assert nobody.get("/webhooks").status_code == 401


def test_deleting_one_ends_its_log_and_what_waits(mia, someone, follow, run_jobs, server):
    from accounts.models import WebhookDelivery

    made = make(mia, server)
    fill(str(mia.user.account_id), someone, follow)
    server.status = 404
    run_jobs()
    assert mia.delete(f"/webhooks/{made['id']}").status_code == 204
    assert run_jobs(HOUR) == [("accounts.send_webhook", "done")]
    assert not WebhookDelivery.objects.exists()
    assert len(server.asked) == 1


def test_the_log_is_kept_for_thirty_days(mia, run_jobs, server):
    from accounts.models import WebhookDelivery
    from accounts.tasks import forget_old_notices

    made = make(mia, server)
    mia.post(f"/webhooks/{made['id']}/test")
    run_jobs()
    WebhookDelivery.objects.update(at=timezone.now() - 30 * DAY + HOUR)
    assert forget_old_notices() == 0
    WebhookDelivery.objects.update(at=timezone.now() - 30 * DAY - HOUR)
    assert forget_old_notices() == 1
    assert not WebhookDelivery.objects.exists()
