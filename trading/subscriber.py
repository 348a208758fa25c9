"""A connection on which a hub or a gateway listens to Valkey.

It says when it is up and when it is down, because what is published while it is down is lost: a client library
that reconnects by itself would hide just that. A connection on which nothing comes back counts as down too.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable

import redis.asyncio as redis
from redis.exceptions import RedisError

from trading.cancelling import end_tasks

PING_SECONDS = 2.0
SILENCE_SECONDS = 6.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0

log = logging.getLogger(__name__)


class Subscriber:
    """Subscribes to channels and hands their messages over, in one event loop.

    `on_message(channel, data)` for each message, `on_subscribed(channel)` when a subscription is confirmed (again
    after every reconnect), `on_down()` when the connection is lost. They must not block. Attempts to reconnect are
    at most `longest_pause_s` apart.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[bytes, bytes], None],
        on_subscribed: Callable[[bytes], None],
        on_down: Callable[[], None],
        longest_pause_s: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._pool = redis.ConnectionPool.from_url(url, protocol=2, socket_connect_timeout=2.0)
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_down = on_down
        self._longest_pause_s = longest_pause_s
        self._channels: set[bytes] = set()
        self._to_send: asyncio.Queue[tuple[bytes, ...]] = asyncio.Queue()
        self._heard_at = 0.0

    def subscribe(self, channel: bytes) -> None:
        """Listen to a channel from now on, across reconnects."""
        self._channels.add(channel)
        self._to_send.put_nowait((b"SUBSCRIBE", channel))

    def unsubscribe(self, channel: bytes) -> None:
        """Stop listening to it."""
        self._channels.discard(channel)
        self._to_send.put_nowait((b"UNSUBSCRIBE", channel))

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except Exception as error:
                # Whatever it was, a process that no longer listens would be deaf for ever.
                outage = isinstance(error, RedisError | OSError | TimeoutError)
                log.warning("a connection that listens to Valkey was lost: %s", error, exc_info=not outage)
            self._on_down()
            if time.monotonic() - began > self._longest_pause_s:
                pause_s = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  (spreads reconnects)
            pause_s = min(2 * pause_s, self._longest_pause_s)

    async def _listen(self) -> None:
        """One connection, from its start to its loss."""
        connection = self._pool.make_connection()
        try:
            await connection.connect()
            self._to_send = asyncio.Queue()
            for channel in self._channels:
                self._to_send.put_nowait((b"SUBSCRIBE", channel))
            self._heard_at = time.monotonic()
            tasks = {
                asyncio.ensure_future(self._read(connection)),
                asyncio.ensure_future(self._write(connection)),
            }
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                await end_tasks(tasks)
        finally:
            await connection.disconnect(nowait=True)

    async def _read(self, connection: redis.Connection) -> None:
        while True:
            reply = await connection.read_response(timeout=math.inf)
            if reply is None:  # redis-py's answer to a socket that timed out by itself
                raise ConnectionError("the connection has timed out")
            self._heard_at = time.monotonic()
            kind = reply[0]
            if kind == b"message":
                self._on_message(reply[1], reply[2])
                # What is buffered is read without a pause; the sockets' writers must get their turn in between.
                await asyncio.sleep(0)
            elif kind == b"subscribe":
                self._on_subscribed(reply[1])

    async def _write(self, connection: redis.Connection) -> None:
        while True:
            try:
                # Not wait_for: Python 3.11's takes a cancellation for nothing if a command comes at the same time.
                async with asyncio.timeout(PING_SECONDS):
                    command = await self._to_send.get()
            except TimeoutError:
                if time.monotonic() - self._heard_at > SILENCE_SECONDS:
                    raise TimeoutError(f"no sign of life for {SILENCE_SECONDS} s") from None
                command = (b"PING",)
            await connection.send_command(*command, check_health=False)
