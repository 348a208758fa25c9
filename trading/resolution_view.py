"""How a market has ended, as every answer writes it."""

from collections.abc import Sequence
from typing import Any

from trading.money import format_pips

ENDED_AS = {"resolved": "resolve", "voided": "void"}
"""Kinds of endings by a market's status."""


def winner_of(names: Sequence[str], payouts: Sequence[int] | None) -> str | None:
    """The one outcome that paid anything; None after a tie or a void."""
    paid = [name for name, payout in zip(names, payouts or [0] * len(names), strict=True) if payout]
    return paid[0] if len(paid) == 1 else None


def resolution_json(
    names: Sequence[str],
    *,
    kind: str,
    payouts: Sequence[int] | None,
    evidence: str,
    settlement_id: str | None,
) -> dict[str, Any]:
    """The winning outcome (None for a tie or a void) and pay-outs in pips by name (None for a void)."""
    return {
        "kind": kind,
        "outcome": winner_of(names, payouts),
        "payouts": dict(zip(names, map(format_pips, payouts), strict=True)) if payouts else None,
        "evidence": evidence,
        "settlement_id": settlement_id,
    }
