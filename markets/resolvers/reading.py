"""One JSON document from outside: asked through trading.outside, in bounds, and refused unless it is all there.

What may be better a minute later is a NotYet, what never can be is a GiveUp, and an answer that is no document is a
failed try: a service that is being mended says such things for a while.
"""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

from markets.resolvers.plugin import Evidence, NotYet
from trading import strict_json
from trading.errors import InvalidRequest
from trading.jobs import GiveUp
from trading.outside.address import NoSuchHost, UrlRefused, read_url
from trading.outside.breaker import Breaker, BreakerOpen
from trading.outside.fetch import MAX_BODY_BYTES, Answer, FetchFailed, get

OK, NO_CONTENT = 200, 204
NOT_THERE_YET = (NO_CONTENT, 404, 408, 409, 423, 425, 429)
_SERVER_FAULT = 500
KEPT_TYPE = 100
TIMEOUT_S = 10.0

HEADERS = {"Accept": "application/json", "User-Agent": "pmarket-resolver/1"}


class BadAnswer(Exception):
    """What came is no JSON document in bounds."""


class HostFailed(Exception):
    """The host did not answer, or only with a failure of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document (see trading.strict_json.decode) with where and when it was read, and its bytes."""

    url: str
    document: Any
    body: bytes
    read_at: dt.datetime

    def evidence(self, value: Any) -> Evidence:
        """For a decision by that value of it."""
        return Evidence(self.url, str(value), self.read_at, self.body)


def read_json(url: str, now: dt.datetime) -> Reading | NotYet:
    """Read a URL that was asked at `now`. Waits at most TIMEOUT_S, and for the system to look the name up.

    Raises GiveUp for a URL that may not be called, a redirect or a refusal; BadAnswer for what is no document.
    """
    started = time.monotonic()
    try:
        answer = _answer(url)
    except (UrlRefused, BreakerOpen, HostFailed) as error:
        return _no_answer(url, error)
    if answer.status in NOT_THERE_YET:
        return NotYet(f"{url} answered {answer.status}")
    if answer.status != OK:
        raise GiveUp(f"{url} answered {answer.status}{_where_to(answer)}")
    read_at = now + dt.timedelta(seconds=time.monotonic() - started)
    return Reading(url, _document(answer), answer.body, read_at)


def _answer(url: str) -> Answer:
    target = read_url(url)
    with Breaker(f"resolver:{target.service}").guarding(HostFailed):
        try:
            answer = get(url, headers=HEADERS, timeout_s=TIMEOUT_S)
        except (FetchFailed, NoSuchHost) as error:
            raise HostFailed(str(error)) from None
        if answer.status >= _SERVER_FAULT:
            raise HostFailed(f"it answered {answer.status}")
        return answer


def _no_answer(url: str, error: Exception) -> NotYet:
    if isinstance(error, UrlRefused):
        raise GiveUp(f"{url} may not be called: {error}") from None
    if isinstance(error, BreakerOpen):
        return NotYet(str(error), retry_in_s=error.retry_in_s)
    return NotYet(f"{url} did not answer: {error}")


def _where_to(answer: Answer) -> str:
    where = answer.headers.get("location", "")
    return f", a redirect to {where[:KEPT_TYPE]!a}, and redirects are not followed" if where else ""


def _document(answer: Answer) -> Any:
    if not answer.is_whole:
        raise BadAnswer(f"The body is over {MAX_BODY_BYTES} bytes.")
    given = answer.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise BadAnswer(f"The content type is {given[:KEPT_TYPE]!a}, not application/json.")
    try:
        return strict_json.decode(answer.body)
    except InvalidRequest as error:
        raise BadAnswer(error.detail) from None
