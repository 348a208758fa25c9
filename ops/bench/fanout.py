"""One market, many browsers: how long from an order to its frame in every browser, and what a frame costs.

The real engine commits an order every tenth of a second, each of which changes the book; the real live process tells
all sockets. A frame's time counts from when its order was sent, which is before its commit. Beside it the same
number of sockets and frames through Channels' group_send.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import redis
from channels_redis.core import RedisChannelLayer
from django.conf import settings

from ops.bench.commit_path import Load, create_markets, resting_orders
from ops.bench.open_loop import percentile
from ops.bench.stage import Stage, StageError
from ops.embedded.process import free_port
from trading.checksum import PRICE_TEXTS

FRAMES_PER_S = 10
RIVAL = "ops.bench.contestants.channels_group:application"
READY_SECONDS = 120.0
SETTLE_SECONDS = 1.0
# Two megabytes a socket that does not read: its own, the system's and its outbox (1 MB) are full before the end.
NOISY_CHANGES, NOISY_ORDERS = 1_200, 80


@dataclass(frozen=True, slots=True)
class FanoutRun:
    """What the readers saw and what the serving process spent. Latencies in ms; CPU in µs a frame and socket."""

    sockets: int
    frames: int
    frames_told: int
    least: int
    most: int
    p50_ms: float
    p99_ms: float
    cpu_us: float
    cores: float
    memory_mb: float
    silent_told: int
    silent_least: int
    silent_most: int
    silent_closed: int
    witness: int


def run_fanout(stage: Stage, database: str, *, sockets: int, silent: int, seconds: float) -> FanoutRun:
    """The exchange's own live process, with `silent` of the sockets never reading."""
    with (
        stage.processes(database, "engine", "projector", "live") as running,
        redis.Redis.from_url(stage.valkey_url) as valkey,
    ):
        load = Load(valkey)
        market_id, noisy_id = create_markets(load)[:2]
        _wait_projected(stage, database, market_id, noisy_id)
        port = stage.ports["WS_PORT"]
        with crowd(port, sockets, _subscribe(market_id), silent, _subscribe(noisy_id)) as readers:
            noise = _fill(load, noisy_id, stage.account_ids) if silent else 0
            sent_at: dict[int, float] = {}

            def tell(number: int) -> None:
                frame = resting_orders(load.gateway_id, market_id, stage.account_ids, first=number, count=1)
                sent = time.time()
                for outcome in load.one(frame):
                    sent_at[outcome.payload[-2]] = sent

            return _measure(readers, running["live"], tell, sent_at, sockets, seconds, silent_told=noise)


def run_group_send(stage: Stage, *, sockets: int, seconds: float) -> FanoutRun:
    """The same with Channels' consumer and layer."""
    port = free_port()
    environment = {**os.environ, "VALKEY_URL": stage.valkey_url}
    command = [
        sys.executable, "-m", "uvicorn", RIVAL, "--port", str(port), "--loop", "uvloop", "--ws", "websockets-sansio",
        "--ws-per-message-deflate", "false", "--lifespan", "off", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    with subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR) as process:
        try:
            _wait_listening(port, process)
            with crowd(port, sockets, "", 0, "") as readers, asyncio.Runner() as runner:
                layer = RedisChannelLayer(hosts=[stage.valkey_url], capacity=100_000, prefix="rival")
                sent_at: dict[int, float] = {}

                def tell(number: int) -> None:
                    sent_at[number + 1] = time.time()
                    message = {"type": "market.frame", "text": _delta_like_ours(number + 1)}
                    runner.run(layer.group_send("market", message))

                return _measure(readers, psutil.Process(process.pid), tell, sent_at, sockets, seconds)
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def crowd(
    port: int, sockets: int, subscribe: str, silent: int, silent_subscribe: str
) -> Iterator["subprocess.Popen[str]"]:
    """The readers' process, once all of its sockets are subscribed. Raises StageError."""
    arguments = [str(port), str(sockets), subscribe, str(silent), silent_subscribe]
    with subprocess.Popen(
        [sys.executable, "-m", "ops.bench.fanout_readers", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=settings.BASE_DIR,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise StageError(f"{sockets} sockets did not all get a first frame")
            yield process
        finally:
            process.kill()


def _subscribe(market_id: str) -> str:
    return json.dumps({"id": 1, "op": "subscribe", "channel": "book", "market_id": market_id})


def _fill(load: Load, market_id: str, account_ids: Sequence[str]) -> int:
    """So much about a market that who does not read has its buffers full; answers the number of changes."""
    for number in range(NOISY_CHANGES):
        first = number * NOISY_ORDERS
        load.one(resting_orders(load.gateway_id, market_id, account_ids, first=first, count=NOISY_ORDERS))
    return NOISY_CHANGES


def _measure(
    readers: "subprocess.Popen[str]",
    server: psutil.Process,
    tell: Any,
    sent_at: dict[int, float],
    sockets: int,
    seconds: float,
    silent_told: int = 0,
) -> FanoutRun:
    time.sleep(SETTLE_SECONDS)
    _ask(readers)
    cpu_before_s, began = _cpu_s(server), time.perf_counter()
    told = round(seconds * FRAMES_PER_S)
    for number in range(told):
        if (ahead := began + number / FRAMES_PER_S - time.perf_counter()) > 0:
            time.sleep(ahead)
        tell(number)
    time.sleep(SETTLE_SECONDS)
    cpu_s, took_s = _cpu_s(server) - cpu_before_s, time.perf_counter() - began
    memory_mb = server.memory_info().rss / 2**20
    _ask(readers)
    assert readers.stdout is not None
    seen = json.loads(readers.stdout.readline())
    took_ms = [(came - sent_at[seq]) * 1e3 for seq, came in seen["seen"] if seq in sent_at]
    return FanoutRun(
        sockets=sockets, frames=seen["frames"], frames_told=told, least=seen["least"], most=seen["most"],
        p50_ms=percentile(took_ms, 50), p99_ms=percentile(took_ms, 99),
        cpu_us=cpu_s * 1e6 / max(seen["frames"], 1), cores=cpu_s / took_s, memory_mb=memory_mb,
        silent_told=silent_told, silent_least=seen["silent_least"], silent_most=seen["silent_most"],
        silent_closed=seen["silent_closed"], witness=seen["witness"],
    )  # fmt: skip


def _ask(readers: "subprocess.Popen[str]") -> None:
    assert readers.stdin is not None
    readers.stdin.write("\n")
    readers.stdin.flush()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _delta_like_ours(seq: int) -> str:
    """A frame as large as the one our hub sends for the same order."""
    document = {
        "channel": "book", "market_id": "0199aaaa-0000-7000-8000-000000000001", "seq": seq, "prev_seq": seq - 1,
        "sent_at": "2026-01-01T00:00:00.000000Z",
        "data": {"type": "delta", "changes": [["Yes", "bid", PRICE_TEXTS[4_000], 10]], "checksum": 3479377447},
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":"))


def _wait_projected(stage: Stage, database: str, *market_ids: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    query = "SELECT count(*) FROM market WHERE market_id = ANY(%s::uuid[])"
    with stage.connect(database) as connection:
        while time.monotonic() < deadline:
            if connection.execute(query, [list(market_ids)]).fetchone() == (len(market_ids),):
                return
            time.sleep(0.05)
    raise StageError("the markets were not projected")


def _wait_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise StageError("the Channels server did not start")
