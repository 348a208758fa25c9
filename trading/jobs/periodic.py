"""Rounds of beat's tasks: each is done once, however many beats send it.

The claim is a row in PostgreSQL, where it outlives the broker. It is made by the worker as a round begins, in one
place for all of them: `PeriodicTask` is what every task of the application is made from, and a message that beat has
sent carries the round's name and period.
"""

import logging
from typing import Any

from celery import Task
from django.db import OperationalError, connection

log = logging.getLogger(__name__)

LEAST_APART = 0.75
"""Rounds are at least this part of their period apart. With less than the whole, a round that beat or a queue has
held up does not cost the next one; two beats are never that evenly late."""

_CLAIM = """
INSERT INTO periodic_round AS r (name, claimed_at) VALUES (%s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET claimed_at = clock_timestamp()
WHERE r.claimed_at <= clock_timestamp() - make_interval(secs => %s)
"""


class PeriodicTask(Task):
    """Runs as any task does, but a round that beat sends only where nobody has done it yet."""

    abstract = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        headers = self.request.headers or {}
        name, every_s = headers.get("round"), headers.get("every_s")
        if name is not None and every_s is not None and not _is_ours(name, every_s):
            return None
        return super().__call__(*args, **options)


def _is_ours(name: str, every_s: float) -> bool:
    """A database that does not answer costs the round and one line, not a trace a second and task."""
    try:
        return claim_round(name, every_s=every_s)
    except OperationalError as error:
        log.warning("round %s is left out: %s", name, error)
        return False


def claim_round(name: str, *, every_s: float) -> bool:
    """Whether the round is the caller's to do: nobody has claimed one within three quarters of the period."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [name, LEAST_APART * every_s])
        return cursor.rowcount == 1


def every(
    seconds: int, task: str, *, queue: str, args: tuple[Any, ...] = (), expires_s: int | None = None
) -> dict[str, Any]:
    """An entry of beat's schedule, still without its round's name. A round not begun by the next one is dropped."""
    headers = {"every_s": seconds}
    options = {"queue": queue, "expires": expires_s or seconds, "headers": headers}
    return {"task": task, "schedule": seconds, "args": args, "options": options}
