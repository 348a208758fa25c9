"""What the probes say: is the process ready, do its dependencies answer, how far behind are slots and projections.

Reads only, with short timeouts; a dependency that fails is a finding, never an exception.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from trading.jobs.queues import open_letters, queue_states, raise_alarms
from trading.metrics import (
    BREAKERS_OPEN,
    DEAD_LETTERS,
    JOBS_DUE,
    JOBS_OLDEST_DUE_SECONDS,
    PROJECTION_LAG_EVENTS,
    PROJECTION_LAG_SECONDS,
    QUEUE_HEARTBEAT_SECONDS,
    SLOT_LAG,
)
from trading.outside.breaker import open_services
from trading.replicas.watch import watch_of
from trading.shard.overview import live_shards, slot_states, waiting_commands

OK, DEGRADED, SILENT = "ok", "degraded", "silent"
# Shown as 0 while there are none, so that an alert on them has something to look at.
BREAKER_KINDS = ("mail", "webhook")
LETTER_SOURCES = ("job", "settlement", "shard")
# Past these the exchange still answers, but not as promised.
PROJECTION_LAG_LIMIT_S = 10.0
# A process that has not read from its replicas yet begins to watch them when it is asked how they are.
FIRST_LOOK_S = 2.0

Report = dict[str, Any]

_PROJECTIONS = """
    SELECT checkpoint.projection,
           sum(slot.next_offset - checkpoint.next_offset)::bigint,
           coalesce(max(extract(epoch FROM clock_timestamp() - waiting.recorded_at)), 0)::float8
    FROM projection_checkpoint AS checkpoint
    JOIN slot USING (slot)
    LEFT JOIN LATERAL (
        SELECT recorded_at FROM event
        WHERE event.slot = slot.slot AND event.slot_offset = checkpoint.next_offset
          AND event.recorded_at >= coalesce(checkpoint.recorded_at, '-infinity')
    ) AS waiting ON slot.next_offset > checkpoint.next_offset
    GROUP BY checkpoint.projection ORDER BY checkpoint.projection
"""
# By clock_timestamp() no partition would be left out and no index used: anybody could have the whole log read.
EVENTS_LAST_60S = (
    "SELECT count(*) FROM event WHERE recorded_at > statement_timestamp() - interval '60 seconds'"
)


def readiness() -> Report:
    """Can this process serve? `status` is `ok` or `degraded`; each check is `ok` or says what is wrong."""
    checks = {
        "database": _finding(_ping_database),
        "migrations": _finding(_require_migrations),
        "valkey": _finding(lambda: _ping_valkey(settings.VALKEY_URL)),
    }
    return {"status": OK if all(found == OK for found in checks.values()) else DEGRADED, "checks": checks}


def deep() -> Report:
    """Every dependency with its latency, the log's recent activity and how far behind the projections are."""
    dependencies = {name: _timed(check) for name, check in _dependencies().items()}
    dependencies |= {alias: _replica(alias) for alias in settings.REPLICAS}
    report: Report = {
        "status": OK,
        "dependencies": dependencies,
        "events_last_60s": None,
        "projections": {},
        "queues": {},
        "dead_letters": {},
        "breakers_open": breakers_open(),
    }
    try:
        report["events_last_60s"] = _rows(EVENTS_LAST_60S)[0][0]
        report["projections"] = projection_lags()
        report["queues"] = queue_reports()
        report["dead_letters"] = open_letters()
    except DatabaseError:
        report["status"] = DEGRADED
    if any(queue["status"] != OK for queue in report["queues"].values()):
        report["status"] = DEGRADED
    late = any(lag["seconds"] > PROJECTION_LAG_LIMIT_S for lag in report["projections"].values())
    if late or any(found["status"] != OK for found in dependencies.values()):
        report["status"] = DEGRADED
    return report


def matching() -> Report:
    """The engine processes, and each market slot with its owner, heads and waiting commands.

    `degraded` when a slot has no living owner: its commands wait.
    """
    try:
        with connection.cursor() as cursor:
            states, shards = slot_states(cursor), live_shards(cursor)
        lags = waiting_commands(_valkey(settings.VALKEY_URL), states)
        projections = projection_lags()
    except (DatabaseError, redis.RedisError) as error:
        return {
            "status": DEGRADED,
            "detail": type(error).__name__,
            "shards": [],
            "slots": [],
            "projections": {},
        }
    slots = [
        {
            "slot": state.slot,
            "owner": state.owner,
            "epoch": state.epoch,
            "offset": state.next_offset,
            "lag": lags[state.slot],
            "alive": state.is_owned,
        }
        for state in states
    ]
    return {
        "status": OK if all(state.is_owned for state in states) else DEGRADED,
        "shards": [
            {"shard": each.shard_id, "slots": each.slots, "heartbeat_age_s": round(each.heartbeat_age_s, 3)}
            for each in shards
        ],
        "slots": slots,
        "projections": projections,
    }


