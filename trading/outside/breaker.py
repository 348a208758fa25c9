"""Leaves a service alone that keeps failing: after five failures in a row for 30 s, then one call tries it.

    closed ── 5 failures ──> open ── 30 s ──> half-open ── one call ──> closed, or open again

The state is in Valkey, so all processes share it. Valkey may be lost: then every service counts as well, and one that
is not fails five more times. pybreaker (1.4.1), the usual library, does not fit: it holds a lock while the guarded call
runs, so a process's threads would call a slow service one after the other; every process may try a half-open service at
once; and it does not say when to come again, which is what a job has to know to wait without counting as a try.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import redis

from trading.outside.valkey import valkey

FAILURES = 5
REST_S = 30
PROBE_S = 15
"""How long the one call of a half-open service is waited for; a process that dies with it must not block the others."""
IDLE_S = 3600
"""A service of which nobody has heard for so long is forgotten."""

logger = logging.getLogger(__name__)

_OPEN = "breakers:open"

# May this call go out? 0, or the milliseconds to wait. The first that asks after the rest is let through alone.
_ASK = """
local until_ms = tonumber(redis.call('HGET', KEYS[1], 'until_ms'))
if not until_ms then return 0 end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if now_ms < until_ms then return until_ms - now_ms end
redis.call('HSET', KEYS[1], 'until_ms', now_ms + ARGV[1] * 1000)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
"""
# One failure more; an open service that fails its try rests again. Answers 1 if that has opened it.
_FAIL = """
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
if failures < tonumber(ARGV[2]) then return 0 end
local was_open = redis.call('HEXISTS', KEYS[1], 'until_ms')
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until_ms', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3] * 1000)
redis.call('ZADD', KEYS[2], now[1], ARGV[1])
return 1 - was_open
"""
_SUCCEED = """
redis.call('DEL', KEYS[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
"""


class BreakerOpen(Exception):
    """The service is left alone; come again in `retry_in_s`."""

    def __init__(self, service: str, retry_in_s: float) -> None:
        super().__init__(f"{service} is left alone for {retry_in_s:.1f} s, since it kept failing")
        self.retry_in_s = retry_in_s


class Breaker:
    """The breaker of one service: `mail`, or `webhook:HOST:PORT`. What stands before the colon is its kind."""

    def __init__(self, service: str, *, failures: int = FAILURES, rest_s: int = REST_S) -> None:
        self.service = service
        self._failures = failures
        self._rest_s = rest_s
        self._key = f"breaker:{service}"

    def ask(self) -> None:
        """Raise BreakerOpen unless the service may be called now. Whoever may has to tell how it went."""
        try:
            wait_ms = int(_scripts().ask(keys=[self._key], args=[PROBE_S, IDLE_S]))
        except redis.RedisError as error:
            logger.warning("nobody knows whether %s is well, so it is called: %s", self.service, error)
            return
        if wait_ms > 0:
            raise BreakerOpen(self.service, wait_ms / 1000)

    def succeeded(self) -> None:
        """The service has answered."""
        self._tell(lambda: _scripts().succeed(keys=[self._key, _OPEN], args=[self.service]), "is well again")

    def failed(self) -> None:
        """It has not, or only with a failure of its own."""
        given: list[bytes | bytearray | memoryview[int] | str | int | float] = [
            self.service,
            self._failures,
            self._rest_s,
            IDLE_S,
        ]
        self._tell(
            lambda: _scripts().fail(keys=[self._key, _OPEN], args=given), "keeps failing and is left alone"
        )

    @contextmanager
    def guarding(self, *failures: type[BaseException]) -> Iterator[None]:
        """A block that calls the service; these exceptions say that it has failed, any other says nothing of it."""
        self.ask()
        try:
            yield
        except failures:
            self.failed()
            raise
        self.succeeded()

    def _tell(self, script: Callable[[], int], news: str) -> None:
        try:
            if script():
                logger.warning("%s %s", self.service, news)
        except redis.RedisError as error:
            logger.warning("what became of a call to %s was not noted: %s", self.service, error)


def open_services() -> dict[str, int]:
    """How many services of each kind are open or half-open. Raises redis.RedisError."""
    client = valkey()
    client.zremrangebyscore(_OPEN, "-inf", int(time.time()) - IDLE_S)
    counts: dict[str, int] = {}
    for service in cast("list[bytes]", client.zrange(_OPEN, 0, -1)):
        kind = service.decode().partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return counts


class _Scripts(NamedTuple):
    ask: redis.commands.core.Script
    fail: redis.commands.core.Script
    succeed: redis.commands.core.Script


@functools.cache
def _scripts() -> _Scripts:
    register = valkey().register_script
    return _Scripts(register(_ASK), register(_FAIL), register(_SUCCEED))
