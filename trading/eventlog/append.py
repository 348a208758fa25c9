"""Adds events to the log inside the caller's transaction.

Whoever appends holds the slot's row, so offsets are dense and in commit order. Two doors, one
format: `encode_row` + `copy_rows` for the shard, which keeps the heads of its slots in memory,
and `append_to_accounts` for the writers of cash (deposits, settlement), which reads them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from trading.eventlog.codec import GENESIS, canonical_json, chain_hash, timestamp_text
from trading.ids import account_slot

_COLUMNS = "(slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at)"
COPY_EVENTS = f"COPY event {_COLUMNS} FROM STDIN"


class NewEvent(NamedTuple):
    """An event that has no place in the log yet."""

    type: str
    data: dict[str, Any]
    metadata: dict[str, Any]


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a stream ends: its last version (0 if it has none) and that event's hash."""

    version: int
    hash: bytes


EMPTY = Head(0, GENESIS)


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """An event in its place, as columns of the table; `data` and `metadata` are canonical JSON."""

    slot: int
    slot_offset: int
    stream_id: str
    version: int
    type: str
    data: bytes
    metadata: bytes
    hash: bytes
    recorded_at: str


def encode_row(
    slot: int, slot_offset: int, stream_id: str, head: Head, type: str, data: bytes, metadata: bytes, recorded_at: str
) -> tuple[EventRow, Head]:  # fmt: skip
    """The row of the event that follows `head`, and the stream's new head. Takes canonical JSON.

    By position, unlike elsewhere: it is called for every event.
    """
    version = head.version + 1
    digest = chain_hash(head.hash, stream_id, version, type, data, metadata, recorded_at)
    row = EventRow(slot, slot_offset, stream_id, version, type, data, metadata, digest, recorded_at)
    return row, Head(version, digest)


def copy_rows(cursor: Any, rows: Sequence[EventRow], *, table: str = "event") -> None:
    """Writes rows through COPY, the cheapest way into a partitioned table for more than a few.

    `table` is one that stands beside the log, to become a part of it.
    """
    with cursor.copy(f'COPY "{table}" {_COLUMNS} FROM STDIN') as copy:
        copy.write(b"".join(map(_copy_line, rows)))


def _copy_line(row: EventRow) -> bytes:
    return b"%d\t%d\t%b\t%d\t%b\t%b\t%b\t\\\\x%b\t%b\n" % (
        row.slot, row.slot_offset, row.stream_id.encode(), row.version, row.type.encode(),
        row.data.replace(b"\\", b"\\\\"), row.metadata.replace(b"\\", b"\\\\"), row.hash.hex().encode(),
        row.recorded_at.encode(),
    )  # fmt: skip


def append_to_accounts(
    cursor: Any, *, slot: int, events: Sequence[tuple[str, NewEvent]], at_us: int
) -> dict[str, tuple[int, Head]]:
    """Appends events to account streams of one slot; answers each account's last (slot_offset, head).

    Takes the slot's row (and so waits for other writers of that slot); the caller takes cash rows
    after this, never before. The recorded time never runs backwards in a slot. Needs a psycopg
    cursor in a transaction.
    """
    cursor.execute(
        "SELECT next_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM slot WHERE slot = %s FOR UPDATE",
        [slot],
    )
    offset, last_us = cursor.fetchone()
    at_us = max(at_us, last_us)
    recorded_at = timestamp_text(at_us)
    streams = sorted({account_id for account_id, _ in events})
    assert all(account_slot(stream) == slot for stream in streams), "an account stream outside its slot"
    cursor.execute("SELECT id::text, version, hash FROM stream WHERE id = ANY(%s::uuid[])", [streams])
    heads = {stream: Head(version, bytes(digest)) for stream, version, digest in cursor.fetchall()}
    rows, written = [], {}
    for account_id, event in events:
        row, head = encode_row(
            slot, offset, account_id, heads.get(account_id, EMPTY), event.type, canonical_json(event.data),
            canonical_json(event.metadata), recorded_at,
        )  # fmt: skip
        rows.append(row)
        heads[account_id] = head
        written[account_id] = (offset, head)
        offset += 1
    copy_rows(cursor, rows)
    write_stream_heads(cursor, slot=slot, heads={stream: heads[stream] for stream in streams})
    cursor.execute(
        "UPDATE slot SET next_offset = %s, recorded_at = %s WHERE slot = %s", [offset, recorded_at, slot]
    )
    return written


def write_stream_heads(cursor: Any, *, slot: int, heads: dict[str, Head]) -> None:
    """Moves the heads of streams that were read under the slot's row lock."""
    cursor.execute(
        "INSERT INTO stream (id, slot, version, hash) "
        "SELECT id, %s, version, hash FROM unnest(%s::uuid[], %s::bigint[], %s::bytea[]) AS h(id, version, hash) "
        "ON CONFLICT (id) DO UPDATE SET version = excluded.version, hash = excluded.hash",
        [
            slot,
            list(heads),
            [head.version for head in heads.values()],
            [head.hash for head in heads.values()],
        ],
    )
