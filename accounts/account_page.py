"""The page /account: what it shows, whoever of the forms on it has been sent."""

import datetime as dt
from typing import Any, NamedTuple

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts import selectors, services
from accounts.forms import EmailForm, KeyForm, MoneyForm, WebhookForm
from accounts.models import Notification, NotificationPreferences, PriceAlert, User, Webhook, WebhookDelivery
from accounts.notifications import addresses, alerts, preferences, webhooks
from accounts.notifications.texts import LABELS
from trading.eventlog.read import read_creations
from trading.replicas import reading

NOTIFICATIONS_SHOWN = 20
KEYS_SHOWN = 100
ENTRIES_SHOWN = 10
ALERTS_SHOWN = 100
DELIVERIES_SHOWN = 10


class _GridRow(NamedTuple):
    """A kind with its channels, as the grid shows it."""

    kind: str
    label: str
    cells: dict[str, bool]


class _ShownAlert(NamedTuple):
    """An alert with the words of its market."""

    alert: PriceAlert
    question: str
    outcome: str


class _ShownWebhook(NamedTuple):
    """An endpoint with the end of its log."""

    row: Webhook
    deliveries: list[WebhookDelivery]


def account_page(
    request: HttpRequest,
    *,
    forms: dict[str, Form] | None = None,
    fresh_key: services.IssuedKey | None = None,
    fresh_webhook: Webhook | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page, with `forms` in the place of fresh ones: those that were refused."""
    user = request.user
    assert isinstance(user, User), "login_required stands above every caller"
    account_id = str(user.account_id)
    today = timezone.now().date()
    context = {
        "today": today,
        "statement_day": today - dt.timedelta(days=1),
        "account": selectors.account_figures(account_id),
        "keys": selectors.keys_of(user)[:KEYS_SHOWN],
        "notifications": selectors.notifications_of(account_id)[:NOTIFICATIONS_SHOWN],
        "unread": selectors.unread_count(account_id),
        "entries": selectors.newest_entries(account_id, ENTRIES_SHOWN),
        "deposit_form": MoneyForm(prefix="deposit"),
        "withdraw_form": MoneyForm(prefix="withdraw"),
        "key_form": KeyForm(is_staff=user.is_staff),
        "fresh_key": fresh_key,
        "fresh_webhook": fresh_webhook,
        **_channels(user),
        **(forms or {}),
    }
    return render(request, "accounts/account.html", context, status=status)


def _channels(user: User) -> dict[str, Any]:
    """What the notifications' part of the page shows."""
    account_id = str(user.account_id)
    grid, digest = preferences.grid_of(account_id)
    return {
        "grid": [_GridRow(kind, label, grid[kind]) for kind, label in LABELS.items()],
        "digest": digest,
        "digests": NotificationPreferences.Digest.choices,
        "email_form": EmailForm(initial={"email": user.email}),
        "email_is_confirmed": addresses.is_confirmed(user),
        "alerts": _alerts(account_id),
        "webhook_form": WebhookForm(),
        "webhooks": [
            _ShownWebhook(row, list(webhooks.deliveries_of(row)[:DELIVERIES_SHOWN]))
            for row in webhooks.webhooks_of(account_id)
        ],
        "all_kinds": len(Notification.Kind.values),
    }


def _alerts(account_id: str) -> list[_ShownAlert]:
    rows = list(alerts.alerts_of(account_id)[:ALERTS_SHOWN])
    market_ids = sorted({str(row.market_id) for row in rows})
    if not market_ids:
        return []
    with reading().cursor() as cursor:
        created = read_creations(cursor, market_ids)
    return [
        _ShownAlert(
            row,
            created[str(row.market_id)]["question"],
            created[str(row.market_id)]["outcomes"][row.outcome],
        )
        for row in rows
    ]
