"""Which parts of the benchmark run, in which order and how often.

Within a repetition each figure stands right beside its yardstick, so that a machine that changes its pace changes it
for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.bench.commit_path import CommitRun, run_commit_path
from ops.bench.feed_table import feed_part, staleness_part
from ops.bench.http_load import (
    LANE_NAMES,
    HttpRun,
    HttpStage,
    open_http_stage,
    rival_orders,
    wrk_is_installed,
)
from ops.bench.interpreters import YardstickMissing
from ops.bench.matching_table import matching_part
from ops.bench.plain_loop import run_plain_loop
from ops.bench.reads_table import reads_part
from ops.bench.replay_table import replay_part
from ops.bench.report import Count, Figure, Report
from ops.bench.rival_gateway import rival_gateway
from ops.bench.settlement_table import HOLDERS, settlement_part
from ops.bench.stage import Stage, StageError
from ops.bench.yardsticks import durable_commits, raw_copy, recorded_events, recorder_inserts

PARTS = ("matching", "commit", "http", "rate", "batch", "reads", "staleness", "feed", "replay", "settlement")
BATCH_ITEMS = 100
BATCH_CONNECTIONS = 8
CONNECTIONS = (16, 64)

COMMIT_TARGET, COMMIT_AIM = 15_000, 20_000
TIMES_COPY_TARGET, TIMES_RECORDER_TARGET = 0.3, 1.0
TIMES_PLAIN_AIM = 8
LANE_TARGETS = {"live": (6_000, 10_000), "web": (2_000, None)}  # at TARGET_CONNECTIONS
TARGET_CONNECTIONS = 64
RATE_PER_S = 500
RATE_P50_MS, RATE_P99_MS = 10, 50
BATCH_TARGET = 8_000
RECORDER_BATCH = 180
# Yardsticks and idle lanes need less time to show what they do.
YARDSTICK_SECONDS = 4.0

NO_WRK = "wrk is not installed"


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often: `seconds` for each repetition of each figure."""

    parts: tuple[str, ...] = PARTS
    seconds: float = 6.0
    repetitions: int = 3
    output: Path = Path("bench.json")
    holders: int = HOLDERS


def run_suite(options: Options, *, say: Callable[[str], None]) -> Report:
    """Everything asked for, on a stage of its own. Raises StageError or EmbeddedError."""
    with Stage(say) as stage:
        conditions = stage.conditions() | {
            "load": f"{options.repetitions} repetitions of {options.seconds:g} s each; median and range are shown"
        }
        report = Report(conditions)
        if "matching" in options.parts:
            matching_part(stage.folder, repetitions=options.repetitions, report=report, say=say)
        if "commit" in options.parts:
            _commit_part(stage, options, report, say)
        if {"http", "rate", "batch"} & set(options.parts):
            _http_parts(stage, options, report, say)
        each = (options.seconds, options.repetitions)
        if "reads" in options.parts:
            reads_part(stage, *each, report=report, say=say)
        if "staleness" in options.parts:
            staleness_part(stage, *each, report=report, say=say)
        if "feed" in options.parts:
            feed_part(stage, *each, report=report, say=say)
        if "replay" in options.parts:
            replay_part(stage, report=report, say=say)
        if "settlement" in options.parts:
            settlement_part(stage, *each, holders=options.holders, report=report, say=say)
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
        self.orders = Figure(
            "engine commit path", "orders/s", yardstick=self.plain, target=COMMIT_TARGET, aim=COMMIT_AIM
        )
        self.recorder = Figure(
            "eventsourcing's recorder, the engine's batches", "events/s", label="eventsourcing"
        )
        self.recorder_small = Figure(
            f"eventsourcing's recorder, batches of {RECORDER_BATCH}", "events/s",
            label=f"eventsourcing, {RECORDER_BATCH}",
        )  # fmt: skip
        self.events = Figure(
            "engine commit path, events",
            "events/s",
            yardstick=self.copy,
            also=[self.recorder, self.recorder_small],
        )
        self.to_copy = Figure("engine events : raw COPY", "times", target=TIMES_COPY_TARGET)
        self.to_recorder = Figure("engine events : eventsourcing", "times", target=TIMES_RECORDER_TARGET)
        self.beside = Figure("engine with the projector beside", "orders/s", yardstick=self.plain)
        self.times = Figure("engine : plain loop", "times", aim=TIMES_PLAIN_AIM)

    def all(self) -> list[Figure]:
        return [
            self.orders, self.times, self.events, self.to_copy, self.to_recorder, self.beside, self.plain, self.copy,
            self.recorder, self.recorder_small, self.fsync,
        ]  # fmt: skip


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
    brief_s = min(seconds, YARDSTICK_SECONDS)
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
        figures.copy.samples.append(raw_copy(stage, database, lines=lines, batch=batch, seconds=brief_s))
        figures.to_copy.samples.append(run.events_per_s / figures.copy.samples[-1])
        figures.copy.note = f"a durable commit every {batch} events, one connection"
        figures.fsync.samples.append(durable_commits(stage, database, seconds=brief_s / 2))
    with stage.database("recorder") as database:
        say(f"eventsourcing's recorder {step}")
        try:
            _recorder(stage, database, figures, lines, batch, brief_s / 2)
        except YardstickMissing as missing:
            for figure in (figures.recorder, figures.recorder_small, figures.to_recorder):
                figure.note = str(missing)
        else:
            figures.to_recorder.samples.append(run.events_per_s / figures.recorder.samples[-1])
    with stage.database("beside") as database:
        say(f"engine with the projector beside {step}")
        run = run_commit_path(stage, database, seconds=seconds, seed=seed, beside=("projector",))
    _note_run(report, figures.beside, f"engine with the projector beside {step}", run)


