"""Owns the table resolution: every proposal of how a market should end, and what became of it.

A part of the markets' projection, so that a market's status and its proposal are of one moment. A market's end, and its
undoing, open a settlement; the rows of table settlement are made once and then belong to trading.settlement.
"""

from collections.abc import Callable
from typing import Any

from trading.eventlog.codec import LoggedEvent, canonical_json
from trading.money import SHARE_PIPS
from trading.projections.projection import BrokenLog
from trading.projections.rows import moment

_CHANGE_STATUS = "UPDATE market SET status = %s, seq = %s WHERE market_id = %s RETURNING 1"
_CLOSE = """
UPDATE market SET seq = %s,
       status = CASE WHEN status IN ('proposed', 'disputed') AND NOT %s THEN status ELSE 'closed' END
WHERE market_id = %s RETURNING 1
"""
_END_MARKET = """
UPDATE market SET status = %s, resolved_at = %s, resolution = %s::jsonb, settlement_id = %s, seq = %s
WHERE market_id = %s RETURNING 1
"""
_INSERT_SETTLEMENT = """
INSERT INTO settlement
    (settlement_id, market_id, kind, status, payouts, collateral_pips, cause_slot, cause_offset, created_at, reverses)
VALUES (%s, %s, %s, 'pending', %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING settlement_id::text
"""
_SUPERSEDE = """
UPDATE resolution SET status = 'superseded', updated_at = %s
WHERE market_id = %s AND status IN ('proposed', 'approved', 'disputed')
"""
# One that was withdrawn may be proposed again under its id.
_INSERT = """
INSERT INTO resolution (resolution_id, market_id, payouts, evidence, status, proposed_by, proposed_at,
                        approvals_needed, window_us, disputable_until, updated_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (resolution_id) DO UPDATE SET
    payouts = excluded.payouts, evidence = excluded.evidence, status = excluded.status,
    proposed_by = excluded.proposed_by, proposed_at = excluded.proposed_at,
    approvals_needed = excluded.approvals_needed,
    window_us = excluded.window_us, disputable_until = excluded.disputable_until, updated_at = excluded.updated_at,
    approved_by = '{}', disputes = 0
"""
_APPROVE = """
UPDATE resolution SET approved_by = approved_by || %s::text, disputable_until = %s, updated_at = %s,
       status = CASE WHEN %s::timestamptz IS NULL THEN status ELSE 'approved' END
WHERE resolution_id = %s
"""
_DISPUTE = """
UPDATE resolution SET status = 'disputed', disputes = disputes + 1, disputable_until = NULL, updated_at = %s,
       approved_by = CASE WHEN status = 'disputed' THEN approved_by ELSE '{}' END
WHERE resolution_id = %s
"""
_SET_STATUS = "UPDATE resolution SET status = %s, updated_at = %s WHERE resolution_id = %s"
_REVERSE = "UPDATE resolution SET status = 'reversed', reversal_id = %s WHERE resolution_id = %s"
_ASK_REVERSAL = """
UPDATE resolution SET reversal_by = reversal_by || %s::text, updated_at = %s
WHERE resolution_id = (SELECT settlement_id FROM market WHERE market_id = %s)
"""

Applier = Callable[[Any, LoggedEvent], list[str]]
"""Changes rows, and answers the ids of the settlements that this opened."""


def change_status(connection: Any, event: LoggedEvent, status: str) -> None:
    """Give the event's market a status. Raises BrokenLog if it was never created."""
    _change_one(connection, event, _CHANGE_STATUS, [status, event.version, event.stream_id])


def close(connection: Any, event: LoggedEvent) -> None:
    """Close the event's market; one whose time comes under review stays under review."""
    is_over = event.data["reason"] != "time"
    _change_one(connection, event, _CLOSE, [event.version, is_over, event.stream_id])


def _proposed(connection: Any, event: LoggedEvent) -> list[str]:
    data, at = event.data, moment(event.recorded_us)
    until = _moment_or_none(data.get("until_us"))
    change_status(connection, event, "proposed")
    connection.execute(_SUPERSEDE, [at, event.stream_id])
    connection.execute(
        _INSERT,
        [
            data["resolution"], event.stream_id, data.get("payouts"), data["evidence"],
            "proposed" if until is None else "approved", data["by"], at, data["approvals"], data["window_us"], until,
            at,
        ],
    )  # fmt: skip
    return []


