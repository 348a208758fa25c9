"""The admin's page of a market's resolver: chosen, configured, tried without consequences, taken away."""

import logging
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from markets.admin_forms import add_errors
from markets.models import Market, MarketResolver
from markets.resolution_admin import market_for
from markets.resolvers import asking
from markets.resolvers.plugin import NotYet, SettingsForm
from markets.resolvers.registry import resolvers
from markets.selectors import Listing
from trading.errors import ExchangeError

log = logging.getLogger(__name__)

PAGE = "admin:markets_market_resolver"


class ResolverPages:
    """The page of one market's resolver, as a part of its ModelAdmin."""

    def __init__(self, model_admin: ModelAdmin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        view = self._admin.admin_site.admin_view
        return [path("<uuid:market_id>/resolver/", view(self.page), name="markets_market_resolver")]

    def page(self, request: HttpRequest, market_id: Any) -> HttpResponse:
        """The choice of resolvers, and the form of the one that is chosen; a POST saves, tries or removes."""
        row = market_for(self._admin, request, market_id)
        current = MarketResolver.objects.filter(market_id=row.market_id).first()
        if "_remove" in request.POST:
            return self._remove(request, row)
        name, form = _chosen(request, row, current)
        trial: dict[str, Any] | None = None
        if request.method == "POST" and form is not None and form.is_valid():
            if "_try" in request.POST:
                trial = _trial(name, form, row, current)
            elif self._saved(request, row, name, form):
                return redirect(PAGE, row.market_id)
        context = {
            **self._admin.admin_site.each_context(request),
            "title": "Resolver",
            "opts": self._admin.opts,
            "row": row,
            "current": current,
            "choices": resolvers().values(),
            "name": name,
            "form": form,
            "trial": trial,
            "media": self._admin.media if form is None else self._admin.media + form.media,
        }
        return TemplateResponse(request, "admin/markets/market/resolver.html", context)

    def _saved(self, request: HttpRequest, row: Listing, name: str, form: SettingsForm) -> bool:
        try:
            asking.configure(row, name, form.cleaned_data, by=request.user.pk)
        except ExchangeError as error:
            add_errors(form, error)
            return False
        self._logged(request, row, f"Resolver {name}: {form.cleaned_data}")
        messages.success(request, f"The resolver {name} is asked once the market has closed.")
        return True

    def _remove(self, request: HttpRequest, row: Listing) -> HttpResponse:
        if asking.remove(row.market_id):
            self._logged(request, row, "Resolver taken away")
            messages.success(request, "The market has no resolver any more.")
        return redirect(PAGE, row.market_id)

    def _logged(self, request: HttpRequest, row: Listing, change: str) -> None:
        """In the market's history in the admin: who has changed what decides it."""
        self._admin.log_change(request, Market.objects.get(pk=row.market_id), change)


def resolver_line(market: Market) -> SafeString | str:
    """For the market's page: which resolver it has, and what that said last."""
    row = MarketResolver.objects.filter(market_id=market.market_id).first()
    if row is None:
        return "-"
    if row.asked_at is None:
        return f"{row.name}, not asked yet"
    return format_html("{}, asked at {:%Y-%m-%d %H:%M:%S} UTC: {}", row.name, row.asked_at, row.answer)


def _chosen(
    request: HttpRequest, row: Listing, current: MarketResolver | None
) -> tuple[str, SettingsForm | None]:
    """The resolver that is asked for, else the market's own, with its form as it was sent, stored, or empty."""
    wanted = request.POST.get("_resolver") or request.GET.get("resolver")
    name = wanted or (current.name if current is not None else "")
    if name not in resolvers():
        return name, None
    kind = resolvers()[name].form
    if request.method == "POST":
        return name, kind(row.outcomes, request.POST)
    stored = current.settings if current is not None and current.name == name else None
    return name, kind(row.outcomes, initial=stored)


def _trial(name: str, form: SettingsForm, row: Listing, current: MarketResolver | None) -> dict[str, Any]:
    """What the resolver would answer now with these settings; nothing is proposed or kept."""
    is_stored = current is not None and (current.name, current.settings) == (name, form.cleaned_data)
    kept = current.kept if current is not None and is_stored else {}
    try:
        answer = asking.decide(name, form.cleaned_data, row, kept=kept)
    except Exception as error:  # Whatever a plug-in raises is what staff wants to see of a trial.
        log.info("trial of the resolver %s for market %s: %r", name, row.market_id, error)
        return {"says": "It would fail", "because": f"{type(error).__name__}: {error}"}
    if isinstance(answer, NotYet):
        return {
            "says": "No answer yet",
            "because": f"{answer.reason}. Asked again in {answer.retry_in_s:.0f} s.",
        }
    return {
        "says": f"It would propose {answer.outcome}",
        "because": answer.because,
        "evidence": asking.evidence_text(name, answer),
    }
