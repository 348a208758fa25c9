"""A hub behind a real uvicorn on a Valkey of its own, for clients that speak the real protocol."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis.asyncio as redis
import uvicorn
import websockets
from channels.routing import URLRouter
from django.urls import path, re_path

from ops.embedded import EmbeddedServers
from tests.trading.live.feed_client import FakeShard
from trading.errors import NotAuthenticated, NotFound
from trading.ids import new_id
from trading.live.account_state import State, Wanted
from trading.live.book_mirror import BookMirror, FeedTicker
from trading.live.client_frames import SocketLimits
from trading.live.desk import Desk
from trading.live.hub import Hub
from trading.live.shared_frames import DirectFramesProtocol
from trading.live.sockets import FeedSockets, FoundMarket, no_such_path
from trading.principal import READ, TRADE, Allowance, Principal
from trading.wire import Envelope, Outcome

ANSWER_SECONDS = 5.0
SMALL_BUFFER = 8_192


class KnownKeys:
    """An Authenticator that knows two keys and a ticket."""

    def __init__(self) -> None:
        self.principal = Principal(new_id(), 1, "k", frozenset({READ}), is_staff=False)
        self.other = Principal(new_id(), 2, "l", frozenset(), is_staff=False)
        self.trader = Principal(new_id(), 3, "t", frozenset({READ, TRADE}), is_staff=False)
        self.keys = {"pm_good": self.principal, "pm_other": self.other, "pm_trader": self.trader}
        self.tickets = {"once": self.principal, "trader": self.trader}
        self.shut_out: set[int] = set()

    async def authenticate_key(self, key: str, ip: str | None) -> Principal:
        try:
            return self.keys[key]
        except KeyError:
            raise NotAuthenticated("This API key does not count.") from None

    async def redeem_ticket(self, ticket: str) -> Principal:
        try:
            return self.tickets.pop(ticket)
        except KeyError:
            raise NotAuthenticated("This ticket does not count.") from None

    async def person(self, user_id: int) -> Principal:
        if user_id in self.shut_out:
            raise NotAuthenticated("This person may not sign in any more.")
        return next(each for each in self.keys.values() if each.user_id == user_id)


class HeldGateway:
    """A Gateway whose commands have their outcomes when the test says so."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def send(self, envelopes: Sequence[Envelope]) -> list[Outcome | None]:
        self.sent.extend(envelopes)
        kind = await asyncio.shield(self.outcome)
        return [Outcome(envelope.command_id, kind, 3, 7, 1) for envelope in envelopes]


class OrderTokens:
    """A Throttle with so many tokens for orders and any number for cancels."""

    def __init__(self) -> None:
        self.orders = 1_000_000
        self.asked: list[tuple[str, int]] = []

    async def take(self, class_name: str, *, cost: int = 1, **whose: Any) -> Allowance:
        self.asked.append((class_name, cost))
        if class_name != "order":
            return Allowance(True, 1, 1, 0)
        self.orders -= cost
        return Allowance(self.orders >= 0, max(self.orders, 0), 3, 7)


class ThreeFailures:
    """A Throttle that allows three failed sign-ins."""

    def __init__(self) -> None:
        self.left = 3

    async def take(self, class_name: str, **whose: Any) -> Allowance:
        self.left -= 1
        return Allowance(self.left >= 0, max(self.left, 0), 3, 7)


class FakeAccounts:
    """The read models of accounts: numbers as the test sets them, and rows that say only what was asked for."""

    def __init__(self) -> None:
        self.seqs: dict[str, int] = {}
        self.reached: set[str] = set()
        self.is_down = False
        # Not set, it holds back answers that are made already.
        self.answers = asyncio.Event()
        self.answers.set()
        self.reads = self._read_before = 0

    async def read(self, wanted: list[Wanted]) -> dict[str, State]:
        self.reads += 1
        if self.is_down:
            raise OSError("the database is away")
        states = self._states(wanted)
        await self.answers.wait()
        return states

    def hold_back(self) -> None:
        """What is read from now on is answered once `answers` is set."""
        self.answers.clear()
        self._read_before = self.reads

    async def are_held(self) -> None:
        """Until something that was asked for since is read."""
        await until(lambda: self.reads > self._read_before)

    def _states(self, wanted: list[Wanted]) -> dict[str, State]:
        return {each.account_id: self._state(each) for each in wanted if self._is_there(each)}

    async def numbers(self, account_ids: list[str]) -> dict[str, int]:
        return {account_id: self.seqs.get(account_id, 0) for account_id in account_ids}

    def _is_there(self, wanted: Wanted) -> bool:
        return wanted.changes is None or wanted.changes.as_of in ("", *self.reached)

    def _state(self, wanted: Wanted) -> State:
        changes = wanted.changes
        update = (
            None if changes is None else {"type": "update", "orders": changes.orders, "fills": changes.trades}
        )
        snapshot = {"type": "snapshot"} if wanted.everything else None
        return State(self.seqs.get(wanted.account_id, 0), update, snapshot)


