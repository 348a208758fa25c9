"""The queues of background work, their heartbeats, and the alarm when one is silent.

Beat sends each queue a heartbeat, and it beats when one of the queue's workers runs it: a worker that is dead, frozen
or without a free thread for too long makes its queue silent, and so does a beat that has stopped.
"""

import logging
from typing import NamedTuple

from django.db import connection

log = logging.getLogger(__name__)

# From critical to low. Each has workers of its own.
QUEUES = ("settlement", "market", "notify", "report")

HEARTBEAT_EVERY_S = 10
SILENT_AFTER_S = 60
"""A queue that has not beaten for longer is silent, and somebody is told."""

_BEAT = """
WITH before AS (SELECT ran_at FROM queue_heartbeat WHERE queue = %(queue)s)
INSERT INTO queue_heartbeat (queue, ran_at) VALUES (%(queue)s, clock_timestamp())
ON CONFLICT (queue) DO UPDATE SET ran_at = clock_timestamp()
RETURNING coalesce((SELECT ran_at FROM before) >= clock_timestamp() - make_interval(secs => %(silent_s)s), false)
"""
_FALL_SILENT = """
UPDATE queue_heartbeat SET silent_since = ran_at
WHERE silent_since IS NULL AND ran_at < clock_timestamp() - make_interval(secs => %s)
RETURNING queue, extract(epoch FROM clock_timestamp() - ran_at)::float8
"""
# The old value is what tells for how long it was silent.
_COME_BACK = """
WITH back AS (
    SELECT queue, silent_since FROM queue_heartbeat
    WHERE silent_since IS NOT NULL AND ran_at >= clock_timestamp() - make_interval(secs => %s) FOR UPDATE
)
UPDATE queue_heartbeat h SET silent_since = NULL FROM back WHERE h.queue = back.queue
RETURNING h.queue, extract(epoch FROM h.ran_at - back.silent_since)::float8
"""
_STATES = """
SELECT q.queue, extract(epoch FROM clock_timestamp() - h.ran_at)::float8, coalesce(d.due, 0), coalesce(d.oldest_s, 0)
FROM unnest(%s::text[]) WITH ORDINALITY AS q(queue, place)
LEFT JOIN queue_heartbeat h USING (queue)
LEFT JOIN LATERAL (
    SELECT count(*) AS due, extract(epoch FROM clock_timestamp() - min(due_at))::float8 AS oldest_s FROM job
    WHERE job.queue = q.queue AND due_at <= clock_timestamp()
    AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
) AS d ON true
ORDER BY q.place
"""


class QueueState(NamedTuple):
    """How a queue is: the age of its last heartbeat, jobs that are due and not under way, and the oldest one's wait."""

    queue: str
    heartbeat_age_s: float | None
    due: int
    oldest_due_s: float

    @property
    def is_silent(self) -> bool:
        return self.heartbeat_age_s is None or self.heartbeat_age_s > SILENT_AFTER_S


def beat(queue: str) -> None:
    """Note that a worker of the queue runs, and look after the other queues.

    One that was silent itself says nothing of them: where all of the exchange was stopped, they are about to beat too.
    """
    with connection.cursor() as cursor:
        terms: dict[str, str | int] = {"queue": queue, "silent_s": SILENT_AFTER_S}
        cursor.execute(_BEAT, terms)
        (was_well,) = cursor.fetchone()
    if was_well:
        raise_alarms()
    else:
        _tell_who_is_back()


def raise_alarms() -> None:
    """One ERROR line when a queue falls silent and one when it is back, whichever process notices it first."""
    with connection.cursor() as cursor:
        cursor.execute(_FALL_SILENT, [SILENT_AFTER_S])
        for queue, age_s in cursor.fetchall():
            log.error("queue %s is silent: none of its workers has run anything for %.0f s", queue, age_s)
    _tell_who_is_back()


def _tell_who_is_back() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COME_BACK, [SILENT_AFTER_S])
        for queue, silent_s in cursor.fetchall():
            log.error("queue %s is back, after %.0f s of silence", queue, silent_s)


def queue_states() -> list[QueueState]:
    """All queues, from critical to low."""
    with connection.cursor() as cursor:
        cursor.execute(_STATES, [list(QUEUES)])
        return [QueueState(*row) for row in cursor.fetchall()]


def open_letters() -> dict[str, int]:
    """How many dead letters of each source nobody has decided on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT source, count(*) FROM dead_letter WHERE requeued_at IS NULL AND discarded_at IS NULL "
            "GROUP BY source ORDER BY source"
        )
        return dict(cursor.fetchall())
