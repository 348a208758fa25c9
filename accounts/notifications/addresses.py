"""The e-mail addresses of users: an address is written to once its owner has said that it is theirs.

Else anybody could have the exchange mail anybody. Until then one mail asks, with a link that says so.
"""

import datetime as dt
import hashlib
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import NotificationPreferences, User
from trading.errors import NotFound, RateLimited
from trading.jobs import enqueue
from trading.outside.mail import hand_over

CONFIRM_EMAIL = "accounts.confirm_email"
ASK_EVERY = dt.timedelta(minutes=1)
LINK_LASTS = dt.timedelta(days=3)
_SALT = "accounts.notifications.addresses"


def is_confirmed(user: User) -> bool:
    """Whether the user's address is one, and theirs."""
    return (
        bool(user.email)
        and NotificationPreferences.objects.filter(
            account_id=user.account_id, confirmed_email=user.email
        ).exists()
    )


@transaction.atomic
def set_address(user: User, email: str) -> None:
    """Where e-mails are to go; empty for nowhere. A new address is asked first; RateLimited within ASK_EVERY."""
    User.objects.filter(pk=user.pk).update(email=email)
    user.email = email
    if email and not is_confirmed(user):
        ask(user)


@transaction.atomic
def ask(user: User) -> None:
    """Mail the question whether the address is theirs. RateLimited if that was just done."""
    NotificationPreferences.objects.get_or_create(account_id=user.account_id)
    row = NotificationPreferences.objects.select_for_update().get(account_id=user.account_id)
    now = timezone.now()
    if row.asked_at is not None and now - row.asked_at < ASK_EVERY:
        raise RateLimited(
            "A mail was just sent; wait a minute.", retry_after_s=int(ASK_EVERY.total_seconds())
        )
    row.asked_at = now
    row.save(update_fields=["asked_at"])
    which = hashlib.sha256(user.email.encode()).hexdigest()[:16]
    payload = {"account": str(user.account_id), "email": user.email}
    enqueue(CONFIRM_EMAIL, payload, key=f"confirm-email:{user.account_id}:{which}")


def send_question(payload: dict[str, Any]) -> None:
    """The mail with the link; it may come twice, which harms nobody."""
    account_id, email = payload["account"], payload["email"]
    if not User.objects.filter(account_id=account_id, email=email, is_active=True).exists():
        return  # It was changed meanwhile.
    token = signing.dumps([account_id, email], salt=_SALT)
    link = settings.SITE_URL + reverse("confirm-email", args=[token])
    text = (
        f"Somebody has given this address for notifications of an account at {settings.SITE_URL}.\n\n"
        f"If that was you, confirm it within three days:\n{link}\n\nIf not, do nothing: nothing more will come.\n"
    )
    message = EmailMultiAlternatives("Is this your address?", text, to=[email])
    hand_over(lambda: message, release=lambda: None)


def read_token(token: str) -> tuple[str, str]:
    """The account and the address of a link. NotFound for one that was not made here or has run out."""
    try:
        account_id, email = signing.loads(token, salt=_SALT, max_age=LINK_LASTS)
    except signing.BadSignature:
        raise NotFound("This link is not valid, or older than three days.") from None
    return account_id, email


@transaction.atomic
def confirm(token: str) -> str:
    """The owner of the address says that it is theirs; answers it. NotFound if the account has another one by now."""
    account_id, email = read_token(token)
    if not User.objects.filter(account_id=account_id, email=email).exists():
        raise NotFound("The account has another address by now.")
    NotificationPreferences.objects.update_or_create(
        account_id=account_id, defaults={"confirmed_email": email}
    )
    return email
