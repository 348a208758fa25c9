"""An empty exchange in the test database: pytest-django rolls back nothing of what unmanaged tables hold."""

from django.db import connection, transaction

from trading.eventlog.partitions import guard_event_partition

_TABLES = (
    "stream, cash_account, batch, client_order, dead_letter, projection_checkpoint, market, outcome, market_summary, "
    '"order", trade, fill, position, participation, settlement, settlement_account'
)


def event_partitions() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass")
        return [name for (name,) in cursor.fetchall()]


def empty_exchange() -> None:
    """Removes every row of the exchange. The log refuses that, so its guards are taken off and put back."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {_TABLES} CASCADE")
        cursor.execute("SELECT count(*) FROM event")
        if cursor.fetchone()[0]:
            for partition in event_partitions():
                cursor.execute(f'DROP TRIGGER "{partition}_is_not_truncated" ON "{partition}"')
                cursor.execute(f'GRANT TRUNCATE ON "{partition}" TO CURRENT_USER')
                cursor.execute(f'TRUNCATE "{partition}"')
                guard_event_partition(cursor, partition)
        cursor.execute(
            "UPDATE slot SET next_offset = 0, command_offset = '0-0', epoch = 0, owner = NULL, "
            "recorded_at = to_timestamp(0)"
        )
