"""The engine's commit path: frames into Valkey's command streams, outcomes back from pub/sub.

`manage.py engine` runs as a process of its own and everything it does is real: claims, reservations, matching, the
durable commit, publishing to feed, cache and gateway. The load here plays the gateway's part with frames made
beforehand, so that making them takes nothing from what is measured.
"""

import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import psutil
import redis
from msgspec import structs

from ops.bench.flow import Place, mixed_flow
from ops.bench.stage import Stage, StageError
from trading.engine.commands import CancelOrder, Command, CreateMarket, PlaceOrder
from trading.gateway import seal
from trading.ids import market_slot, new_id
from trading.wire import (
    FRAME_FIELD,
    Envelope,
    Outcome,
    command_stream,
    decode_outcomes,
    encode_frame,
    outcome_channel,
)

MARKETS = 64
# What 80 clients of a batch endpoint, or some thousand of single orders, keep on the way: enough that a batch is in
# every step of the engine and the next one waits.
IN_FLIGHT = 2_000
FRAME_COMMANDS = 25
ACTOR = f"key:{new_id()}"
WARM_UP_SECONDS = 1.0
DRAIN_SECONDS = 30.0
# More than the engine can take; a run that uses them up ends early.
MOST_PER_SECOND = 30_000
HOUR_US = 3_600_000_000


class Frame(NamedTuple):
    """A stream entry and how many commands it holds."""

    stream: str
    body: bytes
    commands: int


@dataclass(frozen=True, slots=True)
class CommitRun:
    """One repetition. Rates are of the window after the warm-up, counts of everything that was sent."""

    commands_per_s: float
    orders_per_s: float
    events_per_s: float
    commands_per_batch: float
    events_per_batch: float
    engine_cores: float
    sent: int
    outcomes: Counter[str]
    committed: int


def run_commit_path(
    stage: Stage, database: str, *, seconds: float, seed: int, beside: Sequence[str] = ()
) -> CommitRun:
    """One repetition on a fresh database; `beside` names processes that run as well."""
    with (
        stage.processes(database, "engine", *beside) as running,
        redis.Redis.from_url(stage.valkey_url) as valkey,
    ):
        load = Load(valkey)
        market_ids = create_markets(load)
        most = int(MOST_PER_SECOND * (seconds + WARM_UP_SECONDS))
        load.prepare(flow_frames(load.gateway_id, market_ids, stage.account_ids, most=most, seed=seed))
        cpu_before_s, begin = _cpu_s(running["engine"]), time.perf_counter()
        window = load.run(warm_up_s=WARM_UP_SECONDS, seconds=seconds)
        cores = (_cpu_s(running["engine"]) - cpu_before_s) / (time.perf_counter() - begin)
        load.drain()
        load.close()
    return _judge(stage, database, load, window, cores)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class Window(NamedTuple):
    """The measured time, in seconds of the wall clock since the epoch."""

    start: float
    end: float


