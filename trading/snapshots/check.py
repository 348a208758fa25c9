"""Runs recorded commands through today's rules and finds the first event that would come out differently."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from trading.engine.apply import apply
from trading.engine.codec import EVENT_NAMES, event_data, event_from
from trading.engine.decide import decide
from trading.engine.market import Market
from trading.eventlog.codec import StoredEvent, canonical_json
from trading.eventlog.read import read_stream
from trading.eventlog.recorded import recorded_command
from trading.eventlog.tail import stream_end
from trading.ids import MARKET_SLOTS
from trading.snapshots.replay import LogUnusable, nearest_state, replay, version_at

NOTHING = "nothing"


class Difference(NamedTuple):
    """The first event of a market that today's rules would not write, or the command that they cannot judge."""

    event_id: str
    market_id: str
    version: int
    command: str
    recorded: str
    today: str

    def __str__(self) -> str:
        return (
            f"event {self.event_id}, market {self.market_id}, version {self.version}\n"
            f"  command   {self.command}\n  recorded  {self.recorded}\n  today     {self.today}"
        )


def all_markets(cursor: Any) -> list[str]:
    """Every market that has a stream."""
    cursor.execute("SELECT id::text FROM stream WHERE slot < %s ORDER BY id", [MARKET_SLOTS])
    return [row[0] for row in cursor.fetchall()]


def check_market(
    cursor: Any,
    market_id: str,
    *,
    since_us: int | None = None,
    progress: Callable[[int], object] = lambda events: None,
) -> Difference | None:
    """Judges every recorded command of a market anew, or those since a time; `progress` is told of events.

    State comes from the events as recorded, so that one difference is not followed by others that it caused. A
    command without effect wrote nothing and is not judged. Raises LogUnusable.
    """
    end = stream_end(cursor, market_id)
    if end is None:
        return None
    first = 1 if since_us is None else version_at(cursor, market_id, since_us - 1) + 1
    state = nearest_state(cursor, market_id, upto_version=first - 1)
    market = replay(cursor, state, upto_version=first - 1).market
    events = read_stream(cursor, stream_id=market_id, after_version=first - 1)
    for written in _commands(_dense(events, market_id, first, end.head.version)):
        if (difference := _judge(market, written)) is not None:
            return difference
        progress(len(written))
    return None


def _dense(events: Iterator[StoredEvent], market_id: str, version: int, last: int) -> Iterator[StoredEvent]:
    """The events up to the last, as long as none is missing."""
    for event in events:
        if event.version > last:
            return
        if event.version != version:
            break
        yield event
        version += 1
    if version <= last:
        raise LogUnusable(f"event {version} of market {market_id} is not in the log: archived or lost")


def _commands(events: Iterator[StoredEvent]) -> Iterator[list[StoredEvent]]:
    """The events of each command together: its first carries the metadata."""
    written: list[StoredEvent] = []
    for event in events:
        if event.metadata and written:
            yield written
            written = []
        written.append(event)
    if written:
        yield written


def _judge(market: Market, written: list[StoredEvent]) -> Difference | None:
    """Compares event by event, and leaves the market as the recorded ones make it."""
    try:
        told = recorded_command(written[0])
        assert told is not None, "it does not say what was asked for"
    except Exception as error:
        return _difference(market, written, 0, f"the command cannot be read: {error!r}")
    today = decide(market, told.command, budget_pips=told.granted, now_us=written[0].recorded_us)
    for index, stored in enumerate([*written, None]):
        try:
            recorded = None if stored is None else event_from(stored.type, stored.data)
            event = next(today, None)
        except Exception as error:
            return _difference(market, written, index, f"today's code fails: {error!r}")
        if type(event) is not type(recorded) or event != recorded:
            return _difference(market, written, index, NOTHING if event is None else _text(event))
        if recorded is not None and stored is not None:
            apply(market, recorded, stored.recorded_us)
    return None


def _difference(market: Market, written: list[StoredEvent], index: int, today: str) -> Difference:
    """Names the recorded event, or, where there should be one more, the last."""
    last = written[min(index, len(written) - 1)]
    recorded = f"{last.type} {_json(last.data)}" if index < len(written) else f"{NOTHING} after this event"
    metadata = written[0].metadata
    at = dt.datetime.fromtimestamp(last.recorded_us / 1e6, dt.UTC).isoformat()
    command = (
        f"{_json(metadata.get('command', 'as the event says'))} with {metadata.get('granted')} pips at {at}"
    )
    return Difference(last.event_id, market.market_id, last.version, command, recorded, today)


def _text(event: Any) -> str:
    return f"{EVENT_NAMES[type(event)]} {_json(event_data(event))}"


def _json(value: Any) -> str:
    return canonical_json(value).decode()
