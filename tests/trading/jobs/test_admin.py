"""Dead letters in the admin: seen by those who may, decided on once, and a job's becomes a job again."""

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client

from accounts.models import User
from tests.trading.jobs.conftest import letter, one, row
from trading.ids import new_id
from trading.jobs import GiveUp, enqueue
from trading.jobs.run import run

pytestmark = pytest.mark.django_db

LIST = "/admin/trading/deadletter/"
JOBS = "/admin/trading/job/"


@pytest.fixture
def operator():
    client = Client()
    client.force_login(User.objects.create_superuser("operator", "", "correct-horse-battery"))
    return client


@pytest.fixture
def clerk():
    """May look, and discard."""
    user = User.objects.create_user("clerk", "", "correct-horse-battery", is_staff=True)
    names = ("view_deadletter", "discard_deadletter")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def mend(register):
    """A job whose function gives up until it is mended, with its dead letter."""
    broken = [True]

    @register("test.broken", queue="notify")
    def work(payload):
        if broken:
            raise GiveUp("<b>no such address</b>")

    enqueue("test.broken", {"to": "<nobody>"}, key="k")
    run(row("k")["id"])
    return broken.clear


def shard_letter():
    letter_id = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dead_letter (id, source, payload, error, trace) "
            "VALUES (%s, 'shard', '{}', 'ValueError()', '')",
            [letter_id],
        )
    return letter_id


def page(answer):
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def told(answer):
    return [str(message) for message in answer.context["messages"]]


def choose(client, action, *ids):
    return client.post(f"{LIST}?state=all", {"action": action, "_selected_action": ids}, follow=True)


def test_list_and_page_show_what_failed_and_why(operator, mend):
    listed = page(operator.get(LIST))
    assert "test.broken" in listed
    assert "no such address" in listed
    shown = page(operator.get(f"{LIST}{letter('k')['id']}/change/"))
    assert "&lt;nobody&gt;" in shown
    assert "Traceback" in shown
    assert "<b>no such" not in shown
    assert "Requeue" in shown
    assert "Discard" in shown


def test_requeued_letter_is_a_job_again_and_works_once_mended(operator, mend):
    letter_id = letter("k")["id"]
    answer = operator.post(f"{LIST}{letter_id}/requeue/", follow=True)
    assert told(answer) == ["“test.broken k” is a job again."]
    again = row("k")
    assert (again["payload"], again["tries"], again["name"]) == ('{"to": "<nobody>"}', 0, "test.broken")
    assert run(again["id"]) == "dead"
    assert letter("k")["id"] != letter_id, "it was not mended: a letter of its own"

    mend()
    choose(operator, "requeue_letters", str(letter("k")["id"]))
    assert run(row("k")["id"]) == "done"
    assert "requeued by operator" in page(operator.get(f"{LIST}{letter_id}/change/"))


def test_letter_is_decided_on_once(operator, mend):
    letter_id = str(letter("k")["id"])
    assert told(choose(operator, "discard_letters", letter_id)) == ["“test.broken k” is discarded."]
    assert told(choose(operator, "requeue_letters", letter_id)) == [
        "“test.broken k” is not requeued. Somebody has decided on it already."
    ]
    assert told(choose(operator, "discard_letters", letter_id)) == [
        "“test.broken k” had been decided on already."
    ]
    found = letter("k")
    assert (found["discarded_by"], found["requeued_at"]) == ("operator", None)
    assert row("k") is None
    assert "discarded by operator" in page(operator.get(f"{LIST}?state=discarded"))
    assert "test.broken" not in page(operator.get(LIST))


def test_letter_whose_key_waits_again_is_not_requeued(operator, mend):
    letter_id = str(letter("k")["id"])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO job (id, name, queue, payload, key, due_at, give_up_at) "
            "VALUES (%s, 'test.broken', 'notify', '{}', 'k', now(), now())",
            [new_id()],
        )
    (message,) = told(choose(operator, "requeue_letters", letter_id))
    assert "has its key" in message
    assert letter("k")["requeued_at"] is None


def test_command_of_a_shard_cannot_be_requeued_and_is_not_offered(operator):
    letter_id = shard_letter()
    shown = page(operator.get(f"{LIST}{letter_id}/change/"))
    assert "/requeue/" not in shown
    assert "/discard/" in shown
    assert "its market was suspended" in shown
    (message,) = told(operator.post(f"{LIST}{letter_id}/requeue/", follow=True))
    assert "was no job" in message
    assert one("SELECT requeued_at FROM dead_letter WHERE id = %s", letter_id)["requeued_at"] is None
    assert told(choose(operator, "discard_letters", letter_id)) == [f"“shard {letter_id}” is discarded."]


def test_who_may_only_discard_is_offered_nothing_else(clerk, mend):
    letter_id = letter("k")["id"]
    shown = page(clerk.get(f"{LIST}{letter_id}/change/"))
    assert "/discard/" in shown
    assert "/requeue/" not in shown
    assert "requeue_letters" not in page(clerk.get(LIST))
    assert clerk.post(f"{LIST}{letter_id}/requeue/").status_code == 403
    choose(clerk, "requeue_letters", str(letter_id))
    assert row("k") is None
    assert clerk.post(f"{LIST}{letter_id}/discard/").status_code == 302
    assert letter("k")["discarded_by"] == "clerk"
    assert clerk.get(JOBS).status_code == 403


def test_decisions_are_posts_on_letters_that_exist(operator, mend):
    assert operator.get(f"{LIST}{letter('k')['id']}/requeue/").status_code == 405
    assert operator.post(f"{LIST}{new_id()}/requeue/").status_code == 404
    assert operator.post(f"{LIST}nonsense/requeue/").status_code in (302, 404)
    assert letter("k")["requeued_at"] is None


def test_nothing_is_added_changed_or_deleted_by_hand(operator, mend):
    letter_id = letter("k")["id"]
    enqueue("test.broken", {"n": 7}, key="other")
    job_id = row("other")["id"]
    for path in (f"{LIST}add/", f"{LIST}{letter_id}/delete/", f"{JOBS}add/", f"{JOBS}{job_id}/delete/"):
        assert operator.post(path, {"post": "yes"}).status_code == 403
    assert operator.post(f"{LIST}{letter_id}/change/", {"error": "none"}).status_code == 403
    assert operator.post(f"{JOBS}{job_id}/change/", {"tries": 0}).status_code == 403


def test_waiting_jobs_are_listed_by_queue(operator, mend):
    enqueue("test.broken", {"n": 7}, key="other")
    assert "other" in page(operator.get(f"{JOBS}?queue=notify"))
    assert "other" not in page(operator.get(f"{JOBS}?queue=report"))
    shown = page(operator.get(f"{JOBS}{row('other')['id']}/change/"))
    assert "&quot;n&quot;: 7" in shown
