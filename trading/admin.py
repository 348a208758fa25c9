"""The event log in the admin: to be read, by time, type and stream; never to be written.

The admin wants a model with a primary key of one column, and events have two. So it gets a model of its own, outside
the app's registry, in which `slot_offset` plays that part; pages of one event are found by slot-offset.
"""

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.apps.registry import Apps
from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trading.errors import NotFound
from trading.jobs.admin import DeadLetterAdmin, JobAdmin
from trading.market_terms import market_terms
from trading.projections.projection import KNOWN_EVENTS
from trading.read_only_admin import ReadOnlyAdmin, document_block, shortened

__all__ = ["DeadLetterAdmin", "EventAdmin", "JobAdmin"]

SHORT_DATA = 100
WINDOWS = {
    "10m": ("Last 10 minutes", dt.timedelta(minutes=10)),
    "1h": ("Last hour", dt.timedelta(hours=1)),
    "1d": ("Last day", dt.timedelta(days=1)),
    "all": ("All", None),
}


class Event(models.Model):
    """A row of the log as the admin lists it."""

    slot = models.SmallIntegerField()
    slot_offset = models.BigIntegerField("offset", primary_key=True)
    stream_id = models.UUIDField("stream")
    version = models.BigIntegerField()
    type = models.TextField()
    data = models.JSONField()
    metadata = models.JSONField()
    hash = models.BinaryField()
    recorded_at = models.DateTimeField()

    class Meta:
        apps = Apps()
        app_label = "trading"
        managed = False
        db_table = "event"

    def __str__(self) -> str:
        return f"{self.type} {self.slot}-{self.slot_offset}"


# Unknown to the registry, yet the admin's breadcrumbs ask it for the name of the app.
Event._meta.apps = apps


class RecordedFilter(admin.SimpleListFilter):
    """The last minutes unless asked otherwise: the log is long. A search by stream looks at all of it."""

    title = "recorded"
    parameter_name = "recorded"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        self.default = "all" if request.GET.get("q") else "10m"
        return [(name, label) for name, (label, _) in WINDOWS.items()]

    def chosen(self) -> str:
        value = self.value()
        return value if value in WINDOWS else self.default

    def choices(self, changelist: Any) -> Iterator[Any]:
        for name, label in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: name})
            yield {"selected": name == self.chosen(), "query_string": query, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        _, length = WINDOWS[self.chosen()]
        return queryset if length is None else queryset.filter(recorded_at__gte=timezone.now() - length)


class TypeFilter(admin.SimpleListFilter):
    """Every type there can be, without asking the log which ones there are."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(KNOWN_EVENTS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() in KNOWN_EVENTS else queryset


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Reads only: the database refuses the rest as well."""

    list_display = ("event_id", "type", "stream", "version", "short_data", "recorded_at")
    list_display_links = None
    list_filter = (RecordedFilter, TypeFilter)
    ordering = ("-recorded_at", "-slot_offset")
    search_fields = ("stream_id",)
    search_help_text = "a market's id or slug, or an account's id"
    fields = ("event_id", "type", "stream", "version", "all_data", "all_metadata", "hash_text", "recorded_at")
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        term = search_term.strip().lower()
        if not term:
            return queryset, False
        stream_id = _stream_of(term)
        return (queryset.none() if stream_id is None else queryset.filter(stream_id=stream_id)), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Event | None:
        slot, _, offset = object_id.partition("-")
        if not (slot.isdecimal() and offset.isdecimal() and len(slot) < 4 and len(offset) < 19):
            return None
        return self.get_queryset(request).filter(slot=int(slot), slot_offset=int(offset)).first()

    @admin.display(description="event", ordering="recorded_at")
    def event_id(self, event: Event) -> SafeString:
        name = f"{event.slot}-{event.slot_offset}"
        return format_html('<a href="{}">{}</a>', reverse("admin:trading_event_change", args=[name]), name)

    @admin.display(description="stream")
    def stream(self, event: Event) -> SafeString:
        href = f"{reverse('admin:trading_event_changelist')}?q={event.stream_id}"
        return format_html('<a href="{}"><code>{}</code></a>', href, event.stream_id)

    @admin.display(description="data")
    def short_data(self, event: Event) -> str:
        return shortened(json.dumps(event.data, ensure_ascii=False), SHORT_DATA)

    @admin.display(description="data")
    def all_data(self, event: Event) -> SafeString:
        return document_block(event.data)

    @admin.display(description="metadata")
    def all_metadata(self, event: Event) -> SafeString:
        return document_block(event.metadata)

    @admin.display(description="hash")
    def hash_text(self, event: Event) -> SafeString:
        return format_html("<code>{}</code>", bytes(event.hash).hex())


def _stream_of(term: str) -> str | None:
    """The stream with that id, or of the market with that slug."""
    try:
        return str(uuid.UUID(term))
    except ValueError:
        pass
    try:
        return market_terms(term).market_id
    except NotFound:
        return None
