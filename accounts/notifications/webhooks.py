"""A user's webhooks: URLs of programs that are told of notifications, their secrets, and the log of deliveries."""

import datetime as dt
import secrets
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User, Webhook, WebhookDelivery
from accounts.notifications.writing import SEND_WEBHOOK
from trading.errors import InvalidRequest, NotFound, RateLimited, Refused
from trading.ids import new_id
from trading.jobs import enqueue
from trading.outside.address import NoSuchHost, UrlRefused, checked_addresses, read_url

MAX_WEBHOOKS = 5
OVERLAP = dt.timedelta(hours=24)
"""How long deliveries are signed with the old secret too after a new one was made."""
LOG_KEPT = dt.timedelta(days=30)
FORGOTTEN_AT_ONCE = 10_000
TEST_EVERY = dt.timedelta(seconds=10)
TEST = "test"


def create(*, user: User, url: str, kinds: Sequence[str]) -> Webhook:
    """A new endpoint with a secret. InvalidRequest for a URL that may not be called, Refused for one too many."""
    _check_url(url)
    with transaction.atomic():
        # The user's row is the lock: two requests at once must not both make the fifth.
        User.objects.select_for_update().get(pk=user.pk)
        if Webhook.objects.filter(account_id=user.account_id).count() >= MAX_WEBHOOKS:
            raise Refused("exceeds_limits", f"A user has at most {MAX_WEBHOOKS} webhooks; delete one first.")
        return Webhook.objects.create(
            account_id=user.account_id, url=url, kinds=sorted(set(kinds)), secret=_new_secret()
        )


def change(
    *,
    account_id: str,
    webhook_id: str,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
    is_on: bool | None = None,
) -> Webhook:
    """Change what is given. Switching one on again forgets that it was failing."""
    if url is not None:
        _check_url(url)
    with transaction.atomic():
        row = _locked(account_id, webhook_id)
        if url is not None:
            row.url = url
        if kinds is not None:
            row.kinds = sorted(set(kinds))
        if is_on is not None:
            row.is_on = is_on
        if url is not None or is_on:
            row.failing_since = None
        row.save()
    return row


@transaction.atomic
def rotate_secret(*, account_id: str, webhook_id: str) -> Webhook:
    """A new secret; for OVERLAP deliveries carry a signature by the old one as well."""
    row = _locked(account_id, webhook_id)
    row.previous_secret, row.previous_until = row.secret, timezone.now() + OVERLAP
    row.secret = _new_secret()
    row.save()
    return row


def delete(*, account_id: str, webhook_id: str) -> None:
    """End an endpoint, its log with it. Deliveries that wait are dropped."""
    deleted, _ = Webhook.objects.filter(id=webhook_id, account_id=account_id).delete()
    if not deleted:
        raise NotFound("There is no such webhook.")


@transaction.atomic
def send_test(*, account_id: str, webhook_id: str) -> str:
    """Have a test delivered soon; answers its delivery id. RateLimited within TEST_EVERY of the last one."""
    row = _locked(account_id, webhook_id)
    now = timezone.now()
    due = Webhook.objects.filter(pk=row.pk).filter(Q(tested_at=None) | Q(tested_at__lte=now - TEST_EVERY))
    if not due.update(tested_at=now):
        raise RateLimited(
            "A webhook is tested once in 10 seconds.", retry_after_s=int(TEST_EVERY.total_seconds())
        )
    delivery_id = new_id()
    enqueue(
        SEND_WEBHOOK,
        {"webhook": str(row.pk), "test": delivery_id, "at": now.isoformat()},
        key=f"webhook-test:{delivery_id}",
    )
    return delivery_id


def webhooks_of(account_id: str) -> QuerySet[Webhook]:
    """An account's endpoints, the oldest first."""
    return Webhook.objects.filter(account_id=account_id).order_by("id")


def webhook_of(account_id: str, webhook_id: str) -> Webhook:
    """NotFound for another's."""
    row = Webhook.objects.filter(id=webhook_id, account_id=account_id).first()
    if row is None:
        raise NotFound("There is no such webhook.")
    return row


def deliveries_of(webhook: Webhook) -> QuerySet[WebhookDelivery]:
    """The log of an endpoint, newest first."""
    return WebhookDelivery.objects.filter(webhook=webhook).order_by("-id")


def forget_old_deliveries() -> int:
    """Delete what is older than LOG_KEPT, in pieces that a transaction has time for. Answers how many."""
    old = WebhookDelivery.objects.filter(at__lt=timezone.now() - LOG_KEPT)
    deleted = 0
    while ids := list(old.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
        deleted += WebhookDelivery.objects.filter(pk__in=ids).delete()[0]
    return deleted


def _locked(account_id: str, webhook_id: str) -> Webhook:
    row = Webhook.objects.select_for_update().filter(id=webhook_id, account_id=account_id).first()
    if row is None:
        raise NotFound("There is no such webhook.")
    return row


def _check_url(url: str) -> None:
    """Judged again at each delivery: names change their addresses."""
    try:
        checked_addresses(read_url(url))
    except (UrlRefused, NoSuchHost) as error:
        raise InvalidRequest(errors={"url": [str(error)]}) from None


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"
