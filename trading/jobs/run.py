"""One run of a job: claimed, worked outside of any lock, and then deleted, due again or a dead letter.

    claim ─► work ─┬─ returns ──────► deleted
                   ├─ Again ────────► due again, with all its tries
                   ├─ NotYet ───────► due again, and this was no try      } after give_up_at:
                   ├─ GiveUp ───────► dead letter                         } dead letter
                   └─ an exception ─► due again after the next of RETRY_WAITS_S; after the last, dead letter

The try is counted at the claim, so a job that kills its worker ends too. Whatever is written about a row after the
claim names the claim's epoch: a worker that was silent for longer than its lease finds another one and changes nothing.
"""

import datetime as dt
import json
import logging
import random
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from django.db import connection, transaction

from trading.ids import new_id
from trading.jobs.lease import LEASE, Lease
from trading.jobs.outbox import hint_later
from trading.jobs.registry import Again, GiveUp, JobType, NotYet, job_type
from trading.metrics import JOB_RUNS

log = logging.getLogger(__name__)

RETRY_WAITS_S = (1, 2, 4, 8, 16)
"""The first run and five retries, one after each of these waits; then the job is a dead letter."""

JITTER = 0.25
"""A wait is longer by up to this part of it, so that jobs that failed together do not come back together."""

MOST_RUNS = 1 + len(RETRY_WAITS_S)
SOURCE = "job"
KEPT_ERROR, KEPT_TRACE = 2_000, 20_000

SKIPPED, DONE, AGAIN, POSTPONED, RETRY, DEAD = "skipped", "done", "again", "postponed", "retry", "dead"

Clock = Callable[[], dt.datetime]


class LeaseLost(Exception):
    """Somebody else has claimed the job meanwhile; what an atomic run has written is rolled back."""


class Claimed(NamedTuple):
    """A row that is this worker's while the lease lasts."""

    job_id: str
    name: str
    queue: str
    payload: dict[str, Any]
    tries: int
    epoch: int
    give_up_at: dt.datetime


