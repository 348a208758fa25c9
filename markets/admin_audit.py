"""The audit file on a market's page in the admin: asked for there, and downloaded once it is made. For staff alone."""

import uuid

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from markets import audits
from markets.models import Market


class AuditFileAdmin(admin.ModelAdmin):
    """Adds the file's state as a field, and the paths by which it is asked for and fetched."""

    def get_urls(self) -> list[URLPattern]:
        # An id and one of two names are all that comes from outside: neither is ever a part of a path.
        own = [
            path(
                "<uuid:market_id>/audit/",
                self.admin_site.admin_view(self._ask_view),
                name="markets_market_audit",
            ),
            path(
                "<uuid:market_id>/audit/<str:part>/",
                self.admin_site.admin_view(self._download_view),
                name="markets_market_audit_part",
            ),
        ]
        return own + super().get_urls()

    @admin.display(description="audit file")
    def audit_file(self, market: Market) -> SafeString:
        """When it was made and what is in it, with its links; whether one is on its way."""
        found = audits.audit_of(str(market.market_id))
        manifest = found.manifest
        links = [reverse("admin:markets_market_audit_part", args=[market.market_id, part])
                 for part in ("events", "manifest")]  # fmt: skip
        made = "not made yet" if manifest is None else format_html(
            'of {} UTC: <a href="{}">{} events</a> of the market, {} of accounts, and their '
            '<a href="{}">signed manifest</a>',
            manifest.made_at[:19].replace("T", " "), links[0], manifest.market_events.events,
            manifest.account_events.events, links[1],
        )  # fmt: skip
        if found.is_being_made:
            return format_html("{}. One is being made: look again in a moment.", made)
        if found.failure is not None:
            return format_html("{}. The last one failed: {}", made, found.failure)
        return format_html("{}", made)

    def _ask_view(self, request: HttpRequest, market_id: uuid.UUID) -> HttpResponse:
        self._refuse_strangers(request)
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST" or not Market.objects.filter(market_id=market_id).exists():
            raise Http404
        if audits.ask_for_audit(str(market_id), by=request.user.get_username()):
            self.message_user(request, "The audit file is being made.", messages.SUCCESS)
        else:
            self.message_user(request, "The audit file is being made already.", messages.WARNING)
        return redirect("admin:markets_market_change", str(market_id))

    def _download_view(self, request: HttpRequest, market_id: uuid.UUID, part: str) -> FileResponse:
        self._refuse_strangers(request)
        file = audits.audit_parts(str(market_id)).get(part)
        if file is None or not file.is_file():
            raise Http404("There is no such file.")
        response = FileResponse(file.open("rb"), as_attachment=True, filename=file.name)
        response["Cache-Control"] = "no-store"
        return response

    def _refuse_strangers(self, request: HttpRequest) -> None:
        """It holds events of accounts, so it is for whoever may look at those here, and at markets."""
        if not (self.has_view_permission(request) and request.user.has_perm("trading.view_event")):
            raise PermissionDenied
