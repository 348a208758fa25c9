"""Background work in the admin: what waits, to be read, and dead letters, on which somebody decides.

A letter is changed by `dead_letters` alone, which refuses a second decision, whoever clicks when.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from trading.jobs import dead_letters
from trading.jobs.dead_letters import CannotRequeue
from trading.jobs.queues import QUEUES
from trading.models import DeadLetter, Job
from trading.read_only_admin import ReadOnlyAdmin, document_block, shortened

SHORT_ERROR = 120
UNDECIDED, REQUEUED, DISCARDED = "undecided", "requeued", "discarded"


class DecisionFilter(admin.SimpleListFilter):
    """Those that wait for a decision unless asked otherwise."""

    title = "state"
    parameter_name = "state"
    choices_by_value = (UNDECIDED, REQUEUED, DISCARDED, "all")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name.capitalize()) for name in self.choices_by_value]

    def chosen(self) -> str:
        value = self.value()
        return value if value in self.choices_by_value else UNDECIDED

    def choices(self, changelist: Any) -> Any:
        for name, label in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: name})
            yield {"selected": name == self.chosen(), "query_string": query, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        chosen = self.chosen()
        if chosen == UNDECIDED:
            return queryset.filter(requeued_at=None, discarded_at=None)
        if chosen == REQUEUED:
            return queryset.exclude(requeued_at=None)
        return queryset.exclude(discarded_at=None) if chosen == DISCARDED else queryset


class QueueFilter(admin.SimpleListFilter):
    """Jobs of one queue."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(queue, queue.capitalize()) for queue in QUEUES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(queue=self.value()) if self.value() in QUEUES else queryset


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """What waits, is under way or comes back after a failure; what is done is gone."""

    list_display = ("name", "queue", "state", "tries", "due_at", "key", "short_error")
    list_filter = (QueueFilter,)
    ordering = ("due_at", "id")
    search_fields = ("key", "name")
    fields = (
        "name", "queue", "key", "state", "all_payload", "tries", "due_at", "hinted_at", "claimed_until",
        "give_up_at", "created_at", "last_error",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display
    def state(self, job: Job) -> str:
        now = timezone.now()
        if job.claimed_until is not None:
            return "under way" if job.claimed_until > now else "its worker is gone"
        return "due" if job.due_at <= now else "comes back" if job.tries else "waits"

    @admin.display(description="last error")
    def short_error(self, job: Job) -> str:
        return shortened(job.last_error, SHORT_ERROR)

    @admin.display(description="payload")
    def all_payload(self, job: Job) -> SafeString:
        return document_block(job.payload)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """What failed for good: requeued once its cause is mended, or discarded."""

    list_display = ("what", "age", "state", "tries", "source", "short_error")
    list_filter = (DecisionFilter, "source")
    ordering = ("-created_at",)
    search_fields = ("job_key", "job_name", "error")
    actions = ("requeue_letters", "discard_letters")
    fields = (
        "what", "source", "state", "error", "tries", "job_queue", "job_key", "created_at", "all_payload", "all_trace",
    )  # fmt: skip
    readonly_fields = fields
    change_form_template = "admin/trading/deadletter/change_form.html"

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("trading.requeue_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("trading.discard_deadletter")

    # Columns --------------------------------------------------------------------------------------

    @admin.display(ordering="job_name")
    def what(self, letter: DeadLetter) -> str:
        return letter.job_name or f"a {letter.source}'s work"

    @admin.display(description="error", ordering="error")
    def short_error(self, letter: DeadLetter) -> str:
        return shortened(letter.error, SHORT_ERROR)

    @admin.display(ordering="-created_at")
    def age(self, letter: DeadLetter) -> str:
        return timesince(letter.created_at, timezone.now(), depth=1)

    @admin.display
    def state(self, letter: DeadLetter) -> str:
        if letter.requeued_at is not None:
            return _decided(REQUEUED, letter.requeued_by, letter.requeued_at)
        if letter.discarded_at is not None:
            return _decided(DISCARDED, letter.discarded_by, letter.discarded_at)
        return UNDECIDED

    @admin.display(description="payload")
    def all_payload(self, letter: DeadLetter) -> SafeString:
        return document_block(letter.payload)

    @admin.display(description="trace")
    def all_trace(self, letter: DeadLetter) -> SafeString:
        return format_html("<pre>{}</pre>", letter.trace or "none")

    # Deciding -------------------------------------------------------------------------------------

    @admin.action(description="Requeue selected dead letters", permissions=["requeue"])
    def requeue_letters(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset:
            self._requeue(request, letter)

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard_letters(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset:
            self._discard(request, letter)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """With the decisions that there are to take."""
        offers = {
            "offers_requeue": self.has_requeue_permission(request),
            "offers_discard": self.has_discard_permission(request),
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **offers})

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<uuid:letter_id>/{name}/",
                self.admin_site.admin_view(self._decision_view(is_allowed, decide)),
                name=f"trading_deadletter_{name}",
            )
            for name, is_allowed, decide in (
                ("requeue", self.has_requeue_permission, self._requeue),
                ("discard", self.has_discard_permission, self._discard),
            )
        ]
        return own + super().get_urls()

    def _decision_view(
        self, is_allowed: Callable[[HttpRequest], bool], decide: Callable[[HttpRequest, DeadLetter], None]
    ) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, letter_id: Any) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            if not is_allowed(request):
                raise PermissionDenied
            decide(request, get_object_or_404(DeadLetter, pk=letter_id))
            return redirect("admin:trading_deadletter_change", letter_id)

        return view

    def _requeue(self, request: HttpRequest, letter: DeadLetter) -> None:
        try:
            dead_letters.requeue(str(letter.id), by=request.user.get_username())
        except CannotRequeue as error:
            self.message_user(request, f"“{letter}” is not requeued. {error}", messages.ERROR)
        else:
            self.message_user(request, f"“{letter}” is a job again.", messages.SUCCESS)

    def _discard(self, request: HttpRequest, letter: DeadLetter) -> None:
        if dead_letters.discard(str(letter.id), by=request.user.get_username()):
            self.message_user(request, f"“{letter}” is discarded.", messages.SUCCESS)
        else:
            self.message_user(request, f"“{letter}” had been decided on already.", messages.WARNING)


def _decided(decision: str, by: str | None, at: dt.datetime) -> str:
    return f"{decision} by {by}, {at:%Y-%m-%d %H:%M} UTC"
