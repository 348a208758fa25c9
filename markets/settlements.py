"""How far the settlement of a market is, from the moment its resolution was accepted.

The row is made once the market's last order is cancelled. Until then a note in the cache stands for it, so that the id
that was just given out is never "not found"; should the cache be lost, it is not found for that short while.
"""

from typing import Any

from markets.remembered import recall, remember
from trading.eventlog.codec import timestamp_text, to_us
from trading.models import Settlement
from trading.money import format_pips

REMEMBER_S = 24 * 3600


def note_accepted(*, settlement_id: str, market_id: str, kind: str) -> None:
    """Remember a settlement that the engine has accepted; `kind` is resolve or void."""
    remember({_name(settlement_id): {"market_id": market_id, "kind": kind}}, seconds=REMEMBER_S)


def settlement_json(settlement_id: str) -> dict[str, Any] | None:
    """The API's settlement; None if there is no such id. `accounts_total` is 0 until they have been counted."""
    found = Settlement.objects.filter(settlement_id=settlement_id).first()
    if found is None:
        noted = recall([_name(settlement_id)]).get(_name(settlement_id))
        return None if noted is None else _accepted_json(settlement_id, noted)
    return {
        "settlement_id": str(found.settlement_id),
        "market_id": str(found.market_id),
        "kind": found.kind,
        "status": found.status,
        "accounts_paid": found.accounts_paid,
        "accounts_total": found.accounts_total,
        "paid": format_pips(found.paid_pips),
        "collateral": format_pips(found.collateral_pips),
        "created_at": timestamp_text(to_us(found.created_at)),
        "finished_at": None if found.finished_at is None else timestamp_text(to_us(found.finished_at)),
    }


def last_settlement(market_id: str) -> Settlement | None:
    """The latest that was opened for the market; None while it has not ended."""
    return Settlement.objects.filter(market_id=market_id).order_by("-cause_offset").first()


def _accepted_json(settlement_id: str, noted: dict[str, str]) -> dict[str, Any]:
    return {
        "settlement_id": settlement_id,
        **noted,
        "status": "pending",
        "accounts_paid": 0,
        "accounts_total": 0,
        "paid": None,
        "collateral": None,
        "created_at": None,
        "finished_at": None,
    }


def _name(settlement_id: str) -> str:
    return f"settlement:{settlement_id}"
