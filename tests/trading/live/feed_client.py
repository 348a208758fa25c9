"""The two ends of the feed for tests: a shard that publishes, and a client that believes only what adds up."""

import json
from typing import Any

import msgspec

from trading.checksum import book_checksum
from trading.money import parse_pips


class FakeShard:
    """One market's books as a shard keeps them: every change gives the update and what Valkey holds after it."""

    def __init__(self, market_id: str, outcomes: int = 2) -> None:
        self.market_id = market_id
        self.outcomes = outcomes
        self.seq = 1
        self.published = 1
        self.volume_pips = 0
        self.status = "open"
        self.ending: tuple[Any, ...] | None = None
        self.levels: dict[tuple[int, str, int], int] = {}
        self._unwritten: set[tuple[int, str, int]] = set()

    def change(
        self,
        *levels: tuple[int, str, int, int],
        trades: list[tuple[str, int, int, int, str]] | None = None,
        reset: bool = False,
        events: int = 1,
    ) -> dict[str, Any]:
        """Set sizes; `events` is how far the stream's version moves."""
        self.seq += events
        for index, side, price, quantity in levels:
            self.levels[index, side, price] = quantity
            self._unwritten.add((index, side, price))
            if not quantity:
                del self.levels[index, side, price]
        rows = [(*trade, 1_700_000_000_000_000, self.seq) for trade in trades or []]
        self.volume_pips += sum(price * quantity for _, _, price, quantity, *_ in rows)
        previous, self.published = self.published, self.seq
        return {
            "m": self.market_id,
            "seq": self.seq,
            "prev": previous,
            "at_us": 1_700_000_000_000_000,
            "levels": levels,
            "trades": rows,
            "ticker": self.ticker(),
            "reset": reset,
        }

    def book_hash(self) -> dict[bytes, bytes]:
        fields = {b"seq": b"%d" % self.seq}
        for (index, side, price), quantity in self.levels.items():
            fields[f"{index}|{side}|{price}".encode()] = b"%d" % quantity
        return fields

    def ticker(self) -> dict[str, Any]:
        bids = [self._best(index, "bid", max) for index in range(self.outcomes)]
        asks = [self._best(index, "ask", min) for index in range(self.outcomes)]
        return {
            "last": [None] * self.outcomes,
            "bid": bids,
            "ask": asks,
            "volume_pips": self.volume_pips,
            "open_interest": 0,
            "status": self.status,
            "next_offset": 10 * self.seq,
            **({"ending": self.ending} if self.ending is not None else {}),
        }

    def _best(self, index: int, side: str, choose: Any) -> int | None:
        prices = [price for (i, s, price) in self.levels if (i, s) == (index, side)]
        return choose(prices) if prices else None

    def write(self, pipeline: Any, *updates: dict[str, Any]) -> None:
        """Queue book, ticker and message as the shard does, for one MULTI."""
        key = f"book:{self.market_id}"
        sizes = {
            f"{i}|{side}|{price}": self.levels.get((i, side, price)) for i, side, price in self._unwritten
        }
        self._unwritten.clear()
        pipeline.hset(
            key, mapping={"seq": self.seq, **{field: size for field, size in sizes.items() if size}}
        )
        if gone := [field for field, size in sizes.items() if not size]:
            pipeline.hdel(key, *gone)
        stored = {"seq": self.seq, **self.ticker()}
        pipeline.set(f"ticker:{self.market_id}", msgspec.msgpack.encode(stored))
        if updates:
            pipeline.publish("feed", msgspec.msgpack.encode(list(updates)))


class BookClient:
    """A client's book from the frames of the channel `book`; it fails on a gap, a repetition or a wrong checksum."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.snapshots = 0
        self.levels: dict[tuple[str, str, int], int] = {}
        self.names: list[str] = []

    def take(self, text: str) -> None:
        frame = json.loads(text)
        data = frame["data"]
        assert frame["prev_seq"] == self.seq or (frame["prev_seq"] is None and data["type"] == "snapshot")
        assert self.seq is None or frame["seq"] >= self.seq
        if data["type"] == "snapshot":
            self.snapshots += 1
            self._start(data)
        else:
            assert frame["seq"] > frame["prev_seq"]
            for name, side, price, quantity in data["changes"]:
                self._set(name, side, price, quantity)
        self.seq = frame["seq"]
        assert data["checksum"] == self.checksum()

    def checksum(self) -> int:
        return book_checksum([(name, self.side(name, "bid"), self.side(name, "ask")) for name in self.names])

    def side(self, name: str, side: str) -> list[tuple[int, int]]:
        """(price_pips, quantity), best first."""
        levels = [(price, size) for (n, s, price), size in self.levels.items() if (n, s) == (name, side)]
        return sorted(levels, reverse=side == "bid")

    def _start(self, data: dict[str, Any]) -> None:
        self.levels.clear()
        self.names = list(data["bids"])
        assert list(data["asks"]) == self.names
        for side, books in (("bid", data["bids"]), ("ask", data["asks"])):
            for name, levels in books.items():
                prices = [price for price, _ in levels]
                assert prices == sorted(prices, reverse=side == "bid")
                for price, quantity in levels:
                    assert quantity > 0
                    self._set(name, side, price, quantity)

    def _set(self, name: str, side: str, price: str, quantity: int) -> None:
        key = (name, side, parse_pips(price))
        if quantity:
            self.levels[key] = quantity
        else:
            self.levels.pop(key, None)


def shown(shard: FakeShard, names: list[str]) -> dict[tuple[str, str, int], int]:
    """The shard's books in the client's terms."""
    return {(names[index], side, price): size for (index, side, price), size in shard.levels.items()}
