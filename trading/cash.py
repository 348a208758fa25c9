"""Play money in and out: deposits, withdrawals and the balance of one account.

Owns the funds_* events. Refuses to move cash without an event, and to let an account have more than
MAX_CASH_PIPS. Trading's own use of cash is the shard's, pay-outs are settlement's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from django.db import connection

from trading.as_of import wait_briefly
from trading.errors import ArchivedEvents, IdempotencyMismatch, InvalidRequest, NotFound, Overloaded, Refused
from trading.eventlog.append import NewEvent, append_to_accounts
from trading.eventlog.codec import canonical_json
from trading.ids import account_slot
from trading.outage import atomic
from trading.replicas import reading
from trading.wake import wake_readers_after_commit

MAX_AMOUNT_PIPS = 10**13
"""Most that one deposit or withdrawal may move: $1,000,000,000."""

MAX_CASH_PIPS = 10**16
"""Most that an account may hold. Sums over a thousand such accounts still fit a bigint."""

EXCEEDS_AVAILABLE_CASH = "exceeds_available_cash"
EXCEEDS_LIMITS = "exceeds_limits"


class CashAnswer(NamedTuple):
    """Free cash after the command, where to read it from, and whether it had been done before."""

    cash_pips: int
    as_of: str
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _MoveFunds:
    """One deposit or withdrawal as it was asked for."""

    op: str
    account_id: str
    amount_pips: int
    client_id: str | None
    actor: str
    request_id: str | None

    @property
    def slot(self) -> int:
        return account_slot(self.account_id)

    @property
    def hash(self) -> bytes:
        """What makes two commands the same one; who sent it and when does not."""
        return sha256(canonical_json({"amount": self.amount_pips, "op": self.op})).digest()

    def metadata(self, at_us: int) -> dict[str, Any]:
        command = {"op": self.op, "amount": self.amount_pips, "client_id": self.client_id}
        return {"command": command, "actor": self.actor, "request_id": self.request_id, "at_us": at_us}


class _Cash(NamedTuple):
    cash_pips: int
    debt_pips: int


def open_account(account_id: str) -> None:
    """Give an account its (empty) cash row. Harmless if it has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cash_account (account_id) VALUES (%s) ON CONFLICT DO NOTHING", [account_id]
        )


def deposit(
    *, account_id: str, amount_pips: int, client_id: str | None, actor: str, request_id: str | None = None
) -> CashAnswer:
    """Add play money; what the account owes is repaid first.

    `amount_pips` is 1..MAX_AMOUNT_PIPS (else InvalidRequest). `client_id` makes it happen once: with the
    same amount the answer is replayed, with another command IdempotencyMismatch. Refused with
    `exceeds_limits` where the account would hold more than MAX_CASH_PIPS; NotFound without a cash row; OutcomeUnknown
    where the commit has no answer.
    """
    return _move_funds(
        _MoveFunds(
            op="deposit", account_id=account_id, amount_pips=amount_pips, client_id=client_id,
            actor=actor, request_id=request_id,
        )
    )  # fmt: skip


def withdraw(
    *, account_id: str, amount_pips: int, client_id: str | None, actor: str, request_id: str | None = None
) -> CashAnswer:
    """Take free cash out, of which what the account owes stays. Arguments and errors as `deposit`.

    Refused with `exceeds_available_cash`.
    """
    return _move_funds(
        _MoveFunds(
            op="withdraw", account_id=account_id, amount_pips=amount_pips, client_id=client_id,
            actor=actor, request_id=request_id,
        )
    )  # fmt: skip


