"""Monthly totals in the admin: all months on one page, to be read and to be taken along as CSV."""

import datetime as dt
import io
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from ops.models import MonthlyTotal
from ops.monthly import LABELS, MONEY, Totals, all_totals, write_csv
from trading.errors import ArchivedEvents
from trading.read_only_admin import ReadOnlyAdmin


@admin.register(MonthlyTotal)
class MonthlyTotalAdmin(ReadOnlyAdmin):
    """Months that are over as they were kept, the present one as it stands."""

    def get_urls(self) -> list[URLPattern]:
        download = path("csv/", self.admin_site.admin_view(self._csv_view), name="ops_monthlytotal_csv")
        return [download, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The months beside each other, newest first."""
        rows, failure = self._rows(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "Monthly totals",
            "opts": self.opts,
            "months": rows[::-1],
            "table": [
                (label, name in MONEY, [row.cell(name) for row in rows[::-1]])
                for name, label in LABELS.items()
            ],
            "failure": failure,
        }
        return TemplateResponse(request, "admin/ops/monthlytotal/change_list.html", context)

    def _csv_view(self, request: HttpRequest) -> HttpResponse:
        rows, failure = self._rows(request)
        if failure is not None:
            return HttpResponse(
                failure, status=ArchivedEvents.status, content_type="text/plain; charset=utf-8"
            )
        text = io.StringIO(newline="")
        write_csv(text, rows)
        name = f"monthly-totals-{dt.datetime.now(dt.UTC):%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return HttpResponse(
            text.getvalue().encode("utf-8-sig"), content_type="text/csv; charset=utf-8", headers=headers
        )

    def _rows(self, request: HttpRequest) -> tuple[list[Totals], str | None]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return all_totals(timezone.now()), None
        except ArchivedEvents as error:
            return [], error.detail
