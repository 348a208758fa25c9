"""Jobs that are to be done: their rows commit with what causes them. Nothing is run here."""

import datetime as dt
import json
import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from celery import current_app
from django.db import connection as django_connection
from django.db import transaction

from trading.array_literals import columns, quoted
from trading.ids import new_id
from trading.jobs.registry import job_type

log = logging.getLogger(__name__)

RUN_TASK = "trading.tasks.run_job"
GIVE_UP_AFTER = dt.timedelta(hours=24)
HINT_PRIORITY = 9
"""The lowest there is, so that rounds of beat's tasks go before a long queue of hints."""

HINT_EXPIRES_S = 600
"""A hint that no worker has read by then is dropped; the dispatcher sends another one."""

LONGEST_TIMER_S, MOST_TIMERS = 60, 64
"""What comes back soon is hinted at on time by the process that put it off; the rest by the dispatcher."""

_timers = threading.BoundedSemaphore(MOST_TIMERS)

# A key that waits, or whose dead letter nobody has decided on, is taken.
_INSERT = """
INSERT INTO job (id, name, queue, payload, key, due_at, give_up_at)
SELECT n.id, n.name, n.queue, n.payload, n.key, coalesce(n.due_at, now()),
       coalesce(n.due_at, now()) + make_interval(secs => n.give_up_s)
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::jsonb[], %s::text[], %s::timestamptz[], %s::float8[])
     AS n(id, name, queue, payload, key, due_at, give_up_s)
WHERE NOT EXISTS (SELECT FROM dead_letter d
                  WHERE d.job_key = n.key AND d.requeued_at IS NULL AND d.discarded_at IS NULL)
ON CONFLICT (key) DO NOTHING
"""


class NewJob(NamedTuple):
    """A job to be inserted; `due_at` None is at once."""

    job_id: str
    name: str
    queue: str
    payload: dict[str, Any]
    key: str
    due_at: dt.datetime | None
    give_up_after: dt.timedelta


def new_job(
    name: str,
    payload: dict[str, Any],
    *,
    key: str,
    due_at: dt.datetime | None = None,
    give_up_after: dt.timedelta = GIVE_UP_AFTER,
) -> NewJob:
    """A job with an id, for the queue that its name is registered with. Raises LookupError for an unknown name."""
    return NewJob(new_id(), name, job_type(name).queue, payload, key, due_at, give_up_after)


def enqueue(
    name: str,
    payload: dict[str, Any],
    *,
    key: str,
    due_at: dt.datetime | None = None,
    give_up_after: dt.timedelta = GIVE_UP_AFTER,
) -> bool:
    """Insert a job in the caller's Django transaction; False where its key is taken already.

    After the commit the workers are told, and if that is lost the dispatcher finds the row. Raises LookupError for
    an unknown name, TypeError for a payload that is no JSON.
    """
    new = new_job(name, payload, key=key, due_at=due_at, give_up_after=give_up_after)
    with django_connection.cursor() as cursor:
        insert_jobs(cursor, [new])
        inserted = cursor.rowcount == 1
    if inserted and due_at is None:
        transaction.on_commit(partial(hint, [new]))
    return inserted


def insert_jobs(connection: Any, rows: Sequence[NewJob]) -> None:
    """Insert jobs with one statement of the connection's (or cursor's) transaction, in psycopg's pipeline mode too.

    One whose key is taken, in the table or in `rows`, is left out. Call `hint` after the commit, or leave it to the
    dispatcher, which takes a second longer.
    """
    if rows:
        connection.execute(_INSERT, columns([_literals(new) for new in rows]))


def hint(rows: Sequence[NewJob]) -> None:
    """Tell the workers of jobs that are committed. A broker that does not answer only delays them."""
    for new in rows:
        if not send_hint(new.job_id, queue=new.queue):
            return


def send_hint(job_id: str, *, queue: str) -> bool:
    """Whether the broker took it."""
    try:
        current_app.send_task(
            RUN_TASK, args=(job_id,), queue=queue, priority=HINT_PRIORITY, expires=HINT_EXPIRES_S, retry=False
        )
    except Exception as error:  # Whatever the broker's library raises: the row is there, and is found later.
        log.warning("no hint for job %s: %r", job_id, error)
        return False
    return True


def hint_later(job_id: str, *, queue: str, in_s: float) -> None:
    """A hint in that many seconds, if this process is still there and has not too many to send."""
    if in_s <= 0:
        send_hint(job_id, queue=queue)
    elif in_s <= LONGEST_TIMER_S and _timers.acquire(blocking=False):
        timer = threading.Timer(in_s, _ring, args=(job_id, queue))
        timer.daemon = True
        timer.start()


def _ring(job_id: str, queue: str) -> None:
    try:
        send_hint(job_id, queue=queue)
    finally:
        _timers.release()


def _literals(new: NewJob) -> list[str | None]:
    return [
        new.job_id,
        quoted(new.name),
        quoted(new.queue),
        quoted(json.dumps(new.payload, allow_nan=False)),
        quoted(new.key),
        quoted(new.due_at.isoformat()) if new.due_at else None,
        str(new.give_up_after.total_seconds()),
    ]
