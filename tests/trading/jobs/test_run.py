"""The life of one job, on a clock that the test moves."""

import datetime as dt

import pytest
from django.db import transaction

from tests.trading.jobs.conftest import letter, one, row
from tests.trading.jobs.processes import change
from trading.jobs import Again, GiveUp, NotYet, enqueue, registry
from trading.jobs.lease import LEASE
from trading.jobs.run import JITTER, MOST_RUNS, RETRY_WAITS_S, claim

pytestmark = pytest.mark.django_db


@pytest.fixture
def ran(register):
    """Registers `test.work`, which notes its payloads and then does what `ran.then` says."""

    class Ran(list):
        then = staticmethod(lambda: None)

    notes = Ran()

    @register("test.work", queue="notify")
    def work(payload):
        notes.append(payload)
        return notes.then()

    return notes


def raising(error):
    def fail():
        raise error

    return fail


def test_job_runs_once_with_its_payload_and_its_row_is_gone(ran, run_at):
    assert enqueue("test.work", {"to": 'Zoë "x" \\ {a,b}'}, key="k")
    assert run_at("k") == "done"
    assert ran == [{"to": 'Zoë "x" \\ {a,b}'}]
    assert row("k") is None


def test_job_of_a_transaction_that_is_rolled_back_does_not_exist(ran):
    with transaction.atomic():
        assert enqueue("test.work", {}, key="k")
        transaction.set_rollback(True)
    assert row("k") is None


def test_key_that_waits_is_taken(ran, run_at):
    assert enqueue("test.work", {"n": 1}, key="k")
    assert not enqueue("test.work", {"n": 2}, key="k")
    assert row("k")["payload"] == '{"n": 1}'


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_poison_runs_again_after_1_2_4_8_16_seconds_and_then_is_a_dead_letter(ran, run_at, clock, jitter):
    ran.then = raising(ValueError("poison\0"))
    enqueue("test.work", {"n": 1}, key="k")
    for wait_s in RETRY_WAITS_S:
        assert run_at("k", jitter) == "retry"
        waited = (row("k")["due_at"] - clock.now).total_seconds()
        assert waited == wait_s * (1 + JITTER * jitter)
        clock.move(waited - 0.001)
        assert run_at("k") == "skipped", "it is not due yet"
        clock.move(0.001)
    assert run_at("k") == "dead"
    assert len(ran) == 6
    found = letter("k")
    assert (found["source"], found["job_name"], found["job_queue"], found["tries"]) == (
        "job",
        "test.work",
        "notify",
        6,
    )
    assert found["error"] == "ValueError('poison\\x00')"
    assert "in fail" in found["trace"]
    assert row("k") is None


def test_waits_are_1_2_4_8_16():
    assert RETRY_WAITS_S == (1, 2, 4, 8, 16)


def test_key_of_an_undecided_dead_letter_is_taken(ran, run_at):
    ran.then = raising(GiveUp("no such address"))
    enqueue("test.work", {}, key="k")
    assert run_at("k") == "dead"
    assert not enqueue("test.work", {}, key="k")


def test_giving_up_is_a_dead_letter_at_once(ran, run_at):
    ran.then = raising(GiveUp("no such address"))
    enqueue("test.work", {}, key="k")
    assert run_at("k") == "dead"
    assert (letter("k")["tries"], letter("k")["error"]) == (1, "GiveUp('no such address')")


def test_not_yet_is_no_try_until_the_time_is_over(ran, run_at, clock):
    ran.then = raising(NotYet("behind", retry_in_s=3600))
    enqueue("test.work", {}, key="k")
    for _ in range(24):
        assert run_at("k") == "postponed"
        assert row("k")["tries"] == 0
        clock.move(3600)
    assert run_at("k") == "dead"
    assert letter("k")["error"] == "NotYet('behind')"


def test_again_goes_on_piece_by_piece_with_all_its_tries(ran, run_at, clock):
    enqueue("test.work", {}, key="k")
    ran.then = raising(ValueError())
    assert run_at("k") == "retry"
    clock.move(1)
    ran.then = lambda: Again(in_s=30)
    assert run_at("k") == "again"
    assert (row("k")["tries"], row("k")["due_at"] - clock.now) == (0, dt.timedelta(seconds=30))
    assert run_at("k") == "skipped"
    clock.move(30)
    ran.then = lambda: None
    assert run_at("k") == "done"


def test_atomic_job_that_fails_leaves_nothing_and_one_that_goes_on_keeps_its_piece(register, run_at, clock):
    answers = [ValueError(), Again(in_s=5), None]

    @register("test.pieces", queue="report", atomic=True)
    def work(payload):
        change("INSERT INTO periodic_round VALUES (%s, now())", f"piece-{len(answers)}")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    enqueue("test.pieces", {}, key="k")
    assert [(run_at("k"), clock.move(5)) for _ in range(3)] == [
        ("retry", None),
        ("again", None),
        ("done", None),
    ]
    pieces = one(
        "SELECT array_agg(name ORDER BY name) AS names FROM periodic_round WHERE name LIKE 'piece-%%'"
    )
    assert pieces["names"] == ["piece-1", "piece-2"]


def test_job_whose_every_worker_died_is_a_dead_letter_and_is_not_begun_again(ran, run_at, clock):
    enqueue("test.work", {}, key="k")
    for number in range(1, MOST_RUNS + 1):
        assert claim(row("k")["id"], now=clock.now).tries == number
        clock.move(LEASE.total_seconds())
    assert run_at("k") == "dead"
    assert ran == []
    assert "its workers died" in letter("k")["error"]


def test_unknown_name_is_a_dead_letter(ran, run_at, monkeypatch):
    enqueue("test.work", {}, key="k")
    monkeypatch.setattr(registry, "_types", {})
    assert run_at("k") == "dead"
    assert "no job is called 'test.work'" in letter("k")["error"]


def test_unknown_name_is_not_enqueued():
    with pytest.raises(LookupError):
        enqueue("test.nobody", {}, key="k")
