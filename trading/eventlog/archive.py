"""Moves months of the log to cold storage and back. Nothing leaves PostgreSQL before its file is proven.

Each step finds out what the ones before it have done, so that an interrupted run is simply run again:

    write the file, read it back and compare → note it in event_archive → guard the partition on its own
    → DETACH CONCURRENTLY → compare the file's SHA-256 once more → DROP

and back: make a table aside, guarded → fill it a page at a time → compare → attach it and forget the note.
Every transaction is short; a lock that is not to be had in two seconds is asked for again later.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from psycopg import errors

from trading.eventlog.append import EventRow, copy_rows
from trading.eventlog.archive_file import (
    PAGE_EVENTS,
    SUFFIX,
    ArchiveFile,
    BadArchive,
    Month,
    open_archive,
    read_events,
    write_archive,
)
from trading.eventlog.archived import ArchivedMonth, archived_months, note_archived, note_restored
from trading.eventlog.codec import StoredEvent, canonical_json, timestamp_text
from trading.eventlog.partitions import attach, guard_alone, make_aside, month_starts
from trading.eventlog.read import STORED_COLUMNS, stored_event

LOCK_ATTEMPTS = 20

ATTACHED, DETACHING, ASIDE, GONE = "attached", "detaching", "aside", "gone"

Progress = Callable[[int], None]


class ArchiveRefused(Exception):
    """The month cannot be archived or brought back now; says why. Nothing was lost."""


def months_in_table(cursor: Any) -> list[Month]:
    """The log's partitions, oldest first."""
    cursor.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = 'event'::regclass ORDER BY relname"
    )
    return [month_of(name) for (name,) in cursor.fetchall()]


def month_of(partition: str) -> Month:
    """The month that a partition is named after."""
    first = dt.datetime.strptime(partition, "event_%Y_%m")
    ((low, high),) = month_starts(first, 1)
    return Month(partition, low.isoformat(), high.isoformat())


def place_of(cursor: Any, partition: str) -> str:
    """Where a month's table stands: ATTACHED, DETACHING (interrupted half-way), ASIDE or GONE."""
    cursor.execute(
        "SELECT inhdetachpending FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid "
        "WHERE pg_class.oid = to_regclass(%s)",
        [f'"{partition}"'],
    )
    row = cursor.fetchone()
    if row is None:
        return GONE
    return {None: ASIDE, False: ATTACHED, True: DETACHING}[row[0]]


def missing_months(connection: Any) -> list[ArchivedMonth]:
    """Archived months whose events the table does not hold, oldest first."""
    with connection.cursor() as cursor:
        return [month for month in archived_months(cursor) if place_of(cursor, month.partition) != ATTACHED]


def open_archived(connection: Any, folder: Path) -> list[ArchiveFile]:
    """The files of all months that are not in the table. Raises BadArchive for one that is not as it was noted."""
    return [_noted_file(folder, month) for month in missing_months(connection)]


# Away ---------------------------------------------------------------------------------------------


def archive_month(connection: Any, month: Month, folder: Path, progress: Progress) -> ArchiveFile:
    """Moves a month's partition to its file. Raises BadArchive and ArchiveRefused.

    Whether anybody still needs the month is asked before (`needs.py`). `connection` is psycopg's, autocommit.
    """
    with connection.cursor() as cursor:
        noted = {each.partition: each for each in archived_months(cursor)}.get(month.partition)
        place = place_of(cursor, month.partition)
    try:
        archive = None if noted is None else _noted_file(folder, noted)
    except BadArchive:
        if place == GONE:
            raise
        # The table still has it all: it is written again.
        archive = None
    if archive is None:
        archive = proven_file(connection, month, folder, progress)
        with connection.transaction(), connection.cursor() as cursor:
            record = ArchivedMonth(month.partition, archive.path.name, archive.sha256, archive.ranges)
            note_archived(cursor, record, events=archive.events)
    _detach(connection, month.partition)
    # What is dropped next is gone: the file is looked at as late as can be.
    open_archive(archive.path)
    _patiently(connection, f'DROP TABLE IF EXISTS "{month.partition}"')
    return archive


def proven_file(connection: Any, month: Month, folder: Path, progress: Progress) -> ArchiveFile:
    """The month's file, written unless a run before this one has, and compared with the table event by event."""
    path = folder / f"{month.partition}{SUFFIX}"
    archive = None
    with suppress(BadArchive):
        archive = open_archive(path)
    if archive is None or _difference(connection, archive) is not None:
        slots = ((slot, _slot_events(connection, month.partition, slot)) for slot in _slots(connection))
        archive = write_archive(folder, month, slots)
    if (difference := _difference(connection, archive, progress)) is not None:
        raise BadArchive(f"{archive.path} {difference}; is the disk sound?")
    return archive


def _difference(
    connection: Any, archive: ArchiveFile, progress: Progress = lambda events: None
) -> str | None:
    """How a month's table differs from its file, or None. Compares each column of each event."""
    rows = (
        event
        for slot in _slots(connection)
        for event in _slot_events(connection, archive.month.partition, slot)
    )
    for number, (in_table, in_file) in enumerate(zip_longest(rows, read_events(archive)), start=1):
        if in_table != in_file:
            event_id = (in_table or in_file).event_id
            return f"and table {archive.month.partition} differ at event {event_id}"
        if number % PAGE_EVENTS == 0:
            progress(PAGE_EVENTS)
    progress(archive.events % PAGE_EVENTS)
    return None


