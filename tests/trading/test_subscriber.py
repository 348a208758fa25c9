"""The connection that listens to Valkey: it hears again after whatever has happened."""

import asyncio

import redis.asyncio as redis
from django.conf import settings

from trading import subscriber as module
from trading.subscriber import Subscriber

PATIENCE_S = 10.0


class Heard:
    """A subscriber on one channel, and what it has told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.news = asyncio.Event()
        self.ups = self.downs = 0
        self.subscriber = Subscriber(
            settings.VALKEY_URL, on_message=self._message, on_subscribed=self._subscribed, on_down=self._down,
            longest_pause_s=0.1,
        )  # fmt: skip
        self.subscriber.subscribe(b"test-subscriber")

    def _message(self, channel: bytes, message: bytes) -> None:
        if message == b"poison":
            raise KeyError("a callback that fails")
        self.messages.append(message)
        self.news.set()

    def _subscribed(self, channel: bytes) -> None:
        self.ups += 1
        self.news.set()

    def _down(self) -> None:
        self.downs += 1

    async def until(self, happened) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self.news.clear()
                await self.news.wait()


async def hears_again_after(break_it) -> None:
    heard = Heard()
    task = asyncio.create_task(heard.subscriber.run())
    client = redis.Redis.from_url(settings.VALKEY_URL)
    try:
        await heard.until(lambda: heard.ups == 1)
        await break_it(client)
        await heard.until(lambda: heard.ups == 2)
        assert heard.downs == 1
        await client.publish("test-subscriber", b"still there?")
        await heard.until(lambda: heard.messages == [b"still there?"])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


async def test_it_hears_again_after_a_callback_has_failed(caplog):
    await hears_again_after(lambda client: client.publish("test-subscriber", b"poison"))
    assert "KeyError" in caplog.text


async def test_it_hears_again_after_its_connection_was_killed():
    await hears_again_after(lambda client: client.client_kill_filter(_type="pubsub"))


async def test_it_hears_again_after_its_socket_has_timed_out(monkeypatch):
    read = module.redis.Connection.read_response
    timeouts = iter([True])

    async def timed_out_once(self, *arguments, **options):
        reply = await read(self, *arguments, **options)
        if type(reply) is list and reply[0] == b"message" and next(timeouts, False):
            return None  # what redis-py makes of ETIMEDOUT
        return reply

    monkeypatch.setattr(module.redis.Connection, "read_response", timed_out_once)
    await hears_again_after(lambda client: client.publish("test-subscriber", b"lost"))


async def test_it_stops_although_a_channel_is_wanted_at_that_moment():
    for turns in range(6):
        heard = Heard()
        task = asyncio.create_task(heard.subscriber.run())
        await heard.until(lambda heard=heard: heard.ups == 1)
        heard.subscriber.subscribe(b"one-more")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
