"""Rate limits: token buckets in Valkey, one Lua call on the server's clock, for both lanes.

    class     a second   burst
    order            5      10    place, amend; a batch costs one token for every 50 items begun
    cancel          50     500    a bucket of its own, and never refused for want of Valkey
    data            30      60    market data
    general         10      20    everything else
    sign_in          1       5    registration and sign-in

A bucket belongs to an API key, to the user of a session, or, only for requests without either, to an IP
address.

When Valkey does not answer, cancels pass: whoever wants out of the market must get out. The rest is allowed
too, but counted in this process: orders cannot be placed without Valkey anyway, while reads and sign-ins
still can, and guessing passwords must not become free. A limit then holds for a process, not for all of them
together.
"""

import asyncio
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.client_ip import client_ip
from trading.api.errors import problem_response
from trading.errors import RateLimited
from trading.principal import Allowance, Principal
from trading.rates import RATES, TIER_FACTORS, Rate

if TYPE_CHECKING:  # DRF's views import this module, by its settings.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.25
"""Longest that a request waits for its token; past that Valkey counts as down."""

RETRY_VALKEY_SECONDS = 1.0
"""How long a Valkey that did not answer is left alone, so that not every request waits for it."""

MAX_LOCAL_BUCKETS = 10_000


# All in millionths of a token, so that rate tokens a second are rate units a microsecond: integers
# throughout.
TAKE_TOKENS = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local answers = {}
for i, key in ipairs(KEYS) do
  local rate = tonumber(ARGV[3 * i - 2])
  local full = ARGV[3 * i - 1] * 1000000
  local cost = math.min(ARGV[3 * i] * 1000000, full)
  local row = redis.call('HMGET', key, 'tokens', 'at')
  local tokens = tonumber(row[1]) or full
  local passed = math.max(0, now - (tonumber(row[2]) or now))
  tokens = math.min(full, tokens + passed * rate)
  local wait = 0
  if tokens >= cost then
    tokens = tokens - cost
  else
    wait = math.ceil((cost - tokens) / rate)
  end
  redis.call('HSET', key, 'tokens', string.format('%.0f', tokens), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(full / rate / 1000) + 1000)
  answers[#answers + 1] = {math.floor(tokens / 1000000), wait}
end
return answers
"""


@dataclass(frozen=True, slots=True)
class Take:
    """One request's wish for tokens."""

    class_name: str
    name: str
    rate: Rate
    cost: int

    def allowance(self, remaining: int, wait_us: int) -> Allowance:
        """The script's answer as callers know it."""
        return Allowance(
            allowed=wait_us == 0,
            remaining=remaining,
            limit=self.rate.burst,
            retry_after_s=-(-wait_us // 1_000_000),
        )


def take_of(class_name: str, principal: Principal | None, ip: str | None, cost: int) -> Take:
    """Which bucket pays, and how fast it fills."""
    rate, owner = RATES[class_name], f"ip:{_site_of(ip)}"
    if principal is not None:
        rate, owner = rate.times(TIER_FACTORS.get(principal.tier, 1)), principal.actor
    return Take(class_name, f"throttle:{class_name}:{owner}", rate, cost)


def _site_of(ip: str | None) -> str:
    """What counts as one place: an IPv4 address, or the /64 that one IPv6 customer gets."""
    if ip is None or ":" not in ip:
        return ip or "unknown"
    return str(ipaddress.ip_network((ip, 64), strict=False))


class LocalBuckets:
    """The same buckets in this process, for the time without Valkey. Safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def take(self, take: Take) -> Allowance:
        """Take the tokens, or say when to come again."""
        now_us = int(self._clock() * 1_000_000)
        full = take.rate.burst * 1_000_000
        cost = min(take.cost * 1_000_000, full)
        with self._lock:
            if len(self._buckets) >= MAX_LOCAL_BUCKETS:
                self._buckets.clear()
            tokens, at_us = self._buckets.get(take.name, (full, now_us))
            tokens = min(full, tokens + (now_us - at_us) * take.rate.per_second)
            wait_us = 0 if tokens >= cost else -(-(cost - tokens) // take.rate.per_second)
            tokens = tokens if wait_us else tokens - cost
            self._buckets[take.name] = (tokens, now_us)
        return take.allowance(tokens // 1_000_000, wait_us)


class TokenBuckets:
    """The throttle (implements trading.principal.Throttle), one for a process.

    The async face belongs to one event loop at a time. What its requests ask for while a call is under way
    goes into the next call together: under load many requests share one trip to Valkey.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = LocalBuckets()
        self._down_until = 0.0
        self._blocking = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._script = self._blocking.register_script(TAKE_TOKENS)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._async_script: Any = None
        self._waiting: list[tuple[Take, asyncio.Future[Allowance]]] = []
        self._sender: asyncio.Task[None] | None = None

    def take_blocking(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        """Take `cost` tokens, from a thread."""
        take = take_of(class_name, principal, ip, cost)
        if time.monotonic() < self._down_until:
            return self._without_valkey(take)
        try:
            [(remaining, wait_us)] = self._script(keys=[take.name], args=_arguments([take]))
        except redis.RedisError as error:
            self._note_down(error)
            return self._without_valkey(take)
        return take.allowance(remaining, wait_us)

    async def take(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        """Take `cost` tokens, on the event loop."""
        take = take_of(class_name, principal, ip, cost)
        if time.monotonic() < self._down_until:
            return self._without_valkey(take)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._attach(loop)
        answer: asyncio.Future[Allowance] = loop.create_future()
        self._waiting.append((take, answer))
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send())
        return await answer

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        client = redis.asyncio.Redis.from_url(
            self._url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._async_script = client.register_script(TAKE_TOKENS)
        self._loop, self._waiting, self._sender = loop, [], None

    async def _send(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            takes = [take for take, _ in asked]
            try:
                found = await self._async_script(keys=[take.name for take in takes], args=_arguments(takes))
                answers = [take.allowance(*row) for take, row in zip(takes, found, strict=True)]
            except Exception as error:
                # Whatever it was, those who wait must get an answer.
                self._note_down(error)
                answers = [self._without_valkey(take) for take in takes]
            for (_, future), answer in zip(asked, answers, strict=True):
                # Its request may have gone away meanwhile.
                if not future.done():
                    future.set_result(answer)

    def _without_valkey(self, take: Take) -> Allowance:
        if take.class_name == "cancel":
            return Allowance(True, take.rate.burst, take.rate.burst, 0)
        return self._local.take(take)

    def _note_down(self, error: Exception) -> None:
        self._down_until = time.monotonic() + RETRY_VALKEY_SECONDS
        logger.warning("rate limits are counted in this process: Valkey does not answer", exc_info=error)


def _arguments(takes: Sequence[Take]) -> list[int]:
    return [number for take in takes for number in (take.rate.per_second, take.rate.burst, take.cost)]


class NoThrottle:
    """THROTTLE=0: everything passes, and nothing is counted (implements trading.principal.Throttle)."""

    _FREE = Allowance(True, 0, 0, 0)

    def take_blocking(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        return self._FREE

    async def take(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        return self._FREE


def throttle() -> TokenBuckets | NoThrottle:
    """This process's throttle, as settings say."""
    return _buckets(settings.VALKEY_URL) if settings.THROTTLE else NoThrottle()


@lru_cache(maxsize=4)
def _buckets(url: str) -> TokenBuckets:
    return TokenBuckets(url)


class TokenBucketThrottle(BaseThrottle):
    """DRF's face of the throttle.

    A view names its class in `throttle_class_name`: one name, or a dict from method to name; `general`
    without it. A view with `throttle_cost(request)` says how many tokens a request costs.
    """

    def __init__(self) -> None:
        self._allowance: Allowance | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        if not settings.THROTTLE:
            return True
        names = getattr(view, "throttle_class_name", "general")
        class_name = names.get(request.method, "general") if isinstance(names, dict) else names
        cost_of = getattr(view, "throttle_cost", None)
        allowance = throttle().take_blocking(
            class_name,
            principal=request.auth if isinstance(request.auth, Principal) else None,
            ip=client_ip(request),
            cost=cost_of(request) if cost_of is not None else 1,
        )
        self._allowance = request._request.rate_limit = allowance  # type: ignore[attr-defined]
        return allowance.allowed

    def wait(self) -> float | None:
        return self._allowance.retry_after_s if self._allowance is not None else None


class RateLimitMiddleware:
    """Puts the rate-limit headers on the API's answers, and counts failed sign-ins by key.

    DRF authenticates before it throttles, so a wrong key never reaches the throttle: its 401 is paid for
    here, from the address's `general` bucket, and becomes a 429 when that is empty.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        allowance: Allowance | None = getattr(request, "rate_limit", None)
        if settings.THROTTLE and allowance is None and response.status_code == 401:
            allowance = throttle().take_blocking("general", principal=None, ip=client_ip(request))
            if not allowance.allowed:
                response = problem_response(RateLimited(retry_after_s=allowance.retry_after_s), request)
        for name, value in allowance.headers.items() if allowance is not None else ():
            response[name] = value
        return response