def _detach(connection: Any, partition: str) -> None:
    """Takes the partition out of the log; it is guarded by itself before it loses the parent's triggers."""
    for _ in range(LOCK_ATTEMPTS):
        with connection.cursor() as cursor:
            place = place_of(cursor, partition)
        if place in (ASIDE, GONE):
            return
        with suppress(errors.LockNotAvailable, errors.DeadlockDetected):
            if place == ATTACHED:
                with connection.transaction(), connection.cursor() as cursor:
                    guard_alone(cursor, partition)
            how = "CONCURRENTLY" if place == ATTACHED else "FINALIZE"
            connection.execute("SET lock_timeout = '2s'")
            connection.execute(f'ALTER TABLE event DETACH PARTITION "{partition}" {how}')
            return
    raise ArchiveRefused(f"{partition} is in constant use; run this again when it is quieter")


def _patiently(connection: Any, statement: str) -> None:
    for _ in range(LOCK_ATTEMPTS):
        with suppress(errors.LockNotAvailable, errors.DeadlockDetected):
            connection.execute("SET lock_timeout = '2s'")
            connection.execute(statement)
            return
    raise ArchiveRefused(f"{statement}: the table is in constant use; run this again when it is quieter")


# And back -----------------------------------------------------------------------------------------


def restore_month(connection: Any, path: Path, progress: Progress) -> ArchiveFile:
    """Brings an archived month back into the table. Raises BadArchive and ArchiveRefused."""
    archive = open_archive(path)
    with connection.cursor() as cursor:
        months = archived_months(cursor)
    noted = {month.partition: month for month in months}.get(archive.month.partition)
    if noted is None:
        raise ArchiveRefused(f"{archive.month.partition} is not archived, as far as this database knows")
    if noted.sha256 != archive.sha256:
        raise BadArchive(f"{path} is not the file that was archived: its SHA-256 is another one")
    if noted != months[-1]:
        raise ArchiveRefused(
            f"{months[-1].partition} has to come back first: the newest one before older ones"
        )
    bring_back(connection, archive, progress)
    return archive


def bring_back(connection: Any, archive: ArchiveFile, progress: Progress) -> None:
    """Makes the archive's events a partition of the log again, and forgets that it was archived."""
    partition, low, high = archive.month
    with connection.cursor() as cursor:
        place = place_of(cursor, partition)
    if place == DETACHING:
        _detach(connection, partition)
    if place != ATTACHED:
        _put_aside(connection, archive, progress)
    with connection.transaction(), connection.cursor() as cursor:
        if place != ATTACHED:
            attach(cursor, "event", partition, low=low, high=high)
        note_restored(cursor, partition)
    connection.execute(f'ANALYZE "{partition}"')


def _put_aside(connection: Any, archive: ArchiveFile, progress: Progress) -> None:
    """A table beside the log with exactly the archive's events."""
    partition, low, high = archive.month
    with connection.cursor() as cursor:
        if place_of(cursor, partition) == ASIDE and _difference(connection, archive, progress) is None:
            return
    # What stands there was begun and not finished; the file, which was proven, has all of it.
    _patiently(connection, f'DROP TABLE IF EXISTS "{partition}"')
    with connection.transaction(), connection.cursor() as cursor:
        make_aside(cursor, "event", partition, low=low, high=high, indexes=True)
        guard_alone(cursor, partition)
    page: list[EventRow] = []
    for event in read_events(archive):
        page.append(_row(event))
        if len(page) == PAGE_EVENTS:
            _copy(connection, partition, page)
            progress(len(page))
            page.clear()
    _copy(connection, partition, page)
    progress(len(page))
    if (difference := _difference(connection, archive)) is not None:
        raise BadArchive(f"{archive.path} {difference} after it was read in")


def _copy(connection: Any, partition: str, rows: list[EventRow]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        copy_rows(cursor, rows, table=partition)


def _row(event: StoredEvent) -> EventRow:
    return EventRow(
        event.slot, event.slot_offset, event.stream_id, event.version, event.type, canonical_json(event.data),
        canonical_json(event.metadata), event.hash, timestamp_text(event.recorded_us),
    )  # fmt: skip


# Reading ------------------------------------------------------------------------------------------


def _slots(connection: Any) -> list[int]:
    return [slot for (slot,) in connection.execute("SELECT slot FROM slot ORDER BY slot").fetchall()]


def _slot_events(connection: Any, partition: str, slot: int) -> Iterator[StoredEvent]:
    """A slot's events in one month's table, a page at a time, as they are stored."""
    beyond = -1
    while True:
        rows = connection.execute(
            f'SELECT {STORED_COLUMNS} FROM "{partition}" '  # noqa: S608
            "WHERE slot = %s AND slot_offset > %s ORDER BY slot_offset, recorded_at LIMIT %s",
            [slot, beyond, PAGE_EVENTS],
        ).fetchall()
        yield from map(stored_event, rows)
        if len(rows) < PAGE_EVENTS:
            return
        beyond = rows[-1][1]


def _noted_file(folder: Path, month: ArchivedMonth) -> ArchiveFile:
    """The file of a month that was noted as archived. Raises BadArchive if it is not that file."""
    archive = open_archive(folder / month.file)
    if archive.sha256 != month.sha256 or archive.ranges != month.slots:
        raise BadArchive(f"{archive.path} is not the file that was archived: its SHA-256 is another one")
    return archive
