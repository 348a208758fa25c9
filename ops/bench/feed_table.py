"""The read side's part of the table: the feed to many sockets, and how old the read models are."""

from collections.abc import Callable

from ops.bench.fanout import FRAMES_PER_S, FanoutRun, run_fanout, run_group_send
from ops.bench.report import Figure, Report
from ops.bench.stage import Stage, StageError
from ops.bench.staleness import BACK_P50_MS, BACK_P99_MS, BURST_ORDERS, RATE_PER_S, parts_note, run_staleness

SOCKETS = 2_000
SILENT_OF = 10
"""One socket in so many never reads, in the runs with slow ones."""
LARGER = (3_000, 4_000, 5_000, 6_000, 7_000, 8_000)
# More sockets than that, and Channels' layer loses frames before it is measured.
RIVAL_SOCKETS = 250
P99_MS = 100.0
TIMES_GROUP_SEND_AIM = 10.0
BACK_SECONDS = 10.0

Say = Callable[[str], None]


def feed_part(stage: Stage, seconds: float, repetitions: int, *, report: Report, say: Say) -> None:
    """Frames to many sockets on one market, in one feed process."""
    where = f"feed, {SOCKETS:,} sockets, {FRAMES_PER_S} frames/s"
    p50 = Figure(f"{where}: order to frame, p50", "ms")
    p99 = Figure(f"{where}: order to frame, p99", "ms", target=P99_MS, smaller_is_better=True)
    slow = Figure(
        f"{where}, one in {SILENT_OF} never reads: p99 of the others",
        "ms",
        target=P99_MS,
        smaller_is_better=True,
    )
    most = Figure("feed, most sockets with p99 under 100 ms", "sockets", target=SOCKETS)
    rival = Figure(
        f"Channels' group_send, {RIVAL_SOCKETS} sockets: CPU", "µs a frame and socket", label="group_send"
    )
    cpu = Figure("feed: CPU", "µs a frame and socket", yardstick=rival, smaller_is_better=True)
    times = Figure("group_send : feed, CPU", "times", aim=TIMES_GROUP_SEND_AIM)
    report.figures += [p50, p99, slow, most, cpu, rival, times]
    for repetition in range(repetitions):
        step = f"{repetition + 1}/{repetitions}"
        say(f"{where} {step}")
        run = _run(stage, SOCKETS, 0, seconds)
        p50.samples.append(run.p50_ms)
        p99.samples.append(run.p99_ms)
        cpu.samples.append(run.cpu_us)
        p99.note = (
            f"from the order's sending; {run.cores:.2f} of a core, {run.memory_mb:.0f} MB; {_told(run)}"
        )
        say(f"the same, one socket in {SILENT_OF} never reads {step}")
        silent = _run(stage, SOCKETS, SOCKETS // SILENT_OF, seconds)
        slow.samples.append(silent.p99_ms)
        slow.note = (
            f"{silent.memory_mb:.0f} MB, without slow ones {run.memory_mb:.0f} MB; {_told(silent)}; as they read at "
            f"last, the others had {silent.silent_least} to {silent.silent_most} frames of a busy market with "
            f"{silent.silent_told} changes, one who read had {silent.witness}; {silent.silent_closed} were closed"
        )
        say(f"Channels' group_send, {RIVAL_SOCKETS} sockets {step}")
        _rival(stage, seconds, rival)
        if rival.samples:
            times.samples.append(rival.samples[-1] / run.cpu_us)
    _most_sockets(stage, seconds, most, say)


def _run(stage: Stage, sockets: int, silent: int, seconds: float) -> FanoutRun:
    with stage.database("feed") as database:
        return run_fanout(stage, database, sockets=sockets, silent=silent, seconds=seconds)


def _rival(stage: Stage, seconds: float, figure: Figure) -> None:
    try:
        run = run_group_send(stage, sockets=RIVAL_SOCKETS, seconds=seconds)
    except StageError as error:
        figure.note = str(error)
        return
    figure.samples.append(run.cpu_us)
    figure.note = f"p50 {run.p50_ms:.0f} ms, p99 {run.p99_ms:.0f} ms; {_told(run)}"


def _most_sockets(stage: Stage, seconds: float, figure: Figure, say: Say) -> None:
    """One run each, until one does not hold."""
    held = 0.0
    for sockets in (SOCKETS, *LARGER):
        say(f"{sockets:,} sockets")
        try:
            run = _run(stage, sockets, 0, seconds)
        except StageError as error:
            figure.note = str(error)
            break
        figure.note = f"at {sockets:,}: p99 {run.p99_ms:.0f} ms, {run.cores:.2f} of a core; {_told(run)}"
        if run.p99_ms >= P99_MS:
            break
        held = sockets
    figure.samples.append(held)


def _told(run: FanoutRun) -> str:
    return f"each socket had {run.least} to {run.most} frames for {run.frames_told} changes"


def staleness_part(stage: Stage, seconds: float, repetitions: int, *, report: Report, say: Say) -> None:
    """The read models while orders come in at a fixed rate, and after a burst."""
    where = f"read models, {RATE_PER_S:,} orders/s"
    p50 = Figure(f"{where}: staleness p50", "ms", target=BACK_P50_MS, smaller_is_better=True)
    p99 = Figure(f"{where}: staleness p99", "ms", target=BACK_P99_MS, smaller_is_better=True)
    burst = f"read models after {BURST_ORDERS:,} orders at once"
    back = Figure(f"{burst}: at those targets", "s after", target=BACK_SECONDS, smaller_is_better=True)
    again = Figure(f"{burst}: as before the burst", "s after", target=BACK_SECONDS, smaller_is_better=True)
    report.figures += [p50, p99, back, again]
    for repetition in range(repetitions):
        say(f"{where} {repetition + 1}/{repetitions}")
        with stage.database("stale") as database:
            run = run_staleness(stage, database, seconds=seconds, seed=repetition + 1)
        p50.samples.append(run.p50_ms["whole"])
        p99.samples.append(run.p99_ms["whole"])
        back.samples.append(run.back_after_s)
        again.samples.append(run.again_after_s)
        p99.note = f"from the engine's stamp to visible rows; {parts_note(run)}"
        again.note = f"from the last one sent; the burst's own p99 {run.burst_p99_ms:.0f} ms"
