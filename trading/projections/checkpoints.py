"""Owns projection_checkpoint: how far into each slot each projection has folded.

A projection's first row is its lock. Whoever holds it and finds the stored offsets to be those it
has read from may write; anybody else has been overtaken and reads the offsets again.
"""

from typing import Any, NamedTuple

from trading.eventlog.codec import timestamp_text


class Checkpoint(NamedTuple):
    """The next offset to apply, and when the event before it was recorded (None at the beginning)."""

    next_offset: int
    recorded_us: int | None


def ensure_checkpoints(cursor: Any, name: str) -> None:
    """A projection's rows at the beginning of every slot, where there are none yet."""
    cursor.execute(
        "INSERT INTO projection_checkpoint (projection, slot) SELECT %s, slot FROM slot ON CONFLICT DO NOTHING",
        [name],
    )


def read_checkpoints(cursor: Any, name: str) -> dict[int, Checkpoint]:
    """Every slot's checkpoint of a projection."""
    cursor.execute(
        "SELECT slot, next_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint "
        "FROM projection_checkpoint WHERE projection = %s ORDER BY slot",
        [name],
    )
    return {
        slot: Checkpoint(next_offset, recorded_us) for slot, next_offset, recorded_us in cursor.fetchall()
    }


def lock_checkpoints(cursor: Any, name: str) -> dict[int, Checkpoint]:
    """The same, holding the projection until the transaction ends.

    Two statements: the second must see what the one who held the lock before has committed.
    """
    cursor.execute(
        "SELECT slot FROM projection_checkpoint WHERE projection = %s ORDER BY slot LIMIT 1 FOR UPDATE",
        [name],
    )
    cursor.fetchone()
    return read_checkpoints(cursor, name)


def store_checkpoints(cursor: Any, name: str, moved: dict[int, Checkpoint]) -> None:
    """Moves the checkpoints of some slots; the caller holds the lock."""
    cursor.execute(
        "UPDATE projection_checkpoint p SET next_offset = m.next_offset, recorded_at = m.recorded_at "
        "FROM unnest(%s::smallint[], %s::bigint[], %s::timestamptz[]) AS m(slot, next_offset, recorded_at) "
        "WHERE p.projection = %s AND p.slot = m.slot",
        [
            list(moved),
            [checkpoint.next_offset for checkpoint in moved.values()],
            [
                None if each.recorded_us is None else timestamp_text(each.recorded_us)
                for each in moved.values()
            ],
            name,
        ],
    )
    assert cursor.rowcount == len(moved), "a checkpoint row is missing"
