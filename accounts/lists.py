"""Lists of the account API: pages by key, newest first, over tables whose id is a UUIDv7."""

import uuid
from typing import Any, NamedTuple

from django.db.models import QuerySet

from trading.api.query import Query
from trading.selectors.pages import Cursor, Page


class _Key(NamedTuple):
    id: uuid.UUID


KEYS = Cursor("keys", _Key)
NOTIFICATIONS = Cursor("notifications", _Key)
PRICE_ALERTS = Cursor("price-alerts", _Key)
DELIVERIES = Cursor("webhook-deliveries", _Key)


def page_of(rows: QuerySet[Any], query: Query, cursor: Cursor) -> Page[Any]:
    """One page of rows that are ordered by `-id`."""
    limit = query.limit()
    key = cursor.read(query.text("cursor"))
    if key is not None:
        rows = rows.filter(id__lt=key.id)
    return cursor.page(list(rows[: limit + 1]), limit=limit, key_of=lambda row: _Key(row.id))
