"""T2: heads, events, credits and the consumed offset, in one durable transaction.

Every statement names the epoch this process holds; if any row is not as it left it, nothing is
committed. Cash is only ever added here: what commands could spend was taken by T1.
"""

import dataclasses
from typing import Any

from trading.eventlog.append import Head, copy_rows, write_stream_heads
from trading.shard.slots import OwnedSlot, SlotLost


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
    rows: list[bytes]
    heads: dict[int, dict[str, Head]]
    cash: dict[str, CashChange]


def commit(connection: Any, plan: CommitPlan) -> None:
    """Runs T2. Raises SlotLost if another owner has taken a slot; then nothing was written."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            _ADVANCE,
            [
                plan.recorded_at,
                [s.slot for s in plan.slots],
                [s.epoch for s in plan.slots],
                [s.next_offset for s in plan.slots],
                plan.next_offsets,
                plan.command_offsets,
            ],
        )
        if cursor.rowcount != len(plan.slots):
            raise SlotLost(f"one of slots {[s.slot for s in plan.slots]} has moved on without this process")
        if plan.rows:
            copy_rows(cursor, plan.rows)
        for slot, heads in plan.heads.items():
            write_stream_heads(cursor, slot=slot, heads=heads)
        if plan.batch_id is not None:
            cursor.execute("DELETE FROM batch WHERE batch_id = %s", [plan.batch_id])
            if cursor.rowcount != 1:
                raise SlotLost("the batch was given back by another owner")
        if plan.cash:
            _credit(cursor, plan.cash)


def _credit(cursor: Any, cash: dict[str, CashChange]) -> None:
    changes = cash.values()
    cursor.execute(
        _CREDIT,
        {
            "accounts": list(cash),
            "credits": [c.credit for c in changes],
            "reserved": [c.reserved for c in changes],
            "fees": [c.fees for c in changes],
        },
    )
    assert cursor.rowcount == len(cash), "an account without a cash row has traded"


_ADVANCE = """
UPDATE slot SET next_offset = n.next_offset, command_offset = n.command_offset, recorded_at = %s
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
    AS n(slot, epoch, expected, next_offset, command_offset)
WHERE slot.slot = n.slot AND slot.epoch = n.epoch AND slot.next_offset = n.expected
"""

# The locking CTE keeps the id order: a plain UPDATE locks in any order and deadlocks at once.
_CREDIT = """
WITH change AS (
    SELECT * FROM unnest(%(accounts)s::uuid[], %(credits)s::bigint[], %(reserved)s::bigint[], %(fees)s::bigint[])
        AS c(account_id, credit, reserved, fees)
), locked AS MATERIALIZED (
    SELECT account_id FROM cash_account WHERE account_id = ANY(%(accounts)s::uuid[]) ORDER BY account_id FOR UPDATE
)
UPDATE cash_account c SET cash_pips = cash_pips + change.credit, reserved_pips = reserved_pips + change.reserved,
    fees_paid_pips = fees_paid_pips + change.fees
FROM locked JOIN change USING (account_id) WHERE c.account_id = locked.account_id
"""
