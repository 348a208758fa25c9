"""Valkey as gateways and shards see it: streams, channels, what its scripts mean; and the ways to lose a message."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import redis

from tests.simulation.clock import Process, VirtualLoop
from trading import gateway
from trading.shard import publish
from trading.wire import FRAME_FIELD

ROUND_TRIP_US = (20, 300)
_unpack = msgspec.msgpack.decode


class Bus:
    """One Valkey. `faults.of_call`, `of_message` and `of_frame` say what goes wrong."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, faults: Any) -> None:
        self.loop = loop
        self.faults = faults
        self.is_down = False
        self.run_number = 1
        self.on_feed: Callable[[bytes], object] = lambda message: None
        self.streams: dict[bytes, list[tuple[tuple[int, int], dict[bytes, bytes]]]] = {}
        self.last_ids: dict[bytes, tuple[int, int]] = {}
        self.hashes: dict[str, dict[str, Any]] = {}
        self.strings: dict[str, Any] = {}
        self.subscribers: list[FakeSubscriber] = []
        self._readers: list[tuple[set[bytes], Callable[..., None]]] = []
        self._rng = rng

    # --- Outages ------------------------------------------------------------------------------------

    def wipe(self) -> None:
        """It was restarted and has come back empty."""
        self.run_number += 1
        for kept in (self.streams, self.last_ids, self.hashes, self.strings):
            kept.clear()
        self.cut()

    def cut(self) -> None:
        """Every connection is lost."""
        for subscriber in list(self.subscribers):
            subscriber.lose()
        readers, self._readers = self._readers, []
        for _, wake in readers:
            wake(redis.ConnectionError("the connection was lost"))

    def trip_us(self) -> int:
        return self._rng.randint(*ROUND_TRIP_US)

    # --- Commands -----------------------------------------------------------------------------------

    def add(self, stream: bytes, fields: dict[bytes, bytes], wanted: str | None = None) -> bytes:
        last = self.last_ids.get(stream, (0, 0))
        if wanted is None:
            now_ms = self.loop.now_us // 1000
            entry = (now_ms, 0) if now_ms > last[0] else (last[0], last[1] + 1)
        else:
            entry = _parsed(wanted)
            if entry <= last:
                raise redis.ResponseError(
                    "The ID specified in XADD is equal or smaller than the target stream top item"
                )
        self.last_ids[stream] = entry
        self.streams.setdefault(stream, []).append((entry, fields))
        for reader in [r for r in self._readers if stream in r[0]]:
            self._readers.remove(reader)
            reader[1]()
        return _text(entry)

    def trim(self, stream: bytes, least: str) -> None:
        entries = self.streams.get(stream)
        if entries:
            bound = _parsed(least)
            while entries and entries[0][0] < bound:
                del entries[0]

    def read(self, cursors: dict[bytes, bytes], count: int) -> list[Any]:
        reply = []
        for stream, cursor in cursors.items():
            entries = self.streams.get(stream)
            if entries:
                above = _parsed(cursor.decode())
                if entries[-1][0] > above:
                    found = [(_text(entry), fields) for entry, fields in entries if entry > above][:count]
                    reply.append((stream, found))
        return reply

    def await_entry(self, streams: Iterable[bytes], wake: Callable[..., None]) -> None:
        self._readers.append((set(streams), wake))

    def publish(self, channel: str, message: bytes) -> None:
        """To whoever listens now; each message has its own fate."""
        if channel == publish.FEED_CHANNEL:
            self.on_feed(message)
            return
        for subscriber in self.subscribers:
            if channel.encode() in subscriber.channels:
                delay_us = self.faults.of_message()
                if delay_us is not None:
                    subscriber.deliver(channel.encode(), message, delay_us)

    def script(self, text: str) -> Callable[[list[str], list[Any]], Any]:
        """What a script does; raises KeyError for one that is not known."""
        return {
            publish.BEGIN: self._begin, publish.END: self._end, publish.REWRITE_BOOK: self._rewrite,
            publish.PUBLISH_BOOKS: self._publish_books, gateway.SEND_FRAMES: self._send_frames,
        }[text]  # fmt: skip

    def _begin(self, keys: list[str], args: list[Any]) -> int:
        for key, epoch in zip(keys, args[1:], strict=True):
            if int(str(self.strings.get(key, "0")).partition(":")[0]) > int(epoch):
                return 0
        for key, epoch in zip(keys, args[1:], strict=True):
            self.strings[key] = f"{epoch}{publish.WRITING}"
        return 1

    def _end(self, keys: list[str], args: list[Any]) -> int:
        if any(
            self.strings.get(k) != f"{epoch}{publish.WRITING}"
            for k, epoch in zip(keys, args[1:], strict=True)
        ):
            return 0
        for key, epoch in zip(keys, args[1:], strict=True):
            self.strings[key] = str(epoch)
        return 1

    def _rewrite(self, keys: list[str], args: list[Any]) -> int:
        if self.strings.get(keys[0]) != args[0]:
            return 0
        self.hashes[keys[1]] = _pairs(_unpack(args[1]))
        self.strings[keys[2]] = args[2]
        self.publish(args[3], args[4])
        return 1

    def _publish_books(self, keys: list[str], args: list[Any]) -> int:
        _, books, channel, feed, wake = args[:5]
        epochs, tickers = args[5 : 5 + len(keys)], args[5 + len(keys) :]
        if any(self.strings.get(k) != str(epoch) for k, epoch in zip(keys, epochs, strict=True)):
            return 0
        for (market_id, kept, gone), ticker in zip(_unpack(books), tickers, strict=True):
            book = self.hashes.setdefault(f"book:{market_id}", {})
            book.update(_pairs(kept))
            for field in gone:
                book.pop(field, None)
            self.strings[f"ticker:{market_id}"] = ticker
        self.publish(channel, feed)
        self.publish(wake, b"")
        return 1

    def _send_frames(self, keys: list[str], args: list[Any]) -> list[int]:
        for stream, frame in zip(keys, args[1:], strict=True):
            for delay_us in self.faults.of_frame():
                if delay_us:
                    self.loop.after(delay_us, self._add_frame, stream.encode(), frame)
                else:
                    self._add_frame(stream.encode(), frame)
        return [0 for _ in keys] if int(args[0]) else []

    def _add_frame(self, stream: bytes, frame: bytes) -> None:
        if not self.is_down:
            self.add(stream, {FRAME_FIELD: frame})


