"""Replay and snapshots: events a second and by which step, how fast a market opens, what its state weighs.

Everything is of one market, in this process, on one connection: what an engine process does that takes a slot over.
"""

import gc
import random
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from trading.engine import commands as cmd
from trading.engine.apply import apply
from trading.engine.codec import EVENT_NAMES, event_from_json, event_json
from trading.engine.decide import run
from trading.engine.market import Market
from trading.engine.snapshot import decode_state, encode_state
from trading.eventlog.append import EMPTY, Head, copy_rows, encode_row, write_stream_heads
from trading.eventlog.codec import timestamp_text
from trading.eventlog.tail import TailEvent, read_tail
from trading.ids import market_slot, new_id
from trading.shard.markets import Markets
from trading.snapshots.replay import State, replay
from trading.snapshots.store import newest_snapshots
from trading.snapshots.take import take_snapshot

ACCOUNTS = 5_000
BUDGET_PIPS = 10**15
MIDDLE_PIPS, TICK_PIPS, DEPTH_TICKS = 5_000, 100, 20
STEP_US = 100
CHUNK_EVENTS = 5_000
NO_METADATA = b"{}"


@dataclass(frozen=True, slots=True)
class ReplayRates:
    """Events a second of each step alone, and of the whole.

    `apply` changes a market by events that are decoded; `decode` makes them from JSON text; `read` fetches rows from
    PostgreSQL, jsonb to text included. `replay` is all three as an engine does them; no hash is looked at. `proved` is
    the same with each hash made anew.
    """

    events: int
    apply: float
    decode: float
    read: float
    replay: float
    proved: float


@dataclass(frozen=True, slots=True)
class Opening:
    """How long a market takes to open from its snapshot, tail included, and from its events alone."""

    events: int
    open_orders: int
    tail_events: int
    from_snapshot_s: float
    from_events_s: float
    snapshot_bytes: int
    take_s: float


class Weight(NamedTuple):
    """A market's state in memory and as bytes."""

    open_orders: int
    memory_bytes: int
    state_bytes: int


def write_history(connection: Any, *, events: int, open_orders: int, seed: int = 1) -> str:
    """Puts a market with that long a history into the log as a shard would; answers its id.

    Commands are as of a busy market: 60 % rest, 25 % cross, and once `open_orders` rest the oldest are cancelled.
    """
    market = Market(new_id())
    slot, head = market_slot(market.market_id), EMPTY
    with connection.cursor() as cursor:
        cursor.execute("SELECT next_offset FROM slot WHERE slot = %s", [slot])
        (first,) = cursor.fetchone()
    offset, rows, at_us = first, [], time.time_ns() // 1000 - events * STEP_US
    for command in _commands(market, open_orders, seed):
        at_us += STEP_US
        for event in run(market, command, budget_pips=BUDGET_PIPS, now_us=at_us):
            row, head = encode_row(
                slot=slot, slot_offset=offset, stream_id=market.market_id, head=head, type=EVENT_NAMES[type(event)],
                data=event_json(event), metadata=NO_METADATA, recorded_at=timestamp_text(at_us),
            )  # fmt: skip
            rows.append(row)
            offset += 1
        market.touched.clear()
        if len(rows) >= CHUNK_EVENTS or market.seq >= events:
            _write(connection, market.market_id, slot, rows, head)
            rows = []
        if market.seq >= events:
            return market.market_id
    raise AssertionError("commands never end")


def _write(connection: Any, market_id: str, slot: int, rows: list[Any], head: Head) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        copy_rows(cursor, rows)
        write_stream_heads(cursor, slot=slot, heads={market_id: head})
        cursor.execute(
            "UPDATE slot SET next_offset = %s, recorded_at = %s WHERE slot = %s",
            [rows[-1].slot_offset + 1, rows[-1].recorded_at, slot],
        )


