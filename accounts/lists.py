"""Lists of the account API: pages by key, newest first, over tables whose id is a UUIDv7."""

import base64
import binascii
import uuid
from typing import Any

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from trading.errors import InvalidRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

PAGE_PARAMETERS = [
    OpenApiParameter("limit", int, description=f"{DEFAULT_LIMIT} if left out, at most {MAX_LIMIT}"),
    OpenApiParameter("cursor", str, description="`next` of the page before"),
]


def page_of(rows: QuerySet[Any], request: Request) -> tuple[list[Model], str | None]:
    """One page of rows that are ordered by `-id`, and the cursor of the next (None at the end)."""
    limit = _limit(request.query_params.get("limit"))
    cursor = request.query_params.get("cursor")
    if cursor is not None:
        rows = rows.filter(id__lt=_decode(cursor))
    found = list(rows[: limit + 1])
    more = len(found) > limit
    return found[:limit], _encode(found[limit - 1].id) if more else None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if len(text) <= 3 and text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidRequest(errors={"limit": [f"must be a whole number from 1 to {MAX_LIMIT}"]})


def _encode(identifier: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(identifier.bytes).rstrip(b"=").decode()


def _decode(cursor: str) -> uuid.UUID:
    try:
        return uuid.UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise InvalidRequest(errors={"cursor": ["is not a cursor of this list"]}) from None
