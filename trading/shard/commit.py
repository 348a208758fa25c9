"""T2: heads, events, credits and the consumed offset, in one durable transaction.

Every statement names the epoch this process holds; if any row is not as it left it, nothing is
committed. Cash is only ever added here: what commands could spend was taken by T1.
"""

import dataclasses
from typing import Any

from trading.eventlog.append import Head, copy_rows
from trading.shard.arrays import array_of
from trading.shard.faults import SlotLost
from trading.shard.slots import OwnedSlot


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
    refused_keys: dict[tuple[str, str], str]  # (account, key): reason, of commands that made no order


def commit(connection: Any, plan: CommitPlan) -> None:
    """Runs T2. Raises SlotLost if another owner has taken a slot; then nothing was written."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            _ADVANCE,
            [
                plan.recorded_at,
                array_of(s.slot for s in plan.slots),
                array_of(s.epoch for s in plan.slots),
                array_of(s.next_offset for s in plan.slots),
                array_of(plan.next_offsets),
                array_of(plan.command_offsets),
            ],
        )
        if cursor.rowcount != len(plan.slots):
            raise SlotLost(f"one of slots {[s.slot for s in plan.slots]} has moved on without this process")
        if plan.rows:
            copy_rows(cursor, plan.rows)
        if plan.heads:
            _write_heads(cursor, plan.heads)
        if plan.batch_id is not None:
            cursor.execute("DELETE FROM batch WHERE batch_id = %s", [plan.batch_id])
            if cursor.rowcount != 1:
                raise SlotLost("the batch was given back by another owner")
        if plan.refused_keys:
            _note_refusals(cursor, plan.refused_keys)
        if plan.cash:
            _credit(cursor, plan.cash)


def _note_refusals(cursor: Any, refused_keys: dict[tuple[str, str], str]) -> None:
    """So that a repetition is refused again. A rejected order needs no note: it can be looked up."""
    cursor.execute(
        "UPDATE client_order c SET refusal = r.reason "
        "FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS r(account_id, key, reason) "
        "WHERE c.account_id = r.account_id AND c.key = r.key",
        [
            array_of(account_id for account_id, _ in refused_keys),
            array_of(f'"{key}"' for _, key in refused_keys),
            array_of(refused_keys.values()),
        ],
    )


def _write_heads(cursor: Any, by_slot: dict[int, dict[str, Head]]) -> None:
    rows = [(stream, slot, head) for slot, heads in by_slot.items() for stream, head in heads.items()]
    cursor.execute(
        _HEADS,
        [
            array_of(stream for stream, _, _ in rows),
            array_of(slot for _, slot, _ in rows),
            array_of(head.version for _, _, head in rows),
            array_of(f'"\\\\x{head.hash.hex()}"' for _, _, head in rows),
        ],
    )


def _credit(cursor: Any, cash: dict[str, CashChange]) -> None:
    changes = cash.values()
    cursor.execute(
        _CREDIT,
        {
            "accounts": array_of(cash),
            "credits": array_of(c.credit for c in changes),
            "reserved": array_of(c.reserved for c in changes),
            "fees": array_of(c.fees for c in changes),
        },
    )
    assert cursor.rowcount == len(cash), "an account without a cash row has traded"


_ADVANCE = """
UPDATE slot SET next_offset = n.next_offset, command_offset = n.command_offset, recorded_at = %s
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
    AS n(slot, epoch, expected, next_offset, command_offset)
WHERE slot.slot = n.slot AND slot.epoch = n.epoch AND slot.next_offset = n.expected
"""

_HEADS = """
INSERT INTO stream (id, slot, version, hash)
SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::bigint[], %s::bytea[])
ON CONFLICT (id) DO UPDATE SET version = excluded.version, hash = excluded.hash
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
