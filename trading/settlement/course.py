"""The course of a settlement: begin, its steps in order, the end. See the package for the states."""

import logging
import time
from collections.abc import Mapping

from django.conf import settings
from django.db import OperationalError, connection, transaction

from trading.connection import preparing_cursor
from trading.ids import ACCOUNT_SLOTS, MARKET_SLOTS
from trading.settlement.dues import (
    PAY,
    Behind,
    Settlement,
    Unbalanced,
    count_accounts,
    load_settlement,
    next_dues,
    pool_pips,
    void_refunds,
)
from trading.settlement.pay import pay_dues

log = logging.getLogger(__name__)

WAITING, RUNNING, BUSY, DONE = "waiting", "running", "busy", "done"

CHUNK_ACCOUNTS: int = settings.SETTLEMENT_CHUNK
"""Accounts of one transaction: it holds their cash and their slot until it commits."""

_TAKE_SLOT = """
SELECT slot, after::text FROM settlement_slot WHERE settlement_id = %s AND step = %s AND NOT is_done
ORDER BY slot FOR UPDATE SKIP LOCKED LIMIT 1
"""


def settle(settlement_id: str, *, time_limit_s: float = 20.0) -> str:
    """Do as much of a settlement as fits into the time; call again until it says `done`.

    `waiting`: the positions projection or an earlier settlement of the market is not there yet, or somebody is about to
    begin; nothing was done.
    `running`: time was up. `busy`: others are at all that is left. Raises NotFound; Unbalanced where the market does
    not add up, which leaves the settlement failed until it is called again. Safe to call from any number of processes
    at once, which share the account slots out among them.
    """
    settlement = load_settlement(settlement_id)
    if settlement.status == DONE:
        return DONE
    if settlement.has_to_wait:
        return WAITING
    deadline = time.monotonic() + time_limit_s
    try:
        if settlement.status in ("pending", "failed"):
            _begin(settlement)
        for step in settlement.steps:
            status = _run_step(settlement, step, deadline)
            if status != DONE:
                return status
        _finish(settlement)
        return DONE
    except Behind:
        return WAITING
    except Unbalanced as error:
        _fail(settlement, str(error))
        raise


def _begin(settlement: Settlement) -> None:
    """Check that the market adds up before the first pip leaves it, and count who is to be paid.

    One worker does; others find its lock and come again. A million takes longer than a transaction may otherwise.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_timeout = 0")
        cursor.execute(
            "SELECT status FROM settlement WHERE settlement_id = %s FOR UPDATE SKIP LOCKED",
            [settlement.settlement_id],
        )
        row = cursor.fetchone()
        if row is None:
            raise Behind
        if row[0] not in ("pending", "failed"):
            return
        cursor.execute(
            "UPDATE settlement SET status = 'running', finished_at = NULL, accounts_total = %s "
            "WHERE settlement_id = %s",
            [count_accounts(cursor, settlement), settlement.settlement_id],
        )
        cursor.execute(
            "INSERT INTO settlement_slot (settlement_id, step, slot) "
            "SELECT %s, step, slot FROM unnest(%s::text[]) AS step, generate_series(%s, %s) AS slot "
            "ON CONFLICT DO NOTHING",
            [
                settlement.settlement_id,
                list(settlement.steps),
                MARKET_SLOTS,
                MARKET_SLOTS + ACCOUNT_SLOTS - 1,
            ],
        )


def _run_step(settlement: Settlement, step: str, deadline: float) -> str:
    """`done` when the step is complete for every account; else as `settle`."""
    refunds = void_refunds(settlement) if step == PAY and settlement.kind == "void" else {}
    has_settled = False
    while time.monotonic() <= deadline:
        try:
            if not _settle_chunk(settlement, step, refunds):
                return DONE if _is_complete(settlement, step) else BUSY
        except OperationalError as error:
            # A lock that was waited for too long, say. What was settled before it is no failure.
            if not has_settled:
                raise
            log.warning("a chunk of settlement %s has to be tried again: %s", settlement.settlement_id, error)
            return RUNNING
        has_settled = True
    return RUNNING


def _settle_chunk(settlement: Settlement, step: str, refunds: Mapping[str, int]) -> bool:
    """Settle the next accounts of a slot that nobody is at; False if there is no such slot."""
    with transaction.atomic(), preparing_cursor() as cursor:
        cursor.execute(_TAKE_SLOT, [settlement.settlement_id, step])
        row = cursor.fetchone()
        if row is None:
            return False
        slot, after = row
        dues = next_dues(
            cursor, settlement, step, slot=slot, after=after, limit=CHUNK_ACCOUNTS, refunds=refunds
        )
        if dues:
            pay_dues(cursor, settlement, step, slot=slot, dues=dues)
        cursor.execute(
            "UPDATE settlement_slot SET after = %s, is_done = %s "
            "WHERE settlement_id = %s AND step = %s AND slot = %s",
            [
                dues[-1].account_id if dues else after,
                len(dues) < CHUNK_ACCOUNTS,
                settlement.settlement_id,
                step,
                slot,
            ],
        )
        return True


def _is_complete(settlement: Settlement, step: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(is_done) FROM settlement_slot WHERE settlement_id = %s AND step = %s",
            [settlement.settlement_id, step],
        )
        return bool(cursor.fetchone()[0])


def _finish(settlement: Settlement) -> None:
    """Nobody is left, so everything the market held must have been paid, to the pip."""
    pool = pool_pips(settlement)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT paid_pips FROM settlement WHERE settlement_id = %s FOR UPDATE", [settlement.settlement_id]
        )
        paid = cursor.fetchone()[0]
        if paid != pool:
            raise Unbalanced(f"paid {paid} pips of {pool}")
        cursor.execute(
            "UPDATE settlement SET status = 'done', finished_at = now(), ended_at_offsets = ARRAY("
            "SELECT next_offset FROM slot WHERE slot >= %s ORDER BY slot) "
            "WHERE settlement_id = %s AND status = 'running'",
            [MARKET_SLOTS, settlement.settlement_id],
        )


def _fail(settlement: Settlement, error: str) -> None:
    """Say so where it is looked at; what was paid stays paid and recorded."""
    log.error("settlement %s of market %s failed: %s", settlement.settlement_id, settlement.market_id, error)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE settlement SET status = 'failed', finished_at = now() "
            "WHERE settlement_id = %s AND status IN ('pending', 'running')",
            [settlement.settlement_id],
        )
