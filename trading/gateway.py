"""The way into the shards: gathers commands, writes them to Valkey's streams and waits for outcomes.

One gateway a process. Requests that arrive together travel together: never one XADD a request. A
command is sent again as often as the connection asks for it, since its key is claimed once for ever;
so a lost reply costs time, never a second execution.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import redis.asyncio as aioredis
from django.conf import settings
from msgspec import structs
from redis.exceptions import RedisError

from trading.cancelling import end_tasks
from trading.engine.commands import Command, PlaceOrder
from trading.errors import NotFound, OutcomeUnknown, Overloaded, Refused
from trading.ids import market_slot, new_id
from trading.subscriber import Subscriber
from trading.wire import (
    DEADLINE_US,
    FRAME_FIELD,
    GRACE_US,
    MAX_FRAME_COMMANDS,
    RESEND_CHANNEL,
    Envelope,
    Outcome,
    command_stream,
    decode_outcomes,
    encode_frame,
    outcome_channel,
)

log = logging.getLogger(__name__)

NOBODY = "00000000-0000-0000-0000-000000000000"  # the account of commands that are nobody's orders
RECONNECT_S = 0.1
LONGEST_PAUSE_S = 0.25  # to listen again: outcomes must be heard before their commands' deadlines pass
# A shard drops what its batches have consumed, so the oldest entry says how long a new one will wait.
LONGEST_QUEUE_MS = 2_000
MEASURE_EVERY_S = 0.05
A_MEASURE_HOLDS_S = 0.5
MOST_PENDING = 20_000
# All frames of a moment in one call, with one reply to wait for; and with it, if asked for, how old each queue is.
SEND_FRAMES = f"""
local waits = {{}}
for i, stream in ipairs(KEYS) do
  local id = redis.call('XADD', stream, '*', '{FRAME_FIELD.decode()}', ARGV[i + 1])
  if ARGV[1] == '1' then
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
    waits[i] = tonumber(string.match(id, '^%d+')) - tonumber(string.match(oldest, '^%d+'))
  end
