"""One chunk of a settlement: a few hundred accounts of one slot, in one transaction.

Owns settlement_account and the position_closed, payout_issued and payout_reversed events. Locks the
accounts' slot first (so that two workers at the same accounts queue there) and their cash, in id
order, after it: the order in which everybody takes them.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction

from trading.eventlog.append import NewEvent, append_to_accounts
from trading.ids import account_slot
from trading.settlement.dues import PAY, TAKE_BACK, Due, Settlement
from trading.wake import wake_readers_after_commit

CHUNK_ACCOUNTS = 500


class _Movement(NamedTuple):
    """What actually moves: `repaid_pips` of the amount goes to the account's debt, the rest to its cash."""

    account_id: str
    amount_pips: int
    cash_change_pips: int
    repaid_pips: int


def chunks(page: Sequence[Due]) -> Iterator[tuple[int, list[Due]]]:
    """The page by account slot, since a transaction appends to one slot, in pieces that are quickly done."""
    by_slot: dict[int, list[Due]] = {}
    for due in page:
        by_slot.setdefault(account_slot(due.account_id), []).append(due)
    for slot, dues in sorted(by_slot.items()):
        for start in range(0, len(dues), CHUNK_ACCOUNTS):
            yield slot, dues[start : start + CHUNK_ACCOUNTS]


def settle_chunk(settlement: Settlement, step: str, *, slot: int, dues: Sequence[Due]) -> None:
    """Give the accounts that are not marked yet their events, cash and mark. Harmless to repeat."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM slot WHERE slot = %s FOR UPDATE", [slot])
        dues = _not_marked(cursor, settlement, step, dues)
        if not dues:
            return
        # From here on nobody else deals with these accounts: their slot is locked.
        movements = _lock_and_decide(cursor, step, dues)
        events = _events(settlement, step, dues, movements)
        if events:
            append_to_accounts(cursor, slot=slot, events=events, at_us=time.time_ns() // 1000)
        _mark(cursor, settlement, step, movements)
        _move_cash(cursor, movements)
        if step == PAY:
            _show_progress(cursor, settlement, movements)
        wake_readers_after_commit()


def _not_marked(cursor: Any, settlement: Settlement, step: str, dues: Sequence[Due]) -> list[Due]:
    cursor.execute(
        "SELECT account_id::text FROM settlement_account "
        "WHERE settlement_id = %s AND step = %s AND account_id = ANY(%s::uuid[])",
        [settlement.settlement_id, step, [due.account_id for due in dues]],
    )
    marked = {account_id for (account_id,) in cursor.fetchall()}
    return [due for due in dues if due.account_id not in marked]


def _lock_and_decide(cursor: Any, step: str, dues: Sequence[Due]) -> list[_Movement]:
    """A pay-out repays debt first; a take-back reaches as far as free cash does."""
    cursor.execute(
        "SELECT account_id::text, cash_pips, debt_pips FROM cash_account "
        "WHERE account_id = ANY(%s::uuid[]) ORDER BY account_id FOR UPDATE",
        [[due.account_id for due in dues]],
    )
    rows = {account_id: (cash, debt) for account_id, cash, debt in cursor.fetchall()}
    movements = []
    for account_id, due_pips, _ in dues:
        cash, debt = rows[account_id]
        if step == TAKE_BACK:
            amount = min(due_pips, cash)
            movements.append(_Movement(account_id, amount, -amount, 0))
        else:
            repaid = min(due_pips, debt)
            movements.append(_Movement(account_id, due_pips, due_pips - repaid, repaid))
    return movements


def _events(
    settlement: Settlement, step: str, dues: Sequence[Due], movements: Sequence[_Movement]
) -> list[tuple[str, NewEvent]]:
    about: dict[str, Any] = {"market": settlement.market_id, "settlement": settlement.settlement_id}
    metadata = {"cause": settlement.cause}
    events = []
    for due, moved in zip(dues, movements, strict=True):
        amount = moved.amount_pips
        if step == TAKE_BACK:
            if amount:
                events.append(
                    (due.account_id, NewEvent("payout_reversed/1", {**about, "amount": amount}, metadata))
                )
            continue
        # A void closes holders alone: there is nothing to be learnt about the others.
        if settlement.resolves or any(due.quantities):
            payout = amount if settlement.resolves else 0
            closed = {**about, "quantities": list(due.quantities), "payout": payout}
            events.append((due.account_id, NewEvent("position_closed/1", closed, metadata)))
        if amount:
            kind = "win" if settlement.resolves else "refund"
            paid = {**about, "amount": amount, "kind": kind, "repaid": moved.repaid_pips}
            events.append((due.account_id, NewEvent("payout_issued/1", paid, metadata)))
    return events


def _mark(cursor: Any, settlement: Settlement, step: str, movements: Sequence[_Movement]) -> None:
    """The primary key is the second guard against paying twice."""
    cursor.execute(
        "INSERT INTO settlement_account (settlement_id, account_id, step, amount_pips) "
        "SELECT %s, account_id, %s, amount FROM unnest(%s::uuid[], %s::bigint[]) AS m(account_id, amount)",
        [
            settlement.settlement_id,
            step,
            [moved.account_id for moved in movements],
            [moved.amount_pips for moved in movements],
        ],
    )


def _move_cash(cursor: Any, movements: Sequence[_Movement]) -> None:
    """The rows are locked already, so the order of this update does not matter."""
    cursor.execute(
        "UPDATE cash_account c SET cash_pips = c.cash_pips + m.change, debt_pips = c.debt_pips - m.repaid "
        "FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS m(account_id, change, repaid) "
        "WHERE c.account_id = m.account_id",
        [
            [moved.account_id for moved in movements],
            [moved.cash_change_pips for moved in movements],
            [moved.repaid_pips for moved in movements],
        ],
    )


def _show_progress(cursor: Any, settlement: Settlement, movements: Sequence[_Movement]) -> None:
    cursor.execute(
        "UPDATE settlement SET accounts_paid = accounts_paid + %s, paid_pips = paid_pips + %s "
        "WHERE settlement_id = %s",
        [len(movements), sum(moved.amount_pips for moved in movements), settlement.settlement_id],
    )
