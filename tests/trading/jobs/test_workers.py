"""Real worker processes: killed, doubled, cut off from a broker that has lost everything, and fed poison."""

import pytest
import redis
from django.conf import settings
from django.db import transaction

from tests.trading.jobs import work
from tests.trading.jobs.conftest import letter, one, row
from tests.trading.jobs.processes import Processes, change, notes, wait_for
from trading.jobs import enqueue, outbox
from trading.jobs.dead_letters import requeue
from trading.jobs.dispatch import dispatch
from trading.jobs.lease import OVERRUN_EXIT
from trading.jobs.outbox import send_hint
from trading.jobs.run import JITTER, RETRY_WAITS_S

pytestmark = [
    pytest.mark.django_db(transaction=True, available_apps=["trading"]),
    pytest.mark.usefixtures("notes_table"),
]


@pytest.fixture(scope="module")
def processes(tmp_path_factory, django_db_setup):
    started = Processes(tmp_path_factory.mktemp("workers"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def pair(processes):
    """Two workers of the queue notify."""
    names = ("notify.1", "notify.2")
    started = [processes.worker(name) for name in names]
    processes.wait_ready(*names)
    return started


@pytest.fixture
def valkey():
    with redis.Redis.from_url(settings.BROKER_URL) as found:
        yield found


def make_due(key):
    """What time would do."""
    change("UPDATE job SET due_at = clock_timestamp(), claimed_until = NULL WHERE key = %s", key)
    return dispatch("notify")


@pytest.mark.parametrize("name", ["tests.note", "tests.note_with_the_end"])
def test_job_runs_as_soon_as_it_is_committed(pair, name):
    with transaction.atomic():
        enqueue(name, {"what": "done"}, key="k")
        assert notes() == []
    wait_for(lambda: notes() == ["done"] and row("k") is None)


def test_many_hints_from_many_sides_run_a_job_once_on_two_workers(pair):
    with transaction.atomic():
        for number in range(20):
            enqueue("tests.note", {"what": str(number)}, key=str(number))
        hints = [row(str(number))["id"] for number in range(20)] * 5
    for job_id in hints:
        send_hint(job_id, queue="notify")
    enqueue("tests.note", {"what": "last"}, key="last")
    wait_for(lambda: "last" in notes() and one("SELECT count(*) AS n FROM job")["n"] == 0)
    assert sorted(notes()) == sorted([*map(str, range(20)), "last"])


def test_broker_that_loses_everything_between_commit_and_hint_delays_a_job(pair, valkey, monkeypatch):
    def lose(*arguments, **options):
        valkey.flushall()

    monkeypatch.setattr(outbox, "send_hint", lose)
    enqueue("tests.note", {"what": "done"}, key="k")
    monkeypatch.undo()
    assert row("k")["tries"] == 0
    assert dispatch("notify") == 1
    wait_for(lambda: notes() == ["done"] and row("k") is None)


def test_poison_ends_as_a_dead_letter_after_six_runs_and_works_once_it_is_mended(pair):
    enqueue("tests.poison", {"n": 1}, key="k")
    for number, wait_s in enumerate(RETRY_WAITS_S, start=1):
        failed = wait_for(
            lambda number=number: one(
                "SELECT extract(epoch FROM j.due_at - n.at)::float8 AS wait_s FROM job j, "
                "(SELECT max(at) AS at, count(*) AS runs FROM job_note) n "
                "WHERE j.claimed_until IS NULL AND j.tries = %s AND n.runs = %s",
                number,
                number,
            ),
            f"failure {number}",
        )
        # Between the note and the failure being written a moment passes.
        assert wait_s <= failed["wait_s"] <= wait_s * (1 + JITTER) + 0.5
        if number > 1:  # The first retry comes by itself, without a dispatcher.
            assert make_due("k") == 1
    buried = wait_for(lambda: letter("k"), "the dead letter")
    assert notes() == ["failed"] * 6
    first = one(
        "SELECT extract(epoch FROM at - lag(at) OVER (ORDER BY at)) AS s FROM job_note ORDER BY at OFFSET 1"
    )
    assert 1 <= first["s"] < 1 + JITTER + 0.7
    assert (buried["tries"], buried["error"]) == (6, "ValueError('poison')")
    assert "work.py" in buried["trace"]

    work.note("mended")
    requeue(str(buried["id"]), by="operator")
    wait_for(lambda: notes()[-1] == "worked" and row("k") is None)
    assert letter("k")["requeued_by"] == "operator"


def test_worker_killed_in_the_middle_of_a_job_loses_nothing(processes, pair):
    enqueue("tests.kill", {}, key="k")
    wait_for(lambda: any(each.exit_code() is not None for each in pair), "a worker's death")
    held = row("k")
    assert (held["tries"], notes()) == (1, ["begun"])
    assert dispatch("notify") == 0, "its lease holds"
    assert make_due("k") == 1
    wait_for(lambda: notes() == ["begun", "begun"] and row("k") is None)


def test_job_that_does_not_end_ends_its_worker_and_is_tried_again(processes, pair):
    workers = [*pair, processes.worker("notify.3")]
    processes.wait_ready("notify.3")
    enqueue("tests.stay", {}, key="k")
    wait_for(lambda: any(each.exit_code() == OVERRUN_EXIT for each in workers), "a worker's end")
    assert notes() == ["begun"]
    assert "longer than it may" in row("k")["last_error"]
    assert (row("k")["tries"], row("k")["claimed_until"]) == (1, None)


def test_two_beats_do_each_round_once(processes):
    settings_module = {"DJANGO_SETTINGS_MODULE": "tests.trading.jobs.settings"}
    processes.worker("report.1", queue="report")
    for name in ("beat.1", "beat.2"):
        own_file = f"-l INFO -s {processes.folder / name}"
        processes.start("beat", name, options=own_file, **settings_module)
    wait_for(lambda: len(notes()) >= 3, "rounds")
    sent = [processes.log(name).count("Sending due task note") for name in ("beat.1", "beat.2")]
    assert min(sent) >= 2, "both beats send"
    assert len(notes()) < sum(sent)
    assert (
        one(
            "SELECT min(apart) AS apart FROM (SELECT extract(epoch FROM at - lag(at) OVER (ORDER BY at)) AS apart "
            "FROM job_note) rounds"
        )["apart"]
        > 0.5
    )
