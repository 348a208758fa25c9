"""Public reads over HTTP with warm caches, and the same with READ_CACHE=0."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ops.bench.http_load import HttpStage, wrk_is_installed
from ops.bench.report import Figure, Report
from ops.bench.stage import Stage

PROCESSES = ("web", "live", "engine", "projector")
CONNECTIONS = 64
FAST_TARGET, LIST_TARGET = 10_000, 3_000
NO_WRK = "wrk is not installed"

Say = Callable[[str], None]


class Read(NamedTuple):
    """One kind of read: its lane, its path, and what it has to reach."""

    name: str
    lane: str
    path: str
    target: float


READS = (
    Read("fast lane, market", "live", "markets/MARKET", FAST_TARGET),
    Read("fast lane, order book", "live", "markets/MARKET/orderbook", FAST_TARGET),
    Read("fast lane, trades", "live", "markets/MARKET/trades", FAST_TARGET),
    Read("web lane, list of markets", "web", "markets", LIST_TARGET),
)


def reads_part(stage: Stage, seconds: float, repetitions: int, *, report: Report, say: Say) -> None:
    """Each kind with and without caches, every repetition."""
    without = {
        read: Figure(f"{read.name}, without caches", "requests/s", label="without caches") for read in READS
    }
    idle = {lane: Figure(f"{lane}: idle requests", "requests/s") for lane in ("live", "web")}
    cached = {
        read: Figure(
            f"{read.name}, {CONNECTIONS} connections", "requests/s", yardstick=without[read], also=[idle[read.lane]],
            target=read.target,
        )
        for read in READS
    }  # fmt: skip
    p99 = {read: Figure(f"{read.name}: p99", "ms", smaller_is_better=True) for read in READS}
    report.figures += [figure for read in READS for figure in (cached[read], p99[read], without[read])]
    report.figures += idle.values()
    if not wrk_is_installed():
        for figure in (*cached.values(), *without.values()):
            figure.note = NO_WRK
        return
    with stage.database("reads") as database:
        for repetition in range(repetitions):
            step = f"{repetition + 1}/{repetitions}"
            say(f"reads with caches {step}")
            with _traded(stage, database, caches=True) as http:
                for lane, figure in idle.items():
                    run = http.idle(lane, connections=CONNECTIONS, seconds=min(seconds, 2))
                    figure.samples.append(run.accepted_per_s)
                for read in READS:
                    http.reads(read.lane, read.path, connections=CONNECTIONS, seconds=1)
                    run = http.reads(read.lane, read.path, connections=CONNECTIONS, seconds=seconds)
                    cached[read].samples.append(run.accepted_per_s)
                    p99[read].samples.append(run.p99_ms)
                    cached[read].note = f"last run: {run.accepted:,} 2xx, {run.refused:,} others"
            say(f"reads without caches {step}")
            with _traded(stage, database, caches=False) as http:
                for read in READS:
                    run = http.reads(read.lane, read.path, connections=CONNECTIONS, seconds=min(seconds, 3))
                    without[read].samples.append(run.accepted_per_s)


@contextmanager
def _traded(stage: Stage, database: str, *, caches: bool) -> Iterator[HttpStage]:
    """Markets with books and trades, and nobody trading."""
    with stage.processes(database, *PROCESSES, environment={"READ_CACHE": "1" if caches else "0"}):
        http = HttpStage(stage, database)
        try:
            http.orders("live", connections=4, seconds=1, items=100)
            yield http
        finally:
            http.close()
