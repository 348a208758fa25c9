"""A feed whose server does what a test wants: it answers as the exchange does, unless told to do something else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from zlib import crc32

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from examples.pmarket_client import Feed

PATIENCE_S = 10.0
Answer = dict[str, Any] | None


def ok(**members: Any) -> dict[str, Any]:
    return {"ok": True, **members}


def no(status: int, code: str, **members: Any) -> dict[str, Any]:
    return {"ok": False, "error": {"status": status, "code": code, "detail": code}, **members}


class ScriptedFeed:
    """`books` are levels [(price, quantity)..] of bids by market, `seq` the number of all of them.

    It cannot go on from an older frame: who asks for that gets a first frame with `prev_seq` null.
    `refuse(frame)` gives another answer to a frame, or None for the usual one. `asked` is every frame that came.
    """

    def __init__(self) -> None:
        self.books: dict[str, list[tuple[str, int]]] = {"m": [("0.4000", 10)]}
        self.seq = 5
        self.asked: list[dict[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], Answer] = lambda frame: None
        self.wrong_checksums = 0
        self.connections: list[ServerConnection] = []
        self._changed = asyncio.Condition()
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/v1"

    async def start(self) -> None:
        self._server = await serve(self._attend, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a process that dies: every connection ends, and nobody listens."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def tell(self, frame: dict[str, Any] | str | bytes) -> None:
        """Send a frame to the newest connection."""
        await self.connections[-1].send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def change(self, price: str, quantity: int, *, is_lost: bool = False, market_id: str = "m") -> None:
        """A new level of the book, and the frame that tells it, unless it is lost on the way."""
        self.books[market_id].append((price, quantity))
        prev_seq, self.seq = self.seq, self.seq + 1
        data = {
            "type": "delta",
            "changes": [["Yes", "bid", price, quantity]],
            "checksum": self._checksum(market_id),
        }
        if not is_lost:
            await self.tell(self.frame("book", data, prev_seq, market_id))

    def frame(
        self, channel: str, data: Any, prev_seq: int | None, market_id: str = "m", **members: Any
    ) -> dict[str, Any]:
        named = {"channel": channel, "market_id": market_id, "seq": self.seq, "prev_seq": prev_seq}
        return {**named, "sent_at": "", "data": data, **members}

    def snapshot(self, market_id: str = "m") -> dict[str, Any]:
        checksum = self._checksum(market_id)
        if self.wrong_checksums:
            self.wrong_checksums, checksum = self.wrong_checksums - 1, checksum + 1
        levels = sorted(self.books[market_id], reverse=True)
        data = {"type": "snapshot", "bids": {"Yes": levels}, "asks": {"Yes": []}, "checksum": checksum}
        return self.frame("book", data, None, market_id)

    async def heartbeat(self, *named: tuple[str, str, int | None], live: bool = True) -> None:
        rows = [{"channel": channel, "market_id": market, "seq": seq} for channel, market, seq in named]
        await self.tell(
            {"channel": "heartbeat", "sent_at": "", "data": {"live": live, "subscriptions": rows}}
        )

    async def until_asked(self, op: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the client has sent so many frames of that op in all."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self._of(op)) >= times)
        return self._of(op)

    def _of(self, op: str) -> list[dict[str, Any]]:
        return [frame for frame in self.asked if frame["op"] == op]

    def _checksum(self, market_id: str) -> int:
        levels = sorted(self.books[market_id], reverse=True)[:10]
        return crc32("\n".join(f"Yes|bid|{price}|{quantity}" for price, quantity in levels).encode())

    async def _attend(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            async for message in connection:
                frame = json.loads(message)
                for answer in self._answers(frame):
                    await connection.send(json.dumps(answer))
                async with self._changed:
                    self.asked.append(frame)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def _answers(self, frame: dict[str, Any]) -> list[dict[str, Any]]:
        special = self.refuse(frame)
        if special is not None:
            return [{"id": frame["id"], **special}]
        channel, market_id = frame.get("channel"), frame.get("market_id")
        first = [self.snapshot(market_id)] if frame["op"] == "subscribe" and channel == "book" else []
        return [{"id": frame["id"], **ok(channel=channel, market_id=market_id)}, *first]


@pytest.fixture
async def scripted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedFeed]:
    """A server on this machine; clients wait milliseconds where they would wait seconds."""
    monkeypatch.setattr("examples.pmarket_client.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("examples.pmarket_client.LONGEST_WAIT_S", 0.02)
    server = ScriptedFeed()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def feed(scripted: ScriptedFeed) -> AsyncIterator[Feed]:
    async with Feed(scripted.url, key="pm_key") as feed:
        yield feed
