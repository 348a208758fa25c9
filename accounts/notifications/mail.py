"""The channel by e-mail, single or as digests: at most once.

A mail server that has taken a mail cannot be asked whether it did, so each mail is noted as sent (`mailed_at`) before
it is handed over. A worker that dies in between loses it; the notification itself stays in the app.
"""

from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Notification, User
from accounts.notifications import addresses, unsubscribe
from trading.outside.mail import hand_over

MAX_IN_DIGEST = 200
"""Of more, the newest are told one by one and the others by their number."""


def send_email(payload: dict[str, Any]) -> None:
    """Mail one notification."""
    waiting = _waiting(id=payload["notification"])
    note = waiting.first()
    if note is not None:  # Else it was mailed, or a worker died at it, or it is not wanted any more.
        account_id = str(note.account_id)
        _send(account_id, waiting, unsubscribe.link(account_id, note.kind))


def send_digest(payload: dict[str, Any]) -> None:
    """Mail everything of an account that has gathered since the last digest, as one."""
    account_id = payload["account"]
    _send(account_id, _waiting(account_id=account_id), unsubscribe.link(account_id, None))


def _waiting(**which: Any) -> QuerySet[Notification]:
    return Notification.objects.filter(**which, by_email=True, mailed_at=None)


def _send(account_id: str, waiting: QuerySet[Notification], link: str) -> None:
    """One mail of what waits at the moment of sending, which is what it then claims and no other mail tells."""
    address = _address(account_id)
    if not address or not waiting.exists():
        return
    # The moment is the claim's name: an account has one digest at a time.
    at = timezone.now()
    claimed = Notification.objects.filter(account_id=account_id, mailed_at=at)

    def claim() -> EmailMultiAlternatives | None:
        count = waiting.update(mailed_at=at)
        return _message(address, claimed, count, link) if count else None

    def release() -> None:
        claimed.update(mailed_at=None)

    hand_over(claim, release=release)


def _address(account_id: str) -> str:
    """Where the account's e-mails go; empty for nowhere, as it may be by now."""
    user = User.objects.filter(account_id=account_id, is_active=True, is_simulated=False).first()
    return user.email if user is not None and addresses.is_confirmed(user) else ""


def _message(address: str, notes: QuerySet[Notification], count: int, link: str) -> EmailMultiAlternatives:
    shown = list(notes.order_by("-id")[:MAX_IN_DIGEST])[::-1]
    subject = shown[0].title if count == 1 else f"{count} notifications"
    context = {"notes": shown, "more": count - len(shown), "site": settings.SITE_URL, "link": link}
    message = EmailMultiAlternatives(
        # A header is one line.
        " ".join(subject.split()),
        render_to_string("accounts/email.txt", context),
        to=[address],
        headers={"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )
    message.attach_alternative(render_to_string("accounts/email.html", context), "text/html")
    return message
