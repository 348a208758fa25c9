"""The part of the table on a long log: replaying it, opening a market from a snapshot, and what a market weighs."""

from collections.abc import Callable

from ops.bench.replay import measure_opening, measure_replay, weigh, write_history
from ops.bench.report import Figure, Report
from ops.bench.stage import Stage
from trading.garbage import collect_rarely

EVENTS = 1_000_000
OPEN_ORDERS = 10_000
WEIGHED_ORDERS = 100_000
REPLAY_TARGET = 240_000
OPENING_TARGET_S = 1.0


def replay_part(stage: Stage, *, report: Report, say: Callable[[str], None], events: int = EVENTS) -> None:
    """Once each: a million events are their own repetition."""
    applied = Figure("replay: events applied", "events/s", target=REPLAY_TARGET)
    decoded = Figure("replay: JSON decoded", "events/s")
    read = Figure("replay: rows read", "events/s", label="rows read")
    whole = Figure("replay: read, decoded, applied", "events/s", target=REPLAY_TARGET, yardstick=read)
    proved = Figure("replay: the same, each hash proved", "events/s", yardstick=read)
    events_alone = Figure(
        "market opened from its events", "s", label="from its events", smaller_is_better=True
    )
    opened = Figure(
        "market opened from its snapshot",
        "s",
        target=OPENING_TARGET_S,
        yardstick=events_alone,
        smaller_is_better=True,
    )
    memory = Figure("memory of 100,000 resting orders", "MB", smaller_is_better=True)
    report.figures += [applied, decoded, read, whole, proved, opened, events_alone, memory]
    collect_rarely(older=1000)  # as an engine process does
    with stage.database("replay") as database, stage.connect(database) as connection:
        say(f"writing a market's history of {events:,} events")
        market_id = write_history(connection, events=events, open_orders=OPEN_ORDERS)
        say("replaying it")
        rates = measure_replay(connection, market_id)
        say("opening it")
        opening = measure_opening(connection, market_id)
    for figure, value in (
        (applied, rates.apply), (decoded, rates.decode), (read, rates.read), (whole, rates.replay),
        (proved, rates.proved), (opened, opening.from_snapshot_s), (events_alone, opening.from_events_s),
    ):  # fmt: skip
        figure.samples.append(value)
    opened.note = (
        f"{opening.events:,} events, {opening.open_orders:,} open orders; the snapshot has "
        f"{opening.snapshot_bytes:,} bytes and took {opening.take_s:.1f} s, every hash proved"
    )
    say("weighing 100,000 resting orders")
    weight = weigh(WEIGHED_ORDERS)
    memory.samples.append(weight.memory_bytes / 1e6)
    an_order = weight.memory_bytes / weight.open_orders
    memory.note = f"{an_order:,.0f} bytes an order; {weight.state_bytes:,} bytes as a snapshot, uncompressed"
