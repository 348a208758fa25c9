"""One chunk of a settlement: SETTLEMENT_CHUNK accounts of one slot, in one transaction.

Owns settlement_account and the position_closed, position_reopened, payout_issued and payout_reversed events. Locks
the accounts' slot first (so that two workers at the same accounts queue there) and their cash, in id order, after it:
the order in which everybody takes them.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trading.array_literals import array_of
from trading.eventlog.append import NewEvent, append_to_accounts
from trading.settlement.dues import PAY, TAKE_BACK, UNDO_PAY, UNDO_TAKE_BACK, Due, Settlement
from trading.wake import wake_readers_after_commit


class _Movement(NamedTuple):
    """What actually moves: the changes of the account's cash and debt, of which one or both are the amount."""

    account_id: str
    amount_pips: int
    cash_change_pips: int
    debt_change_pips: int


def pay_dues(cursor: Any, settlement: Settlement, step: str, *, slot: int, dues: Sequence[Due]) -> None:
    """Give those accounts of a slot that are not marked yet their events, cash and mark. Harmless to repeat.

    In the caller's transaction.
    """
    cursor.execute("SELECT FROM slot WHERE slot = %s FOR UPDATE", [slot])
    dues = _not_marked(cursor, settlement, step, dues)
    if not dues:
        return
    # From here on nobody else deals with these accounts: their slot is locked.
    movements = _lock_and_decide(cursor, step, dues)
    events = _events(settlement, step, dues, movements)
    if events:
        append_to_accounts(cursor, slot=slot, events=events, at_us=time.time_ns() // 1000)
    _mark(cursor, settlement, step, dues, movements)
    _move_cash(cursor, movements)
    if step in (PAY, UNDO_PAY):
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
    """A credit repays debt first. A void takes back as far as free cash reaches; a reversal takes all of what was
    paid, and what has been spent of it becomes debt."""
    cursor.execute(
        "SELECT account_id::text, cash_pips, debt_pips FROM cash_account "
        "WHERE account_id = ANY(%s::uuid[]) ORDER BY account_id FOR UPDATE",
        [[due.account_id for due in dues]],
    )
    rows = {account_id: (cash, debt) for account_id, cash, debt in cursor.fetchall()}
    movements = []
    for account_id, due_pips, *_ in dues:
        cash, debt = rows[account_id]
        if step == TAKE_BACK:
            amount = min(due_pips, cash)
            movements.append(_Movement(account_id, amount, -amount, 0))
        elif step == UNDO_PAY:
            taken = min(due_pips, cash)
            movements.append(_Movement(account_id, due_pips, -taken, due_pips - taken))
        else:
            repaid = min(due_pips, debt)
            movements.append(_Movement(account_id, due_pips, due_pips - repaid, -repaid))
    return movements


def _events(
    settlement: Settlement, step: str, dues: Sequence[Due], movements: Sequence[_Movement]
) -> list[tuple[str, NewEvent]]:
    metadata = {"cause": settlement.cause}
    say = {PAY: _paid, TAKE_BACK: _taken_back, UNDO_PAY: _undone, UNDO_TAKE_BACK: _returned}[step]
    about: dict[str, Any] = {"market": settlement.market_id, "settlement": settlement.settlement_id}
    return [
        (due.account_id, NewEvent(kind, {**about, **data}, metadata))
        for due, moved in zip(dues, movements, strict=True)
        for kind, data in say(settlement, due, moved)
    ]


_Said = Iterator[tuple[str, dict[str, Any]]]


def _paid(settlement: Settlement, due: Due, moved: _Movement) -> _Said:
    # A void closes holders alone: there is nothing to be learnt about the others.
    if settlement.resolves or any(due.quantities):
        payout = moved.amount_pips if settlement.resolves else 0
        yield "position_closed/1", {"quantities": list(due.quantities), "payout": payout}
    if moved.amount_pips:
        kind = "win" if settlement.resolves else "refund"
        yield (
            "payout_issued/1",
            {"amount": moved.amount_pips, "kind": kind, "repaid": -moved.debt_change_pips},
        )


def _taken_back(settlement: Settlement, due: Due, moved: _Movement) -> _Said:
    if moved.amount_pips:
        yield "payout_reversed/2", {"amount": moved.amount_pips, "kind": "take_back", "owed": 0}


def _undone(settlement: Settlement, due: Due, moved: _Movement) -> _Said:
    """What `_paid` has said of the settlement that is undone, the other way round."""
    resolved = settlement.reversed_kind == "resolve"
    if moved.amount_pips:
        kind = "win" if resolved else "refund"
        yield "payout_reversed/2", {
            "amount": moved.amount_pips, "kind": kind, "owed": moved.debt_change_pips
        }  # fmt: skip
    if resolved or any(due.quantities):
        yield "position_reopened/1", {
            "costs": list(due.costs_pips), "quantities": list(due.quantities), "reverses": settlement.reverses,
        }  # fmt: skip


def _returned(settlement: Settlement, due: Due, moved: _Movement) -> _Said:
    if moved.amount_pips:
        yield "payout_issued/1", {
            "amount": moved.amount_pips, "kind": "returned", "repaid": -moved.debt_change_pips
        }  # fmt: skip


def _mark(
    cursor: Any, settlement: Settlement, step: str, dues: Sequence[Due], movements: Sequence[_Movement]
) -> None:
    """The primary key is the second guard against paying twice. What is closed is kept, to be opened again if need
    be: arrays of arrays have to be of one length, so the outcomes' values go as text."""
    keeps = step == PAY
    cursor.execute(
        "INSERT INTO settlement_account (settlement_id, account_id, step, amount_pips, quantities, costs) "
        "SELECT %s::uuid, account_id, %s::text, amount, quantities::bigint[], costs::bigint[] "
        "FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[]) AS m(account_id, amount, quantities, costs)",
        [
            settlement.settlement_id,
            step,
            [moved.account_id for moved in movements],
            [moved.amount_pips for moved in movements],
            [array_of(due.quantities) if keeps else None for due in dues],
            [array_of(due.costs_pips) if keeps else None for due in dues],
        ],
    )


def _move_cash(cursor: Any, movements: Sequence[_Movement]) -> None:
    """The rows are locked already, so the order of this update does not matter."""
    cursor.execute(
        "UPDATE cash_account c SET cash_pips = c.cash_pips + m.change, debt_pips = c.debt_pips + m.debt "
        "FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS m(account_id, change, debt) "
        "WHERE c.account_id = m.account_id",
        [
            [moved.account_id for moved in movements],
            [moved.cash_change_pips for moved in movements],
            [moved.debt_change_pips for moved in movements],
        ],
    )


def _show_progress(cursor: Any, settlement: Settlement, movements: Sequence[_Movement]) -> None:
    cursor.execute(
        "UPDATE settlement SET accounts_paid = accounts_paid + %s, paid_pips = paid_pips + %s "
        "WHERE settlement_id = %s",
        [len(movements), sum(moved.amount_pips for moved in movements), settlement.settlement_id],
    )
