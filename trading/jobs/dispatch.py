"""Hints for all that is due and that nobody is at: what a lost message, a wiped broker or a dead worker left behind.

The round of a queue is run by that queue's own workers, so none is sent to workers that are dead or stuck.
"""

from django.db import connection

from trading.jobs.outbox import send_hint

MOST_HINTS = 200
"""Under way at once to the workers of a queue from here; the rest waits in the table, oldest first."""

HINT_AGAIN_S = 10
"""A job that nobody has claimed by then is hinted at once more."""

_WAITING = """
    queue = %(queue)s AND due_at <= clock_timestamp()
    AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
"""
_IS_UNDER_WAY = """
    coalesce(hinted_at >= due_at AND hinted_at > clock_timestamp() - make_interval(secs => %(again_s)s), false)
"""
_TAKE = f"""
UPDATE job SET hinted_at = clock_timestamp() WHERE id IN (
    SELECT id FROM job WHERE {_WAITING} AND NOT {_IS_UNDER_WAY} ORDER BY due_at
    LIMIT greatest(0, %(most)s - (SELECT count(*) FROM job WHERE {_WAITING} AND {_IS_UNDER_WAY}))
    FOR UPDATE SKIP LOCKED)
RETURNING id::text
"""  # noqa: S608


def dispatch(queue: str) -> int:
    """Send hints for the queue's jobs that are due; answers how many the broker took."""
    terms: dict[str, str | int] = {"queue": queue, "again_s": HINT_AGAIN_S, "most": MOST_HINTS}
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, terms)
        job_ids = [job_id for (job_id,) in cursor.fetchall()]
    sent = 0
    for job_id in job_ids:
        if not send_hint(job_id, queue=queue):
            break
        sent += 1
    return sent
