"""Owns projection_checkpoint: how far into each slot each projection has folded.

A projection's first row is its lock. Whoever holds it and finds the stored offsets to be those it
has read from may write; anybody else has been overtaken and reads the offsets again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trading.array_literals import array_of, columns
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


def count_swaps(cursor: Any, names: Sequence[str]) -> dict[str, int]:
    """How often each projection's tables were exchanged for others: what is remembered of rows ends with that."""
    cursor.execute(
        "SELECT projection, sum(swaps) FROM projection_checkpoint WHERE projection = ANY(%s) GROUP BY projection",
        [list(names)],
    )
    return {name: int(swaps) for name, swaps in cursor.fetchall()}


def lock_checkpoints(connection: Any, names: Sequence[str]) -> None:
    """Holds the projections until the transaction ends; the next statement sees what the last holder committed."""
    connection.execute(
        "SELECT FROM projection_checkpoint WHERE projection = ANY(%s) "
        "AND slot = (SELECT min(slot) FROM projection_checkpoint) ORDER BY projection FOR UPDATE",
        [list(names)],
    )


def move_checkpoints(
    connection: Any, names: Sequence[str], known: Mapping[int, Checkpoint], moved: Mapping[int, Checkpoint], *,
    swaps: int,
) -> bool:  # fmt: skip
    """Moves the checkpoints of some slots, if each of the projections stands where `known` says, in every slot, and
    their tables were exchanged `swaps` times in all.

    The caller holds the lock.
    """
    rows = [
        (slot, next_offset, None if recorded_us is None else timestamp_text(recorded_us))
        for slot, (next_offset, recorded_us) in moved.items()
    ]
    offsets = array_of(known[slot].next_offset for slot in sorted(known))
    updated = connection.execute(
        _MOVE, [*columns(rows), list(names), list(names), offsets, len(names), swaps]
    )
    return len(updated.fetchall()) == len(names) * len(moved)


_MOVE = """
UPDATE projection_checkpoint p SET next_offset = m.next_offset, recorded_at = m.recorded_at
FROM unnest(%s::smallint[], %s::bigint[], %s::timestamptz[]) AS m(slot, next_offset, recorded_at)
WHERE p.projection = ANY(%s) AND p.slot = m.slot AND (
    SELECT row(count(*), sum(swaps)::bigint) FROM (
        SELECT sum(swaps) AS swaps FROM projection_checkpoint WHERE projection = ANY(%s)
        GROUP BY projection HAVING array_agg(next_offset ORDER BY slot) = %s::bigint[]
    )
) = row(%s::bigint, %s::bigint)
RETURNING 1
"""
