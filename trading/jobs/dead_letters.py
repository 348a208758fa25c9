"""What an operator makes of a dead letter: a job again, or nothing more. Either is decided once, and noted with who.

A letter that was no job can only be discarded. What a shard has set aside is a command that broke the engine: its
sender was told that the outcome is unknown, its deadline of seconds is over, and its market was suspended because of
it. Carried out later, it would act on a market and an account that have moved on.
"""

from functools import partial

from django.db import connection, transaction

from trading.ids import new_id
from trading.jobs.outbox import GIVE_UP_AFTER, NewJob, hint, insert_jobs
from trading.models import DeadLetter


class CannotRequeue(Exception):
    """Why a letter does not become a job again, in a sentence."""


def requeue(letter_id: str, *, by: str) -> None:
    """Make a letter a job again: the same payload and key, due at once, with all tries. Raises CannotRequeue."""
    with transaction.atomic():
        letter = _undecided(letter_id)
        if letter is None:
            raise CannotRequeue("Somebody has decided on it already.")
        if letter.job_name is None or letter.job_queue is None or letter.job_key is None:
            raise CannotRequeue(f"It comes from {letter.source} and was no job.")
        _decide(letter_id, "requeued", by)
        new = NewJob(
            new_id(), letter.job_name, letter.job_queue, letter.payload, letter.job_key, None, GIVE_UP_AFTER
        )
        if not _insert(new):
            # Rolled back: nobody has decided.
            raise CannotRequeue(f"A job or another letter has its key, {letter.job_key}.")
        transaction.on_commit(partial(hint, [new]))


def discard(letter_id: str, *, by: str) -> bool:
    """Note that nothing more is to become of a letter, which is kept. False where that was decided already."""
    with transaction.atomic():
        if _undecided(letter_id) is None:
            return False
        _decide(letter_id, "discarded", by)
    return True


def _undecided(letter_id: str) -> DeadLetter | None:
    """The letter, locked."""
    return (
        DeadLetter.objects.select_for_update()
        .filter(id=letter_id, requeued_at=None, discarded_at=None)
        .first()
    )


def _decide(letter_id: str, decision: str, by: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE dead_letter SET {decision}_at = now(), {decision}_by = %s WHERE id = %s",  # noqa: S608
            [by, letter_id],
        )


def _insert(new: NewJob) -> bool:
    with connection.cursor() as cursor:
        insert_jobs(cursor, [new])
        return bool(cursor.rowcount == 1)
