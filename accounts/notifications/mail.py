"""The channel by e-mail, single or as digests: at most once.

A mail server that has taken a mail cannot be asked whether it did, so each mail is noted as sent (`mailed_at`) before
it is handed over. A worker that dies in between loses it; the notification itself stays in the app.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Notification, User
from accounts.notifications import addresses, unsubscribe
from accounts.notifications.mail_server import hand_over

MAX_IN_DIGEST = 200
"""Of more, the newest are told one by one and the others by their number."""


def send_email(payload: dict[str, Any]) -> None:
    """Mail one notification."""
    note = Notification.objects.filter(id=payload["notification"], by_email=True, mailed_at=None).first()
    if note is None:
        return  # It was mailed, or a worker died at it.
    address = _address(str(note.account_id))
    if address:
        _send(address, note.title, [note], unsubscribe.link(str(note.account_id), note.kind))


def send_digest(payload: dict[str, Any]) -> None:
    """Mail everything of an account that has gathered since the last digest, as one."""
    account_id = payload["account"]
    waiting = Notification.objects.filter(account_id=account_id, by_email=True, mailed_at=None)
    notes = list(waiting.order_by("id"))
    address = _address(account_id)
    if notes and address:
        subject = notes[0].title if len(notes) == 1 else f"{len(notes)} notifications"
        _send(address, subject, notes, unsubscribe.link(account_id, None))


def _send(address: str, subject: str, notes: Sequence[Notification], link: str) -> None:
    rows = Notification.objects.filter(id__in=[note.id for note in notes])

    def claim() -> bool:
        return bool(rows.filter(mailed_at=None).update(mailed_at=timezone.now()))

    def release() -> None:
        rows.update(mailed_at=None)

    hand_over(_message(address, subject, notes, link), claim=claim, release=release)


def _address(account_id: str) -> str:
    """Where the account's e-mails go; empty for nowhere, as it may be by now."""
    user = User.objects.filter(account_id=account_id, is_active=True, is_simulated=False).first()
    return user.email if user is not None and addresses.is_confirmed(user) else ""


def _message(address: str, subject: str, notes: Sequence[Notification], link: str) -> EmailMultiAlternatives:
    shown = list(notes)[-MAX_IN_DIGEST:]
    context = {"notes": shown, "more": len(notes) - len(shown), "site": settings.SITE_URL, "link": link}
    message = EmailMultiAlternatives(
        # A header is one line.
        " ".join(subject.split()),
        render_to_string("accounts/email.txt", context),
        to=[address],
        headers={"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )
    message.attach_alternative(render_to_string("accounts/email.html", context), "text/html")
    return message
