"""Heartbeats, alarms and what the probes tell of the queues; hints for what is due; the schedule."""

import datetime as dt
import json
import logging
import re
import threading

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from pmarket.celery import app
from tests.trading.jobs.conftest import one
from tests.trading.jobs.processes import change
from trading import tasks
from trading.connection import own_connection
from trading.jobs import dispatch as dispatching
from trading.jobs import enqueue, insert_jobs, new_job, outbox
from trading.jobs.dispatch import dispatch
from trading.jobs.queues import QUEUES, raise_alarms

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _alive():
    for queue in QUEUES:
        tasks.heartbeat(queue)


@pytest.fixture
def hints(monkeypatch):
    """The ids of jobs that are hinted at; the broker is told nothing."""
    sent = []

    def take(job_id, *, queue):
        sent.append(job_id)
        return True

    for module in (outbox, dispatching):
        monkeypatch.setattr(module, "send_hint", take)
    return sent


@pytest.fixture
def _work(register):
    register("test.work", queue="notify")(print)


def fall_silent(queue, seconds):
    change(
        "UPDATE queue_heartbeat SET ran_at = ran_at - make_interval(secs => %s) WHERE queue = %s",
        seconds,
        queue,
    )


def alarms(caplog):
    errors = (record for record in caplog.records if record.levelno == logging.ERROR)
    return [record.getMessage() for record in errors if record.name == "trading.jobs.queues"]


def deep():
    answer = Client().get("/health/deep")
    return answer.status_code, json.loads(answer.content)


def test_queue_that_is_silent_for_more_than_a_minute_is_told_once_and_so_is_its_return(caplog):
    fall_silent("notify", 59)
    raise_alarms()
    assert alarms(caplog) == []
    fall_silent("notify", 2)
    for other in ("market", "report"):
        tasks.heartbeat(other)
    (alarm,) = alarms(caplog)
    assert re.fullmatch("queue notify is silent: none of its workers has run anything for 6[1-9] s", alarm)
    caplog.clear()
    tasks.heartbeat("notify")
    tasks.heartbeat("notify")
    (news,) = alarms(caplog)
    assert re.fullmatch("queue notify is back, after 6[1-9] s of silence", news)


def test_exchange_that_was_stopped_for_a_while_raises_no_alarm_as_it_starts(caplog):
    for queue in QUEUES:
        fall_silent(queue, 3600)
    for _ in range(2):
        for queue in QUEUES:
            tasks.heartbeat(queue)
    assert alarms(caplog) == []


def test_silent_queue_makes_the_exchange_degraded_and_raises_the_alarm(caplog):
    assert deep()[0] == 200
    fall_silent("settlement", 61)
    status, report = deep()
    assert (status, report["status"]) == (503, "degraded")
    assert {name for name, queue in report["queues"].items() if queue["status"] == "silent"} == {"settlement"}
    assert 61 <= report["queues"]["settlement"]["heartbeat_age_s"] < 70
    assert len(alarms(caplog)) == 1
    tasks.heartbeat("settlement")
    assert deep()[1]["status"] == "ok"


def test_queue_that_was_never_heard_of_is_silent():
    change("DELETE FROM queue_heartbeat WHERE queue = 'report'")
    assert deep()[1]["queues"]["report"]["status"] == "silent"


@pytest.mark.usefixtures("_work", "hints")
def test_probes_and_metrics_count_due_jobs_their_age_and_dead_letters():
    before = deep()[1]["dead_letters"].get("job", 0)
    for key, late_s in (("a", 90), ("b", 30), ("later", -60)):
        due_at = timezone.now() - dt.timedelta(seconds=late_s)
        enqueue("test.work", {}, key=key, due_at=due_at)
    change(
        "INSERT INTO dead_letter (id, source, payload, error, trace) VALUES (gen_random_uuid(), 'job', '{}', '', '')"
    )
    report = deep()[1]
    assert report["queues"]["notify"]["jobs_due"] == 2
    assert 90 <= report["queues"]["notify"]["oldest_due_s"] < 95
    assert report["dead_letters"]["job"] == before + 1
    text = Client().get("/metrics").content.decode()
    assert 'exchange_jobs_due{queue="notify"} 2.0' in text
    assert 'exchange_jobs_oldest_due_seconds{queue="notify"} 9' in text
    assert f'exchange_dead_letters{{source="job"}} {before + 1}.0' in text
    assert 'exchange_queue_heartbeat_seconds{queue="report"} 0.' in text


