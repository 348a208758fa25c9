"""The course of a settlement: begin, its steps in order, the end. See the package for the states."""

import logging
import time

from django.db import connection, transaction

from trading.ids import new_id
from trading.settlement.dues import (
    BEFORE_ALL_ACCOUNTS,
    PAY,
    Behind,
    Settlement,
    Unbalanced,
    count_accounts,
    dues_page,
    load_settlement,
    pool_pips,
    void_refunds,
)
from trading.settlement.pay import chunks, settle_chunk

log = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


def settle(settlement_id: str, *, time_limit_s: float = 20.0) -> str:
    """Do as much of a settlement as fits into the time; call again until it says `done` or `failed`.

    `waiting`: the positions projection is not there yet, nothing was done. `running`: time was up.
    Raises NotFound. Safe to call from any number of processes at once.
    """
    settlement = load_settlement(settlement_id)
    if settlement.status in (DONE, FAILED):
        return settlement.status
    deadline = time.monotonic() + time_limit_s
    try:
        if settlement.status == "pending":
            _begin(settlement)
        for step in settlement.steps:
            if not _run_step(settlement, step, deadline):
                return RUNNING
        return _finish(settlement)
    except Behind:
        return WAITING
    except Unbalanced as error:
        return _fail(settlement, str(error))


def stalled_settlements(*, idle_s: float = 10.0) -> list[str]:
    """Settlements that nobody seems to be at: not begun, or without a payment for `idle_s` seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.settlement_id::text FROM settlement s WHERE s.status = 'pending' "
            "OR (s.status = 'running' AND NOT EXISTS (SELECT FROM settlement_account d "
            "WHERE d.settlement_id = s.settlement_id AND d.paid_at > now() - make_interval(secs => %s))) "
            "ORDER BY s.created_at",
            [idle_s],
        )
        return [settlement_id for (settlement_id,) in cursor.fetchall()]


def _begin(settlement: Settlement) -> None:
    """Check that the market adds up before the first pip leaves it, and count who is to be paid."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT status FROM settlement WHERE settlement_id = %s FOR UPDATE", [settlement.settlement_id]
        )
        if cursor.fetchone()[0] != "pending":
            return
        cursor.execute(
            "UPDATE settlement SET status = 'running', accounts_total = %s, collateral_pips = %s "
            "WHERE settlement_id = %s",
            [count_accounts(cursor, settlement), settlement.collateral_pips, settlement.settlement_id],
        )


def _run_step(settlement: Settlement, step: str, deadline: float) -> bool:
    """Whether the step is complete for every account; False if time was up first."""
    refunds = void_refunds(settlement) if step == PAY and not settlement.resolves else {}
    after = BEFORE_ALL_ACCOUNTS
    while True:
        page = dues_page(settlement, step, after=after, refunds=refunds)
        if not page and after == BEFORE_ALL_ACCOUNTS:
            return True
        for slot, dues in chunks(page):
            if time.monotonic() > deadline:
                return False
            settle_chunk(settlement, step, slot=slot, dues=dues)
        # After the last page comes one more look from the beginning, which has to find nobody.
        after = page[-1].account_id if page else BEFORE_ALL_ACCOUNTS


def _finish(settlement: Settlement) -> str:
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
            "UPDATE settlement SET status = 'done', finished_at = now() "
            "WHERE settlement_id = %s AND status = 'running'",
            [settlement.settlement_id],
        )
    return DONE


def _fail(settlement: Settlement, error: str) -> str:
    """Stop for good and say so where someone looks; what was paid stays paid and recorded."""
    log.error("settlement %s of market %s failed: %s", settlement.settlement_id, settlement.market_id, error)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE settlement SET status = 'failed', finished_at = now() "
            "WHERE settlement_id = %s AND status IN ('pending', 'running')",
            [settlement.settlement_id],
        )
        if cursor.rowcount:
            cursor.execute(
                "INSERT INTO dead_letter (id, source, payload, error, trace) "
                "VALUES (%s, 'settlement', jsonb_build_object('settlement', %s::text), %s, '')",
                [new_id(), settlement.settlement_id, error],
            )
    return FAILED
