"""The part of the table on settlement: seconds, holders a second, and what trading notices meanwhile."""

from collections.abc import Callable

from ops.bench.report import Figure, Report
from ops.bench.settlement import FLOW_PER_S, Latencies, run_settlements
from ops.bench.stage import Stage

HOLDERS = 100_000
TARGET_HOLDERS_PER_S = 100_000 / 30
P99_MS = 100.0


def settlement_part(
    stage: Stage,
    seconds: float,
    repetitions: int,
    *,
    holders: int,
    report: Report,
    say: Callable[[str], None],
) -> None:
    """A market of so many holders resolved so often."""
    where = f"settlement, {holders:,} holders"
    took = Figure(where, "s", target=holders / TARGET_HOLDERS_PER_S, smaller_is_better=True)
    rate = Figure(f"{where}: rate", "holders/s")
    level = Figure(f"{where}: read models caught up", "s after", smaller_is_better=True)
    flows = {
        part: (
            Figure(f"{FLOW_PER_S} orders/s {part} it: p50", "ms", smaller_is_better=True),
            Figure(f"{FLOW_PER_S} orders/s {part} it: p99", "ms", target=P99_MS, smaller_is_better=True),
        )
        for part in ("before", "during", "after")
    }
    report.figures += [took, rate, level, *(figure for pair in flows.values() for figure in pair)]
    runs = run_settlements(
        stage, "settlement", holders=holders, seconds=seconds, repetitions=repetitions, say=say
    )
    for run in runs:
        took.samples.append(run.seconds)
        rate.samples.append(run.holders_per_s)
        level.samples.append(run.level_s)
        for part, (p50, p99) in flows.items():
            latencies: Latencies = getattr(run, part)
            p50.samples.append(latencies.p50_ms)
            p99.samples.append(latencies.p99_ms)
            p99.note = f"last run: {latencies.accepted:,} of {latencies.offered:,} accepted"
