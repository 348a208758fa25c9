"""Tells every process at once that keys were revoked, since their rows are remembered for a moment.

Whoever remembers a key remembers the `generation` with it, and forgets it when that has changed. A process that cannot
listen remembers nothing.
"""

import functools
import logging
import threading
import time

import redis
from django.conf import settings

CHANNEL = "revoked-keys"
RETRY_S = 0.5
PING_S = 5.0
# Time for the others to hear of it, before the one who revoked a key is told that it is done.
SPREAD_S = 0.02

logger = logging.getLogger(__name__)


def announce() -> None:
    """Call once a revocation is committed. Without Valkey others know after the moment for which they remember."""
    try:
        with redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=1, socket_connect_timeout=1) as valkey:
            if valkey.publish(CHANNEL, b""):
                time.sleep(SPREAD_S)
    except redis.RedisError as error:
        logger.warning("a revoked key was not announced: %s", error)


class Revocations:
    """Listens in a thread of its own from the first look on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._generation = 0
        self._is_heard = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def generation(self) -> int | None:
        """A number that changes with every revocation; None while this process cannot hear of them."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._listen, name="revocations", daemon=True)
                    self._thread.start()
        return self._generation if self._is_heard else None

    def _listen(self) -> None:
        while True:
            try:
                self._listen_once()
            except Exception as error:
                # Whatever it was: a process that has gone deaf and does not know it would remember revoked keys.
                outage = isinstance(error, redis.RedisError | OSError)
                logger.warning("revocations cannot be heard: %s", error, exc_info=not outage)
            self._is_heard = False
            time.sleep(RETRY_S)

    def _listen_once(self) -> None:
        with (
            redis.Redis.from_url(self._url, socket_connect_timeout=1) as valkey,
            valkey.pubsub() as subscription,
        ):
            subscription.subscribe(CHANNEL)
            asked_at = time.monotonic()
            while True:
                message = subscription.get_message(timeout=PING_S)
                if message is None:
                    if time.monotonic() - asked_at > 2 * PING_S:
                        raise redis.TimeoutError("no sign of life")
                    subscription.ping()
                    continue
                asked_at = time.monotonic()
                if message["type"] == "subscribe":
                    self._generation += 1
                    self._is_heard = True
                elif message["type"] == "message":
                    self._generation += 1


@functools.cache
def revocations() -> Revocations:
    """This process's listener."""
    return Revocations(settings.VALKEY_URL)
