"""Claims, leases and rounds, raced for by threads."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.trading.jobs import work
from tests.trading.jobs.conftest import row
from tests.trading.jobs.processes import change, notes, wait_for
from trading.ids import new_id
from trading.jobs import enqueue, lease
from trading.jobs.periodic import claim_round
from trading.jobs.run import claim, run

pytestmark = [
    pytest.mark.django_db(transaction=True, available_apps=["trading"]),
    pytest.mark.usefixtures("notes_table"),
]
AT_ONCE = 8


def race(act):
    """What each of many threads gets that act at once on connections of their own."""
    barrier = threading.Barrier(AT_ONCE)

    def run_one(_):
        try:
            with connection.cursor():
                barrier.wait()
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sorted(pool.map(run_one, range(AT_ONCE)))


def enqueue_silently(name, payload):
    """Without a hint."""
    enqueue(name, payload, key="k", due_at=timezone.now() - dt.timedelta(seconds=1))
    return row("k")["id"]


def test_round_that_many_workers_begin_at_once_is_claimed_by_one():
    assert race(lambda: claim_round("a-round", every_s=60)) == [False] * 7 + [True]
    change("UPDATE periodic_round SET claimed_at = claimed_at - interval '46 s'")
    assert race(lambda: claim_round("a-round", every_s=60)) == [False] * 7 + [True]


def test_job_that_many_workers_claim_at_once_is_one_workers():
    job_id, now = enqueue_silently("tests.note", {}), timezone.now()
    assert race(lambda: claim(job_id, now=now) is not None) == [False] * 7 + [True]
    assert (row("k")["tries"], row("k")["epoch"]) == (1, 1)


def test_claim_does_not_wait_for_another_one_and_does_not_follow_it():
    job_id, now = enqueue_silently("tests.note", {}), timezone.now()

    def claim_elsewhere():
        try:
            return claim(job_id, now=now)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        assert claim(job_id, now=now) is not None
        assert pool.submit(claim_elsewhere).result(timeout=5) is None


def test_lease_is_renewed_while_a_job_works(monkeypatch, register):
    monkeypatch.setattr(lease, "RENEW_S", 0.01)

    @register("tests.long", queue="notify")
    def work_long(payload):
        held_until = row("k")["claimed_until"]
        wait_for(lambda: row("k")["claimed_until"] > held_until, "a renewal")

    assert run(enqueue_silently("tests.long", {})) == "done"


def test_worker_that_lost_its_lease_is_ended_at_its_limit_all_the_same(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("trading.jobs.lease.RENEW_S", 0.01)
    monkeypatch.setattr("trading.jobs.lease.os", SimpleNamespace(_exit=lambda code: ended.set()))
    limit = dt.timedelta(seconds=0.1)
    with lease.Lease(new_id(), 1, limit=limit, on_overrun=lambda: None):
        assert ended.wait(10)


def test_worker_that_outlived_its_lease_leaves_the_job_to_the_next_one(register):
    @register("tests.slow", queue="notify", atomic=True)
    def work_slowly(payload):
        work.note("half")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(claimed_by_another).result()

    def claimed_by_another():
        change("UPDATE job SET epoch = epoch + 1")
        connection.close()

    assert run(enqueue_silently("tests.slow", {})) == "skipped"
    assert notes() == [], "what an atomic run has written goes with its claim"
    assert row("k")["epoch"] == 2
