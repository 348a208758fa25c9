"""Owns event_archive and its companions: which of the log's events are in files, no longer in the table.

Oldest months go first and come back last, so what is archived is always the beginning of a slot and of a
stream. Whoever asks for such an event is told so; nothing is ever folded from a log with its beginning missing.
"""

from typing import Any, NamedTuple

from trading.errors import ArchivedEvents


class SlotRange(NamedTuple):
    """A slot's events in one archive: from `first_offset` up to, not including, `next_offset`."""

    slot: int
    first_offset: int
    next_offset: int


class ArchivedMonth(NamedTuple):
    """A month's partition whose file was proven; the partition itself may still be there for a moment."""

    partition: str
    file: str
    sha256: str
    slots: tuple[SlotRange, ...]


def archived_months(cursor: Any) -> list[ArchivedMonth]:
    """What is archived, oldest first."""
    cursor.execute(
        "SELECT partition, file, encode(sha256, 'hex'), "
        "coalesce(array_agg(ARRAY[slot, first_offset, next_offset] ORDER BY slot) "
        "FILTER (WHERE slot IS NOT NULL), '{}') "
        "FROM event_archive LEFT JOIN event_archive_slot USING (partition) "
        "GROUP BY partition, file, sha256 ORDER BY partition"
    )
    return [
        ArchivedMonth(partition, file, digest, tuple(SlotRange(*each) for each in slots))
        for partition, file, digest, slots in cursor.fetchall()
    ]


def note_archived(cursor: Any, month: ArchivedMonth, *, events: int) -> None:
    """Writes down that a month's file is proven, and keeps what markets that live on are asked for most."""
    cursor.execute(
        "INSERT INTO event_archive (partition, file, sha256, events) VALUES (%s, %s, decode(%s, 'hex'), %s) "
        "ON CONFLICT (partition) DO UPDATE SET sha256 = excluded.sha256, archived_at = now()",
        [month.partition, month.file, month.sha256, events],
    )
    cursor.execute(
        "INSERT INTO event_archive_slot (partition, slot, first_offset, next_offset) "
        "SELECT %s, * FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING",
        [month.partition, *(list(column) for column in zip(*month.slots, strict=True))]
        if month.slots
        else [month.partition, [], [], []],
    )
    cursor.execute(
        "INSERT INTO archived_creation (market_id, type, data) SELECT id, first.type, first.data "  # noqa: S608
        "FROM stream JOIN slot USING (slot), LATERAL "
        f'(SELECT type, data FROM "{month.partition}" WHERE stream_id = id AND version = 1) AS first '
        "WHERE kind = 'market' ON CONFLICT DO NOTHING"
    )


def note_restored(cursor: Any, partition: str) -> None:
    """Forgets that a month was archived; its rows are in the table again."""
    cursor.execute(
        "DELETE FROM archived_creation WHERE EXISTS "  # noqa: S608
        f'(SELECT FROM "{partition}" WHERE stream_id = market_id AND version = 1)'
    )
    cursor.execute("DELETE FROM event_archive WHERE partition = %s", [partition])


def refuse_archived(cursor: Any, *, slot: int, first: int, beyond: int) -> None:
    """Raises ArchivedEvents if some of a slot's offsets from `first` up to `beyond` are archived."""
    cursor.execute(
        "SELECT file, first_offset, next_offset FROM event_archive JOIN event_archive_slot USING (partition) "
        "WHERE slot = %s AND first_offset < %s AND next_offset > %s ORDER BY first_offset LIMIT 1",
        [slot, beyond, first],
    )
    row = cursor.fetchone()
    if row is not None:
        file, start, end = row
        raise ArchivedEvents(
            f"Events {slot}-{start} to {slot}-{end - 1} are archived in {file}; "
            f"`manage.py archive --restore {file}` brings them back."
        )


def refuse_archived_stream(cursor: Any, *, stream_id: str, version: int) -> None:
    """Raises ArchivedEvents if a stream has this version and the table lacks it because months are archived."""
    cursor.execute(
        "SELECT (SELECT max(file) FROM event_archive) FROM stream WHERE id = %s AND version >= %s "
        "AND EXISTS (SELECT FROM event_archive) "
        "AND NOT EXISTS (SELECT FROM event WHERE stream_id = %s AND version = %s)",
        [stream_id, version, stream_id, version],
    )
    row = cursor.fetchone()
    if row is not None:
        raise ArchivedEvents(
            f"Event {version} of stream {stream_id} is archived, in {row[0]} or an older file; "
            "`manage.py archive --restore` brings them back, newest first."
        )
