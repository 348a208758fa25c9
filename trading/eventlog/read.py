"""Reads the log, by slot (projections, verification) or by stream (rebuilding one market).

Readers page by offset in short statements: no snapshot of the primary is held open. Whatever turns rows into
events reads them upcast to today's names; `read_slot_as_stored` is for proof. Events that are archived are
never passed over: asking for one raises ArchivedEvents.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from trading.array_literals import array_of
from trading.eventlog.archived import refuse_archived, refuse_archived_stream
from trading.eventlog.codec import LoggedEvent, StoredEvent, decode_json, timestamp_text
from trading.eventlog.upcast import upcast

STORED_COLUMNS = (
    "slot, slot_offset, stream_id::text, version, type, data::text, metadata::text, hash, "
    "(extract(epoch FROM recorded_at) * 1000000)::bigint"
)


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """The event of a row of STORED_COLUMNS, as it was written."""
    slot, slot_offset, stream_id, version, type_, data, metadata, digest, recorded_us = row
    return StoredEvent(
        slot, slot_offset, stream_id, version, type_, decode_json(data), decode_json(metadata), bytes(digest),
        recorded_us,
    )  # fmt: skip


def _of_today(event: StoredEvent) -> StoredEvent:
    name, data = upcast(event.type, event.data, event_id=event.event_id)
    return event if name == event.type else event._replace(type=name, data=data)


def slot_heads(cursor: Any) -> dict[int, int]:
    """next_offset of every slot: how many events each holds."""
    cursor.execute("SELECT slot, next_offset FROM slot ORDER BY slot")
    return dict(cursor.fetchall())


def read_slot(
    cursor: Any, *, slot: int, from_offset: int, limit: int, since_us: int | None = None
) -> list[StoredEvent]:
    """Events of a slot from `from_offset` on, in order, upcast; at most `limit`. Raises ArchivedEvents.

    `since_us`, when given, must not be later than the recorded time of the first wanted event: it
    lets the planner skip the partitions before it.
    """
    events = read_slot_as_stored(cursor, slot=slot, from_offset=from_offset, limit=limit, since_us=since_us)
    if limit > 0 and (len(events) < limit or events[0].slot_offset != from_offset):
        refuse_archived(cursor, slot=slot, first=from_offset, beyond=from_offset + limit)
    return [_of_today(event) for event in events]


def read_slot_as_stored(
    cursor: Any, *, slot: int, from_offset: int, limit: int, since_us: int | None = None
) -> list[StoredEvent]:
    """The same with old names and data as they were written, and without what the table does not hold."""
    bound = (
        "" if since_us is None else "AND recorded_at >= to_timestamp(%s / 1000000.0) - interval '1 second' "
    )
    arguments = [slot, from_offset, from_offset + limit] + ([] if since_us is None else [since_us])
    cursor.execute(
        f"SELECT {STORED_COLUMNS} FROM event WHERE slot = %s AND slot_offset >= %s AND slot_offset < %s {bound}"  # noqa: S608
        "ORDER BY slot_offset, recorded_at",
        arguments,
    )
    return [stored_event(row) for row in cursor.fetchall()]


def read_slots(
    cursor: Any, wanted: Sequence[tuple[int, int, int]], *, since_us: int | None = None
) -> dict[int, list[LoggedEvent]]:
    """Events of several slots, upcast, without what only proves them; `wanted` is (slot, from offset, limit).

    Raises ArchivedEvents.
    """
    cursor.execute(
        _READ_SLOTS,
        [
            array_of(slot for slot, _, _ in wanted),
            array_of(start for _, start, _ in wanted),
            array_of(start + limit for _, start, limit in wanted),
            None if since_us is None else timestamp_text(since_us - 1_000_000),
        ],
    )
    found: dict[int, list[LoggedEvent]] = {slot: [] for slot, _, _ in wanted}
    for slot, offset, stream_id, version, stored_as, data, begins_command, recorded_us in cursor.fetchall():
        name, fields = upcast(stored_as, decode_json(data), event_id=f"{slot}-{offset}")
        event = LoggedEvent(slot, offset, stream_id, version, name, fields, begins_command, recorded_us)
        found[slot].append(event)
    for slot, start, limit in wanted:
        if limit > 0 and len(found[slot]) < limit:
            refuse_archived(cursor, slot=slot, first=start, beyond=start + limit)
    return found


_READ_SLOTS = """
SELECT e.* FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS w(slot, first, beyond), LATERAL (
    SELECT slot, slot_offset, stream_id::text, version, type, data::text, metadata <> '{}',
           (extract(epoch FROM recorded_at) * 1000000)::bigint
    FROM event
    WHERE slot = w.slot AND slot_offset >= w.first AND slot_offset < w.beyond
        AND recorded_at >= coalesce(%s::timestamptz, '-infinity')
    ORDER BY slot_offset, recorded_at
) AS e
"""


def read_stream(
    cursor: Any, *, stream_id: str, after_version: int = 0, page: int = 5000
) -> Iterator[StoredEvent]:
    """Every event of a stream after a version, in order, upcast, fetched a page at a time. Raises ArchivedEvents."""
    while True:
        cursor.execute(
            f"SELECT {STORED_COLUMNS} FROM event "  # noqa: S608
            "WHERE stream_id = %s AND version > %s AND version <= %s ORDER BY version",
            [stream_id, after_version, after_version + page],
        )
        rows = cursor.fetchall()
        # What is archived is a stream's beginning, so it shows at the first version asked for.
        if not rows or rows[0][3] != after_version + 1:
            refuse_archived_stream(cursor, stream_id=stream_id, version=after_version + 1)
        for row in rows:
            yield _of_today(stored_event(row))
        if len(rows) < page:
            return
        after_version += page


def read_creations(cursor: Any, market_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The data of each market's first event, upcast; those that are archived are still at hand."""
    cursor.execute(_READ_CREATIONS, {"ids": array_of(market_ids)})
    return {
        market_id: upcast(stored_as, decode_json(data), event_id=f"1 of stream {market_id}")[1]
        for market_id, stored_as, data in cursor.fetchall()
    }


_READ_CREATIONS = """
SELECT stream_id::text, type, data::text FROM event WHERE stream_id = ANY(%(ids)s::uuid[]) AND version = 1
UNION ALL
SELECT market_id::text, type, data::text FROM archived_creation WHERE market_id = ANY(%(ids)s::uuid[])
"""
