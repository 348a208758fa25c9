"""Answers that are the same for everybody: remembered, and told in a way that a CDN can carry them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from trading.api.query import Query
from trading.as_of import covers
from trading.read_cache import Answer, ReadCache, answer_of

Document = Mapping[str, Any]
"""An answer's JSON, `as_of` among it."""

_encode = msgspec.json.Encoder().encode


def remembered(
    cache: ReadCache,
    query: Query,
    key: str,
    *,
    soon: Callable[[], Document],
    now: Callable[[], Document],
    projections: Sequence[str],
) -> Answer:
    """The remembered answer, which `soon` works out; where the caller wants one that reflects more, that of `now`."""
    min_as_of = query.text("min_as_of")
    if not query.requires_fresh:
        answer = cache.read(key, lambda: encoded(soon()))
        if min_as_of is None or covers(answer.as_of, min_as_of):
            return answer
    query.reach(projections)
    return encoded(now())


def public_response(request: Request, answer: Answer, *, max_age_s: int) -> HttpResponseBase:
    """The body, or a 304 for who has it already."""
    headers = {"ETag": answer.etag, "Cache-Control": f"public, max-age={max_age_s}"}
    if answer.etag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(answer.body, content_type="application/json", headers=headers)


def encoded(document: Document) -> Answer:
    """A document as an Answer."""
    return answer_of(document["as_of"], _encode(document))
