"""Markets whose end somebody has to do something about: which they are, since when they wait, and how urgent it is.

    due ─► overdue ─► escalated    closed by time, or its end undone, and nothing is proposed
    disputed                       staff has to look again
    proposed                       others have to approve

What has its approvals waits for the clock alone, and is not among them.
"""

import datetime as dt
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, OuterRef, Q, QuerySet, Subquery, TextField, Value, When
from django.utils import timezone

from markets.models import AwaitingMarket, Market, Reminder
from trading.models import Resolution, Settlement

REMINDED = tuple(Reminder.Level)
"""From the lowest to the highest."""

LEVELS = (*(level.value for level in REMINDED), "disputed", "proposed")

_UNDECIDED, _REVIEWED = ("closed", "reversed"), ("proposed", "disputed")


def awaiting() -> QuerySet[Any]:
    """Those markets (AwaitingMarket) with `question`, `since` (when the wait began) and `level`, one of LEVELS.

    A wait begins at the closing time, at the undoing of the market's end, or at the proposal that waits now. Reads by
    the partial index market_undecided. O(markets that wait).
    """
    listing = Market.objects.filter(market_id=OuterRef("market_id"))
    review = Resolution.objects.filter(
        market_id=OuterRef("market_id"), status__in=("proposed", "approved", "disputed")
    )
    undoing = Settlement.objects.filter(market_id=OuterRef("market_id"), kind="reverse").order_by(
        "-created_at"
    )
    found: QuerySet[Any] = AwaitingMarket.objects.filter(status__in=(*_UNDECIDED, *_REVIEWED)).annotate(
        question=Subquery(listing.values("question")),
        review=Subquery(review.values("status")[:1]),
        since=Case(
            When(status__in=_REVIEWED, then=Subquery(review.values("proposed_at")[:1])),
            When(status="reversed", then=Subquery(undoing.values("created_at")[:1])),
            default=F("closes_at"),
        ),
    )
    return found.filter(
        # One whose book is being emptied before its end is `closed` with a review.
        Q(status__in=_UNDECIDED, review=None)
        | Q(status="disputed")
        | Q(status="proposed", review="proposed"),
        # A text is written before the engine is asked; without one there is nothing to decide by.
        question__isnull=False,
    ).annotate(level=_level(timezone.now()))


def counts() -> dict[str, int]:
    """How many markets wait at each of LEVELS."""
    found = awaiting().order_by().values_list("level").annotate(Count("market_id"))
    return dict.fromkeys(LEVELS, 0) | dict(found)


def _level(now: dt.datetime) -> Case:
    return Case(
        When(status__in=_REVIEWED, then=F("status")),
        When(since__lte=now - settings.RESOLUTION_ESCALATION, then=Value(Reminder.Level.ESCALATED.value)),
        When(since__lte=now - settings.RESOLUTION_OVERDUE, then=Value(Reminder.Level.OVERDUE.value)),
        default=Value(Reminder.Level.DUE.value),
        output_field=TextField(),
    )
