"""A stream's events as a market is rebuilt from them: in order, a page at a time, without what only proves them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from trading.eventlog.append import Head

PAGE_EVENTS = 5000


class TailEvent(NamedTuple):
    """An event of a stream that is known. `data` is JSON, not canonical; `recorded_us` counts from the epoch."""

    version: int
    slot_offset: int
    type: str
    data: str
    hash: bytes
    recorded_us: int


class StreamEnd(NamedTuple):
    """Where a stream ends now, and the slot it lives in."""

    slot: int
    head: Head


def read_tail(
    cursor: Any, *, stream_id: str, after_version: int, upto_version: int, page: int = PAGE_EVENTS
) -> Iterator[list[TailEvent]]:
    """Pages of the events above one version, up to another. A page is short where events are missing."""
    while after_version < upto_version:
        beyond = min(after_version + page, upto_version)
        cursor.execute(
            "SELECT version, slot_offset, type, data::text, hash, "
            "(extract(epoch FROM recorded_at) * 1000000)::bigint FROM event "
            "WHERE stream_id = %s AND version > %s AND version <= %s ORDER BY version",
            [stream_id, after_version, beyond],
        )
        yield list(map(TailEvent._make, cursor.fetchall()))
        after_version = beyond


def stream_end(cursor: Any, stream_id: str) -> StreamEnd | None:
    """The stream's slot and head; None for a stream without events."""
    cursor.execute("SELECT slot, version, hash FROM stream WHERE id = %s", [stream_id])
    row = cursor.fetchone()
    return None if row is None else StreamEnd(row[0], Head(row[1], bytes(row[2])))


def recorded_us_of(cursor: Any, *, stream_id: str, version: int) -> int | None:
    """When an event was recorded; None if the log does not have it."""
    cursor.execute(
        "SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint FROM event WHERE stream_id = %s AND version = %s",
        [stream_id, version],
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])
