"""Reads of how markets are to end: the proposals of a market, what one would pay, and both as JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model

from markets.selectors import Listing
from trading.errors import NotFound
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import is_id
from trading.models import Resolution
from trading.money import format_pips
from trading.resolution_view import winner_of
from trading.settlement.preview import Decision, Part, Preview, Totals

STATUSES = ("proposed", "approved", "disputed", "withdrawn", "superseded", "settled", "reversed")
UNDER_REVIEW = ("proposed", "approved", "disputed")


def resolutions_of(market_id: str) -> list[Resolution]:
    """All of a market's, newest first."""
    return list(Resolution.objects.filter(market_id=market_id).order_by("-proposed_at", "-resolution_id"))


def find_resolution(market_id: str, resolution_id: str) -> Resolution:
    """One of a market's. Raises NotFound."""
    found = None
    if is_id(resolution_id):
        found = Resolution.objects.filter(market_id=market_id, resolution_id=resolution_id).first()
    if found is None:
        raise NotFound("The market has no such resolution.")
    return found


def under_review(market_id: str) -> Resolution | None:
    """The one that awaits approvals, objections or its settlement."""
    return Resolution.objects.filter(market_id=market_id, status__in=UNDER_REVIEW).first()


def decision_of(row: Listing, resolution: Resolution) -> Decision:
    """What a preview has to know."""
    return Decision(
        market_id=row.market_id,
        outcomes=len(row.outcomes),
        payouts=None if resolution.payouts is None else tuple(resolution.payouts),
        settlement_id=str(resolution.resolution_id),
    )


def names_of(actors: Iterable[str]) -> dict[str, str]:
    """Usernames by actor; "system" and users who are gone keep the actor's own name."""
    wanted = {actor: actor.removeprefix("user:") for actor in actors}
    ids = [int(number) for number in wanted.values() if number.isdecimal()]
    known = dict(get_user_model().objects.filter(pk__in=ids).values_list("pk", "username"))
    return {
        actor: known.get(int(number), actor) if number.isdecimal() else actor
        for actor, number in wanted.items()
    }


def account_names(parts: Iterable[Part]) -> dict[str, str]:
    """Usernames by account id, of those who have one."""
    ids = {part.account_id for part in parts}
    pairs = get_user_model().objects.filter(account_id__in=ids).values_list("account_id", "username")
    return {str(account_id): username for account_id, username in pairs}


def resolutions_json(row: Listing, resolutions: Sequence[Resolution]) -> list[dict[str, Any]]:
    """As the API shows them; persons by name."""
    names = names_of(
        actor for each in resolutions for actor in (each.proposed_by, *each.approved_by, *each.reversal_by)
    )
    return [
        {
            "resolution_id": str(each.resolution_id),
            "settlement_id": str(each.resolution_id),
            "market_id": row.market_id,
            "status": each.status,
            "kind": "void" if each.payouts is None else "resolve",
            "outcome": winner_of(row.outcomes, each.payouts),
            "payouts": None
            if each.payouts is None
            else dict(zip(row.outcomes, map(format_pips, each.payouts), strict=True)),
            "evidence": each.evidence,
            "proposed_by": names[each.proposed_by],
            "proposed_at": timestamp_text(to_us(each.proposed_at)),
            "approvals_needed": each.approvals_needed,
            "approved_by": [names[actor] for actor in each.approved_by],
            "dispute_window_seconds": each.window_us // 1_000_000,
            "disputable_until": None
            if each.disputable_until is None
            else timestamp_text(to_us(each.disputable_until)),
            "disputes": each.disputes,
            "reversal_asked_by": [names[actor] for actor in each.reversal_by],
            "reversal_settlement_id": None if each.reversal_id is None else str(each.reversal_id),
        }
        for each in resolutions
    ]


def preview_json(row: Listing, found: Preview) -> dict[str, Any]:
    """Totals, accounts and the ten whom it does the most good and harm."""
    names = account_names([*found.parts, *found.winners, *found.losers])

    def shown(part: Part) -> dict[str, Any]:
        return {
            "account_id": part.account_id,
            "username": names.get(part.account_id),
            "shares": dict(zip(row.outcomes, part.quantities, strict=True)),
            "taken_back": format_pips(part.taken_back_pips),
            "payout": format_pips(part.payout_pips),
            "profit": format_pips(part.profit_pips),
        }

    return {
        "totals": totals_json(found.totals),
        "winners": [shown(part) for part in found.winners],
        "losers": [shown(part) for part in found.losers],
        "results": [shown(part) for part in found.parts],
    }


def totals_json(totals: Totals) -> dict[str, Any]:
    """`collateral` + `fees_returned` + `taken_back` = `paid`, which `adds_up` says."""
    return {
        "accounts": totals.accounts,
        "orders_to_cancel": totals.orders,
        "released": format_pips(totals.released_pips),
        "sets_netted": totals.netted_sets,
        "collateral": format_pips(totals.collateral_pips),
        "fees_returned": format_pips(totals.fees_pips),
        "taken_back": format_pips(totals.taken_back_pips),
        "paid": format_pips(totals.paid_pips),
        "adds_up": totals.adds_up,
    }
