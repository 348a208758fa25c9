"""Owns the monthly partitions of event, "order", trade, fill and ledger_entry.

Partitions are made ahead of time, never in the way of an order; there is no DEFAULT partition,
because one would forbid DETACH CONCURRENTLY. A new partition is created aside with a matching
CHECK and then attached, so that attaching scans nothing and blocks nobody for long.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from trading.ids import first_id_at

KEY = {
    "event": "recorded_at",
    "order": "order_id",
    "trade": "trade_id",
    "fill": "trade_id",
    "ledger_entry": "at",
}
BY_TIME = ("event", "ledger_entry")
"""Those whose key is a time; the others' is a UUIDv7."""


def month_starts(first: dt.datetime, months: int) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """(start, end) of each of `months` months from the one that holds `first`, in UTC."""
    year, month = first.year, first.month
    for _ in range(months):
        start = dt.datetime(year, month, 1, tzinfo=dt.UTC)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        yield start, dt.datetime(year, month, 1, tzinfo=dt.UTC)


def make_partitions(
    cursor: Any, *, months_ahead: int, today: dt.datetime | None = None, tables: Iterable[str] = KEY
) -> list[str]:
    """Makes the missing partitions of this month and the next `months_ahead`; answers their names."""
    today = today or dt.datetime.now(dt.UTC)
    return [
        name
        for table in tables
        for start, end in month_starts(today, months_ahead + 1)
        if (name := _make_if_missing(cursor, table, start, end)) is not None
    ]


def make_partitions_like(cursor: Any, table: str, *, model: str) -> list[str]:
    """Makes the missing partitions of every month that `model` has: a new table may have to hold the past too."""
    cursor.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass ORDER BY 1",
        [f'"{model}"'],
    )
    made = []
    for (name,) in cursor.fetchall():
        first = dt.datetime.strptime(name, f"{model}_%Y_%m").replace(tzinfo=dt.UTC)
        ((start, end),) = month_starts(first, 1)
        made.append(_make_if_missing(cursor, table, start, end))
    return [name for name in made if name is not None]


def _make_if_missing(cursor: Any, table: str, start: dt.datetime, end: dt.datetime) -> str | None:
    """The partition's name if it had to be made."""
    name = f"{table}_{start:%Y_%m}"
    cursor.execute("SELECT to_regclass(%s)", [f'"{name}"'])
    if cursor.fetchone()[0] is not None:
        return None
    _make_one(cursor, table, name, start, end)
    return name


def _make_one(cursor: Any, table: str, name: str, start: dt.datetime, end: dt.datetime) -> None:
    if table in BY_TIME:
        low, high = start.isoformat(), end.isoformat()
    else:
        low, high = first_id_at(start), first_id_at(end)
    make_aside(cursor, table, name, low=low, high=high)
    attach(cursor, table, name, low=low, high=high)


def make_aside(cursor: Any, table: str, name: str, *, low: str, high: str, indexes: bool = False) -> None:
    """An empty table that can become a partition: attaching it will scan nothing.

    `indexes` for one that is filled first; those of an empty one are made when it is attached.
    """
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    including = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS" + (" INCLUDING INDEXES" if indexes else "")
    cursor.execute(f'CREATE TABLE "{name}" (LIKE "{table}" {including})')
    key = KEY[table]
    cursor.execute(
        f'ALTER TABLE "{name}" ADD CONSTRAINT "{name}_bounds" '
        f"CHECK ({key} IS NOT NULL AND {key} >= '{low}' AND {key} < '{high}')"
    )


def attach(cursor: Any, table: str, name: str, *, low: str, high: str) -> None:
    """Makes a table that stands aside a partition, guarded like the others."""
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    cursor.execute(
        f"""ALTER TABLE "{table}" ATTACH PARTITION "{name}" FOR VALUES FROM ('{low}') TO ('{high}')"""
    )
    # The partition's bounds say the same from now on. A detached table's constraint has a name of PostgreSQL's.
    cursor.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c' AND coninhcount = 0",
        [f'"{name}"'],
    )
    for (constraint,) in cursor.fetchall():
        cursor.execute(f'ALTER TABLE "{name}" DROP CONSTRAINT "{constraint}"')
    if table == "event":
        guard_event_partition(cursor, name)
        # The parent's trigger covers it again.
        cursor.execute(f'DROP TRIGGER IF EXISTS "{name}_is_append_only" ON "{name}"')
        # Nobody plans by these, and looking at samples of them took half a second each minute of a growing log.
        for column in ("data", "metadata", "hash"):
            cursor.execute(f'ALTER TABLE "{name}" ALTER COLUMN {column} SET STATISTICS 0')


def guard_event_partition(cursor: Any, name: str) -> None:
    """The parent's TRUNCATE trigger and grants do not reach a partition: each gets its own."""
    cursor.execute(
        f'CREATE OR REPLACE TRIGGER "{name}_is_not_truncated" BEFORE TRUNCATE ON "{name}" '
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()"
    )
    cursor.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON "{name}" FROM CURRENT_USER')


def guard_alone(cursor: Any, name: str) -> None:
    """Guards a table of events that is no partition, or soon none: the parent's row trigger leaves it then."""
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    guard_event_partition(cursor, name)
    cursor.execute(
        f'CREATE OR REPLACE TRIGGER "{name}_is_append_only" BEFORE UPDATE OR DELETE ON "{name}" '
        "FOR EACH ROW EXECUTE FUNCTION refuse_event_change()"
    )
