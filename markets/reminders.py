"""Mails to staff about markets that wait for their end: once as a market falls due, is overdue and is escalated.

The row of a reminder and the jobs of its mails commit together. A mail may come twice where a worker dies at it, which
harms nobody. Staff is written to at the addresses that it has, confirmed or not: an operator has given them their
rights, and an address of `createsuperuser` would else never be told that something is overdue.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from markets.awaiting import REMINDED, awaiting
from markets.models import Market, Reminder
from markets.resolvers.asking import being_asked
from trading.jobs import enqueue
from trading.outside.mail import hand_over

log = logging.getLogger(__name__)

SEND_REMINDER = "markets.send_reminder"

A_ROUND = 200
"""Most markets that one round tells of; a minute later comes the next."""

TITLES = {
    Reminder.Level.ESCALATED: "Escalated",
    Reminder.Level.OVERDUE: "Overdue",
    Reminder.Level.DUE: "Due for a resolution",
}


@transaction.atomic
def remind() -> int:
    """Note which markets have reached a level and have staff mailed, one mail a person. Answers how many markets."""
    told = [reminder for market in _untold() if (reminder := _note(market)) is not None]
    mails: dict[int, list[int]] = defaultdict(list)
    for reminder in told:
        people = _concerned(reminder)
        if not people:
            log.warning(
                "market %s is %s, and nobody of staff has an address", reminder.market_id, reminder.level
            )
        for user_id in people:
            mails[user_id].append(reminder.pk)
    for user_id, reminders in mails.items():
        payload = {"user": user_id, "reminders": reminders}
        enqueue(SEND_REMINDER, payload, key=f"reminder:{reminders[0]}:{user_id}")
    return len(told)


def send_reminder(payload: dict[str, Any]) -> None:
    """Mail a person about those markets that still wait as they did."""
    user = _staff().filter(pk=payload["user"]).first()
    reminders = Reminder.objects.filter(pk__in=payload["reminders"])
    levels = {str(market.market_id): market.level for market in _waiting(reminders)}
    still = [each for each in reminders if str(each.market_id) in levels]
    if user is None or not still:
        return
    message = EmailMultiAlternatives(_subject(still), _text(still), to=[user.email])
    hand_over(lambda: message, release=lambda: None)


def _untold() -> QuerySet[Any]:
    """Of a market that came to a higher level while no round was done only that one is told.

    Where a resolver is being asked nobody has anything to do, unless that takes too long.
    """
    noted = Reminder.objects.filter(
        market_id=OuterRef("market_id"), since=OuterRef("since"), level=OuterRef("level")
    )
    is_asked = Q(Exists(being_asked()), level=Reminder.Level.DUE)
    return awaiting().filter(~Exists(noted), ~is_asked, level__in=REMINDED).order_by("since")[:A_ROUND]


def _waiting(reminders: Iterable[Reminder]) -> QuerySet[Any]:
    return awaiting().filter(level__in=REMINDED, market_id__in=[each.market_id for each in reminders])


def _note(market: Any) -> Reminder | None:
    """The row; None where another round was first."""
    reminder, is_new = Reminder.objects.get_or_create(
        market_id=market.market_id, since=market.since, level=market.level
    )
    return reminder if is_new else None


def _staff() -> QuerySet[Any]:
    return get_user_model().objects.filter(is_staff=True, is_active=True).exclude(email="")


def _concerned(reminder: Reminder) -> list[int]:
    """Whoever made a market hears of it first; then all of staff, then those who may do everything."""
    staff = _staff()
    if reminder.level == Reminder.Level.ESCALATED:
        staff = staff.filter(is_superuser=True)
    elif reminder.level == Reminder.Level.DUE:
        creator = Market.objects.filter(pk=reminder.market_id).values("created_by")
        own = list(staff.filter(pk__in=creator).values_list("pk", flat=True))
        if own:
            return own
    return list(staff.order_by("pk").values_list("pk", flat=True))


def _subject(reminders: list[Reminder]) -> str:
    highest = max(reminders, key=lambda each: REMINDED.index(Reminder.Level(each.level)))
    title = TITLES[Reminder.Level(highest.level)]
    if len(reminders) == 1:
        return f"{title}: {' '.join(highest.market.question.split())}"
    return f"{title}: {len(reminders)} markets wait for a resolution"


def _text(reminders: list[Reminder]) -> str:
    now = timezone.now()
    parts = [f"These markets at {settings.SITE_URL} have closed, and nobody has said how they end."]
    for level, title in TITLES.items():
        lines = [_line(each, now) for each in reminders if each.level == level]
        if lines:
            parts.append("\n\n".join([f"{title}:", *lines]))
    parts.append(f"All that wait: {settings.SITE_URL}{reverse('admin:markets_awaitingmarket_changelist')}")
    return "\n\n".join(parts) + "\n"


def _line(reminder: Reminder, now: Any) -> str:
    link = reverse("admin:markets_market_propose", args=[str(reminder.market_id)])
    waits = timesince(reminder.since, now, depth=1).replace("\xa0", " ")
    return f"- {reminder.market.question}\n  waits for {waits}: {settings.SITE_URL}{link}"
