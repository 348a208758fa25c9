"""Markets in the admin: made, halted, resumed, resolved and voided through the same services as everywhere.

Nothing is saved by the admin itself. Its actions are pages of their own, because a gateway's answer may take seconds
and no database transaction is held open meanwhile.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from markets import selectors, services
from markets.admin_audit import AuditFileAdmin
from markets.admin_forms import COMMAND_FORMS, NewMarketForm, add_errors
from markets.awaiting_admin import AwaitingMarketAdmin
from markets.figures import compact_money_text, price_text, rate_text
from markets.models import AwaitingMarket, Market
from markets.quotes import quotes_of
from markets.resolution_admin import PAGE, ResolutionPages, actor_of, market_for, to_page, wait_for_reads
from markets.resolver_admin import PAGE as RESOLVER_PAGE
from markets.resolver_admin import ResolverPages, resolver_line
from markets.selectors import STATUSES, Listing
from trading.errors import ExchangeError, NotFound
from trading.models import MarketState, MarketSummary
from trading.resolution_view import winner_of

admin.site.register(AwaitingMarket, AwaitingMarketAdmin)

CHANGE_PAGE = "admin:markets_market_change"
MOST_AT_ONCE = 20
ENDS = ("propose", "resolve", "void")
"""Commands after which one looks at how the market ends."""


class StatusFilter(admin.SimpleListFilter):
    """Status as trading has it; a market without one is not confirmed by the engine."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.capitalize()) for status in STATUSES] + [("none", "Not confirmed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "none":
            return queryset.filter(state=None)
        return queryset.filter(state=self.value()) if self.value() in STATUSES else queryset


