"""The channel to webhooks: signed, at least once, each try in the log.

A receiver knows a repetition by X-Pmarket-Delivery, which is the same in every try. A delivery is tried again after
growing waits for about nine hours. A host that keeps failing is left alone by its breaker, and a delivery that waits
for it has not been tried. An endpoint where nothing has succeeded for three days is switched off. One delivery at a
time goes to an endpoint, so that one that is slow holds one of the workers' threads and no more.
"""

import datetime as dt
import hashlib
import hmac
import time
import uuid
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts.models import Notification, Webhook, WebhookDelivery
from accounts.notifications import texts
from accounts.notifications.webhooks import TEST
from accounts.notifications.writing import tell
from trading.eventlog.codec import canonical_json
from trading.jobs import NotYet
from trading.outside.address import NoSuchHost, UrlRefused, read_url
from trading.outside.alone import alone_at
from trading.outside.breaker import Breaker, BreakerOpen
from trading.outside.fetch import FetchFailed, post

WAITS_S = (1, 2, 4, 8, 16, 60, 300, 1_800, 7_200, 21_600)
"""After the first try and each further one; after the last wait comes the last try."""
TOO_OLD = dt.timedelta(hours=23)
"""A delivery that has waited for so long is dropped: its job would be given up an hour later."""
FAILING_DAYS = 3
BUSY_S = 30
"""An endpoint is free again by then, though the worker that held it has died."""
_SERVER_FAULT = 500


class _Delivery(NamedTuple):
    """What is to be posted; `since` is when it came to be."""

    delivery_id: str
    kind: str
    body: bytes
    since: dt.datetime


class _Result(NamedTuple):
    """How a try went."""

    status_code: int | None
    error: str
    duration_ms: int

    @property
    def is_taken(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


class HostFailed(Exception):
    """The endpoint's host did not answer, or only with a failure of its own."""

    def __init__(self, result: _Result) -> None:
        super().__init__(result.error)
        self.result = result


def send_webhook(payload: dict[str, Any]) -> None:
    """Try one delivery. Raises NotYet where it is to be tried again."""
    webhook = Webhook.objects.filter(id=payload["webhook"]).first()
    delivery = _delivery(payload)
    if webhook is None or delivery is None or not (webhook.is_on or delivery.kind == TEST):
        return
    if timezone.now() - delivery.since > TOO_OLD:
        return
    tries = WebhookDelivery.objects.filter(webhook=webhook, delivery_id=delivery.delivery_id).count()
    try:
        with alone_at(f"webhook:{webhook.pk}", busy_s=BUSY_S):
            result = _try(webhook, delivery)
    except BreakerOpen as error:
        raise NotYet(str(error), retry_in_s=error.retry_in_s) from None
    _log(webhook, delivery, result, tries + 1)
    _judge(webhook, result)
    if not result.is_taken and delivery.kind != TEST and tries < len(WAITS_S):
        raise NotYet(result.error, retry_in_s=WAITS_S[tries])


def signature(webhook: Webhook, body: bytes, at: int) -> str:
    """The header: `t=<unix>,v1=<hex>`, with a second v1 by the secret before while that still counts."""
    secrets = [webhook.secret]
    if webhook.previous_until is not None and webhook.previous_until > timezone.now():
        secrets.append(webhook.previous_secret)
    signed = b"%d.%s" % (at, body)
    return ",".join(
        [
            f"t={at}",
            *(f"v1={hmac.new(each.encode(), signed, hashlib.sha256).hexdigest()}" for each in secrets),
        ]
    )


def _try(webhook: Webhook, delivery: _Delivery) -> _Result:
    try:
        target = read_url(webhook.url)
    except UrlRefused as error:
        return _Result(None, str(error), 0)
    try:
        with Breaker(f"webhook:{target.service}").guarding(HostFailed):
            return _post(webhook, delivery)
    except HostFailed as error:
        return error.result
    except UrlRefused as error:
        # Says nothing of the host, since it was not called.
        return _Result(None, str(error), 0)


def _post(webhook: Webhook, delivery: _Delivery) -> _Result:
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "pmarket-webhook/1",
        "X-Pmarket-Delivery": delivery.delivery_id,
        "X-Pmarket-Signature": signature(webhook, delivery.body, now),
    }
    started = time.monotonic()
    try:
        answer = post(webhook.url, delivery.body, headers=headers)
    except (FetchFailed, NoSuchHost) as error:
        took_ms = round((time.monotonic() - started) * 1000)
        raise HostFailed(_Result(None, str(error), took_ms)) from None
    said = "" if 200 <= answer.status < 300 else f"answered {answer.status}"
    result = _Result(answer.status, said, answer.duration_ms)
    if answer.status >= _SERVER_FAULT:
        raise HostFailed(result)
    return result


def _delivery(payload: dict[str, Any]) -> _Delivery | None:
    """None where the notification is gone."""
    if "test" in payload:
        note = {"id": payload["test"], "kind": TEST, "title": "A test", "body": "", "data": {}}
        since = dt.datetime.fromisoformat(payload["at"])
        return _Delivery(payload["test"], TEST, _body(payload["test"], note, since), since)
    row = Notification.objects.filter(id=payload["notification"]).first()
    if row is None:
        return None
    note = {"id": str(row.id), "kind": row.kind, "title": row.title, "body": row.body, "data": row.data}
    delivery_id = str(uuid.uuid5(row.id, payload["webhook"]))
    # What was told late, after an outage, is not too old because of that.
    return _Delivery(delivery_id, row.kind, _body(delivery_id, note, row.created_at), _born(row))


def _born(row: Notification) -> dt.datetime:
    """When the notification was written: its id carries that."""
    return dt.datetime.fromtimestamp((row.id.int >> 80) / 1000, dt.UTC)


def _body(delivery_id: str, note: dict[str, Any], created_at: dt.datetime) -> bytes:
    return canonical_json(
        {"delivery": delivery_id, "notification": note | {"created_at": created_at.isoformat()}}
    )


def _log(webhook: Webhook, delivery: _Delivery, result: _Result, try_number: int) -> None:
    WebhookDelivery.objects.create(
        webhook=webhook,
        delivery_id=delivery.delivery_id,
        kind=delivery.kind,
        try_number=try_number,
        at=timezone.now(),
        duration_ms=result.duration_ms,
        status_code=result.status_code,
        error=result.error[:200],
    )


@transaction.atomic
def _judge(webhook: Webhook, result: _Result) -> None:
    """Keep count of how long the endpoint has failed, and switch it off when that is too long."""
    row = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
    if row is None or (result.is_taken and row.failing_since is None):
        return
    now = timezone.now()
    if result.is_taken:
        row.failing_since = None
    elif row.failing_since is None:
        row.failing_since = now
    elif row.is_on and now - row.failing_since >= dt.timedelta(days=FAILING_DAYS):
        row.is_on = False
        at_us = int(now.timestamp() * 1_000_000)
        note = texts.webhook_off(
            str(row.account_id), webhook_id=str(row.pk), url=row.url, days=FAILING_DAYS, at_us=at_us
        )
        tell([note])
    row.save(update_fields=["failing_since", "is_on"])
