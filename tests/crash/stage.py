"""A shard in this process, stepped by hand over real PostgreSQL and Valkey, and a sender in a gateway's place."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import redis
from django.db import connection
from msgspec.structs import replace

from ops.embedded import ValkeyServer
from trading.cash import deposit, open_account
from trading.connection import own_connection
from trading.engine import commands as cmd
from trading.engine.invariants import check
from trading.engine.market import Market
from trading.gateway import NOBODY, BlockingGateway, seal
from trading.ids import market_slot, new_id
from trading.shard.process import Shard
from trading.shard.tenure import Tenure
from trading.wire import (
    FRAME_FIELD,
    Envelope,
    OrderView,
    Outcome,
    command_stream,
    decode_outcomes,
    encode_frame,
    outcome_channel,
)

CLOSES_US = 4_000_000_000_000_000
PATIENCE_S = 10.0
TAKER_FEE_E4 = 700
SHARD_ID = "elsewhere:1:a"


class Clock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.ahead_us


class SteppedShard(Shard):
    """The engine's loop, one turn at a time. `failures` is what it was in doubt about."""

    def __init__(self, *, shard_id: str, valkey: redis.Redis, clock: Clock) -> None:
        super().__init__(
            shard_id=shard_id, connect=lambda: own_connection("pmarket-engine"), bus=valkey, feed=valkey, clock_us=clock
        )  # fmt: skip
        self.failures: list[Exception] = []

    def step(self) -> None:
        """What `run` does once."""
        self._step()

    def _doubt(self, error: Exception) -> None:
        self.failures.append(error)
        super()._doubt(error)

    def start(self) -> None:
        self._start()

    def turn(self) -> None:
        """One turn whose failure is the caller's to see."""
        self._turn(self.tenure)

    def market(self, market_id: str) -> Market:
        return self.tenure.markets.get(market_id)

    @property
    def markets(self) -> dict[str, Market]:
        return self.tenure.markets.loaded if self._tenure else {}

    @property
    def backend(self) -> psycopg.Connection[Any]:
        return self.tenure.connection()

    @property
    def tenure(self) -> Tenure:
        return self._working()

    def look(self) -> None:
        """A turn in which it looks at who owns what."""
        self._next_look = 0.0
        self._last_heartbeat = 0.0
        self._step()

    def look_away(self) -> None:
        """From now on it looks only when it is told to."""
        self._next_look = float("inf")

    def crash(self) -> None:
        """Ends like a killed process: the connection is gone, memory with it, and nobody signs off."""
        self._forget()


class Sender:
    """Writes frames to the command streams and collects what the shard answers."""

    def __init__(self, valkey: redis.Redis) -> None:
        self.gateway_id = new_id()
        self.outcomes: dict[str, list[Outcome]] = {}
        self._valkey = valkey
        self._subscription = self._subscribed()

    def _subscribed(self) -> Any:
        subscription = self._valkey.pubsub(ignore_subscribe_messages=True)
        subscription.subscribe(outcome_channel(self.gateway_id))
        subscription.get_message(timeout=1.0)
        return subscription

    def send(self, *envelopes: Envelope) -> None:
        """One frame a slot, as a gateway's flush."""
        by_slot: dict[int, list[Envelope]] = {}
        for envelope in envelopes:
            by_slot.setdefault(market_slot(envelope.command.market_id), []).append(envelope)
        for slot, rows in by_slot.items():
            self.raw(slot, {FRAME_FIELD: encode_frame(self.gateway_id, rows)})

    def raw(self, slot: int, fields: dict[bytes, bytes]) -> None:
        """Any entry at all."""
        self._valkey.xadd(command_stream(slot), fields)

    def hear(self) -> None:
        """Takes in the outcomes that have arrived; after an outage of Valkey it listens anew."""
        try:
            while (message := self._subscription.get_message(timeout=0.01)) is not None:
                for outcome in decode_outcomes(message["data"]):
                    self.outcomes.setdefault(outcome.command_id, []).append(outcome)
        except redis.ConnectionError:
            self._subscription = self._subscribed()

    def close(self) -> None:
        self._subscription.close()


