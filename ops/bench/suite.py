"""Which parts of the benchmark run, in which order and how often.

Within a repetition each figure stands right beside its yardstick, so that a machine that changes its pace changes it
for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.bench.commit_path import CommitRun, run_commit_path
from ops.bench.http_load import LANE_NAMES, HttpRun, HttpStage, open_http_stage, wrk_is_installed
from ops.bench.plain_loop import run_plain_loop
from ops.bench.report import Count, Figure, Report
from ops.bench.stage import Stage
from ops.bench.yardsticks import durable_commits, raw_copy, recorded_events

PARTS = ("commit", "http", "batch")
BATCH_ITEMS = 100
BATCH_CONNECTIONS = 8
CONNECTIONS = (16, 64)

COMMIT_AIM = 12_000
TIMES_PLAIN_AIM = 8
FAST_LANE_AIM = 5_000

NO_WRK = "wrk is not installed"


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often: `seconds` for each repetition of each figure."""

    parts: tuple[str, ...] = PARTS
    seconds: float = 8.0
    repetitions: int = 3
    output: Path = Path("bench.json")


def run_suite(options: Options, *, say: Callable[[str], None]) -> Report:
    """Everything asked for, on a stage of its own. Raises StageError or EmbeddedError."""
    with Stage(say) as stage:
        conditions = stage.conditions() | {
            "load": f"{options.repetitions} repetitions of {options.seconds:g} s each; median and range are shown"
        }
        report = Report(conditions)
        if "commit" in options.parts:
            _commit_part(stage, options, report, say)
        if "http" in options.parts or "batch" in options.parts:
            _http_parts(stage, options, report, say)
    return report


# The commit path ---------------------------------------------------------------------------------


class _CommitFigures:
    """The figures of the commit path and their yardsticks, in the order of the table."""

    def __init__(self) -> None:
        self.fsync = Figure("durable commit of one row, one client", "commits/s", label="durable commit")
        self.plain = Figure(
            "plain loop: lock, match in SQL, commit", "orders/s", yardstick=self.fsync, label="plain loop"
        )
        self.copy = Figure("raw COPY of the same events", "events/s", label="raw COPY")
        self.orders = Figure("engine commit path", "orders/s", yardstick=self.plain, aim=COMMIT_AIM)
        self.events = Figure("engine commit path, events", "events/s", yardstick=self.copy)
        self.beside = Figure("engine with the projector beside", "orders/s", yardstick=self.plain)
        self.times = Figure("engine : plain loop", "times", aim=TIMES_PLAIN_AIM)

    def all(self) -> list[Figure]:
        return [self.orders, self.times, self.events, self.beside, self.plain, self.copy, self.fsync]


def _commit_part(stage: Stage, options: Options, report: Report, say: Callable[[str], None]) -> None:
    figures = _CommitFigures()
    report.figures += figures.all()
    figures.orders.note = (
        "an order is a placement or a cancel; 60 % rest, 25 % cross, 15 % cancel; 64 markets"
    )
    for repetition in range(options.repetitions):
        _commit_repetition(stage, options, report, figures, repetition, say)


def _commit_repetition(
    stage: Stage,
    options: Options,
    report: Report,
    figures: _CommitFigures,
    repetition: int,
    say: Callable[[str], None],
) -> None:
    step = f"{repetition + 1}/{options.repetitions}"
    seconds, seed = options.seconds, repetition + 1
    with stage.database("plain") as database:
        say(f"plain loop {step}")
        plain = run_plain_loop(stage, database, seconds=seconds, seed=seed)
        report.counts.append(Count(f"plain loop {step}", plain.acknowledged, plain.committed))
        figures.plain.samples.append(plain.commands_per_s)
    with stage.database("commit") as database:
        say(f"engine commit path {step}")
        run = run_commit_path(stage, database, seconds=seconds, seed=seed)
        lines = recorded_events(stage, database)
    _note_run(report, figures.orders, f"engine commit path {step}", run)
    figures.orders.note = (
        "an order is a placement or a cancel; 60 % rest, 25 % cross, 15 % cancel; 64 markets; the engine took "
        f"{run.engine_cores:.2f} of a core, {run.engine_cores * 1e6 / run.commands_per_s:.0f} µs an order"
    )
    figures.events.samples.append(run.events_per_s)
    figures.times.samples.append(run.commands_per_s / plain.commands_per_s)
    figures.events.note = f"{run.commands_per_batch:.0f} orders and {run.events_per_batch:.0f} events a batch"
    with stage.database("copy") as database:
        say(f"raw COPY and single commits {step}")
        batch = max(1, round(run.events_per_batch))
        figures.copy.samples.append(raw_copy(stage, database, lines=lines, batch=batch, seconds=seconds))
        figures.copy.note = f"a durable commit every {batch} events, one connection"
        figures.fsync.samples.append(durable_commits(stage, database, seconds=min(seconds, 3)))
    with stage.database("beside") as database:
        say(f"engine with the projector beside {step}")
        run = run_commit_path(stage, database, seconds=seconds, seed=seed, beside=("projector",))
    _note_run(report, figures.beside, f"engine with the projector beside {step}", run)