class Load:
    """Plays a gateway: keeps IN_FLIGHT commands on the way and counts what comes back."""

    def __init__(self, valkey: redis.Redis) -> None:
        self.gateway_id = new_id()
        self.sent = 0
        self.answered = 0
        self.arrivals: list[tuple[float, int]] = []
        self.messages: list[bytes] = []
        self._valkey = valkey
        self._frames: Iterator[Frame] = iter(())
        self._listener = valkey.pubsub(ignore_subscribe_messages=True)
        self._listener.subscribe(outcome_channel(self.gateway_id))
        self._listener.get_message(ignore_subscribe_messages=False, timeout=5)

    def prepare(self, frames: list[Frame]) -> None:
        self._frames = iter(frames)

    def run(self, *, warm_up_s: float, seconds: float) -> Window:
        """Send for that long; the window ends early if the frames run out."""
        begin = time.time()
        end = begin + warm_up_s + seconds
        while time.time() < end and self._top_up():
            self._receive()
        return Window(begin + warm_up_s, min(end, time.time()))

    def send(self, frames: int) -> None:
        """Send so many frames at once."""
        pipeline = self._valkey.pipeline(transaction=False)
        for frame in islice(self._frames, frames):
            pipeline.xadd(frame.stream, {FRAME_FIELD: frame.body})
            self.sent += frame.commands
        pipeline.execute()

    def at_rate(self, per_s: float, seconds: float, *, tick_s: float) -> None:
        """Send so many frames a second, whatever the answers take."""
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            due = round(passed * per_s) - sent
            if due:
                self.send(due)
                sent += due
            self._receive(tick_s)
            time.sleep(max(0.0, tick_s - (time.perf_counter() - began - passed)))

    def one(self, frame: Frame) -> list[Outcome]:
        """Send one frame and wait for its outcomes."""
        self.prepare([frame])
        self._top_up()
        self.drain()
        return [outcome for message in self.take_messages() for outcome in decode_outcomes(message)]

    def take_messages(self) -> list[bytes]:
        """What has come since the last call, undecoded."""
        messages, self.messages = self.messages, []
        return messages

    def drain(self) -> None:
        """Wait for the outcome of everything sent. Raises StageError if one never comes."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.answered < self.sent:
            if time.monotonic() > deadline:
                raise StageError(f"{self.sent - self.answered} commands had no outcome in {DRAIN_SECONDS} s")
            self._receive()

    def close(self) -> None:
        self._listener.close()

    def _top_up(self) -> bool:
        """Send as many frames as fit; False if there are too few."""
        pipeline = self._valkey.pipeline(transaction=False)
        while self.sent - self.answered < IN_FLIGHT and (frame := next(self._frames, None)) is not None:
            pipeline.xadd(frame.stream, {FRAME_FIELD: frame.body})
            self.sent += frame.commands
        if len(pipeline):
            pipeline.execute()
        return self.sent - self.answered >= IN_FLIGHT

    def _receive(self, timeout_s: float = 0.05) -> None:
        message = self._listener.get_message(timeout=timeout_s)
        while message is not None:
            outcomes = array_length(message["data"])
            self.answered += outcomes
            self.arrivals.append((time.time(), outcomes))
            self.messages.append(message["data"])
            message = self._listener.get_message(timeout=0)


def array_length(packed: bytes) -> int:
    """How many elements a msgpack array has, by its head alone: decoding waits until the clock has stopped."""
    head = packed[0]
    if head & 0xF0 == 0x90:
        return head & 0x0F
    if head == 0xDC:
        return int(struct.unpack_from(">H", packed, 1)[0])
    if head == 0xDD:
        return int(struct.unpack_from(">I", packed, 1)[0])
    raise ValueError("not a msgpack array")


def create_markets(load: Load) -> list[str]:
    """MARKETS open binary markets, made by the engine on command."""
    market_ids = [new_id() for _ in range(MARKETS)]
    closes_us = time.time_ns() // 1000 + 24 * HOUR_US
    frames = []
    for number, market_id in enumerate(market_ids):
        command = CreateMarket(
            market_id, f"Bench {number}?", ("Yes", "No"), "bench", 100, 0, 0, None, closes_us
        )
        frames.append(frame_of(load.gateway_id, market_slot(market_id), [sealed(command, new_id(), "")]))
    load.prepare(frames)
    load.run(warm_up_s=0, seconds=10)
    load.drain()
    load.arrivals.clear()
    load.messages.clear()
    load.sent = load.answered = 0
    return market_ids


def flow_frames(
    gateway_id: str, market_ids: Sequence[str], account_ids: Sequence[str], *, most: int, seed: int,
    frame_commands: int = FRAME_COMMANDS,
) -> list[Frame]:  # fmt: skip
    """The first `most` operations of the flow as frames, gathered by slot as a gateway does."""
    waiting: dict[int, list[Envelope]] = {}
    order_ids: dict[int, str] = {}
    frames = []
    for step in islice(mixed_flow(markets=len(market_ids), accounts=len(account_ids), seed=seed), most):
        market_id, account_id = market_ids[step.market], account_ids[step.account]
        command_id = new_id()
        command: Command
        if isinstance(step, Place):
            order_ids[step.number] = command_id
            client_id = f"bench-{seed}-{step.number}"
            command = PlaceOrder(
                market_id, account_id, command_id, 0, step.side, "limit", step.price_pips, step.quantity, "GTC",
                client_order_id=client_id, by=ACTOR,
            )  # fmt: skip
        else:
            client_id = None
            command = CancelOrder(market_id, account_id, order_ids.pop(step.number), None)
        slot = market_slot(market_id)
        rows = waiting.setdefault(slot, [])
        rows.append(sealed(command, command_id, account_id, client_id))
        if len(rows) == frame_commands:
            frames.append(frame_of(gateway_id, slot, waiting.pop(slot)))
    return frames


def resting_orders(
    gateway_id: str, market_id: str, account_ids: Sequence[str], *, first: int, count: int
) -> Frame:
    """Orders that change the book and never trade: each one at another of eighty prices than the one before."""
    envelopes = []
    for number in range(first, first + count):
        buys, step, command_id = number % 2 == 0, number // 2 % 40, new_id()
        account_id = account_ids[number % len(account_ids)]
        command = PlaceOrder(
            market_id, account_id, command_id, 0, "buy" if buys else "sell", "limit",
            100 + 100 * step if buys else 9_900 - 100 * step, 10, "GTC", client_order_id=None, by=ACTOR,
        )  # fmt: skip
        envelopes.append(sealed(command, command_id, account_id))
    return frame_of(gateway_id, market_slot(market_id), envelopes)


def sealed(command: Command, command_id: str, account_id: str, client_id: str | None = None) -> Envelope:
    """A command as a gateway would send it, with a deadline of an hour."""
    envelope = seal(
        command,
        command_id=command_id,
        account_id=account_id or "00000000-0000-0000-0000-000000000000",
        actor=ACTOR,
        request_id=command_id,
        client_id=client_id,
    )
    # The frames are made before the clock starts, so their deadline lies further off than a request's.
    return structs.replace(envelope, deadline_us=envelope.deadline_us + HOUR_US)


def frame_of(gateway_id: str, slot: int, envelopes: list[Envelope]) -> Frame:
    """A stream entry of commands for markets of that slot."""
    return Frame(command_stream(slot), encode_frame(gateway_id, envelopes), len(envelopes))


def _judge(stage: Stage, database: str, load: Load, window: Window, cores: float) -> CommitRun:
    """Rates of the window, and what the log has of all that was acknowledged."""
    seconds = window.end - window.start
    in_window = sum(outcomes for at, outcomes in load.arrivals if window.start <= at <= window.end)
    kinds = Counter(_kind(outcome) for message in load.messages for outcome in decode_outcomes(message))
    with stage.connect(database) as connection:
        measured = connection.execute(_IN_WINDOW, [window.start, window.end]).fetchone()
        committed = connection.execute(_COMMANDS).fetchone()
    assert measured is not None
    assert committed is not None
    events, batches, commands, orders = measured
    return CommitRun(
        commands_per_s=in_window / seconds,
        orders_per_s=orders / seconds,
        events_per_s=events / seconds,
        commands_per_batch=commands / max(batches, 1),
        events_per_batch=events / max(batches, 1),
        engine_cores=cores,
        sent=load.sent,
        outcomes=kinds,
        committed=committed[0],
    )


def _kind(outcome: Any) -> str:
    return f"refused: {outcome.payload[0]}" if outcome.kind == "refused" else str(outcome.kind)


# The first event of a command carries its metadata; a batch has one time of its own.
_FROM = "FROM event WHERE slot < 16 AND type NOT LIKE 'market_%%'"
_IN_WINDOW = f"""
    SELECT count(*), count(DISTINCT recorded_at), count(*) FILTER (WHERE metadata::text <> '{{}}'),
           count(*) FILTER (WHERE type IN ('order_placed/1', 'order_rejected/1'))
    {_FROM} AND recorded_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)
"""
_COMMANDS = f"SELECT count(*) {_FROM.replace('%%', '%')} AND metadata::text <> '{{}}'"
