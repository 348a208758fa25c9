"""Reads the log, by slot (projections, verification) or by stream (rebuilding one market).

Readers page by offset in short statements: no snapshot of the primary is held open.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from trading.array_literals import array_of
from trading.eventlog.codec import LoggedEvent, StoredEvent, decode_json, timestamp_text

_COLUMNS = (
    "slot, slot_offset, stream_id::text, version, type, data::text, metadata::text, hash, "
    "(extract(epoch FROM recorded_at) * 1000000)::bigint"
)


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    slot, slot_offset, stream_id, version, type_, data, metadata, digest, recorded_us = row
    return StoredEvent(
        slot, slot_offset, stream_id, version, type_, decode_json(data), decode_json(metadata), bytes(digest),
        recorded_us,
    )  # fmt: skip


def slot_heads(cursor: Any) -> dict[int, int]:
    """next_offset of every slot: how many events each holds."""
    cursor.execute("SELECT slot, next_offset FROM slot ORDER BY slot")
    return dict(cursor.fetchall())


def read_slot(
    cursor: Any, *, slot: int, from_offset: int, limit: int, since_us: int | None = None
) -> list[StoredEvent]:
    """Events of a slot from `from_offset` on, in order; at most `limit`.

    `since_us`, when given, must not be later than the recorded time of the first wanted event: it
    lets the planner skip the partitions before it.
    """
    bound = (
        "" if since_us is None else "AND recorded_at >= to_timestamp(%s / 1000000.0) - interval '1 second' "
    )
    arguments = [slot, from_offset, from_offset + limit] + ([] if since_us is None else [since_us])
    cursor.execute(
        f"SELECT {_COLUMNS} FROM event WHERE slot = %s AND slot_offset >= %s AND slot_offset < %s {bound}"  # noqa: S608
        "ORDER BY slot_offset, recorded_at",
        arguments,
    )
    return [_stored(row) for row in cursor.fetchall()]


def read_slots(
    cursor: Any, wanted: Sequence[tuple[int, int, int]], *, since_us: int | None = None
) -> dict[int, list[LoggedEvent]]:
    """Events of several slots without what only proves them; `wanted` is (slot, from offset, limit)."""
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
    for slot, offset, stream_id, version, type_, data, begins_command, recorded_us in cursor.fetchall():
        event = LoggedEvent(
            slot, offset, stream_id, version, type_, decode_json(data), begins_command, recorded_us
        )
        found[slot].append(event)
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
    """Every event of a stream after a version, in order, fetched a page at a time."""
    while True:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM event "  # noqa: S608
            "WHERE stream_id = %s AND version > %s AND version <= %s ORDER BY version",
            [stream_id, after_version, after_version + page],
        )
        rows = cursor.fetchall()
        if not rows:
            return
        for row in rows:
            yield _stored(row)
        after_version += page
