"""Collects what accounts owe: what a reversed pay-out could not take back, because it had been spent.

Deposits and pay-outs repay debt by themselves. What comes in by trading comes through a shard, which knows nothing of
debt, so a round every second takes what such an account has free. Owns the event debt_repaid.
"""

import time
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from trading.eventlog.append import NewEvent, append_to_accounts
from trading.ids import account_slot
from trading.wake import wake_readers_after_commit

PAGE_ACCOUNTS = 500
"""Most whose debts one transaction collects: it holds their slot and their cash."""

ROUND_ACCOUNTS = 5_000
"""Most that one round looks at; the rest is the next one's."""

# The partial index is on debt alone: with cash in it no change of an account's cash could be a heap-only one.
_OWING = """
SELECT account_id::text FROM cash_account WHERE debt_pips > 0 AND cash_pips > 0 ORDER BY account_id LIMIT %s
"""
_LOCK = """
SELECT account_id::text, least(cash_pips, debt_pips) FROM cash_account
WHERE account_id = ANY(%s::uuid[]) AND debt_pips > 0 AND cash_pips > 0 ORDER BY account_id FOR UPDATE
"""
_REPAY = """
UPDATE cash_account c SET cash_pips = c.cash_pips - r.amount, debt_pips = c.debt_pips - r.amount
FROM unnest(%s::uuid[], %s::bigint[]) AS r(account_id, amount) WHERE c.account_id = r.account_id
"""


def collect_debts() -> int:
    """Let accounts in debt repay what they can out of free cash. Answers how many did; any number may run at once."""
    with connection.cursor() as cursor:
        cursor.execute(_OWING, [ROUND_ACCOUNTS])
        by_slot: dict[int, list[str]] = {}
        for (account_id,) in cursor.fetchall():
            by_slot.setdefault(account_slot(account_id), []).append(account_id)
    return sum(
        _collect(slot, account_ids[start : start + PAGE_ACCOUNTS])
        for slot, account_ids in sorted(by_slot.items())
        for start in range(0, len(account_ids), PAGE_ACCOUNTS)
    )


def _collect(slot: int, account_ids: Sequence[str]) -> int:
    """One page. Slot first, then cash in id order: as everybody takes them. What was repaid meanwhile is not again."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM slot WHERE slot = %s FOR UPDATE", [slot])
        cursor.execute(_LOCK, [list(account_ids)])
        repaid: list[tuple[str, int]] = cursor.fetchall()
        if repaid:
            _repay(cursor, slot, repaid)
        return len(repaid)


def _repay(cursor: Any, slot: int, repaid: Sequence[tuple[str, int]]) -> None:
    events = [
        (account_id, NewEvent("debt_repaid/1", {"amount": amount}, {"actor": "system"}))
        for account_id, amount in repaid
    ]
    append_to_accounts(cursor, slot=slot, events=events, at_us=time.time_ns() // 1000)
    cursor.execute(_REPAY, [[account_id for account_id, _ in repaid], [amount for _, amount in repaid]])
    wake_readers_after_commit()
