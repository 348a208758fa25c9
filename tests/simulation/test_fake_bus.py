"""The simulated Valkey against the real one: the same calls have to answer the same and leave the same."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import redis
from django.conf import settings

from tests.simulation.bus import Bus, Client
from tests.simulation.test_fake_database import Directly
from trading import gateway
from trading.shard import publish

STEPS = 400
MARKETS = ("m1", "m2")
SLOTS = (1, 2)
STREAMS = (b"commands:{1}", b"commands:{2}")
_encode = msgspec.msgpack.encode


@pytest.fixture
def real() -> Iterator[Any]:
    """A database of its own on the tests' server."""
    with redis.Redis.from_url(settings.VALKEY_URL, db=13) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.mark.parametrize("seed", range(3))
def test_same_calls_answer_the_same_and_leave_the_same(real: Any, seed: int) -> None:
    course = Course(real, random.Random(seed))
    for _ in range(STEPS):
        course.step()
        course.compare()
    assert set(course.answers["script"]) == {0, 1}
    assert len(course.answers["add"]) > 1


class Course:
    """Random calls of shards and gateways, those of replaced owners among them."""

    def __init__(self, real: Any, rng: random.Random) -> None:
        process: Any = Directly()
        self.rng = rng
        self.bus = Bus(process, random.Random(1), SimpleNamespace(of_call=lambda: None, of_frame=lambda: [0]))
        self.pair = (real, Client(self.bus, process))
        self.real = real
        self.seq = 0
        self.answers: dict[str, set[Any]] = {"script": set(), "add": set()}

    def step(self) -> None:
        self.rng.choice(
            (self.begin, self.end, self.rewrite, self.books, self.books, self.add, self.trim, self.read)
        )()

    def _script(self, text: str, keys: list[str], args: list[Any]) -> None:
        answers = [client.register_script(text)(keys=keys, args=args) for client in self.pair]
        assert answers[0] == answers[1]
        self.answers["script"].add(answers[0])

    def _marks(self) -> tuple[list[str], list[int]]:
        chosen = self.rng.sample(SLOTS, self.rng.randint(1, 2))
        return [f"books:{slot}" for slot in chosen], [self.rng.randint(1, 4) for _ in chosen]

    def begin(self) -> None:
        keys, epochs = self._marks()
        self._script(publish.BEGIN, keys, [1000, *epochs])

    def end(self) -> None:
        keys, epochs = self._marks()
        self._script(publish.END, keys, [1000, *epochs])

    def rewrite(self) -> None:
        keys, epochs = self._marks()
        market = self.rng.choice(MARKETS)
        fields = _encode(["seq", self.rng.randint(1, 9), "0|bid|4000", self.rng.randint(1, 9)])
        args = [f"{epochs[0]}{publish.WRITING}", fields, b"ticker", "feed", b"message"]
        self._script(publish.REWRITE_BOOK, [keys[0], f"book:{market}", f"ticker:{market}"], args)

    def books(self) -> None:
        keys, epochs = self._marks()
        self.seq += 1
        gone = self.rng.sample(["0|bid|4000", "0|ask|4100"], self.rng.randint(0, 2))
        change = (self.rng.choice(MARKETS), ["seq", self.seq, "0|ask|4100", 7], gone)
        args = [1000, _encode([change]), "feed", b"message", "wake", *epochs, b"ticker %d" % self.seq]
        self._script(publish.PUBLISH_BOOKS, keys, args)

    def add(self) -> None:
        stream, entry_id = self.rng.choice(STREAMS), f"{self.rng.randint(1, 60)}-{self.rng.randint(1, 3)}"
        answers = []
        for client in self.pair:
            pipeline = client.pipeline(transaction=False)
            pipeline.xadd(stream, {b"noop": b""}, id=entry_id)
            (answer,) = pipeline.execute(raise_on_error=False)
            answers.append("equal or smaller" in str(answer) if isinstance(answer, Exception) else "added")
        assert answers[0] == answers[1]
        self.answers["add"].add(answers[0])

    def trim(self) -> None:
        stream, least = self.rng.choice(STREAMS).decode(), f"{self.rng.randint(1, 40)}-2"
        for client in self.pair:
            pipeline = client.pipeline(transaction=False)
            pipeline.xtrim(stream, minid=least, approximate=False)
            pipeline.execute()

    def read(self) -> None:
        cursors = {stream: b"%d-%d" % (self.rng.randint(0, 60), self.rng.randint(0, 3)) for stream in STREAMS}
        real, simulated = (client.xread(cursors, count=3, block=None) for client in self.pair)
        assert [(stream, entries) for stream, entries in real] == simulated

    def compare(self) -> None:
        """Marks, tickers, books and what is left in the streams."""
        bus = self.bus
        for key in [*(f"books:{slot}" for slot in SLOTS), *(f"ticker:{market}" for market in MARKETS)]:
            ours = bus.strings.get(key)
            assert self.real.get(key) == (ours.encode() if isinstance(ours, str) else ours)
        for market in MARKETS:
            ours = {
                field.encode(): str(value).encode()
                for field, value in bus.hashes.get(f"book:{market}", {}).items()
            }
            assert self.real.hgetall(f"book:{market}") == ours
        for stream in STREAMS:
            kept = [(b"%d-%d" % entry, fields) for entry, fields in bus.streams.get(stream, [])]
            assert self.real.xrange(stream) == kept


def test_frames_are_added_in_order(real: Any) -> None:
    course = Course(real, random.Random(1))
    keys = [stream.decode() for stream in STREAMS]
    course.bus.script(gateway.SEND_FRAMES)([*keys, keys[0]], [1, b"a", b"b", b"c"])
    assert real.register_script(gateway.SEND_FRAMES)(keys=[*keys, keys[0]], args=[1, b"a", b"b", b"c"]) == [
        0,
        0,
        0,
    ]
    for stream in STREAMS:
        real_frames = [fields for _, fields in real.xrange(stream)]
        assert real_frames == [fields for _, fields in course.bus.streams[stream]]