def _recorder(
    stage: Stage, database: str, figures: _CommitFigures, lines: list[bytes], batch: int, seconds: float
) -> None:
    """The same events through eventsourcing's recorder, in batches as large as the engine's and in small ones."""
    for figure, size in ((figures.recorder, batch), (figures.recorder_small, RECORDER_BATCH)):
        with stage.connect(database) as connection:
            connection.execute("DROP TABLE IF EXISTS stored_events")
        figure.samples.append(recorder_inserts(stage, database, lines=lines, batch=size, seconds=seconds))
        figure.note = f"insert_events of {size} with the same payload bytes, one connection, one process"


def _note_run(report: Report, figure: Figure, part: str, run: CommitRun) -> None:
    figure.samples.append(run.commands_per_s)
    report.counts.append(Count(part, sum(run.outcomes.values()), run.committed))


# HTTP --------------------------------------------------------------------------------------------


def _http_parts(stage: Stage, options: Options, report: Report, say: Callable[[str], None]) -> None:
    singles = _LaneFigures(options) if "http" in options.parts else None
    rates = _RateFigures() if "rate" in options.parts else None
    name = f"fast lane, batches of {BATCH_ITEMS}, {BATCH_CONNECTIONS} connections"
    batch = Figure(name, "orders/s", target=BATCH_TARGET) if "batch" in options.parts else None
    report.figures += singles.all() if singles is not None else []
    report.figures += rates.all() if rates is not None else []
    report.figures += [batch] if batch is not None else []
    if not wrk_is_installed():
        for figure in [*(singles.all() if singles else ()), *((batch,) if batch else ())]:
            figure.note = NO_WRK
        singles = batch = None
    if singles is None and rates is None and batch is None:
        return
    if singles is not None:
        _rival(stage, options, singles, say)
    with stage.database("http") as database, _announced(stage, database, say) as http:
        for repetition in range(options.repetitions):
            step = f"{repetition + 1}/{options.repetitions}"
            if rates is not None:
                _fixed_rate(http, options, report, rates, step, say)
            if singles is not None:
                _single_orders(http, options, report, singles, step, say)
            if batch is not None:
                _batches(http, options, report, batch, step, say)


def _announced(stage: Stage, database: str, say: Callable[[str], None]) -> Any:
    say("starting the exchange's processes, making traders and markets")
    return open_http_stage(stage, database)


