"""Replays the log into fresh tables of a projection, then puts them in the place of the live ones.

Readers see the old rows until the swap and the new ones after it, never a half-filled table; the
projector may go on meanwhile. `check` makes the same copy, compares it with the live rows at one and
the same checkpoint, and changes nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors, sql

from trading.connection import own_connection
from trading.eventlog.read import slot_heads
from trading.projections.checkpoints import (
    count_swaps,
    ensure_checkpoints,
    lock_checkpoints,
    read_checkpoints,
)
from trading.projections.follower import Follower, prepare_connection
from trading.projections.projection import Projection
from trading.projections.shadow import Shadow

BATCH_EVENTS = 5000
NEARLY_THERE_EVENTS = 500
SWAP_ATTEMPTS = 20

_ONE_AT_A_TIME = "pmarket rebuild"

Progress = Callable[[int, int], None]
"""Called with (events applied in all, events to apply in all)."""


class RebuildFailed(Exception):
    """The projection could not be rebuilt; its live tables are as they were."""


def rebuild(projection: Projection, progress: Progress) -> None:
    """Builds the projection from the first event on and swaps it in."""
    with _Workshop(projection, progress) as workshop:
        workshop.catch_up(workshop.heads)
        workshop.swap()


def check(projection: Projection, progress: Progress) -> list[str]:
    """How the live rows differ from what the log says; nothing, if they are as they should be."""
    with _Workshop(projection, progress) as workshop:
        workshop.catch_up(workshop.live_offsets)
        return workshop.compare()


class _Workshop:
    """Two connections: one fills the copies, the other looks at and exchanges the live tables."""

    def __init__(self, projection: Projection, progress: Progress) -> None:
        self._projection = projection
        self._progress = progress
        self._applied = 0
        self._shadow = Shadow(projection)
        self._live = own_connection("pmarket-rebuild-live")
        self._builder = own_connection("pmarket-rebuild")

    def __enter__(self) -> "_Workshop":
        try:
            self._begin()
        except BaseException:
            self._close()
            raise
        return self

    def _begin(self) -> None:
        (mine,) = _row(self._live, "SELECT pg_try_advisory_lock(hashtext(%s))", [_ONE_AT_A_TIME])
        if not mine:
            raise RebuildFailed("another rebuild is running")
        for connection in (self._live, self._builder):
            prepare_connection(connection)
        with self._live.transaction(), self._live.cursor() as cursor:
            ensure_checkpoints(cursor, [self._projection.name])
        with self._builder.transaction(), self._builder.cursor() as cursor:
            self._shadow.make(cursor)
        with self._builder.cursor() as cursor:
            self._shadow.work_here(cursor)
            ensure_checkpoints(cursor, [self._projection.name])
            beginning = read_checkpoints(cursor, [self._projection.name])[self._projection.name]
            swaps = count_swaps(cursor, [self._projection.name])
        self._follower = Follower(
            self._builder, [self._projection], beginning, swaps=swaps, after_commit=False
        )

    def __exit__(self, *_: object) -> None:
        try:
            # What is left behind by a lost connection is dropped by the next rebuild.
            with suppress(psycopg.OperationalError), self._live.transaction(), self._live.cursor() as cursor:
                self._shadow.drop(cursor)
        finally:
            self._close()

    def _close(self) -> None:
        self._builder.close()
        self._live.close()

    def heads(self) -> dict[int, int]:
        """The end of the log."""
        with self._builder.cursor() as cursor:
            return slot_heads(cursor)

    def live_offsets(self) -> dict[int, int]:
        """How far the live tables are."""
        with self._live.cursor() as cursor:
            return _offsets(cursor, self._projection.name)

    def catch_up(self, goal: Callable[[], dict[int, int]]) -> None:
        """Applies events until only a few are missing, since the goal moves while the exchange trades."""
        target = goal()
        while self._follower.behind(target) > 0:
            self._apply_up_to(target)
            target = goal()
            if self._follower.behind(target) < NEARLY_THERE_EVENTS:
                return

    def _apply_up_to(self, target: dict[int, int]) -> None:
        while behind := self._follower.behind(target):
            step = self._follower.step(target, limit=BATCH_EVENTS)
            if step.events == 0:
                raise RebuildFailed(f"{behind} events wait for a cause that is not there")
            self._applied += step.events
            self._progress(self._applied, self._applied + self._follower.behind(target))

    def swap(self) -> None:
        """Waits for the tables' readers a little at a time, so that it never stands in others' way for long."""
        with self._builder.cursor() as cursor:
            self._shadow.analyze(cursor)
        for _ in range(SWAP_ATTEMPTS):
            try:
                with self._live.transaction(), self._live.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '1s'")
                    cursor.execute("SET LOCAL synchronous_commit = on")
                    # The live projector waits here from now on; its checkpoints do not move.
                    lock_checkpoints(self._live, [self._projection.name])
                    self._apply_up_to(self.heads())
                    self._shadow.swap(cursor, self._projection.name)
                return
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                continue
        raise RebuildFailed("the tables are in constant use; try again when it is quieter")

    def compare(self) -> list[str]:
        """Differences of each table between the live rows of one moment and the replay up to that moment."""
        with self._live.transaction(), self._live.cursor() as cursor:
            # Whole tables are read here, and the snapshot has to span them all.
            cursor.execute("SET LOCAL transaction_timeout = 0")
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._apply_up_to(_offsets(cursor, self._projection.name))
            # The replay's rows were committed after this snapshot was taken, so another connection reads them.
            with self._builder.cursor() as rebuilt:
                return [
                    difference
                    for table in self._projection.tables
                    if (difference := _difference(cursor, rebuilt, table)) is not None
                ]


def _offsets(cursor: Any, name: str) -> dict[int, int]:
    checkpoints = read_checkpoints(cursor, [name])[name]
    return {slot: checkpoint.next_offset for slot, checkpoint in checkpoints.items()}


def _difference(live: Any, rebuilt: Any, table: str) -> str | None:
    """One line about a table whose rows differ: how many, and one of them from each side."""
    if _digest(live, table) == _digest(rebuilt, table):
        return None
    live_rows, rebuilt_rows = _rows(live, table), _rows(rebuilt, table)
    wrong, missing = live_rows - rebuilt_rows, rebuilt_rows - live_rows
    examples = [f"live has {row}" for row in sorted(wrong)[:1]] + [
        f"the log says {row}" for row in sorted(missing)[:1]
    ]
    return f"{table}: {len(wrong)} rows should not be so, {len(missing)} are missing; {'; '.join(examples)}"


def _digest(cursor: Any, table: str) -> tuple[Any, ...]:
    """Number of rows and the sum of their hashes: equal for equal tables, whatever their rows' order."""
    query = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {} t"
    row: tuple[Any, ...] = cursor.execute(sql.SQL(query).format(sql.Identifier(table))).fetchone()
    return row


def _rows(cursor: Any, table: str) -> set[str]:
    cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
    return {row for (row,) in cursor.fetchall()}


def _row(connection: "psycopg.Connection[Any]", query: str, arguments: list[Any]) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query, arguments).fetchone()
    assert row is not None, "the query answers one row"
    return row