@admin.register(Market)
class MarketAdmin(AuditFileAdmin):
    """The catalogue and its lifecycle."""

    list_display = ("question", "category", "status", "closes_at", "volume", "trades")
    list_filter = (StatusFilter, "category")
    search_fields = ("question", "slug", "resolution_criteria")
    ordering = ("-created_at",)
    list_per_page = 50
    actions = ("suspend_markets", "resume_markets", "propose_resolution", "resolve_market", "void_market")
    fields = (
        "question", "slug", "market_id", "category", "outcome_table", "status", "verdict", "resolver_answer",
        "resolution_criteria", "description", "terms", "closes_at", "volume", "trades", "audit_file", "created_by",
        "created_at",
    )  # fmt: skip
    readonly_fields = fields
    change_form_template = "admin/markets/market/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Market]:
        state = MarketState.objects.filter(market_id=OuterRef("market_id"))
        summary = MarketSummary.objects.filter(market_id=OuterRef("market_id"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                state=Subquery(state.values("status")),
                closing=Subquery(state.values("closes_at")),
                volume_pips=Subquery(summary.values("volume_pips")),
                trade_count=Subquery(summary.values("trade_count")),
            )
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A market's events stay for ever; one that should not be is voided.
        return False

    # Columns --------------------------------------------------------------------------------------

    @admin.display(ordering="state")
    def status(self, market: Any) -> str:
        return market.state or "not confirmed"

    @admin.display(ordering="closing")
    def closes_at(self, market: Any) -> Any:
        return market.closing

    @admin.display(ordering="volume_pips")
    def volume(self, market: Any) -> str:
        return compact_money_text(market.volume_pips or 0)

    @admin.display(ordering="trade_count")
    def trades(self, market: Any) -> int:
        return market.trade_count or 0

    @admin.display(description="outcomes")
    def outcome_table(self, market: Market) -> SafeString:
        try:
            quotes = quotes_of(selectors.find(str(market.market_id))).outcomes
        except NotFound:
            return format_html_join("", "{}<br>", ((name,) for name in market.outcomes))
        rows = (
            (name, price_text(quote.last_pips), price_text(quote.bid_pips), price_text(quote.ask_pips))
            for name, quote in zip(market.outcomes, quotes, strict=True)
        )
        return format_html(
            "<table><thead><tr><th>Outcome</th><th>Last</th><th>Bid</th><th>Ask</th></tr></thead>{}</table>",
            format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows),
        )

    @admin.display(description="resolution")
    def verdict(self, market: Market) -> str:
        try:
            row = selectors.find(str(market.market_id))
        except NotFound:
            return "-"
        if row.resolution is None:
            return "-"
        if row.resolution["kind"] == "void":
            return f"Voided. {row.resolution['evidence']}"
        return f"{winner_of(row.outcomes, row.payouts) or 'Paid by a vector'}. {row.resolution['evidence']}"

    @admin.display(description="resolver")
    def resolver_answer(self, market: Market) -> SafeString | str:
        return resolver_line(market)

    @admin.display
    def terms(self, market: Market) -> str:
        state = MarketState.objects.filter(market_id=market.market_id).first()
        if state is None:
            return "-"
        fees = f"taker fee {rate_text(state.taker_fee_e4)}, maker fee {rate_text(state.maker_fee_e4)}"
        return f"tick {price_text(state.tick_pips)}, {fees}"

    # Making one -----------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A form of its own in the admin's dress; the service makes the market."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        # Any: the admin's helpers are typed for forms of models, and work for every form.
        form: Any = NewMarketForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                new = form.new_market()
                market, change = services.create_market(new, actor=actor_of(request))
                services.shown(market, new, change)
            except ExchangeError as error:
                add_errors(form, error)
            else:
                self.message_user(request, f"“{market.question}” was created.", messages.SUCCESS)
                if resolver := form.cleaned_data["resolver"]:
                    page = reverse(RESOLVER_PAGE, args=[str(market.market_id)])
                    return redirect(f"{page}?resolver={resolver}")
                return redirect("admin:markets_market_change", str(market.market_id))
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": "Create market",
            "adminform": _admin_form(form, self),
            "errors": form.errors,
            "inline_admin_formsets": [],
            "media": self.media + form.media,
            "is_popup": False,
            "to_field": None,
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
        }
        return self.render_change_form(request, context, add=True, form_url=form_url)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Everything as it is, nothing to save."""
        wait_for_reads(request)
        hidden = dict.fromkeys(("show_save", "show_save_and_continue", "show_save_and_add_another"), False)
        # Where others have to agree there is no shorter way.
        offers = {"ends_at_once": not (settings.RESOLUTION_APPROVALS or settings.DISPUTE_WINDOW_S)}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **hidden, **offers}
        )

    # Changing its state ---------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        # The command's name is part of the pattern, so that nothing else is ever run.
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(self._command_view(name)),
                name=f"markets_market_{name}",
            )
            for name in COMMAND_FORMS
        ]
        return [*own, *ResolutionPages(self).urls(), *ResolverPages(self).urls(), *super().get_urls()]

    def _command_view(self, name: str) -> Callable[[HttpRequest, str], HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            return self._form_view(request, market_for(self, request, object_id), name)

        return view

    def _form_view(self, request: HttpRequest, row: Listing, name: str) -> HttpResponse:
        form = COMMAND_FORMS[name](row, request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                change = form.submit(actor_of(request))
            except ExchangeError as error:
                add_errors(form, error)
            else:
                self.message_user(request, f"“{row.question}” is {form.done}.", messages.SUCCESS)
                return to_page(PAGE if name in ENDS else CHANGE_PAGE, row.market_id, change.as_of)
        context = {
            **self.admin_site.each_context(request),
            "title": "Propose result" if name == "propose" else f"{name.capitalize()} market",
            "opts": self.opts,
            "row": row,
            "form": form,
            "command": name,
            "approvals": settings.RESOLUTION_APPROVALS,
            "window_s": settings.DISPUTE_WINDOW_S,
            "media": self.media + form.media,
        }
        return TemplateResponse(request, "admin/markets/market/command.html", context)

    def _suspend(self, request: HttpRequest, row: Listing) -> None:
        try:
            services.suspend(row.market_id, reason="by the operator", actor=actor_of(request))
        except ExchangeError as error:
            self._refused(request, row, error)
        else:
            self.message_user(request, f"“{row.question}” is suspended.", messages.SUCCESS)

    def _resume(self, request: HttpRequest, row: Listing) -> None:
        try:
            services.resume(row.market_id, actor=actor_of(request))
        except ExchangeError as error:
            self._refused(request, row, error)
        else:
            self.message_user(request, f"“{row.question}” is open again.", messages.SUCCESS)

    def _refused(self, request: HttpRequest, row: Listing, error: ExchangeError) -> None:
        self.message_user(request, f"“{row.question}”: {error.code}. {error.detail}", messages.ERROR)

    # Actions of the list --------------------------------------------------------------------------

    @admin.action(description="Suspend selected markets", permissions=["change"])
    def suspend_markets(self, request: HttpRequest, queryset: QuerySet[Market]) -> None:
        for row in self._rows(request, queryset):
            self._suspend(request, row)

    @admin.action(description="Resume selected markets", permissions=["change"])
    def resume_markets(self, request: HttpRequest, queryset: QuerySet[Market]) -> None:
        for row in self._rows(request, queryset):
            self._resume(request, row)

    @admin.action(description="Propose how the selected market ends …", permissions=["change"])
    def propose_resolution(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._one(request, queryset, "propose")

    @admin.action(description="Resolve the selected market …", permissions=["change"])
    def resolve_market(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._one(request, queryset, "resolve")

    @admin.action(description="Void the selected market …", permissions=["change"])
    def void_market(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._one(request, queryset, "void")

    def _one(self, request: HttpRequest, queryset: QuerySet[Market], name: str) -> HttpResponse | None:
        """On to the page of a command that has to be thought about, market by market."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, f"Choose one market to {name}.", messages.WARNING)
            return None
        return redirect(f"admin:markets_market_{name}", str(chosen[0].market_id))

    def _rows(self, request: HttpRequest, queryset: QuerySet[Market]) -> list[Listing]:
        ids = [str(market.market_id) for market in queryset[: MOST_AT_ONCE + 1]]
        if len(ids) > MOST_AT_ONCE:
            self.message_user(request, f"At most {MOST_AT_ONCE} markets at once.", messages.WARNING)
            return []
        return list(selectors.by_ids(ids).values())


def _admin_form(form: Any, model_admin: admin.ModelAdmin) -> helpers.AdminForm:
    """The admin's dress for a form that belongs to no model."""
    return helpers.AdminForm(form, [(None, {"fields": list(form.fields)})], {}, model_admin=model_admin)
