"""Answers to reads, remembered: in this process for a moment (L1), in Valkey for longer (L2), else worked out (L3).

An answer counts as long as its time is not over and its topic has not changed since before it was worked out
(trading.generations). When many ask for the same at once, one works it out and the others wait. Without Valkey
each answer is worked out. docs/CACHING.md says what is remembered, and for how long.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import redis
from django.conf import settings
from django.core.cache import cache

from trading import generations, metrics
from trading.errors import Overloaded
from trading.generations import Generation, Generations
from trading.replicas import current_alias, leave_replica

CHANNEL = "cache-news"
# What answers are about, and is told to have changed.
MARKETS_TOPIC = "markets"
STANDINGS_TOPIC = "standings"
MOST_L1 = 2_000
# Whoever works an answer out for all processes has that long before another begins too.
FLIGHT_S = 2.0
# Others of the same process wait for it so long.
PATIENCE_S = 5.0
CLOCKS_DIFFER_S = 1.0
POLL_S = 0.01
# So long a Valkey that did not answer is left alone.
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A body with the token of what it reflects, and a tag that is another for another body."""

    as_of: str
    body: bytes
    etag: str


def answer_of(as_of: str, body: bytes) -> Answer:
    """An Answer with its tag."""
    return Answer(as_of, body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


class _Flight:
    """One working-out that others wait for."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None


class _Shared:
    """L2, and the listener that L1 counts on; one for all caches of a process."""

    def __init__(self) -> None:
        self.news = Generations(settings.CACHE_URL, CHANNEL)
        self._down_until = 0.0

    def call(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """What Valkey answers; None while it is away."""
        if time.monotonic() < self._down_until:
            return None
        try:
            return operation(*arguments)
        except (redis.RedisError, OSError) as error:
            self._down_until = time.monotonic() + RETRY_S
            log.warning("nothing is remembered in Valkey for a while: %s", error)
            return None


shared = _Shared()


class ReadCache:
    """Answers of one kind. `l1_s` and `l2_s` are how long they count; `topic` is what ends them early."""

    def __init__(self, name: str, *, l1_s: float, l2_s: float, topic: str) -> None:
        self._name = name
        self._l1_s = l1_s
        self._l2_s = l2_s
        self._topic = topic
        self._l1: OrderedDict[str, tuple[float, Generation, Answer]] = OrderedDict()
        self._lock = threading.Lock()
        self._flights: dict[tuple[str, str], _Flight] = {}

    def read(self, key: str, work_out: Callable[[], Answer]) -> Answer:
        """The answer for `key`, which `work_out` gives where none is remembered. Passes on what that raises."""
        if not settings.READ_CACHE:
            return work_out()
        generation = shared.news.generation(self._topic)
        held = self._l1.get(key)
        if held is not None and held[1] == generation and time.monotonic() < held[0]:
            self._count("l1")
            return held[2]
        return self._land(key, lambda: self._from_beyond(key, work_out), generation)

    def forget(self) -> None:
        """Drops what this process remembers."""
        with self._lock:
            self._l1.clear()

    def _land(self, key: str, fetch: Callable[[], Answer], generation: Generation | None) -> Answer:
        """Fetches, or waits for the thread of this process that is about to: a slow database is asked once.

        The failure of one server is nothing to those who read from another.
        """
        wanted = current_alias(), key
        with self._lock:
            flight = self._flights.get(wanted)
            is_mine = flight is None
            if flight is None:
                flight = self._flights[wanted] = _Flight()
        if not is_mine:
            return self._wait_for(flight)
        try:
            flight.answer = answer = fetch()
            if generation is not None:
                self._keep(key, generation, answer)
            return answer
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[wanted]
            flight.landed.set()

    def _wait_for(self, flight: _Flight) -> Answer:
        if not flight.landed.wait(PATIENCE_S):
            raise Overloaded("The answer takes too long to work out.")
        if flight.error is not None:
            raise flight.error
        assert flight.answer is not None, "what has landed has an answer or an error"
        self._count("shared")
        return flight.answer

    def _keep(self, key: str, generation: Generation, answer: Answer) -> None:
        with self._lock:
            now = time.monotonic()
            self._l1[key] = (now + self._l1_s, generation, answer)
            self._l1.move_to_end(key)
            # All count equally long, so the first to end is the first there: none is held for longer than it counts.
            while self._l1 and (len(self._l1) > MOST_L1 or next(iter(self._l1.values()))[0] <= now):
                self._l1.popitem(last=False)

    def _from_beyond(self, key: str, work_out: Callable[[], Answer]) -> Answer:
        """From L2, or worked out and put there."""
        stored_as, marked_as = f"{self._name}:{key}", f"generation:{self._topic}"
        found = shared.call(cache.get_many, [stored_as, marked_as])
        if found is None:
            self._count("worked_out")
            return work_out()
        if (answer := _fitting(found.get(stored_as), found.get(marked_as))) is not None:
            self._count("l2")
            return answer
        flight, mine = f"{stored_as}:flight", secrets.token_hex(8)
        if not shared.call(cache.add, flight, mine, FLIGHT_S):
            answer = self._wait_for_another(stored_as, marked_as)
            if answer is not None:
                self._count("l2")
                return answer
        try:
            # Whoever was at it may have ended between the first look and this flight.
            found = shared.call(cache.get_many, [stored_as, marked_as]) or found
            mark = found.get(marked_as)
            if (answer := _fitting(found.get(stored_as), mark)) is not None:
                self._count("l2")
                return answer
            self._count("worked_out")
            if _is_young(mark):
                # A replica may not have what the mark tells of, and what it has would be stored as if it had.
                leave_replica()
            answer = work_out()
            shared.call(cache.set, stored_as, (mark, *answer), self._l2_s)
        finally:
            if shared.call(cache.get, flight) == mine:
                shared.call(cache.delete, flight)
        return answer

    @staticmethod
    def _wait_for_another(stored_as: str, marked_as: str) -> Answer | None:
        """What another process puts into L2 meanwhile; None if nothing comes."""
        deadline = time.monotonic() + FLIGHT_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            found = shared.call(cache.get_many, [stored_as, f"{stored_as}:flight", marked_as])
            if not found:
                return None
            if (answer := _fitting(found.get(stored_as), found.get(marked_as))) is not None:
                return answer
            if f"{stored_as}:flight" not in found:
                return None
        return None

    def _count(self, level: str) -> None:
        metrics.CACHE_READS.labels(self._name, level).inc()


def _is_young(mark: Any) -> bool:
    """Whether the topic has changed so lately that a replica in use may not know of it."""
    try:
        told_at = float(mark.partition(":")[0]) if mark is not None else 0.0
    except ValueError:
        return True  # A mark of a version that put no time into it.
    return time.time() - told_at < settings.REPLICA_MAX_LAG_S + CLOCKS_DIFFER_S


def _fitting(stored: Any, mark: Any) -> Answer | None:
    """A stored answer, if it was worked out under the topic's present mark."""
    return Answer(*stored[1:]) if stored is not None and stored[0] == mark else None


def tell_changed(topics: Collection[str]) -> None:
    """Ends what is remembered of these topics, everywhere. What is lost of this only costs the answers' time."""
    marks = {f"generation:{topic}": f"{time.time():.3f}:{secrets.token_hex(8)}" for topic in topics}
    # A mark has to outlive every answer that was stored under the one before.
    if shared.call(lambda: cache.set_many(marks, 3600) or True) is None:
        return
    shared.call(generations.announce, settings.CACHE_URL, CHANNEL, topics)
