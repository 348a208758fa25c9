"""Background work that is never lost, never runs for ever and takes effect once.

A job is a row that commits with what causes it; a message in the broker only hints that there is one.

    outbox.py        the row: enqueue in Django's transaction, insert_jobs in any other
    registry.py      which function a name means
    run.py           one run: claim, work, and what its end means for the row
    lease.py         what keeps a claim alive, and ends a run that takes too long
    dispatch.py      hints for all that is due and that nobody is at
    dead_letters.py  what failed for good, and what an operator makes of it
    periodic.py      rounds of beat's tasks, each done once
    queues.py        the queues, their heartbeats and the alarm when one is silent

A function is registered with `@job` in an app's `jobs.py` or `tasks.py`. It may be run again after its work was done
and before its row was deleted (unless it is `atomic`), so what it does must bear a repetition.
"""

from trading.jobs.outbox import NewJob, enqueue, hint, insert_jobs, new_job
from trading.jobs.registry import Again, GiveUp, NotYet, job

__all__ = ["Again", "GiveUp", "NewJob", "NotYet", "enqueue", "hint", "insert_jobs", "job", "new_job"]
