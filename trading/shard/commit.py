"""T2: heads, events, credits and the consumed offset, in one durable transaction.

commit_batch names the epoch this process holds; if any row is not as it left it, nothing is
committed. Cash is only ever added here: what commands could spend was taken by T1.
"""

import dataclasses
from typing import Any

import psycopg

from trading.array_literals import array_of, bytea, quoted
from trading.eventlog.append import EventRow, Head, copy_rows
from trading.shard.crash_points import reach
from trading.shard.faults import SlotLost
from trading.shard.slots import OwnedSlot

SLOT_LOST = "PM001"  # the error that commit_batch raises
# Up to here COPY's round trips cost more than arrays do; see docs/adr/0007.
MOST_IN_ARRAYS = 100


@dataclasses.dataclass(slots=True)
class CashChange:
    """What a batch changes on one cash row, in pips."""

    credit: int = 0
    reserved: int = 0
    fees: int = 0


@dataclasses.dataclass(slots=True)
class CommitPlan:
    """Everything T2 writes."""

    batch_id: str | None
    slots: list[OwnedSlot]  # as they stand before the commit
    next_offsets: list[int]
    command_offsets: list[str]
    recorded_at: str
    rows: list[EventRow]
    heads: dict[int, dict[str, Head]]
    cash: dict[str, CashChange]
    refused_keys: dict[tuple[str, str], str]  # (account, key): reason, of commands that made no order


def commit(connection: Any, plan: CommitPlan) -> None:
    """Runs T2. Raises SlotLost if another owner has taken a slot or given the batch back; then nothing was written.

    A small batch is one statement and so one round trip; the events of a large one go through COPY before it.
    """
    reach("before_commit")
    try:
        if len(plan.rows) <= MOST_IN_ARRAYS:
            connection.execute(_COMMIT, _arguments(plan, plan.rows))
        else:
            with connection.transaction(), connection.cursor() as cursor:
                copy_rows(cursor, plan.rows)
                reach("between_copy_and_commit")
                cursor.execute(_COMMIT, _arguments(plan, []))
    except psycopg.Error as error:
        if error.sqlstate == SLOT_LOST:
            raise SlotLost(error.diag.message_primary) from error
        raise
    reach("after_commit")


def _arguments(plan: CommitPlan, rows: list[EventRow]) -> list[str | None]:
    """As commit_batch takes them (see 0001_tables.sql)."""
    slots, cash = plan.slots, plan.cash.values()
    heads = [(stream, slot, head) for slot, of_slot in plan.heads.items() for stream, head in of_slot.items()]
    return [
        plan.batch_id,
        plan.recorded_at,
        # the slots
        array_of(s.slot for s in slots),
        array_of(s.epoch for s in slots),
        array_of(s.next_offset for s in slots),
        array_of(plan.next_offsets),
        array_of(plan.command_offsets),
        # the events
        array_of(row.slot for row in rows),
        array_of(row.slot_offset for row in rows),
        array_of(row.stream_id for row in rows),
        array_of(row.version for row in rows),
        array_of(row.type for row in rows),
        array_of(quoted(row.data.decode()) for row in rows),
        array_of(quoted(row.metadata.decode()) for row in rows),
        array_of(bytea(row.hash) for row in rows),
        # the streams' heads
        array_of(stream for stream, _, _ in heads),
        array_of(slot for _, slot, _ in heads),
        array_of(head.version for _, _, head in heads),
        array_of(bytea(head.hash) for _, _, head in heads),
        # the refusals
        array_of(account_id for account_id, _ in plan.refused_keys),
        array_of(quoted(key) for _, key in plan.refused_keys),
        array_of(plan.refused_keys.values()),
        # the cash
        array_of(plan.cash),
        array_of(c.credit for c in cash),
        array_of(c.reserved for c in cash),
        array_of(c.fees for c in cash),
    ]


_COMMIT = f"SELECT commit_batch({', '.join(['%s'] * 26)})"