class Client:
    """A WebSocket client that keeps frames apart from answers, in the order they came."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self._ids = 0
        self._waiting: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        """The next frame or answer that is no heartbeat."""
        while True:
            if self._waiting:
                return self._waiting.pop(0)
            message = await self._next()
            if message.get("channel") != "heartbeat":
                return message

    async def heartbeat(self) -> dict[str, Any]:
        """The next heartbeat; what comes before it is kept for `receive`."""
        while True:
            message = await self._next()
            if message.get("channel") == "heartbeat":
                return message
            self._waiting.append(message)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one frame and take its answer, which has to come next but for channels' frames."""
        self._ids += 1
        await self.connection.send(json.dumps({"id": self._ids, "op": op, **fields}))
        while True:
            message = await self._next()
            if "id" in message:
                assert message["id"] == self._ids
                return message
            if message.get("channel") != "heartbeat":
                self._waiting.append(message)

    async def subscribe(self, channel: str, market_id: str) -> dict[str, Any]:
        answer = await self.ask("subscribe", channel=channel, market_id=market_id)
        assert answer["ok"] is True, answer
        return answer

    async def raw(self, data: str | bytes) -> dict[str, Any]:
        """Send anything and take the next message."""
        await self.connection.send(data)
        return await self.receive()

    async def _next(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.connection.recv(), ANSWER_SECONDS))


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks work until it is so; at most ANSWER_SECONDS."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not condition():  # noqa: ASYNC110  (a server's own attribute, no event tells of it)
            await asyncio.sleep(0.002)


async def close_code(connection: websockets.ClientConnection) -> int:
    """Read until the server closes."""
    with suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(ANSWER_SECONDS):
            async for _ in connection:
                pass
    assert connection.close_code is not None
    return connection.close_code


class LiveServer:
    """A hub, its uvicorn, and the means to publish as a shard does."""

    def __init__(self, valkey_url: str) -> None:
        self.ended: dict[str, tuple[BookMirror, FeedTicker]] = {}
        self.accounts = FakeAccounts()
        self.hub = Hub(
            url=valkey_url,
            find_ended=self.find_ended,
            read_accounts=self.accounts.read,
            read_numbers=self.accounts.numbers,
        )
        self.web: uvicorn.Server
        self.keys = KnownKeys()
        self.gateway = HeldGateway()
        self.order_tokens = OrderTokens()
        self.markets: dict[str, FoundMarket] = {}
        self.valkey = redis.Redis.from_url(valkey_url)
        self.listening = socket.create_server(("127.0.0.1", 0))
        # Small buffers, so that a client that does not read is soon felt.
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.sockets = FeedSockets(
            hub=self.hub,
            desk=Desk(self.gateway),  # type: ignore[arg-type]
            authenticator=self.keys,
            throttle=ThreeFailures(),
            order_throttle=self.order_tokens,
            find_market=self.find_market,
            limits=SocketLimits(frames_per_second=None),
        )

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listening.getsockname()[1]}/ws/v1"

    async def find_market(self, id_or_slug: str) -> FoundMarket:
        try:
            return self.markets[id_or_slug]
        except KeyError:
            raise NotFound("There is no such market.") from None

    async def find_ended(self, market_id: str, names: Sequence[str]) -> tuple[BookMirror, FeedTicker] | None:
        return self.ended.get(market_id)

    def market(self, names: tuple[str, ...] = ("Yes", "No")) -> FakeShard:
        """A market that can be subscribed to; nothing of it is published yet."""
        shard = FakeShard(new_id(), outcomes=len(names))
        self.markets[shard.market_id] = FoundMarket(shard.market_id, names)
        self.markets[f"slug-of-{shard.market_id}"] = FoundMarket(shard.market_id, names)
        return shard

    async def publish(self, shard: FakeShard, *updates: dict[str, Any]) -> None:
        """The book as it is now and these updates, in one MULTI."""
        async with self.valkey.pipeline(transaction=True) as pipeline:
            shard.write(pipeline, *updates)
            await pipeline.execute()

    async def change(self, account_id: str, *orders: str, is_lost: bool = False, **news: Any) -> None:
        """One event names the account, and a projector tells of it."""
        prev = self.accounts.seqs.get(account_id, 0)
        self.accounts.seqs[account_id] = prev + 1
        told = {"type": "changes", "seq": prev + 1, "prev": prev, "as_of": "", "orders": orders, **news}
        if not is_lost:
            await self.valkey.publish(f"account:{account_id}", json.dumps(told))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with websockets.connect(self.url, max_size=None) as connection:
            yield Client(connection)

    @asynccontextmanager
    async def slow_client(self, channel: str, market_id: str) -> AsyncIterator[websockets.ClientConnection]:
        """A subscribed client whose system takes hardly anything off the wire unless it reads."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        plain.connect(self.listening.getsockname())
        async with websockets.connect(self.url, sock=plain, max_queue=1, max_size=None) as connection:
            request = {"id": 1, "op": "subscribe", "channel": channel, "market_id": market_id}
            await connection.send(json.dumps(request))
            yield connection


@pytest.fixture(scope="session")
def feed_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """A Valkey of the feed's own, which these tests may kill."""
    servers = EmbeddedServers.prepare(tmp_path_factory.mktemp("feed"), postgres=False)
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture
async def live(feed_servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveServer]:
    monkeypatch.setattr("trading.live.shared_frames.SYSTEM_BUFFER", SMALL_BUFFER)
    assert feed_servers.valkey is not None
    server = LiveServer(feed_servers.valkey.url())
    config = uvicorn.Config(
        URLRouter([path("ws/v1", server.sockets), re_path("", no_such_path)]),
        ws=DirectFramesProtocol,
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    web = server.web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve(sockets=[server.listening]))
    await until(lambda: web.started)
    yield server
    web.should_exit = True
    await serving
    await server.hub.stop()
    await server.valkey.aclose()
