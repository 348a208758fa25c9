"""One projection on its way through the log: a batch at a time, rows and checkpoint in one commit.

Two processes may follow for the same projection: whoever finds the stored checkpoints changed since
it read them writes nothing and reads them again.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from trading.eventlog.codec import StoredEvent
from trading.eventlog.read import read_slot
from trading.ids import MARKET_SLOTS
from trading.projections.causes import Endings, count_ready
from trading.projections.checkpoints import (
    Checkpoint,
    ensure_checkpoints,
    lock_checkpoints,
    read_checkpoints,
    store_checkpoints,
)
from trading.projections.projection import AfterCommit, BrokenLog, Projection

log = logging.getLogger(__name__)

Slice = tuple[int, int, int]
"""(slot, first offset, number of events)"""


class Step(NamedTuple):
    """What one step has done: events applied, and when the oldest of them was recorded."""

    events: int
    oldest_us: int | None


class EventReader:
    """Reads each slice of the log once for all projections that stand at the same place."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._slices: dict[Slice, list[StoredEvent]] = {}

    def read(self, wanted: Slice, since_us: int | None) -> list[StoredEvent]:
        events = self._slices.get(wanted)
        if events is None:
            slot, first, count = wanted
            with self._connection.cursor() as cursor:
                events = read_slot(cursor, slot=slot, from_offset=first, limit=count, since_us=since_us)
            # Offsets are unique and in order, so the right number of them from the right place is all of them.
            if len(events) != count or events[0].slot_offset != first:
                last = first + count - 1
                raise BrokenLog(f"slot {slot} does not hold offsets {first} to {last}, which its head counts")
            self._slices[wanted] = events
        return events


class Follower:
    """Follows the log for one projection over one connection (autocommit, psycopg's own)."""

    def __init__(self, connection: Any, projection: Projection, *, after_commit: bool = True) -> None:
        self.projection = projection
        self._connection = connection
        self._after_commit = after_commit
        self._endings = Endings()
        self.checkpoints: dict[int, Checkpoint] = {}
        self.refresh()

    def behind(self, heads: dict[int, int]) -> int:
        """How many events this projection has still to apply to reach the heads."""
        return sum(max(0, head - self.checkpoints[slot].next_offset) for slot, head in heads.items())

    def refresh(self) -> None:
        """Reads the stored checkpoints again: a rival, a rebuild or a restored database may have moved them."""
        with self._connection.cursor() as cursor:
            ensure_checkpoints(cursor, self.projection.name)
            self._adopt(read_checkpoints(cursor, self.projection.name))

    def _adopt(self, stored: dict[int, Checkpoint]) -> None:
        if stored != self.checkpoints:
            self.projection.forget()
            self.checkpoints = stored

    def step(self, heads: dict[int, int], reader: EventReader, *, limit: int) -> Step:
        """Applies what is new up to the heads, at most about `limit` events, and commits."""
        counts = share_out({s: head - self.checkpoints[s].next_offset for s, head in heads.items()}, limit)
        batch = {slot: self._read(slot, count, heads[slot], reader) for slot, count in sorted(counts.items())}
        self._hold_back(batch)
        events = [event for slot_events in batch.values() for event in slot_events]
        if not events:
            return Step(0, None)
        moved = {
            slot: Checkpoint(slot_events[-1].slot_offset + 1, slot_events[-1].recorded_us)
            for slot, slot_events in batch.items()
            if slot_events
        }
        if not self._commit(events, moved):
            return Step(0, None)
        return Step(len(events), min(event.recorded_us for event in events))

    def _read(self, slot: int, count: int, head: int, reader: EventReader) -> list[StoredEvent]:
        checkpoint = self.checkpoints[slot]
        events = reader.read((slot, checkpoint.next_offset, count), checkpoint.recorded_us)
        return events if checkpoint.next_offset + count == head else whole_commands(events)

    def _hold_back(self, batch: dict[int, list[StoredEvent]]) -> None:
        """Cuts an account's slot before an event whose cause is not applied with this batch or before it."""
        reached = {slot: checkpoint.next_offset for slot, checkpoint in self.checkpoints.items()}
        reached |= {slot: events[-1].slot_offset + 1 for slot, events in batch.items() if events}
        with self._connection.cursor() as cursor:
            for slot, events in batch.items():
                if slot >= MARKET_SLOTS:
                    batch[slot] = events[: count_ready(cursor, self._endings, events, reached)]

    def _commit(self, events: list[StoredEvent], moved: dict[int, Checkpoint]) -> bool:
        """Whether the batch was applied; False if another process has been here."""
        name = self.projection.name
        after: AfterCommit | None = None
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                # Losing the last commits in a crash loses the checkpoint with the rows: they are folded again.
                cursor.execute("SET LOCAL synchronous_commit = off")
                stored = lock_checkpoints(cursor, name)
                overtaken = stored != self.checkpoints
                if not overtaken:
                    after = self.projection.apply(cursor, events)
                    store_checkpoints(cursor, name, moved)
        except BaseException:
            self.projection.forget()
            raise
        if overtaken:
            self._adopt(stored)
            return False
        self.checkpoints |= moved
        if after is not None and self._after_commit:
            run_after_commit(after, name)
        return True


def run_after_commit(after: Callable[[], None], name: str) -> None:
    """Runs what a projection wants done after its commit. It is a hint to others, so its failure is only told."""
    try:
        after()
    except Exception:
        log.exception("what the projection %s does after a commit has failed", name)


def share_out(waiting: dict[int, int], limit: int) -> dict[int, int]:
    """How many of each slot's waiting events to take: all if they fit, else each slot in proportion."""
    waiting = {slot: count for slot, count in waiting.items() if count > 0}
    total = sum(waiting.values())
    if total <= limit:
        return waiting
    return {slot: max(1, count * limit // total) for slot, count in waiting.items()}


def whole_commands(events: list[StoredEvent]) -> list[StoredEvent]:
    """Without the last command's events, which may go on beyond this slice: readers should not see half of one.

    Only the first event of a command carries metadata. A command larger than the slice stays as it is.
    """
    for index in range(len(events) - 1, 0, -1):
        if events[index].metadata:
            return events[:index]
    return events