def _commands(market: Market, open_orders: int, seed: int) -> Iterator[cmd.Command]:
    chance = random.Random(seed)  # noqa: S311
    accounts = [new_id() for _ in range(ACCOUNTS)]
    yield cmd.CreateMarket(
        market_id=market.market_id, question="Which way does it go?", outcomes=("Yes", "No"), category="bench",
        tick_pips=TICK_PIPS, taker_fee_e4=0, maker_fee_e4=0, opens_us=None, closes_us=4 * 10**15,
    )  # fmt: skip
    while True:
        if len(market.orders) > open_orders:
            oldest = next(iter(market.orders.values()))
            yield cmd.CancelOrder(
                market_id=market.market_id, account_id=oldest.account_id, order_id=oldest.order_id,
                client_order_id=None,
            )  # fmt: skip
            continue
        side, crosses = chance.choice(("buy", "sell")), chance.random() < 0.3
        toward = 1 if side == "buy" else -1
        ticks = 3 if crosses else -chance.randint(1, DEPTH_TICKS)
        yield cmd.PlaceOrder(
            market_id=market.market_id, account_id=chance.choice(accounts), order_id=new_id(), outcome=0, side=side,
            order_type="limit", price_pips=MIDDLE_PIPS + toward * ticks * TICK_PIPS,
            quantity_shares=chance.randint(1, 30 if crosses else 100), time_in_force="GTC",
        )  # fmt: skip


def measure_replay(connection: Any, market_id: str) -> ReplayRates:
    """Each step over the whole stream, then all together."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM stream WHERE id = %s", [market_id])
        (events,) = cursor.fetchone()
        reading_s, applying_s, decoding_s = 0.0, 0.0, 0.0
        market = Market(market_id)
        pages = read_tail(cursor, stream_id=market_id, after_version=0, upto_version=events)
        while True:
            begin = time.perf_counter()
            page = next(pages, None)
            reading_s += time.perf_counter() - begin
            if page is None:
                break
            decoded_s, applied_s = _work(market, page)
            decoding_s += decoded_s
            applying_s += applied_s
        whole_s = _timed_replay(cursor, market_id, events, prove=False)
        proved_s = _timed_replay(cursor, market_id, events, prove=True)
    assert market.seq == events, "the log has fewer events than its head counts"
    return ReplayRates(
        events, apply=events / applying_s, decode=events / decoding_s, read=events / reading_s,
        replay=events / whole_s, proved=events / proved_s,
    )  # fmt: skip


def _work(market: Market, page: list[TailEvent]) -> tuple[float, float]:
    """Seconds of decoding a page, and of applying it."""
    begin = time.perf_counter()
    decoded = [(event_from_json(event.type, event.data), event.recorded_us) for event in page]
    middle = time.perf_counter()
    for event, at_us in decoded:
        apply(market, event, at_us)
    return middle - begin, time.perf_counter() - middle


def _timed_replay(cursor: Any, market_id: str, events: int, *, prove: bool) -> float:
    begin = time.perf_counter()
    replay(cursor, State(Market(market_id)), upto_version=events, prove=prove)
    return time.perf_counter() - begin


def measure_opening(connection: Any, market_id: str) -> Opening:
    """Opens the market as an engine process does: once from its events, once from a snapshot it then has."""
    begin = time.perf_counter()
    from_events = _opened(connection, market_id)
    events_s = time.perf_counter() - begin
    with connection.cursor() as cursor:
        begin = time.perf_counter()
        take_snapshot(cursor, market_id)
        take_s = time.perf_counter() - begin
        snapshot = newest_snapshots(cursor, market_id)[0]
    begin = time.perf_counter()
    market = _opened(connection, market_id)
    snapshot_s = time.perf_counter() - begin
    assert encode_state(market) == encode_state(from_events), "a snapshot's state is not the events'"
    return Opening(
        events=market.seq, open_orders=len(market.orders), tail_events=market.seq - snapshot.version,
        from_snapshot_s=snapshot_s, from_events_s=events_s, snapshot_bytes=len(snapshot.payload), take_s=take_s,
    )  # fmt: skip


def _opened(connection: Any, market_id: str) -> Market:
    return Markets(connection=lambda: connection, keep_alive=lambda: None).get(market_id)


def weigh(open_orders: int, *, seed: int = 1) -> Weight:
    """What a market with that many resting orders weighs: all that its state refers to, texts included."""
    market = Market(new_id())
    for number, command in enumerate(_commands(market, open_orders, seed)):
        if len(market.orders) == open_orders:
            break
        run(market, command, budget_pips=BUDGET_PIPS, now_us=10**15 + number)
    state = encode_state(market)
    del market
    gc.collect()
    tracemalloc.start()
    weighed = decode_state(state)
    gc.collect()
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Weight(len(weighed.orders), memory, len(state))
