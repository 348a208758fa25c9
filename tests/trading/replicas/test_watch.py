"""How a replica is watched, on a real one: a bound on its lag that nothing makes too small."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.embedded import EmbeddedServers
from tests.trading.replicas.conftest import Pair, connect, eventually
from trading.replicas.watch import HEADER_BYTES, LOOK_EVERY_S, PAGE_BYTES, SUSPECT_FOR_S, Watch

MAX_LAG_S = 2.0


def watch_on(
    pair: Pair,
    *,
    primary: Callable[[], psycopg.Connection[Any]] | None = None,
    replica: Callable[[], psycopg.Connection[Any]] | None = None,
) -> Watch:
    return Watch(
        "replica_0",
        primary=primary or pair.on_primary,
        replica=replica or pair.on_replica,
        max_lag_s=MAX_LAG_S,
    )


@pytest.fixture
def watch(pair: Pair) -> Iterator[Watch]:
    made = watch_on(pair)
    eventually(made.is_fit, what="the replica to be fit")
    yield made
    made.stop()


def unreachable() -> psycopg.Connection[Any]:
    return psycopg.connect("postgresql://127.0.0.1:1/nowhere")


def write(pair: Pair) -> None:
    with pair.on_primary() as primary:
        primary.execute("SELECT pg_logical_emit_message(true, 'test', 'something')")


def test_nothing_is_known_before_the_first_look(pair: Pair) -> None:
    watch = watch_on(pair)
    assert (watch.lag_s(), watch.fault()) == (None, "unknown")


def test_replica_of_an_idle_primary_is_not_behind_however_long_nothing_happens(watch: Watch) -> None:
    began = time.monotonic()
    eventually(lambda: time.monotonic() > began + 2 * MAX_LAG_S, what="time to pass")
    assert watch.fault() is None


def test_replica_of_a_primary_that_stands_between_two_pages_of_its_log_is_not_behind(pair: Pair) -> None:
    with pair.on_primary() as primary:
        where = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint %% %s"
        for _ in range(100_000):
            if primary.execute(where, [PAGE_BYTES]).fetchone() == (HEADER_BYTES,):
                break
            primary.execute("SELECT pg_logical_emit_message(false, '', 'x', true)")
        watch = watch_on(pair)
        eventually(lambda: watch.look() or watch.fault() is None, what="the replica to be fit")
        assert primary.execute(where, [PAGE_BYTES]).fetchone() == (HEADER_BYTES,)


def test_paused_replica_is_left_out_once_it_is_too_far_behind_and_comes_back(
    pair: Pair, watch: Watch
) -> None:
    pair.pause()
    try:
        written_at = time.monotonic()
        write(pair)
        eventually(lambda: watch.fault() == "behind", what="the replica to be left out")
        lag_s = watch.lag_s()
        assert lag_s is not None
        assert lag_s > MAX_LAG_S
        assert time.monotonic() - lag_s <= written_at, "it shows nothing newer than the write"
    finally:
        pair.resume()
    eventually(lambda: watch.fault() is None, what="the replica to come back")


def test_lag_is_never_told_smaller_than_it_is(pair: Pair, watch: Watch) -> None:
    """While rows are written one by one, each row older than the lag that is told is on the replica."""
    stop, written = threading.Event(), list[tuple[int, float]]()

    def write_on() -> None:
        with pair.on_primary() as primary:
            primary.execute("SET synchronous_commit = off")
            while not stop.is_set():
                number = len(written)
                primary.execute("INSERT INTO told VALUES (%s)", [number])
                written.append((number, time.monotonic()))

    with pair.on_primary() as primary:
        primary.execute("CREATE TABLE told (number int PRIMARY KEY)")
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        with pair.on_replica() as replica:
            looks = 0
            while looks < 300:
                lag_s, now = watch.lag_s(), time.monotonic()
                assert lag_s is not None
                due = [number for number, at in written[-5000:] if at < now - lag_s - 0.001]
                (newest,) = replica.execute("SELECT coalesce(max(number), -1) FROM told").fetchone() or (-1,)
                assert not due or newest >= due[-1]
                looks += 1
    finally:
        stop.set()
        writer.join()


def test_what_is_visible_before_it_is_written_is_not_taken_for_replicated(pair: Pair) -> None:
    """Read models commit without waiting for the disk. Here the process that would write it stands still."""
    watch = watch_on(pair)
    eventually(lambda: watch.look() or watch.fault() is None, what="the replica to be fit")
    writer = pair.wal_writer()
    writer.suspend()
    try:
        with pair.on_primary() as primary:
            primary.execute("SET synchronous_commit = off")
            primary.execute("CREATE TABLE unwritten (number int)")
            visible_at = time.monotonic()
            watch.look()
            lag_s, now = watch.lag_s(), time.monotonic()
        with pair.on_replica() as replica:
            assert replica.execute("SELECT to_regclass('unwritten')").fetchone() == (None,)
        assert lag_s is not None
        assert now - lag_s < visible_at
    finally:
        writer.resume()
        watch.stop()


def test_killed_replica_is_unreachable_and_comes_back_when_it_is_started_again(
    pair: Pair, watch: Watch
) -> None:
    pair.kill()
    try:
        eventually(lambda: watch.fault() == "unreachable", what="its death to be seen")
    finally:
        pair.restart()
    eventually(lambda: watch.fault() is None, what="the replica to come back")


def test_while_the_primary_is_away_what_is_known_grows_old(pair: Pair) -> None:
    is_away = threading.Event()
    watch = watch_on(pair, primary=lambda: unreachable() if is_away.is_set() else pair.on_primary())
    try:
        eventually(watch.is_fit, what="the replica to be fit")
        is_away.set()
        with pair.on_primary() as primary:
            primary.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE '%pg_current_wal_insert_lsn%' AND pid <> pg_backend_pid()"
            )
        eventually(lambda: watch.fault() == "behind", what="the replica to be left out")
    finally:
        watch.stop()


def test_server_that_is_no_standby_is_left_out_and_that_is_told_once(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_on(pair, replica=pair.on_primary)
    try:
        watch.wait_for_a_look(10)
        told_at = time.monotonic()
        eventually(lambda: time.monotonic() > told_at + 3 * LOOK_EVERY_S, what="further looks")
        assert watch.fault() == "not_a_standby"
    finally:
        watch.stop()
    told = [record.getMessage() for record in caplog.records if record.name == "trading.replicas.watch"]
    assert told == ["replica_0 is left out of the reads: not_a_standby"]


def test_standby_of_another_cluster_is_left_out(pair: Pair, tmp_path: Path) -> None:
    other = EmbeddedServers.prepare(tmp_path, valkey=False, durable=False)
    other.start()
    try:
        assert other.postgres is not None
        watch = watch_on(pair, primary=lambda: connect(other.postgres))
        watch.look()
        assert watch.fault() == "another_cluster"
    finally:
        other.stop()


def test_suspect_is_left_out_for_a_moment_though_it_answers(watch: Watch) -> None:
    suspected_at = time.monotonic()
    watch.suspect()
    assert watch.fault() == "suspect"
    eventually(lambda: watch.fault() is None, what="the suspicion to pass")
    assert time.monotonic() >= suspected_at + SUSPECT_FOR_S