class Client:
    """A shard's connection: blocks its process for a round trip."""

    def __init__(self, bus: Bus, process: Process) -> None:
        self._bus = bus
        self._process = process

    def _call(self, effect: Callable[[], Any]) -> Any:
        """Carried out at the server while the message is under way, whatever becomes of the process."""
        bus, process = self._bus, self._process
        if process.is_dead:
            process.kill()
        fault = bus.faults.of_call()
        wake = process.waiter()

        def arrive() -> None:
            if bus.is_down or fault == "lost before":
                result: Any = redis.ConnectionError("the connection was lost")
            else:
                try:
                    result = effect()
                except redis.RedisError as error:
                    result = error
                if fault == "lost after":
                    result = redis.ConnectionError("the answer was lost")
            bus.loop.after(bus.trip_us(), wake, result)

        bus.loop.after(bus.trip_us(), arrive)
        result = process.block()
        if isinstance(result, Exception):
            raise result
        return result

    def info(self, section: str) -> dict[str, Any]:
        return self._call(lambda: {"run_id": f"run-{self._bus.run_number}"})

    def xread(self, cursors: dict[bytes, bytes], *, count: int, block: int | None) -> list[Any]:
        wanted = dict(cursors)
        found = self._call(lambda: self._bus.read(wanted, count))
        if found or block is None:
            return found
        wake = self._process.waiter()
        self._bus.await_entry(wanted, wake)
        self._bus.loop.after(block * 1000, wake)
        result = self._process.block()
        if isinstance(result, Exception):
            raise result
        return self._call(lambda: self._bus.read(wanted, count))

    def publish(self, channel: str, message: bytes) -> None:
        self._call(lambda: self._bus.publish(channel, message))

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        return Pipeline(self)

    def register_script(self, text: str) -> Callable[..., Any]:
        script = self._bus.script(text)
        return lambda *, keys, args: self._call(lambda: script(list(keys), list(args)))


