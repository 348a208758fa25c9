"""The admin's page of how a market ends: what is proposed, what it would pay, who has agreed, how far the paying is.

Every step is the services'; the page only offers those that can be taken now, and says why another was refused.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from markets import resolutions, selectors
from markets.admin_forms import EvidenceForm, ReasonForm, first_error
from markets.history import history_of
from markets.resolution_reads import (
    UNDER_REVIEW,
    account_names,
    decision_of,
    resolutions_json,
    resolutions_of,
)
from markets.selectors import Listing
from markets.services import Actor, Change
from markets.settlements import last_settlement, settlement_json
from trading.api.errors import request_id_of
from trading.as_of import wait_for
from trading.errors import ExchangeError, InvalidRequest, NotFound, ReadLag
from trading.models import Resolution
from trading.replicas import reading
from trading.settlement.preview import TOP, Part, preview

PAGE = "admin:markets_market_resolution"
PROJECTIONS = ("markets", "positions", "orders")


class ResolutionPages:
    """The pages of one market's resolutions, as a part of its ModelAdmin."""

    def __init__(self, model_admin: ModelAdmin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        view = self._admin.admin_site.admin_view
        return [
            path("<uuid:market_id>/resolution/", view(self.page), name="markets_market_resolution"),
            path(
                "<uuid:market_id>/resolution/<uuid:resolution_id>/<str:step>/",
                view(self.take_step),
                name="markets_market_resolution_step",
            ),
        ]

    def page(self, request: HttpRequest, market_id: Any) -> HttpResponse:
        """Everything about how the market ends, waiting a moment for what has just been done to be readable."""
        wait_for_reads(request)
        row = market_for(self._admin, request, market_id)
        found = resolutions_of(row.market_id)
        current = found[0] if found else None
        context = {
            **self._admin.admin_site.each_context(request),
            "title": "How it ends",
            "opts": self._admin.opts,
            "row": row,
            "resolutions": resolutions_json(row, found),
            "current": current,
            "steps_taken": history_of(row),
            "steps": _steps(row, current),
            # The book is being cancelled; what comes next comes by itself.
            "is_ending": current is not None and current.status in UNDER_REVIEW and row.status == "closed",
            "settlements": _settlements(found),
            **_previewed(row, current),
        }
        return TemplateResponse(request, "admin/markets/market/resolution.html", context)

    def take_step(self, request: HttpRequest, market_id: Any, resolution_id: Any, step: str) -> HttpResponse:
        """Approve, withdraw or reverse; then back to the page, with what has become of it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = market_for(self._admin, request, market_id)
        as_of = ""
        try:
            change, said = _take(step, row, str(resolution_id), request)
        except ExchangeError as error:
            messages.error(request, f"{error.title} {error.detail}")
        else:
            as_of = change.as_of
            messages.success(request, said)
        return to_page(PAGE, row.market_id, as_of)


def market_for(model_admin: ModelAdmin, request: HttpRequest, market_id: Any) -> Listing:
    """The market, for somebody who may change markets."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    try:
        return selectors.find(str(market_id))
    except NotFound:
        raise Http404("The engine has not confirmed this market.") from None


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in member of staff."""
    assert request.user.pk is not None, "the admin lets nobody else in"
    return Actor(int(request.user.pk), request_id_of(request))


def to_page(name: str, market_id: str, as_of: str) -> HttpResponseRedirect:
    """On to a page of a market, which shows what a change has left: see `wait_for_reads`."""
    url = reverse(name, args=[market_id])
    return HttpResponseRedirect(f"{url}?{urlencode({'as_of': as_of})}" if as_of else url)


def wait_for_reads(request: HttpRequest) -> None:
    """Let reads come to where the page before this one has left the market, or say that they have not."""
    try:
        wait_for(request.GET.get("as_of", ""), PROJECTIONS)
    except InvalidRequest:
        messages.warning(request, "The address of this page is not whole.")
    except ReadLag:
        messages.warning(request, "What is shown is a little behind. Reload in a moment.")


def _take(step: str, row: Listing, resolution_id: str, request: HttpRequest) -> tuple[Change, str]:
    """The change, and what to tell about it. Raises ExchangeError."""
    actor = actor_of(request)
    if step == "approve":
        change = resolutions.approve(row.market_id, resolution_id, actor=actor)
        return change, "You have approved it." + (
            " It is being settled." if change.status in resolutions.ENDING else ""
        )
    if step == "withdraw":
        reason = _valid(ReasonForm(request.POST))["reason"]
        change = resolutions.withdraw(row.market_id, resolution_id, reason=reason, actor=actor)
        return change, "It is withdrawn. A market that traded stays suspended until it is resumed."
    if step == "reverse":
        evidence = _valid(EvidenceForm(request.POST))["evidence"]
        change = resolutions.reverse(row.market_id, resolution_id, evidence=evidence, actor=actor)
        return (
            change,
            "It is being undone." if change.settlement_id else "You have asked for it to be undone.",
        )
    raise Http404


def _valid(form: Any) -> dict[str, Any]:
    if not form.is_valid():
        raise InvalidRequest(first_error(form))
    return dict(form.cleaned_data)


def _steps(row: Listing, current: Resolution | None) -> dict[str, bool]:
    """Which steps there are to take; whether this person may, the services say."""
    reviewed = current is not None and current.status in UNDER_REVIEW
    last = last_settlement(row.market_id)
    is_paid = last is not None and last.status == "done"
    return {
        "approve": current is not None and current.status in ("proposed", "disputed"),
        "withdraw": reviewed,
        "propose": row.status not in ("resolved", "voided"),
        "reverse": current is not None and current.status == "settled" and is_paid,
    }


def _settlements(found: list[Resolution]) -> list[dict[str, Any]]:
    """Those that have been opened, newest first: of each undoing before what it undoes."""
    ids = [str(each) for one in found for each in (one.reversal_id, one.resolution_id) if each is not None]
    shown = [settlement_json(each) for each in ids]
    return [each for each in shown if each is not None and each["created_at"] is not None]


def _previewed(row: Listing, current: Resolution | None) -> dict[str, Any]:
    """What is proposed would pay, or what was decided is paying."""
    if current is None or current.status in ("withdrawn", "superseded", "reversed"):
        return {}
    try:
        found = preview(decision_of(row, current), after=None, limit=TOP)
    except DatabaseError:
        # It took longer than a transaction may. The page is needed all the same.
        reading().close()
        return {"has_no_preview": True}
    names = account_names([*found.winners, *found.losers])
    sides = [
        (title, [_shown(row, part, names) for part in parts])
        for title, parts in (("Wins most", found.winners), ("Loses most", found.losers))
    ]
    return {"preview": found, "sides": sides}


def _shown(row: Listing, part: Part, names: dict[str, str]) -> dict[str, Any]:
    held = [f"{count:,} {name}" for name, count in zip(row.outcomes, part.quantities, strict=True) if count]
    return {
        "name": names.get(part.account_id, part.account_id),
        "shares": ", ".join(held) or "none any more",
        "payout_pips": part.payout_pips,
        "profit_pips": part.profit_pips,
    }