end
return waits
"""

_canonical = msgspec.msgpack.Encoder().encode


def seal(
    command: Command,
    *,
    command_id: str,
    account_id: str,
    actor: str,
    request_id: str,
    client_id: str | None = None,
) -> Envelope:
    """An envelope for a command. With a `client_id` the command's fields are hashed, so that the
    same id with another command is told apart; the id that the gateway made, and through which key it
    came, are left out of the hash."""
    digest = b""
    if client_id is not None:
        wish = structs.replace(command, order_id="", by="") if isinstance(command, PlaceOrder) else command
        digest = hashlib.sha256(_canonical(wish)).digest()
    deadline_us = time.time_ns() // 1000 + DEADLINE_US
    return Envelope(
        command_id, account_id, client_id or command_id, digest, deadline_us, actor, request_id, command
    )


class _Request:
    """Commands sent together, and their outcomes as they come; `on_end` is called when that is all of them."""

    def __init__(self, envelopes: Sequence[Envelope], on_end: Callable[[], object]) -> None:
        self.envelopes = envelopes
        self.outcomes: dict[str, Outcome] = {}
        self._on_end = on_end

    def note(self, outcome: Outcome) -> None:
        self.outcomes.setdefault(outcome.command_id, outcome)
        if len(self.outcomes) == len(self.envelopes):
            self._on_end()

    def patience_s(self) -> float:
        """How long to wait: past that no shard executes any of them."""
        return (max(each.deadline_us for each in self.envelopes) + GRACE_US) / 1e6 - time.time()

    def result(self) -> list[Outcome | None]:
        """What is known of each, in order."""
        return [self.outcomes.get(envelope.command_id) for envelope in self.envelopes]


class Gateway:
    """Runs on one event loop: `start`, then `send` as often as you like."""

    def __init__(self, url: str) -> None:
        self.gateway_id = new_id()
        self._url = url
        self._pending: dict[str, tuple[Envelope, _Request]] = {}
        self._outbox: list[Envelope] = []
        self._wake = asyncio.Event()
        self._listening = asyncio.Event()
        self._unheard: set[bytes] = set()  # channels whose subscription is not confirmed
        self._tasks: list[asyncio.Task[None]] = []
        # By slot: how old its queue was in ms, and when that was seen.
        self._waits: dict[int, tuple[int, float]] = {}
        self._measured_at = 0.0

    async def start(self) -> None:
        """Returns once outcomes can be heard, or after a second where Valkey is away."""
        channels = {outcome_channel(self.gateway_id).encode(), RESEND_CHANNEL.encode()}
        subscriber = Subscriber(
            self._url, on_message=self._hear, on_subscribed=self._subscribed,
            on_down=lambda: self._unheard.update(channels), longest_pause_s=LONGEST_PAUSE_S,
        )  # fmt: skip
        self._unheard.update(channels)
        for channel in channels:
            subscriber.subscribe(channel)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(subscriber.run())]
        try:
            await asyncio.wait_for(self._listening.wait(), 1.0)
        except TimeoutError:
            log.warning("gateway starts without Valkey")

    async def stop(self) -> None:
        await end_tasks(self._tasks)

    async def send(self, envelopes: Sequence[Envelope]) -> list[Outcome | None]:
        """The outcome of each, in order; None where it is unknown although the deadline has passed.

        Commands of one market are executed in the order given. New orders for a slot whose queue is too long
        are not sent; their outcome is `overloaded`.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        request = _Request(envelopes, end)
        patience = asyncio.get_running_loop().call_later(request.patience_s(), end)
        self.begin(request)
        try:
            await ended
        finally:  # Also for a caller who goes away: else what was sent would be kept for ever.
            patience.cancel()
            self.forget(request)
        return request.result()

    def begin(self, request: _Request) -> None:
        """Takes a request in; what comes of it is noted in it, until `forget`."""
        sent = []
        for envelope in request.envelopes:
            if type(envelope.command) is PlaceOrder and self._is_overloaded(envelope.command.market_id):
                slot = market_slot(envelope.command.market_id)
                request.note(Outcome(envelope.command_id, "overloaded", slot, 0, None))
            else:
                self._pending[envelope.command_id] = envelope, request
                sent.append(envelope)
        self._outbox.extend(sent)
        self._wake.set()

    def forget(self, request: _Request) -> None:
        """Waits for nothing more of a request."""
        for envelope in request.envelopes:
            self._pending.pop(envelope.command_id, None)

    def _is_overloaded(self, market_id: str) -> bool:
        if len(self._pending) >= MOST_PENDING:
            return True
        wait_ms, seen_at = self._waits.get(market_slot(market_id), (0, 0.0))
        # What was seen a while ago may be over: the next order finds out.
        return wait_ms > LONGEST_QUEUE_MS and time.monotonic() - seen_at < A_MEASURE_HOLDS_S

    async def _write(self) -> None:
        """One flush at a time; what comes meanwhile goes with the next."""
        send_frames: Any = aioredis.Redis.from_url(self._url).register_script(SEND_FRAMES)
        while True:
            await self._wake.wait()
            self._wake.clear()
            envelopes, self._outbox = self._outbox, []
            try:
                if envelopes:
                    slots, frames = self._framed(envelopes, self.gateway_id)
                    now = time.monotonic()
                    measures = now - self._measured_at >= MEASURE_EVERY_S
                    streams = [command_stream(slot) for slot in slots]
                    waits = await send_frames(keys=streams, args=[int(measures), *frames])
                    if measures:
                        self._measured_at = now
                        self._waits.update(
                            {slot: (wait, now) for slot, wait in zip(slots, waits, strict=True)}
                        )
            except Exception as error:
                # Whatever it was, a gateway that stops writing would be mute for ever.
                log.warning("commands not sent, trying again: %s", error, exc_info=_unless_outage(error))
                self._outbox = _in_time(envelopes) + self._outbox
                await asyncio.sleep(RECONNECT_S)
                self._wake.set()

    @staticmethod
    def _framed(envelopes: list[Envelope], gateway_id: str) -> tuple[list[int], list[bytes]]:
        """Slots, and the frame for each."""
        by_slot: dict[int, list[Envelope]] = {}
        for envelope in envelopes:
            by_slot.setdefault(market_slot(envelope.command.market_id), []).append(envelope)
        slots, frames = [], []
        for slot, rows in by_slot.items():
            for start in range(0, len(rows), MAX_FRAME_COMMANDS):
                slots.append(slot)
                frames.append(encode_frame(gateway_id, rows[start : start + MAX_FRAME_COMMANDS]))
        return slots, frames

    def _subscribed(self, channel: bytes) -> None:
        """After an interruption, whatever still waits is sent again."""
        self._unheard.discard(channel)
        if not self._unheard:
            self._send_again()
            self._listening.set()

    def _hear(self, channel: bytes, message: bytes) -> None:
        if channel == RESEND_CHANNEL.encode():
            self._send_again()
            return
        try:
            outcomes = decode_outcomes(message)
        except msgspec.MsgspecError:
            log.exception("outcomes cannot be read")  # Their senders will not know; a shard never sends such.
            return
        for outcome in outcomes:
            waiting = self._pending.get(outcome.command_id)
            if waiting is not None:
                waiting[1].note(outcome)
                del self._pending[outcome.command_id]

    def _send_again(self) -> None:
        """What a lost Valkey or a dead shard may have swallowed; repetitions are recognised by their keys."""
        self._outbox.extend(_in_time([envelope for envelope, _ in self._pending.values()]))
        self._wake.set()


