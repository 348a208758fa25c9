"""An empty exchange in the test database: pytest-django rolls back nothing of what unmanaged tables hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.db import connection, transaction

CHECKS = import_module("trading.migrations.0004_event_checks")
_TABLES = (
    "stream", "cash_account", "batch", "client_order", "dead_letter", "job", "projection_checkpoint", "outcome",
    "market",
    "market_summary", '"order"', "trade", "fill", "position", "participation", "settlement", "settlement_account",
    "market_snapshot", "ledger_entry", "account_ledger", "standing", "forecast", "resting_order", "book_level",
    "quote_bar", "trade_bar", "activity_hour",
)  # fmt: skip


def empty_exchange() -> None:
    """Removes every row of the exchange; the log refuses that, so its guards are down for a moment.

    DELETE, since TRUNCATE makes new files for a hundred tables and indexes, which takes half a second.
    """
    with all_rights() as cursor:
        for table in ("event", *_TABLES):
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute(
            "UPDATE slot SET next_offset = 0, command_offset = '0-0', epoch = 0, owner = NULL, "
            "recorded_at = to_timestamp(0)"
        )


@contextmanager
def all_rights() -> Iterator[Any]:
    """A cursor for which the log's guards are down, as they are for a superuser."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
        cursor.execute("GRANT UPDATE, DELETE ON event TO CURRENT_USER")
        cursor.execute(CHECKS.DROP)
        yield cursor
        cursor.execute(CHECKS.ADD)
        cursor.execute("REVOKE UPDATE, DELETE ON event FROM CURRENT_USER")
        cursor.execute("ALTER TABLE event ENABLE TRIGGER event_is_append_only")
