"""A market's public history: each step of its life in a sentence, with who took it, why and on what evidence."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markets.resolution_reads import names_of
from markets.selectors import Listing
from trading.money import format_pips
from trading.resolution_view import winner_of
from trading.selectors.history import Step, market_steps

STAYS_SILENT = frozenset({"market_closed/1"})
"""Its reason `resolution` or `void` is told by the event that follows."""


class Line(NamedTuple):
    """One step as a page shows it. `by` is a name, "the clock" or "a holder"; `why` is a reason or evidence."""

    at: dt.datetime
    what: str
    by: str
    why: str


def history_of(row: Listing) -> list[Line]:
    """Newest first."""
    steps = _with_actors(market_steps(row.market_id))
    names = names_of(actor for step in steps if (actor := _actor_of(step)) is not None)
    return [_line(row.outcomes, step, names) for step in reversed(steps) if _is_told(step)]


def _with_actors(steps: Sequence[Step]) -> list[Step]:
    """The log names who took a step with the first event of the command; what else it led to is his as well."""
    found: list[Step] = []
    for step in steps:
        if step.actor is None and found and found[-1].recorded_at == step.recorded_at:
            step = step._replace(actor=found[-1].actor)
        found.append(step)
    return found


def _actor_of(step: Step) -> str | None:
    said = step.data.get("by")
    return step.actor if said is None else str(said)


def _is_told(step: Step) -> bool:
    return step.type not in STAYS_SILENT or step.data["reason"] == "time"


def _line(outcomes: Sequence[str], step: Step, names: Mapping[str, str]) -> Line:
    data = step.data
    if step.type == "resolution_disputed/1":
        # Whose account it is, is nobody's business.
        by = "a holder"
    elif (actor := _actor_of(step)) is None:
        by = "somebody"  # whose event is archived
    else:
        by = "the clock" if actor in ("", "system") else names.get(actor, actor)
    return Line(
        step.recorded_at, _what(outcomes, step), by, str(data.get("reason") or data.get("evidence") or "")
    )


def _what(outcomes: Sequence[str], step: Step) -> str:
    data = step.data
    match step.type:
        case "market_created/1":
            return "Created"
        case "market_opened/1":
            return "Opened for trading"
        case "market_suspended/1":
            return f"Trading suspended ({data['code']})" if data.get("code") else "Trading suspended"
        case "market_resumed/1":
            return {"": "Trading resumed", "cancel_only": "Resumed, for cancels only at first",
                    "post_only": "Resumed, for orders that do not trade at first"}[data.get("phase", "")]  # fmt: skip
        case "market_closed/1":
            return "Closed on time"
        case "resolution_proposed/1":
            return f"Proposed: {ending_text(outcomes, data.get('payouts'))}"
        case "resolution_approved/1":
            return "Approved"
        case "resolution_disputed/1":
            return "Disputed"
        case "resolution_withdrawn/1":
            return "Proposal withdrawn"
        case "market_resolved/1":
            return f"Resolved: {ending_text(outcomes, data['payouts'])}"
        case "market_voided/1":
            return "Voided"
        case "reversal_requested/1":
            return "Asked for the result to be undone"
        case "resolution_reversed/1":
            return "Result undone"
    return step.type


def ending_text(outcomes: Sequence[str], payouts: Any) -> str:
    """An outcome's name, what each share pays, or that it is void."""
    if payouts is None:
        return "void, what was paid in is given back"
    winner = winner_of(outcomes, payouts)
    if winner is not None:
        return winner
    paid = [f"{name} pays ${format_pips(pips)}" for name, pips in zip(outcomes, payouts, strict=True) if pips]
    return ", ".join(paid)