def database_clock() -> dt.datetime:
    """The one clock that all workers share."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def run(job_id: str, *, clock: Clock = database_clock, chance: Callable[[], float] = random.random) -> str:
    """Run a job if it is due and nobody is at it. Answers what became of it: one of the words above.

    `chance` answers 0..1 for the jitter. Raises only where the database fails; the lease then brings the job back.
    """
    claimed = claim(job_id, now=clock())
    if claimed is None:
        return SKIPPED
    outcome = _work(claimed, clock, chance)
    JOB_RUNS.labels(queue=claimed.queue, outcome=outcome).inc()
    return outcome


def claim(job_id: str, *, now: dt.datetime) -> Claimed | None:
    """Take the job for the length of a lease, and count the try. None where it is gone, not due or taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE job SET claimed_until = %s, tries = tries + 1, epoch = epoch + 1 WHERE id = ("
            "SELECT id FROM job WHERE id = %s AND due_at <= %s AND (claimed_until IS NULL OR claimed_until <= %s) "
            "FOR UPDATE SKIP LOCKED) RETURNING id::text, name, queue, payload::text, tries, epoch, give_up_at",
            [now + LEASE, job_id, now, now],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    found, name, queue, payload, tries, epoch, give_up_at = row
    return Claimed(found, name, queue, json.loads(payload), tries, epoch, give_up_at)


def fail(claimed: Claimed, error: Exception, *, now: dt.datetime, chance: Callable[[], float]) -> str:
    """What an exception means for the row: due again after a wait, or a dead letter."""
    if isinstance(error, GiveUp) or claimed.tries >= MOST_RUNS:
        return _bury(claimed, error)
    wait_s = RETRY_WAITS_S[claimed.tries - 1] * (1 + JITTER * chance())
    log.warning(
        "job %s (%s) failed and is due again in %.1f s: %r", claimed.job_id, claimed.name, wait_s, error
    )
    return RETRY if _release(claimed, now, wait_s, error=error) else SKIPPED


def _work(claimed: Claimed, clock: Clock, chance: Callable[[], float]) -> str:
    try:
        kind = _type_of(claimed)
        with Lease(
            claimed.job_id, claimed.epoch, limit=kind.run_limit, on_overrun=partial(_overrun, claimed)
        ):
            return _run_atomically(claimed, kind, clock) if kind.atomic else _run(claimed, kind, clock)
    except LeaseLost:
        log.warning("job %s (%s) outlived its lease and is another worker's", claimed.job_id, claimed.name)
        return SKIPPED
    except NotYet as error:
        _leave_broken_connection()
        return _postpone(claimed, error, clock())
    except Exception as error:  # Whatever a job raises is its failure, and is kept.
        _leave_broken_connection()
        return fail(claimed, error, now=clock(), chance=chance)


def _type_of(claimed: Claimed) -> JobType:
    if claimed.tries > MOST_RUNS:
        raise GiveUp(f"{MOST_RUNS} runs have begun and none has ended: its workers died")
    try:
        return job_type(claimed.name)
    except LookupError as error:
        raise GiveUp(str(error)) from error


def _run(claimed: Claimed, kind: JobType, clock: Clock) -> str:
    return _end(claimed, kind.function(claimed.payload), clock())


def _run_atomically(claimed: Claimed, kind: JobType, clock: Clock) -> str:
    with transaction.atomic():
        return _run(claimed, kind, clock)


def _end(claimed: Claimed, result: Again | None, now: dt.datetime) -> str:
    """Raises LeaseLost where the row is not this worker's any more."""
    if isinstance(result, Again):
        return _go_on(claimed, result, now)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM job WHERE id = %s AND epoch = %s", [claimed.job_id, claimed.epoch])
        if cursor.rowcount == 0:
            raise LeaseLost
    return DONE


def _go_on(claimed: Claimed, again: Again, now: dt.datetime) -> str:
    if now >= claimed.give_up_at:
        return _bury(claimed, TimeoutError("a part is done, but the time for the whole is over"))
    if not _release(claimed, now, again.in_s, tries=0):
        raise LeaseLost
    return AGAIN


def _postpone(claimed: Claimed, error: NotYet, now: dt.datetime) -> str:
    if now >= claimed.give_up_at:
        return _bury(claimed, error)
    released = _release(claimed, now, error.retry_in_s, tries=claimed.tries - 1, error=error)
    return POSTPONED if released else SKIPPED


def _release(
    claimed: Claimed,
    now: dt.datetime,
    in_s: float,
    *,
    tries: int | None = None,
    error: Exception | None = None,
) -> bool:
    """Give the row back, due in that many seconds. False where it is another worker's."""
    due_at = now + dt.timedelta(seconds=in_s)
    tries = claimed.tries if tries is None else tries
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE job SET claimed_until = NULL, due_at = %s, tries = %s, last_error = %s "
            "WHERE id = %s AND epoch = %s",
            [due_at, tries, _text(error, KEPT_ERROR), claimed.job_id, claimed.epoch],
        )
        if cursor.rowcount == 0:
            return False
    transaction.on_commit(partial(hint_later, claimed.job_id, queue=claimed.queue, in_s=in_s))
    return True


def _bury(claimed: Claimed, error: Exception) -> str:
    """The row becomes a dead letter, in one statement."""
    trace = "".join(traceback.format_exception(error)).replace("\0", "")
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM job WHERE id = %s AND epoch = %s RETURNING *) "
            "INSERT INTO dead_letter (id, source, payload, error, trace, job_name, job_queue, job_key, tries) "
            "SELECT %s, %s, payload, %s, %s, name, queue, key, tries FROM gone",
            [
                claimed.job_id,
                claimed.epoch,
                new_id(),
                SOURCE,
                _text(error, KEPT_ERROR),
                trace[-KEPT_TRACE:],
            ],
        )
        if cursor.rowcount == 0:
            return SKIPPED
    log.error(
        "job %s (%s) is a dead letter after %s runs: %r", claimed.job_id, claimed.name, claimed.tries, error
    )
    return DEAD


def _overrun(claimed: Claimed) -> None:
    """The failure of a run that does not end; its process is about to."""
    error = TimeoutError("it ran for longer than it may")
    fail(claimed, error, now=database_clock(), chance=random.random)


def _leave_broken_connection() -> None:
    """Where a job has lost its connection, its failure is written with another one."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _text(error: Exception | None, length: int) -> str:
    """PostgreSQL takes no NUL."""
    return "" if error is None else repr(error).replace("\0", "")[:length]