class BlockingGateway:
    """The same for threads: a gateway on a loop of its own in a background thread.

    A thread hands its request over and waits on a lock: a task and two futures for each request cost more than
    everything else that a gateway does for it.
    """

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._handed: deque[_Request] = deque()
        self._is_called = False
        threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True).start()
        self._gateway = asyncio.run_coroutine_threadsafe(self._open(url), self._loop).result()

    @staticmethod
    async def _open(url: str) -> Gateway:
        gateway = Gateway(url)
        await gateway.start()
        return gateway

    def send(self, envelopes: Sequence[Envelope]) -> list[Outcome | None]:
        """As Gateway.send."""
        waiting = threading.Lock()
        waiting.acquire()
        request = _Request(envelopes, waiting.release)
        self._handed.append(request)
        if not self._is_called:
            # Set first: whoever is seen after the call has taken all is called for again.
            self._is_called = True
            self._loop.call_soon_threadsafe(self._take_over)
        if not waiting.acquire(timeout=max(0.0, request.patience_s())):
            self._loop.call_soon_threadsafe(self._gateway.forget, request)
        return request.result()

    def _take_over(self) -> None:
        self._is_called = False
        while self._handed:
            self._gateway.begin(self._handed.popleft())

    def submit(self, command: Command, *, actor: str, request_id: str | None) -> Outcome:
        """Sends one command about a market itself. Raises Refused, NotFound, Overloaded or OutcomeUnknown."""
        envelope = seal(
            command, command_id=new_id(), account_id=NOBODY, actor=actor, request_id=request_id or ""
        )
        outcome = accepted(self.send([envelope])[0])
        if outcome.kind != "repeat":
            return outcome
        # Its own repetition, since a reply was lost on the way: it was refused or it has happened.
        if outcome.payload[3] is not None:
            raise Refused(outcome.payload[3])
        return structs.replace(outcome, kind="market", payload="accepted")


def accepted(outcome: Outcome | None, *, order_id: str | None = None) -> Outcome:
    """The outcome, if the command did what it asked for; else the fitting ExchangeError."""
    if outcome is None:
        raise OutcomeUnknown(order_id=order_id)
    if outcome.kind == "refused":
        raise Refused(outcome.payload[0])
    if outcome.kind == "missing":
        raise NotFound("There is no such market.")
    if outcome.kind == "overloaded":
        raise Overloaded("The market's queue is too long for new orders; cancels are taken.")
    if outcome.kind == "failed":
        raise Overloaded("The command was set aside and had no effect; its market is suspended.")
    return outcome


_blocking: BlockingGateway | None = None
_blocking_lock = threading.Lock()


def gateway_sync() -> BlockingGateway:
    """This process's gateway for threads, made on first use."""
    global _blocking
    if _blocking is None:
        with _blocking_lock:
            if _blocking is None:
                _blocking = BlockingGateway(settings.VALKEY_URL)
    return _blocking


def _in_time(envelopes: Sequence[Envelope]) -> list[Envelope]:
    """Those that a shard would still execute."""
    now_us = time.time_ns() // 1000
    return [envelope for envelope in envelopes if envelope.deadline_us > now_us]


def _unless_outage(error: Exception) -> Exception | None:
    """What to log with its traceback: everything but the loss of a server."""
    return None if isinstance(error, RedisError | OSError) else error
