"""The admin's list of resolutions that are due: what waits longest comes first, and one click leads to a proposal."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from markets.awaiting import LEVELS, awaiting
from markets.models import AwaitingMarket
from trading.read_only_admin import ReadOnlyAdmin

COLOURS = {"escalated": "#b3261e", "disputed": "#b3261e", "overdue": "#9a5b00"}


class LevelFilter(admin.SimpleListFilter):
    """How urgent it is."""

    title = "level"
    parameter_name = "level"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(level, level.capitalize()) for level in LEVELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(level=self.value()) if self.value() in LEVELS else queryset


class AwaitingMarketAdmin(ReadOnlyAdmin):
    """Markets whose end somebody has to do something about. Registered in admin.py."""

    list_display = ("what", "how_urgent", "waits", "since", "next_step")
    list_display_links = None
    list_filter = (LevelFilter,)
    search_fields = ("question",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AwaitingMarket]:
        return awaiting()

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # As a method, since the system check knows columns of tables only.
        return ("since",)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "title": "Resolutions due"})

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Whoever may see the markets may see which of them wait.
        return request.user.has_perm("markets.view_market") or request.user.has_perm("markets.change_market")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @admin.display(description="market", ordering="question")
    def what(self, market: Any) -> SafeString:
        path = reverse("admin:markets_market_change", args=[str(market.market_id)])
        return format_html('<a href="{}">{}</a>', path, market.question)

    @admin.display(description="level", ordering="level")
    def how_urgent(self, market: Any) -> SafeString:
        return format_html(
            '<strong style="color: {}">{}</strong>',
            COLOURS.get(market.level, "inherit"),
            market.level.capitalize(),
        )

    @admin.display(description="waits for", ordering="-since")
    def waits(self, market: Any) -> str:
        return timesince(market.since, depth=2)

    @admin.display(description="since", ordering="since")
    def since(self, market: Any) -> Any:
        return market.since

    @admin.display(description="")
    def next_step(self, market: Any) -> SafeString:
        page, title = ("propose", "Propose") if market.review is None else ("resolution", "Look at it")
        path = reverse(f"admin:markets_market_{page}", args=[str(market.market_id)])
        return format_html('<a class="button" href="{}">{}</a>', path, title)
