"""A database that is away, or has no connection to spare: which exceptions say so, and what a caller is told.

While a request is read and its commands are not sent, nothing has happened: 503. From then on it may have: 504.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import django.db
import psycopg
from django.db import transaction

from trading.errors import ExchangeError, InternalError, OutcomeUnknown, Unreachable

# Django's own around its connections, psycopg's elsewhere; a pool without a connection to spare raises a kind of the
# first or the third.
OUTAGES = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)

log = logging.getLogger(__name__)


def unexpected(error: Exception, where: str) -> ExchangeError:
    """What a caller is told of an exception that is no ExchangeError: an outage, or a bug. Either is logged."""
    if isinstance(error, OUTAGES):
        log.warning("the database does not answer %s: %s", where, error)
        return Unreachable()
    log.error("unexpected error in %s", where, exc_info=error)
    return InternalError()


@contextmanager
def atomic() -> Iterator[None]:
    """Django's transaction, where a COMMIT without an answer is OutcomeUnknown: the database may have done it."""
    is_commit_due = False
    try:
        with transaction.atomic():
            yield
            is_commit_due = True
    except OUTAGES as error:
        if is_commit_due:
            raise OutcomeUnknown("The database went away at the commit; it may have been done.") from error
        raise
