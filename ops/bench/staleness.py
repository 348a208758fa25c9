"""How old the read models are while orders come at a fixed rate, before, during and after a burst.

What the exchange says of itself is what is read: the histogram `exchange_projection_staleness_seconds`, from the time
the engine stamps a batch with, so that its own commit counts, until the rows are visible.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from ops.bench.commit_path import Load, create_markets, flow_frames
from ops.bench.stage import Stage

RATE_PER_S = 1_000
BURST_ORDERS = 20_000
BACK_P50_MS, BACK_P99_MS = 10.0, 100.0
WARM_UP_SECONDS = 2.0
# How long it may take until the wait for calm is given up.
PATIENCE_SECONDS = 25.0
TICK_SECONDS = 0.005
# A second's quantiles are as they were before if they are at most so many times that.
AGAIN = 1.5
NAME = "exchange_projection_staleness_seconds"

Buckets = dict[float, float]
"""Observations up to each bound, in seconds."""


@dataclass(slots=True)
class StalenessRun:
    """Quantiles in ms, of all projections together, by part; and the seconds from the burst's end until it is calm.

    `back_after_s` is until both quantiles are as they should be, `again_after_s` until they are as they were before.
    """

    p50_ms: dict[str, float] = field(default_factory=dict)
    p99_ms: dict[str, float] = field(default_factory=dict)
    burst_p99_ms: float = 0.0
    back_after_s: float = 0.0
    again_after_s: float = 0.0
    sent: int = 0


def run_staleness(stage: Stage, database: str, *, seconds: float, seed: int) -> StalenessRun:
    """RATE_PER_S orders a second for that long, BURST_ORDERS at once, and the rate again until it is calm."""
    with (
        stage.processes(database, "engine", "projector"),
        redis.Redis.from_url(stage.valkey_url) as valkey,
    ):
        load = Load(valkey)
        markets = create_markets(load)
        most = int(RATE_PER_S * (WARM_UP_SECONDS + seconds + 2 * PATIENCE_SECONDS)) + BURST_ORDERS
        frames = flow_frames(
            load.gateway_id, markets, stage.account_ids, most=most, seed=seed, frame_commands=1
        )
        load.prepare(frames)
        run, folder = StalenessRun(), stage.metrics_folder
        load.at_rate(RATE_PER_S, WARM_UP_SECONDS, tick_s=TICK_SECONDS)
        before = read_histograms(folder)
        load.at_rate(RATE_PER_S, seconds, tick_s=TICK_SECONDS)
        for part, counted in grown(before, read_histograms(folder)).items():
            run.p50_ms[part], run.p99_ms[part] = quantile_ms(counted, 0.5), quantile_ms(counted, 0.99)
        _burst(load, folder, run)
        load.drain()
        run.sent = load.sent
        load.close()
    return run


def _burst(load: Load, folder: Path, run: StalenessRun) -> None:
    before = read_histograms(folder)
    load.send(BURST_ORDERS)
    ended = time.monotonic()
    wanted = {
        "back_after_s": (BACK_P50_MS, BACK_P99_MS),
        "again_after_s": (AGAIN * run.p50_ms["whole"], AGAIN * run.p99_ms["whole"]),
    }
    while wanted and (passed_s := time.monotonic() - ended) < PATIENCE_SECONDS:
        second_before = read_histograms(folder)
        load.at_rate(RATE_PER_S, 1.0, tick_s=TICK_SECONDS)
        whole = grown(second_before, read_histograms(folder)).get("whole", {})
        p50_ms, p99_ms = quantile_ms(whole, 0.5), quantile_ms(whole, 0.99)
        for name, (most_p50_ms, most_p99_ms) in list(wanted.items()):
            if p50_ms <= most_p50_ms and p99_ms <= most_p99_ms:
                setattr(run, name, passed_s)
                del wanted[name]
    for name in wanted:
        setattr(run, name, float("inf"))
    run.burst_p99_ms = quantile_ms(grown(before, read_histograms(folder))["whole"], 0.99)


def read_histograms(folder: Path) -> dict[str, Buckets]:
    """The buckets of each part, all projections added up."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    found: dict[str, Buckets] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == f"{NAME}_bucket":
                buckets = found.setdefault(sample.labels["part"], {})
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return found


def grown(before: dict[str, Buckets], after: dict[str, Buckets]) -> dict[str, Buckets]:
    """What was observed in between."""
    return {
        part: {bound: count - before.get(part, {}).get(bound, 0.0) for bound, count in buckets.items()}
        for part, buckets in after.items()
    }


def quantile_ms(buckets: Buckets, share: float) -> float:
    """The quantile as Prometheus works it out: evenly spread within its bucket. Infinite past the last bound."""
    wanted = share * max(buckets.values(), default=0.0)
    if not wanted:
        return float("inf")
    below, bound_below = 0.0, 0.0
    for bound, count in _in_order(buckets):
        if count >= wanted:
            if bound == float("inf"):
                return bound
            return 1e3 * (bound_below + (bound - bound_below) * (wanted - below) / (count - below))
        below, bound_below = count, bound
    return float("inf")


def _in_order(buckets: Buckets) -> Iterator[tuple[float, float]]:
    return iter(sorted(buckets.items()))


def parts_note(run: StalenessRun, parts: Sequence[str] = ("way", "work")) -> str:
    """How the whole is made up."""
    return "; ".join(
        f"{part}: p50 {run.p50_ms.get(part, 0):.1f}, p99 {run.p99_ms.get(part, 0):.1f} ms" for part in parts
    )