def _note_run(report: Report, figure: Figure, part: str, run: CommitRun) -> None:
    figure.samples.append(run.commands_per_s)
    report.counts.append(Count(part, sum(run.outcomes.values()), run.committed))


# HTTP --------------------------------------------------------------------------------------------


def _http_parts(stage: Stage, options: Options, report: Report, say: Callable[[str], None]) -> None:
    singles = _LaneFigures(options) if "http" in options.parts else None
    batch = Figure(f"fast lane, batches of {BATCH_ITEMS}, {BATCH_CONNECTIONS} connections", "orders/s")
    if singles is not None:
        report.figures += singles.all()
    if "batch" in options.parts:
        report.figures.append(batch)
    if not wrk_is_installed():
        for figure in [*(singles.all() if singles is not None else ()), batch]:
            figure.note = NO_WRK
        return
    with stage.database("http") as database, _announced(stage, database, say) as http:
        for repetition in range(options.repetitions):
            step = f"{repetition + 1}/{options.repetitions}"
            if singles is not None:
                _single_orders(http, options, report, singles, step, say)
            if "batch" in options.parts:
                _batches(http, options, report, batch, step, say)


def _announced(stage: Stage, database: str, say: Callable[[str], None]) -> Any:
    say("starting the exchange's processes, making traders and markets")
    return open_http_stage(stage, database)


class _LaneFigures:
    """For each lane and number of connections: requests a second, p50, p99, and the idle yardstick."""

    def __init__(self, options: Options) -> None:
        self.lanes: dict[tuple[str, int], tuple[Figure, Figure, Figure, Figure]] = {}
        for lane, name in reversed(LANE_NAMES.items()):
            for connections in CONNECTIONS:
                where = f"{name}, {connections} connections"
                idle = Figure(f"{where}: idle requests", "requests/s", label="idle requests")
                aim = FAST_LANE_AIM if lane == "live" else None
                self.lanes[lane, connections] = (
                    Figure(f"{where}: single orders", "requests/s", yardstick=idle, aim=aim),
                    Figure(f"{where}: p50", "ms"),
                    Figure(f"{where}: p99", "ms"),
                    idle,
                )

    def all(self) -> list[Figure]:
        return [figure for figures in self.lanes.values() for figure in figures]


def _single_orders(
    http: HttpStage,
    options: Options,
    report: Report,
    lanes: _LaneFigures,
    step: str,
    say: Callable[[str], None],
) -> None:
    for (lane, connections), (rate, p50, p99, idle) in lanes.lanes.items():
        where = f"{LANE_NAMES[lane]}, {connections} connections"
        say(f"single orders, {where} {step}")
        nothing = http.idle(lane, connections=connections, seconds=min(options.seconds, 3))
        idle.samples.append(nothing.accepted_per_s)
        run = http.orders(lane, connections=connections, seconds=options.seconds)
        rate.samples.append(run.accepted_per_s)
        p50.samples.append(run.p50_ms)
        p99.samples.append(run.p99_ms)
        _note_refusals(rate, run)
        part = f"single orders, {where} {step}"
        report.counts.append(Count(part, run.accepted, run.orders, in_flight=connections))


def _batches(
    http: HttpStage, options: Options, report: Report, figure: Figure, step: str, say: Callable[[str], None]
) -> None:
    say(f"batches of {BATCH_ITEMS} {step}")
    run = http.orders("live", connections=BATCH_CONNECTIONS, seconds=options.seconds, items=BATCH_ITEMS)
    figure.samples.append(run.accepted * BATCH_ITEMS / run.seconds)
    _note_refusals(figure, run)
    acknowledged = run.accepted * BATCH_ITEMS
    report.counts.append(
        Count(f"batches {step}", acknowledged, run.orders, in_flight=BATCH_CONNECTIONS * BATCH_ITEMS)
    )


def _note_refusals(figure: Figure, run: HttpRun) -> None:
    """How many answers were not 2xx, and how many never came; of the last repetition."""
    figure.note = (
        f"last run: {run.accepted:,} 2xx, {run.refused:,} others, {run.socket_errors:,} socket errors"
    )