class Stage:
    """Accounts, markets and a shard; `balance` is what must hold at every commit."""

    def __init__(self, valkey: redis.Redis) -> None:
        self.valkey = valkey
        self.clock = Clock()
        self.shard = self.new_shard()
        self.beside: list[SteppedShard] = []  # further shards, stepped in turn with it
        self.sender = Sender(valkey)
        self.accounts: list[str] = []
        self.deposited_pips = 0

    @property
    def shards(self) -> list[SteppedShard]:
        return [self.shard, *self.beside]

    def new_shard(self, shard_id: str = SHARD_ID) -> SteppedShard:
        """Another process in the same one's place, which takes over at once; or one beside it."""
        return SteppedShard(shard_id=shard_id, valkey=self.valkey, clock=self.clock)

    def account(self, cash_pips: int = 10_000_000) -> str:
        account_id = new_id()
        open_account(account_id)
        if cash_pips:
            deposit(account_id=account_id, amount_pips=cash_pips, client_id=None, actor="tests")
        self.accounts.append(account_id)
        self.deposited_pips += cash_pips
        return account_id

    def market(self, *outcomes: str, taker_fee_e4: int = TAKER_FEE_E4, closes_us: int = CLOSES_US) -> str:
        """A market that trades."""
        market_id = new_id()
        command = cmd.CreateMarket(
            market_id, "Will it?", outcomes or ("Yes", "No"), "tests", 100, taker_fee_e4, 0, None, closes_us
        )  # fmt: skip
        assert self.do(sealed(command)).kind == "market"
        return market_id

    def do(self, envelope: Envelope) -> Outcome:
        """Sends one command and steps the shard until it is answered."""
        (outcome,) = self.do_all(envelope)
        return outcome

    def do_all(self, *envelopes: Envelope) -> list[Outcome]:
        """The same for several in one frame a slot; the first answer to each."""
        self.sender.send(*envelopes)
        return self.until_answered(*envelopes)

    def until_answered(self, *envelopes: Envelope) -> list[Outcome]:
        deadline = time.monotonic() + PATIENCE_S
        while not all(envelope.command_id in self.sender.outcomes for envelope in envelopes):
            assert time.monotonic() < deadline, f"no answer; the shards' failures: {self._failures()}"
            self._step()
            self.sender.hear()
        return [self.sender.outcomes[envelope.command_id][0] for envelope in envelopes]

    def quiet(self) -> None:
        """Steps until nothing is left in the streams that was not consumed, and nothing is in doubt."""
        sound = 0
        for _ in range(30):
            failures = len(self._failures())
            self._step()
            sound = sound + 1 if len(self._failures()) == failures else 0
            if sound == 3:
                break
        assert sound == 3, f"the shard does not come to rest: {self._failures()}"
        self.sender.hear()

    def _step(self) -> None:
        for shard in self.shards:
            shard.step()

    def _failures(self) -> list[Exception]:
        return [failure for shard in self.shards for failure in shard.failures]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The shard's own loop, in a thread."""
        thread = threading.Thread(target=self.shard.run, name="shard")
        thread.start()
        try:
            yield
        finally:
            self.shard.stopping = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            self.shard.crash()
            self.shard.stopping = False

    def money(self, account_id: str) -> tuple[int, int]:
        """(free, reserved) in pips."""
        (row,) = query("SELECT cash_pips, reserved_pips FROM cash_account WHERE account_id = %s", account_id)
        return row

    def check_balance(self) -> None:
        """Money is conserved to the pip, and the database's reserves are those of the engine's orders."""
        assert query("SELECT count(*) FROM batch") == [(0,)]
        reserved = dict.fromkeys(self.accounts, 0)
        markets = [market for shard in self.shards for market in shard.markets.values()]
        for market in markets:
            check(market)
            for order in market.orders.values():
                reserved[order.account_id] += order.reserved_pips
        assert {account: self.money(account)[1] for account in self.accounts} == reserved
        held = sum(sum(self.money(account)) for account in self.accounts)
        inside = sum(market.collateral_pips + market.fees_pips for market in markets)
        assert held + inside == self.deposited_pips

    def close(self) -> None:
        for shard in self.shards:
            shard.crash()
        self.sender.close()


def sealed(command: cmd.Command, *, client_id: str | None = None) -> Envelope:
    """A command in its envelope, as the gateway makes it."""
    account_id = getattr(command, "account_id", NOBODY)
    command_id = command.order_id if isinstance(command, cmd.PlaceOrder) else new_id()
    return seal(
        command,
        command_id=command_id,
        account_id=account_id,
        actor="tests",
        request_id="",
        client_id=client_id,
    )


def place(
    market_id: str, account_id: str, side: str, price_pips: int, shares: int, *, outcome: int = 0, tif: str = "GTC",
    client_id: str | None = None, order_id: str | None = None,
) -> Envelope:  # fmt: skip
    """A limit order in its envelope."""
    command = cmd.PlaceOrder(
        market_id, account_id, order_id or new_id(), outcome, side, "limit", price_pips, shares, tif, "cancel_taker",
        client_id,
    )  # fmt: skip
    return sealed(command, client_id=client_id)


def unstorable(order: Envelope) -> Envelope:
    """An order that the engine takes and the log does not: PostgreSQL has no place for a NUL."""
    return replace(order, command=replace(order.command, client_order_id="\0"))


@contextlib.contextmanager
def gateway_of(server: ValkeyServer) -> Iterator[BlockingGateway]:
    """A real gateway in a thread of its own."""
    gateway = BlockingGateway(server.url())
    try:
        yield gateway
    finally:
        loop = gateway._loop
        asyncio.run_coroutine_threadsafe(gateway._gateway.stop(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)


def view(outcome: Outcome | None) -> OrderView:
    """The order of an outcome that has one."""
    assert outcome is not None
    assert outcome.kind == "order", outcome
    return OrderView(*outcome.payload)


def refusal(outcome: Outcome) -> str:
    """The code of an outcome that refuses."""
    assert outcome.kind == "refused", outcome
    return str(outcome.payload[0])


def query(statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall()


def events(market_id: str) -> list[str]:
    """The types of a market's events, without versions."""
    rows = query("SELECT type FROM event WHERE stream_id = %s ORDER BY version", market_id)
    return [kind.partition("/")[0] for (kind,) in rows]