@pytest.mark.usefixtures("_work")
def test_what_is_due_and_free_is_hinted_at_again_only_after_a_while(hints):
    past = timezone.now() - dt.timedelta(seconds=5)
    for key in ("free", "held", "left"):
        enqueue("test.work", {}, key=key, due_at=past)
    enqueue("test.work", {}, key="later", due_at=timezone.now() + dt.timedelta(hours=1))
    change("UPDATE job SET claimed_until = now() + interval '9 s' WHERE key = 'held'")
    change("UPDATE job SET claimed_until = now() - interval '1 s' WHERE key = 'left'")
    assert dispatch("report") == 0
    assert dispatch("notify") == 2
    expected = {str(one("SELECT id FROM job WHERE key = %s", key)["id"]) for key in ("free", "left")}
    assert set(hints) == expected
    assert dispatch("notify") == 0
    change("UPDATE job SET hinted_at = hinted_at - interval '10 s'")
    assert dispatch("notify") == 2
    change("UPDATE job SET due_at = clock_timestamp() WHERE key = 'free'")
    assert dispatch("notify") == 1, "it came back after a failure: its former hint is used up"


@pytest.mark.usefixtures("_work")
def test_hints_on_their_way_are_bounded_however_much_waits(hints, monkeypatch):
    monkeypatch.setattr(dispatching, "MOST_HINTS", 5)
    rows = [new_job("test.work", {}, key=f"k{number}") for number in range(12)]
    with connection.cursor() as cursor:
        insert_jobs(cursor, rows)
    assert [dispatch("notify") for _ in range(2)] == [5, 0]
    change("DELETE FROM job WHERE id = ANY(%s::uuid[])", hints[:3])
    assert dispatch("notify") == 3


@pytest.mark.usefixtures("_work")
def test_workers_are_told_after_the_commit_and_not_before(hints, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        enqueue("test.work", {}, key="k")
        enqueue("test.work", {}, key="k")
        enqueue("test.work", {}, key="later", due_at=timezone.now() + dt.timedelta(hours=1))
        assert hints == []
    assert hints == [str(one("SELECT id FROM job WHERE key = 'k'")["id"])]


@pytest.mark.usefixtures("_work")
def test_job_that_comes_back_soon_is_hinted_at_on_time(hints, monkeypatch):
    begun = []

    class Timer(threading.Timer):
        def start(self):
            begun.append((self.interval, self.args))

    monkeypatch.setattr(outbox.threading, "Timer", Timer)
    monkeypatch.setattr(outbox, "_timers", threading.BoundedSemaphore(2))
    outbox.hint_later("now", queue="notify", in_s=0)
    for job_id, in_s in (("soon", 1.2), ("hours", 7200), ("next", 2), ("one too many", 3)):
        outbox.hint_later(job_id, queue="notify", in_s=in_s)
    assert hints == ["now"]
    assert begun == [(1.2, ("soon", "notify")), (2, ("next", "notify"))]
    outbox._ring("soon", "notify")
    assert hints == ["now", "soon"]
    outbox.hint_later("the next one", queue="notify", in_s=3)
    assert len(begun) == 3


@pytest.mark.usefixtures("_work")
def test_broker_that_is_down_costs_no_enqueuer_its_work(monkeypatch, django_capture_on_commit_callbacks):
    def refuse(*arguments, **options):
        raise ConnectionRefusedError

    monkeypatch.setattr(outbox.current_app, "send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        assert enqueue("test.work", {}, key="k")
    assert one("SELECT tries FROM job WHERE key = 'k'") == {"tries": 0}
    assert dispatch("notify") == 0


@pytest.mark.usefixtures("_work")
def test_jobs_go_along_in_a_pipeline_and_a_taken_key_is_left_out():
    rows = [
        new_job("test.work", {"text": 'a,"b"\\{}'}, key="a, b"),
        new_job("test.work", {}, key='"quoted"', due_at=timezone.now() + dt.timedelta(hours=1)),
        new_job("test.work", {"second": True}, key="a, b"),
    ]
    with own_connection("jobs-test") as other, other.transaction(force_rollback=True), other.pipeline():
        insert_jobs(other, rows)
        insert_jobs(other, rows[:1])
        insert_jobs(other, [])
        found = other.execute("SELECT key, payload, due_at > now() FROM job ORDER BY due_at").fetchall()
    assert found == [("a, b", {"text": 'a,"b"\\{}'}, False), ('"quoted"', {}, True)]


def test_every_periodic_task_is_acknowledged_late_and_claims_its_rounds():
    app.loader.import_default_modules()
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        task, options = app.tasks[entry["task"]], entry["options"]
        assert task.acks_late, name
        assert task.reject_on_worker_lost, name
        assert options["queue"] in QUEUES
        schedule = entry["schedule"]
        # What goes by the clock begins every hour.
        every_s = schedule if isinstance(schedule, int) else schedule.minute == {15} and 3600
        assert options["headers"] == {"round": name, "every_s": every_s}


def test_round_of_beat_is_done_once_and_a_call_by_hand_always():
    change("DELETE FROM periodic_round")
    task = app.tasks["trading.tasks.dispatch_jobs"]
    assert [_round(task), _round(task), task("notify")] == [0, None, 0]


def _round(task):
    """Runs the task as the message of a beat would."""
    task.push_request(headers={"round": "dispatch-notify", "every_s": 1})
    try:
        return task("notify")
    finally:
        task.pop_request()