def projection_lags() -> dict[str, dict[str, Any]]:
    """Per projection: events committed and not yet projected, and how long the oldest of them has waited."""
    return {name: {"events": events, "seconds": round(age, 3)} for name, events, age in _rows(_PROJECTIONS)}


def queue_reports() -> dict[str, Report]:
    """Per queue of background work: `ok` or `silent`, its last heartbeat, and what is due and not under way.

    Raises the alarm as well: where all workers are gone, none of them does it.
    """
    raise_alarms()
    return {
        state.queue: {
            "status": SILENT if state.is_silent else OK,
            "heartbeat_age_s": _rounded(state.heartbeat_age_s),
            "jobs_due": state.due,
            "oldest_due_s": _rounded(state.oldest_due_s),
        }
        for state in queue_states()
    }


def breakers_open() -> dict[str, int] | None:
    """How many services outside are left alone, by kind; None without Valkey.

    That degrades nothing: webhooks are of users, and what waits for the mail server is not lost. Which they are is not
    told to everyone.
    """
    try:
        return dict.fromkeys(BREAKER_KINDS, 0) | open_services()
    except redis.RedisError:
        return None


def update_gauges() -> None:
    """Bring the lag gauges up to date before they are read; a dependency that is down leaves them as they were."""
    report = matching()
    for slot in report["slots"]:
        SLOT_LAG.labels(slot=slot["slot"]).set(slot["lag"])
    for name, lag in report["projections"].items():
        PROJECTION_LAG_EVENTS.labels(projection=name).set(lag["events"])
        PROJECTION_LAG_SECONDS.labels(projection=name).set(lag["seconds"])
    for kind, count in (breakers_open() or {}).items():
        BREAKERS_OPEN.labels(kind=kind).set(count)
    try:
        _update_job_gauges()
    except DatabaseError:
        return


def _update_job_gauges() -> None:
    for name, queue in queue_reports().items():
        JOBS_DUE.labels(queue=name).set(queue["jobs_due"])
        JOBS_OLDEST_DUE_SECONDS.labels(queue=name).set(queue["oldest_due_s"])
        if queue["heartbeat_age_s"] is not None:
            QUEUE_HEARTBEAT_SECONDS.labels(queue=name).set(queue["heartbeat_age_s"])
    letters = open_letters()
    for source in {*LETTER_SOURCES, *letters}:
        DEAD_LETTERS.labels(source=source).set(letters.get(source, 0))


def _dependencies() -> dict[str, Callable[[], None]]:
    checks: dict[str, Callable[[], None]] = {"database": _ping_database}
    urls = {
        "valkey": settings.VALKEY_URL,
        "cache": settings.CACHE_URL,
        "broker": settings.BROKER_URL,
        "feed": settings.FEED_URL,
    }
    for name, url in urls.items():
        if name == "valkey" or url != settings.VALKEY_URL:
            checks[name] = functools.partial(_ping_valkey, url)
    return checks


def _replica(alias: str) -> Report:
    """A replica's answer, and how far behind it is as this process has watched it; `lag_s` is None if that is unknown.

    `status` is why it is left out of the reads.
    """
    watch = watch_of(alias)
    watch.wait_for_a_look(FIRST_LOOK_S)
    report, lag_s = _timed(functools.partial(_ping_database, alias)), watch.lag_s()
    if report["status"] == OK:
        report["status"] = watch.fault() or OK
    return {**report, "lag_s": _rounded(lag_s)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _timed(check: Callable[[], None]) -> Report:
    started = time.perf_counter()
    status = _finding(check)
    return {"status": status, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def _finding(check: Callable[[], None]) -> str:
    """`ok`, or the kind of failure; texts of drivers may hold addresses and are not told to everyone."""
    try:
        check()
    except Exception as error:  # Whatever a driver raises is the finding.
        return type(error).__name__
    return OK


def _ping_database(alias: str = "default") -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _ping_valkey(url: str) -> None:
    if not url.startswith(("redis", "valkey", "unix")):
        return  # A broker of another kind is watched by its own means.
    _valkey(url).ping()


@functools.cache
def _valkey(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)


class MigrationsMissing(Exception):
    """The database is older than the code."""


def _require_migrations() -> None:
    if not _migrations_were_applied():
        raise MigrationsMissing


_applied = False


def _migrations_were_applied() -> bool:
    """Once true it stays true for this process, whose code does not change."""
    global _applied
    if not _applied:
        executor = MigrationExecutor(connection)
        _applied = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _applied


def _rows(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
