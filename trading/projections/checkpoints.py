"""Owns projection_checkpoint: how far into each slot each projection has folded.

A projection's first row is its lock. Whoever holds it and finds the stored offsets to be those it
has read from may write; anybody else has been overtaken and reads the offsets again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trading.array_literals import array_of
from trading.eventlog.codec import timestamp_text


class Checkpoint(NamedTuple):
    """The next offset to apply, and when the event before it was recorded (None at the beginning)."""

    next_offset: int
    recorded_us: int | None


def ensure_checkpoints(cursor: Any, names: Sequence[str]) -> None:
    """The projections' rows at the beginning of every slot, where there are none yet."""
    cursor.execute(
        "INSERT INTO projection_checkpoint (projection, slot) SELECT name, slot FROM slot, unnest(%s::text[]) AS name "
        "ON CONFLICT DO NOTHING",
        [list(names)],
    )


def read_checkpoints(cursor: Any, names: Sequence[str]) -> dict[str, dict[int, Checkpoint]]:
    """Every slot's checkpoint, by projection."""
    cursor.execute(
        "SELECT projection, slot, next_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint "
        "FROM projection_checkpoint WHERE projection = ANY(%s) ORDER BY slot",
        [list(names)],
    )
    found: dict[str, dict[int, Checkpoint]] = {name: {} for name in names}
    for name, slot, next_offset, recorded_us in cursor.fetchall():
        found[name][slot] = Checkpoint(next_offset, recorded_us)
    return found


def lock_checkpoints(cursor: Any, names: Sequence[str]) -> None:
    """Holds the projections until the transaction ends; the next statement sees what the last holder committed."""
    cursor.execute(
        "SELECT FROM projection_checkpoint WHERE projection = ANY(%s) "
        "AND slot = (SELECT min(slot) FROM projection_checkpoint) ORDER BY projection FOR UPDATE",
        [list(names)],
    )


def stand_at(cursor: Any, names: Sequence[str], checkpoints: Mapping[int, Checkpoint]) -> bool:
    """Whether each of the projections stands at these offsets."""
    offsets = array_of(checkpoints[slot].next_offset for slot in sorted(checkpoints))
    cursor.execute(
        "SELECT count(*) FROM (SELECT FROM projection_checkpoint WHERE projection = ANY(%s) "
        "GROUP BY projection HAVING array_agg(next_offset ORDER BY slot) = %s::bigint[])",
        [list(names), offsets],
    )
    return bool(cursor.fetchone()[0] == len(names))


def store_checkpoints(cursor: Any, names: Sequence[str], moved: Mapping[int, Checkpoint]) -> None:
    """Moves the checkpoints of some slots; the caller holds the lock."""
    cursor.execute(
        "UPDATE projection_checkpoint p SET next_offset = m.next_offset, recorded_at = m.recorded_at "
        "FROM unnest(%s::smallint[], %s::bigint[], %s::timestamptz[]) AS m(slot, next_offset, recorded_at) "
        "WHERE p.projection = ANY(%s) AND p.slot = m.slot",
        [
            array_of(moved),
            array_of(checkpoint.next_offset for checkpoint in moved.values()),
            array_of(
                None if each.recorded_us is None else timestamp_text(each.recorded_us)
                for each in moved.values()
            ),
            list(names),
        ],
    )
    assert cursor.rowcount == len(names) * len(moved), "a checkpoint row is missing"
