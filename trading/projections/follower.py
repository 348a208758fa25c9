"""Projections on their way through the log: a batch at a time, their rows and checkpoints in one commit.

Two processes may follow for the same projection: whoever finds the stored checkpoints changed since
it read them writes nothing.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from trading.eventlog.codec import LoggedEvent
from trading.eventlog.read import read_slots
from trading.ids import MARKET_SLOTS
from trading.projections.causes import Endings, count_ready
from trading.projections.checkpoints import Checkpoint, lock_checkpoints, move_checkpoints
from trading.projections.projection import AfterCommit, BrokenLog, Projection

log = logging.getLogger(__name__)


class Overtaken(Exception):
    """Another process has moved the checkpoints meanwhile; nothing was written."""


class Step(NamedTuple):
    """What one step has done: events applied, when they were recorded (each time once), read, and visible."""

    events: int
    recorded_us: Collection[int] = ()
    read_us: int = 0
    visible_us: int = 0


def prepare_connection(connection: Any) -> None:
    """Sets a connection of its own (autocommit, psycopg's) up for followers."""
    # Every statement looks rows up by key; a plan that reads a whole table is always the wrong one.
    for node in ("hashjoin", "mergejoin", "seqscan"):
        connection.execute(f"SET enable_{node} = off")
    connection.execute("SET plan_cache_mode = force_generic_plan")
    # Losing the last commits in a crash loses the checkpoints with the rows: they are folded again.
    connection.execute("SET synchronous_commit = off")


class Follower:
    """Follows the log for projections that stand at the same place, over one connection."""

    def __init__(
        self, connection: Any, projections: Sequence[Projection], checkpoints: Mapping[int, Checkpoint], *,
        swaps: Mapping[str, int], after_commit: bool = True,
    ) -> None:  # fmt: skip
        self.projections = projections
        self.names = [projection.name for projection in projections]
        self.checkpoints = dict(checkpoints)
        self.swaps = {name: swaps[name] for name in self.names}
        self._connection = connection
        self._after_commit = after_commit
        self._endings = Endings()

    def behind(self, heads: Mapping[int, int]) -> int:
        """How many events have still to be applied to reach the heads."""
        return sum(max(0, head - self.checkpoints[slot].next_offset) for slot, head in heads.items())

    def step(self, heads: Mapping[int, int], *, limit: int) -> Step:
        """Applies what is new up to the heads, at most about `limit` events, and commits.

        Raises Overtaken; after any exception nothing was written and nothing is remembered of rows.
        """
        counts = share_out({s: head - self.checkpoints[s].next_offset for s, head in heads.items()}, limit)
        if not counts:
            return Step(0)
        batch = self._read(counts)
        read_us = now_us()
        for slot, events in batch.items():
            if self.checkpoints[slot].next_offset + counts[slot] < heads[slot]:
                batch[slot] = whole_commands(events)
        self._hold_back(batch)
        events = [event for slot_events in batch.values() for event in slot_events]
        if not events:
            return Step(0)
        moved = {
            slot: Checkpoint(slot_events[-1].slot_offset + 1, slot_events[-1].recorded_us)
            for slot, slot_events in batch.items()
            if slot_events
        }
        self._commit(events, moved)
        return Step(len(events), {event.recorded_us for event in events}, read_us, now_us())

    def forget(self) -> None:
        """Drops what the projections remember of rows."""
        for projection in self.projections:
            projection.forget()

    def _read(self, counts: Mapping[int, int]) -> dict[int, list[LoggedEvent]]:
        wanted = [(slot, self.checkpoints[slot].next_offset, count) for slot, count in sorted(counts.items())]
        times = [self.checkpoints[slot].recorded_us for slot in counts]
        since_us = None if None in times else min(time for time in times if time is not None)
        with self._connection.cursor() as cursor:
            batch = read_slots(cursor, wanted, since_us=since_us)
        for slot, first, count in wanted:
            events = batch[slot]
            # Offsets are unique and in order, so the right number of them from the right place is all of them.
            if len(events) != count or events[0].slot_offset != first:
                last = first + count - 1
                raise BrokenLog(f"slot {slot} does not hold offsets {first} to {last}, which its head counts")
        return batch

    def _hold_back(self, batch: dict[int, list[LoggedEvent]]) -> None:
        """Cuts an account's slot before an event whose cause is not applied with this batch or before it."""
        reached = {slot: checkpoint.next_offset for slot, checkpoint in self.checkpoints.items()}
        reached |= {slot: events[-1].slot_offset + 1 for slot, events in batch.items() if events}
        for slot, events in batch.items():
            if slot >= MARKET_SLOTS:
                batch[slot] = events[: count_ready(self._connection, self._endings, events, reached)]

    def _commit(self, events: list[LoggedEvent], moved: dict[int, Checkpoint]) -> None:
        try:
            with self._connection.pipeline(), self._connection.transaction():
                lock_checkpoints(self._connection, self.names)
                # First, so that a projection sees how far those before it are.
                swaps = sum(self.swaps.values())
                if not move_checkpoints(self._connection, self.names, self.checkpoints, moved, swaps=swaps):
                    raise Overtaken(f"another process follows for {', '.join(self.names)}")
                after = [(each.name, each.apply(self._connection, events)) for each in self.projections]
        except BaseException:
            self.forget()
            raise
        self.checkpoints |= moved
        if self._after_commit:
            for name, task in after:
                if task is not None:
                    run_after_commit(task, name)


def run_after_commit(after: AfterCommit, name: str) -> None:
    """Runs what a projection wants done after its commit. It is a hint to others, so its failure is only told."""
    try:
        after()
    except Exception:
        log.exception("what the projection %s does after a commit has failed", name)


def now_us() -> int:
    """The wall clock, as events have it."""
    return time.time_ns() // 1000


def share_out(waiting: dict[int, int], limit: int) -> dict[int, int]:
    """How many of each slot's waiting events to take: all if they fit, else each slot in proportion."""
    waiting = {slot: count for slot, count in waiting.items() if count > 0}
    total = sum(waiting.values())
    if total <= limit:
        return waiting
    return {slot: max(1, count * limit // total) for slot, count in waiting.items()}


def whole_commands(events: list[LoggedEvent]) -> list[LoggedEvent]:
    """Without the last command's events, which may go on beyond this slice: readers should not see half of one.

    A command larger than the slice stays as it is.
    """
    for index in range(len(events) - 1, 0, -1):
        if events[index].begins_command:
            return events[:index]
    return events
