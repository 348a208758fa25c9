"""PostgreSQL connections that Django does not make: a process's own, outside the pool, for the shard, the projector and
the watches of replicas, which hold one for as long as they live; and the kind that gives a silent replica up. On one of
Django's, a cursor that Django does not make."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

ANSWER_WITHIN_S = 3.0

Result = TypeVar("Result")


class ImpatientConnection(psycopg.Connection[Any]):
    """Raises OperationalError, and is closed, where a statement has no answer in time.

    A replica that stands still must not hold the threads that ask it; its `statement_timeout` stands still with it.
    """

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        try:
            return super().wait(gen, interval, ANSWER_WITHIN_S if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # The answer may come yet, and would be taken for the next one's.
            raise


@contextmanager
def preparing_cursor() -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of Django's connection, in its transaction, whose statements PostgreSQL plans once and not each time.

    For what runs the same few statements again and again; parameters are bound by the server, so some need a cast.
    """
    connection.ensure_connection()
    raw = connection.connection
    before, raw.prepare_threshold = raw.prepare_threshold, 1
    try:
        with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
            yield cursor
    finally:
        raw.prepare_threshold = before


def own_connection(
    application_name: str,
    *,
    alias: str = DEFAULT_DB_ALIAS,
    kind: type[psycopg.Connection[Any]] = psycopg.Connection,
) -> psycopg.Connection:
    """Autocommit, server-side binding, statements prepared from their second use on."""
    parameters = connections[alias].get_connection_params()
    for django_only in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(django_only, None)
    parameters["application_name"] = application_name
    return kind.connect(**parameters, autocommit=True, prepare_threshold=1)