def _approved(connection: Any, event: LoggedEvent) -> list[str]:
    data, until = event.data, _moment_or_none(event.data.get("until_us"))
    at = moment(event.recorded_us)
    connection.execute(_APPROVE, [data["by"], until, at, until, data["resolution"]])
    return []


def _disputed(connection: Any, event: LoggedEvent) -> list[str]:
    change_status(connection, event, "disputed")
    connection.execute(_DISPUTE, [moment(event.recorded_us), event.data["resolution"]])
    return []


def _withdrawn(connection: Any, event: LoggedEvent) -> list[str]:
    change_status(connection, event, event.data["status"])
    connection.execute(_SET_STATUS, ["withdrawn", moment(event.recorded_us), event.data["resolution"]])
    return []


def _resolved(connection: Any, event: LoggedEvent) -> list[str]:
    return _end(connection, event, status="resolved", kind="resolve")


def _voided(connection: Any, event: LoggedEvent) -> list[str]:
    return _end(connection, event, status="voided", kind="void")


def _end(connection: Any, event: LoggedEvent, *, status: str, kind: str) -> list[str]:
    """Ends the market and opens its settlement; answers the settlement's id unless it was there before."""
    payouts, settlement_id = event.data.get("payouts"), event.data["settlement"]
    resolution = {
        "kind": kind,
        "payouts": payouts,
        "evidence": event.data["evidence"],
        "settlement": settlement_id,
    }
    at = moment(event.recorded_us)
    ended = [status, at, canonical_json(resolution).decode(), settlement_id, event.version, event.stream_id]
    _change_one(connection, event, _END_MARKET, ended)
    connection.execute(_SET_STATUS, ["settled", at, settlement_id])
    return _open_settlement(connection, event, kind, payouts, reverses=None)


def _reversal_requested(connection: Any, event: LoggedEvent) -> list[str]:
    data, at = event.data, moment(event.recorded_us)
    connection.execute(_ASK_REVERSAL, [data["by"], at, event.stream_id])
    return []


def _reversed(connection: Any, event: LoggedEvent) -> list[str]:
    data = event.data
    _reversal_requested(connection, event)
    connection.execute(_REVERSE, [data["settlement"], data["reverses"]])
    undecided = ["reversed", None, None, data["settlement"], event.version, event.stream_id]
    _change_one(connection, event, _END_MARKET, undecided)
    return _open_settlement(connection, event, "reverse", None, reverses=data["reverses"])


def _open_settlement(
    connection: Any,
    event: LoggedEvent,
    kind: str,
    payouts: Any,
    *,
    reverses: str | None,
) -> list[str]:
    settlement_id, at = event.data["settlement"], moment(event.recorded_us)
    collateral_pips = SHARE_PIPS * event.data["sets"]
    opened = connection.execute(
        _INSERT_SETTLEMENT,
        [
            settlement_id, event.stream_id, kind, payouts, collateral_pips, event.slot, event.slot_offset, at, reverses
        ],
    )  # fmt: skip
    return [opened_id for (opened_id,) in opened.fetchall()]


def _change_one(connection: Any, event: LoggedEvent, statement: str, arguments: list[Any]) -> None:
    if connection.execute(statement, arguments).fetchone() is None:
        raise BrokenLog(f"event {event.event_id} changes market {event.stream_id}, which was never created")


def _moment_or_none(at_us: int | None) -> str | None:
    return None if at_us is None else moment(at_us)


APPLIERS: dict[str, Applier] = {
    "resolution_proposed/1": _proposed,
    "resolution_approved/1": _approved,
    "resolution_disputed/1": _disputed,
    "resolution_withdrawn/1": _withdrawn,
    "market_resolved/1": _resolved,
    "market_voided/1": _voided,
    "reversal_requested/1": _reversal_requested,
    "resolution_reversed/1": _reversed,
}
