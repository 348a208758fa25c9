"""Numbers that change, in every process at once, when something that may be remembered is no longer so.

Whoever remembers something keeps the `generation` with it, and forgets it when that has changed. A process that cannot
listen has no generation, and remembers nothing.
"""

import logging
import threading
import time
from collections.abc import Iterable

import redis

RETRY_S = 0.5
PING_S = 5.0

Generation = tuple[int, int]

logger = logging.getLogger(__name__)


def announce(url: str, channel: str, topics: Iterable[str] = ("",)) -> int:
    """Changes these topics' numbers everywhere; answers how many listen. Raises redis.RedisError."""
    with (
        redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as valkey,
        valkey.pipeline(transaction=False) as pipeline,
    ):
        for topic in topics:
            pipeline.publish(channel, topic)
        return max(pipeline.execute(), default=0)


class Generations:
    """Listens in a thread of its own from the first look on."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        # Of subscriptions: what was announced between two of them was missed.
        self._epoch = 0
        self._numbers: dict[str, int] = {}
        self._is_heard = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def generation(self, topic: str = "") -> Generation | None:
        """What changes with every announcement of the topic; None while this process cannot hear of them."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._listen, name=self._channel, daemon=True)
                    self._thread.start()
        return (self._epoch, self._numbers.get(topic, 0)) if self._is_heard else None

    def _listen(self) -> None:
        while True:
            try:
                self._listen_once()
            except Exception as error:
                # Whatever it was: a process that has gone deaf and does not know it would remember for ever.
                outage = isinstance(error, redis.RedisError | OSError)
                logger.warning("%s cannot be heard: %s", self._channel, error, exc_info=not outage)
            self._is_heard = False
            time.sleep(RETRY_S)

    def _listen_once(self) -> None:
        with (
            redis.Redis.from_url(self._url, socket_connect_timeout=1) as valkey,
            valkey.pubsub() as subscription,
        ):
            subscription.subscribe(self._channel)
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
                    self._epoch += 1
                    self._is_heard = True
                elif message["type"] == "message":
                    topic = message["data"].decode()
                    self._numbers[topic] = self._numbers.get(topic, 0) + 1