def account_balance(account_id: str) -> dict[str, Any]:
    """Cash of an account now, in pips: from the primary, but in a read that may lag.

    `reserved_pips` is what open orders hold plus what a batch in flight has taken. `as_of` covers every
    slot, since any market may have moved this cash; it is empty while the log is. One statement, so all
    of it is from one moment.
    """
    with reading().cursor() as cursor:
        cursor.execute(
            """
            SELECT c.cash_pips,
                   c.reserved_pips + coalesce((
                       SELECT sum(taken.amount)::bigint
                       FROM batch b, unnest(b.accounts, b.amounts) AS taken(account_id, amount)
                       WHERE taken.account_id = c.account_id), 0),
                   c.debt_pips, c.fees_paid_pips,
                   (SELECT string_agg(s.slot || '-' || (s.next_offset - 1), '.' ORDER BY s.slot)
                    FROM slot s WHERE s.next_offset > 0)
            FROM cash_account c WHERE c.account_id = %s
            """,
            [account_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("This account has no cash row.")
    cash, reserved, debt, fees, as_of = row
    return {
        "cash_pips": cash,
        "reserved_pips": reserved,
        "debt_pips": debt,
        "fees_paid_pips": fees,
        "as_of": as_of or "",
    }


def balance_with_positions(account_id: str) -> dict[str, Any]:
    """The balance, once the read model of positions is as far, if that takes a moment only.

    Cash is the engine's: without the positions of the same moment the equity would jump with each trade.
    """
    balance = account_balance(account_id)
    wait_briefly(balance["as_of"], ("positions",))
    return balance


def equity_pips(balance: Mapping[str, int], positions_pips: int) -> int:
    """Cash, what orders hold and what shares are worth, less what is owed."""
    return balance["cash_pips"] + balance["reserved_pips"] + positions_pips - balance["debt_pips"]


def _move_funds(command: _MoveFunds) -> CashAnswer:
    if not 1 <= command.amount_pips <= MAX_AMOUNT_PIPS:
        raise InvalidRequest(errors={"amount": ["must be between 0.0001 and 1000000000.0000"]})
    with atomic(), connection.cursor() as cursor:
        claimed_us = _claim(cursor, command)
        if claimed_us is None:
            return _replay(cursor, command)
        cash = _lock(cursor, command)
        refusal = _refusal(command, cash)
        if refusal is None:
            return _commit(cursor, command, cash, claimed_us)
        if command.client_id is not None:
            # A refusal uses the id up, so it is remembered, and the transaction must commit.
            _append_refusal(cursor, command, refusal, claimed_us)
    raise Refused(refusal)


def _claim(cursor: Any, command: _MoveFunds) -> int | None:
    """The moment (microseconds) this command became the one of its client id; None if it had been claimed.

    The claim is the first lock taken: whoever waits for it holds nothing that others wait for.
    """
    if command.client_id is None:
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    else:
        cursor.execute(
            "INSERT INTO client_order (account_id, key, command_hash) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING (extract(epoch FROM created_at) * 1000000)::bigint",
            [command.account_id, command.client_id, command.hash],
        )
    row = cursor.fetchone()
    return None if row is None else row[0]


def _lock(cursor: Any, command: _MoveFunds) -> _Cash:
    """Lock the account's slot and then its cash: the order in which everybody takes them."""
    cursor.execute("SELECT FROM slot WHERE slot = %s FOR UPDATE", [command.slot])
    cursor.execute(
        "SELECT cash_pips, debt_pips FROM cash_account WHERE account_id = %s FOR UPDATE", [command.account_id]
    )
    row = cursor.fetchone()
    if row is None:
        raise NotFound("This account has no cash row.")
    return _Cash(*row)


def _refusal(command: _MoveFunds, cash: _Cash) -> str | None:
    if command.op == "withdraw" and command.amount_pips > cash.cash_pips - cash.debt_pips:
        return EXCEEDS_AVAILABLE_CASH
    if command.op == "deposit" and cash.cash_pips + command.amount_pips > MAX_CASH_PIPS:
        return EXCEEDS_LIMITS
    return None


def _commit(cursor: Any, command: _MoveFunds, cash: _Cash, at_us: int) -> CashAnswer:
    data: dict[str, Any] = {"amount": command.amount_pips, "client_id": command.client_id}
    if command.op == "deposit":
        repaid = min(cash.debt_pips, command.amount_pips)
        data["repaid"] = repaid
        change, kind = command.amount_pips - repaid, "funds_deposited/1"
    else:
        repaid, change, kind = 0, -command.amount_pips, "funds_withdrawn/1"
    offset = _append(cursor, command, NewEvent(kind, data, command.metadata(at_us)), at_us)
    cursor.execute(
        "UPDATE cash_account SET cash_pips = cash_pips + %s, debt_pips = debt_pips - %s WHERE account_id = %s",
        [change, repaid, command.account_id],
    )
    wake_readers_after_commit()
    return CashAnswer(cash.cash_pips + change, f"{command.slot}-{offset}", replayed=False)


def _append_refusal(cursor: Any, command: _MoveFunds, reason: str, at_us: int) -> None:
    data = {
        "account": command.account_id,
        "command": command.op,
        "order": None,
        "reason": reason,
        "amount": command.amount_pips,
        "client_id": command.client_id,
    }
    _append(cursor, command, NewEvent("command_refused/1", data, command.metadata(at_us)), at_us)
    wake_readers_after_commit()


def _append(cursor: Any, command: _MoveFunds, event: NewEvent, at_us: int) -> int:
    written = append_to_accounts(cursor, slot=command.slot, events=[(command.account_id, event)], at_us=at_us)
    return written[command.account_id][0]


def _replay(cursor: Any, command: _MoveFunds) -> CashAnswer:
    """The answer of a command that was done before: its own event, and cash as it now stands."""
    cursor.execute(
        "SELECT command_hash, created_at FROM client_order WHERE account_id = %s AND key = %s",
        [command.account_id, command.client_id],
    )
    row = cursor.fetchone()
    if row is None:
        # Claimed by a batch that was just given back: nothing has happened under this id.
        raise Overloaded()
    stored_hash, created_at = row
    if bytes(stored_hash) != command.hash:
        raise IdempotencyMismatch()
    # Recorded at the claim's moment or later, which spares the older partitions.
    cursor.execute(
        "SELECT slot_offset, type, data->>'reason' FROM event "
        "WHERE stream_id = %s AND recorded_at >= %s AND data->>'client_id' = %s ORDER BY version LIMIT 1",
        [command.account_id, created_at, command.client_id],
    )
    row = cursor.fetchone()
    if row is None:
        raise ArchivedEvents("This was done under that id long ago; its event is archived.")
    offset, kind, reason = row
    if kind == "command_refused/1":
        raise Refused(reason)
    cursor.execute("SELECT cash_pips FROM cash_account WHERE account_id = %s", [command.account_id])
    return CashAnswer(cursor.fetchone()[0], f"{command.slot}-{offset}", replayed=True)