class _LaneFigures:
    """For each lane and number of connections: requests a second, p50, p99, and the idle yardstick.

    Beside the fast lane stands the gateway of matching-engine; where a lane has a target, so have its read models.
    """

    def __init__(self, options: Options) -> None:
        self.lanes: dict[tuple[str, int], tuple[Figure, Figure, Figure, Figure]] = {}
        self.caught_up: dict[str, Figure] = {}
        self.rivals = {
            connections: Figure(
                f"matching-engine's gateway, {connections} connections", "requests/s", label="its gateway"
            )
            for connections in CONNECTIONS
        }
        for lane, name in reversed(LANE_NAMES.items()):
            for connections in CONNECTIONS:
                where = f"{name}, {connections} connections"
                idle = Figure(f"{where}: idle requests", "requests/s", label="idle requests")
                target, aim = LANE_TARGETS[lane] if connections == TARGET_CONNECTIONS else (None, None)
                self.lanes[lane, connections] = (
                    Figure(
                        f"{where}: single orders", "requests/s", yardstick=idle, target=target, aim=aim,
                        also=[self.rivals[connections]] if lane == "live" else [],
                    ),
                    Figure(f"{where}: p50", "ms"),
                    Figure(f"{where}: p99", "ms"),
                    idle,
                )  # fmt: skip
            self.caught_up[lane] = Figure(
                f"{name}, {TARGET_CONNECTIONS} connections: read models caught up", "s after", target=options.seconds,
                smaller_is_better=True,
            )  # fmt: skip

    def all(self) -> list[Figure]:
        singles = [figure for figures in self.lanes.values() for figure in figures]
        return [*singles, *self.caught_up.values(), *self.rivals.values()]


def _rival(stage: Stage, options: Options, lanes: _LaneFigures, say: Callable[[str], None]) -> None:
    """The other engine's gateway, alone on the machine: no account, key, money or database behind it."""
    say("matching-engine's gateway")
    seconds = min(options.seconds, YARDSTICK_SECONDS)
    try:
        with rival_gateway(stage.folder) as url:
            for _ in range(options.repetitions):
                for connections, figure in lanes.rivals.items():
                    run = rival_orders(url, connections=connections, seconds=seconds)
                    figure.samples.append(run.accepted_per_s)
                    _note_refusals(figure, run)
    except (YardstickMissing, StageError) as missing:
        for figure in lanes.rivals.values():
            figure.note = str(missing)


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
        nothing = http.idle(lane, connections=connections, seconds=min(options.seconds, 2))
        idle.samples.append(nothing.accepted_per_s)
        run = http.orders(lane, connections=connections, seconds=options.seconds)
        rate.samples.append(run.accepted_per_s)
        p50.samples.append(run.p50_ms)
        p99.samples.append(run.p99_ms)
        if connections == TARGET_CONNECTIONS:
            lanes.caught_up[lane].samples.append(run.caught_up_s)
        _note_refusals(rate, run)
        part = f"single orders, {where} {step}"
        report.counts.append(Count(part, run.accepted, run.orders, in_flight=connections))


class _RateFigures:
    """For each lane: p50 and p99 at RATE_PER_S orders a second offered."""

    def __init__(self) -> None:
        self.lanes: dict[str, tuple[Figure, Figure]] = {}
        for lane, name in reversed(LANE_NAMES.items()):
            where = f"{name}, {RATE_PER_S} orders/s offered"
            self.lanes[lane] = (
                Figure(f"{where}: p50", "ms", target=RATE_P50_MS, smaller_is_better=True),
                Figure(f"{where}: p99", "ms", target=RATE_P99_MS, smaller_is_better=True),
            )

    def all(self) -> list[Figure]:
        return [figure for figures in self.lanes.values() for figure in figures]


def _fixed_rate(
    http: HttpStage,
    options: Options,
    report: Report,
    rates: _RateFigures,
    step: str,
    say: Callable[[str], None],
) -> None:
    for lane, (p50, p99) in rates.lanes.items():
        part = f"{RATE_PER_S} orders/s, {LANE_NAMES[lane]} {step}"
        say(part)
        run, committed = http.at_rate(lane, per_s=RATE_PER_S, seconds=options.seconds)
        p50.samples.append(run.p50_ms)
        p99.samples.append(run.p99_ms)
        p50.note = p99.note = (
            f"from when an order was due; last run: {run.accepted:,} 2xx, {run.refused:,} others, {run.lost:,} lost of "
            f"{run.offered:,}"
        )
        report.counts.append(Count(part, run.accepted, committed, in_flight=run.refused + run.lost))


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