class Pipeline:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls: list[Callable[[], Any]] = []

    def xadd(self, stream: bytes, fields: dict[bytes, bytes], *, id: str) -> None:
        self._calls.append(lambda: self._client._bus.add(stream, fields, id))

    def xtrim(self, stream: str, *, minid: str, approximate: bool) -> None:
        self._calls.append(lambda: self._client._bus.trim(stream.encode(), minid))

    def publish(self, channel: str, message: bytes) -> None:
        self._calls.append(lambda: self._client._bus.publish(channel, message))

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        def effect() -> list[Any]:
            results: list[Any] = []
            for call in self._calls:
                try:
                    results.append(call())
                except redis.ResponseError as error:
                    if raise_on_error:
                        raise
                    results.append(error)
            return results

        if not self._calls:
            return []
        results: list[Any] = self._client._call(effect)
        return results


class FakeSubscriber:
    """In the place of trading.subscriber.Subscriber."""

    bus: Bus  # set for the time of a simulation

    def __init__(
        self, url: str, *, on_message: Any, on_subscribed: Any, on_down: Any, longest_pause_s: float
    ) -> None:
        self._on_message, self._on_subscribed, self._on_down = on_message, on_subscribed, on_down
        self.channels: set[bytes] = set()
        self._lost = asyncio.Event()
        self._last_us = 0

    def subscribe(self, channel: bytes) -> None:
        self.channels.add(channel)

    async def run(self) -> None:
        bus = self.bus
        try:
            while True:
                if not bus.is_down:
                    self._lost.clear()
                    bus.subscribers.append(self)
                    for channel in sorted(self.channels):
                        self._on_subscribed(channel)
                    await self._lost.wait()
                    self._on_down()
                await asyncio.sleep(0.05)
        finally:
            if self in bus.subscribers:
                bus.subscribers.remove(self)

    def lose(self) -> None:
        self.bus.subscribers.remove(self)
        self._lost.set()

    def deliver(self, channel: bytes, message: bytes, delay_us: int) -> None:
        """In order, as on one connection."""
        self._last_us = max(self._last_us, self.bus.loop.now_us + delay_us)
        self.bus.loop.at(self._last_us, self._arrive, channel, message)

    def _arrive(self, channel: bytes, message: bytes) -> None:
        if self in self.bus.subscribers:
            self._on_message(channel, message)


class FakeAioredis:
    """In the place of redis.asyncio in the gateway."""

    bus: Bus

    class Redis:
        @staticmethod
        def from_url(url: str) -> Any:
            return FakeAioredis.Redis()

        def register_script(self, text: str) -> Any:
            bus = FakeAioredis.bus
            script = bus.script(text)

            async def call(*, keys: list[str], args: list[Any]) -> Any:
                fault = bus.faults.of_call()
                await asyncio.sleep(bus.trip_us() / 1e6)
                if bus.is_down or fault == "lost before":
                    raise redis.ConnectionError("the connection was lost")
                result = script(keys, args)
                await asyncio.sleep(bus.trip_us() / 1e6)
                if fault == "lost after":
                    raise redis.ConnectionError("the answer was lost")
                return result

            return call


def _parsed(entry_id: str) -> tuple[int, int]:
    milliseconds, sequence = entry_id.split("-")
    return int(milliseconds), int(sequence)


def _text(entry: tuple[int, int]) -> bytes:
    return b"%d-%d" % entry


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
