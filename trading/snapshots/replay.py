"""A market's state at a version of its stream: from the nearest snapshot that agrees with the log, and later events.

Reads in short statements and holds no transaction open. `cursor` is always one in autocommit.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trading.engine.apply import apply
from trading.engine.codec import EVENT_TYPES, event_from, event_from_json
from trading.engine.events import Event
from trading.engine.market import Market
from trading.eventlog.append import EMPTY, Head
from trading.eventlog.codec import canonical_json, chain_hash, decode_json, timestamp_text
from trading.eventlog.tail import TailEvent, read_tail, recorded_us_of, stream_end
from trading.eventlog.upcast import upcast
from trading.snapshots.store import Snapshot, is_kept_by, market_of, newest_snapshots

log = logging.getLogger(__name__)


class LogUnusable(Exception):
    """An event that a replay needs is not in the log, not as it was written or not to be understood; it is named."""


@dataclass(slots=True)
class State:
    """A market after an event, and which event that was: version 0 and offset -1 before the first."""

    market: Market
    head: Head = EMPTY
    slot_offset: int = -1
    recorded_us: int = 0

    def advance(self, page: list[TailEvent]) -> None:
        """Takes the next events in. Raises LogUnusable if another was to come, or one cannot follow."""
        market, version = self.market, self.head.version
        for event in page:
            version += 1
            if event.version != version:
                raise _missing(market.market_id, version)
            try:
                apply(market, event_of(event), event.recorded_us)
            except Exception as error:
                # Whatever it was: the state is of no use, and other markets are not to suffer from it.
                raise LogUnusable(
                    f"event {version} of market {market.market_id} cannot be applied: {error!r}"
                ) from error
        if page:
            last = page[-1]
            self.head = Head(last.version, last.hash)
            self.slot_offset, self.recorded_us = last.slot_offset, last.recorded_us


def event_of(stored: TailEvent) -> Event:
    """The event that a row of the log means today: the one place where replay turns stored into typed."""
    if stored.type in EVENT_TYPES:
        return event_from_json(stored.type, stored.data)
    name, data = upcast(stored.type, decode_json(stored.data), event_id=f"of version {stored.version}")
    return event_from(name, data)


def nearest_state(cursor: Any, market_id: str, *, upto_version: int | None = None) -> State:
    """The newest usable snapshot's state, at a version if given or before it; else that before the first event."""
    for snapshot in newest_snapshots(cursor, market_id, upto_version=upto_version):
        try:
            market = market_of(snapshot)
            if (wrong := _disagreement(cursor, snapshot)) is not None:
                raise ValueError(wrong)
        except ValueError as error:
            log.warning("snapshot %s of market %s is passed over: %s", snapshot.version, market_id, error)
            continue
        return State(market, snapshot.head, snapshot.slot_offset, snapshot.recorded_us)
    return State(Market(market_id))


def replay(
    cursor: Any,
    state: State,
    *,
    upto_version: int,
    progress: Callable[[int], object] = lambda events: None,
    prove: bool = False,
) -> State:
    """Moves a state on to a version; `progress` is told of every page. Raises LogUnusable.

    With `prove` each event's hash is made again: what was changed in the log is not taken in.
    """
    market_id = state.market.market_id
    for page in read_tail(
        cursor, stream_id=market_id, after_version=state.head.version, upto_version=upto_version
    ):
        if prove:
            _prove(cursor, state, page)
        state.advance(page)
        progress(len(page))
    if state.head.version != upto_version:
        raise _missing(market_id, state.head.version + 1)
    # What has been touched is for those who heard of the changes as they happened.
    state.market.touched.clear()
    return state


def current_state(
    cursor: Any, market_id: str, *, progress: Callable[[int], object] = lambda events: None
) -> State:
    """The state after the stream's last event. Raises LogUnusable."""
    end = stream_end(cursor, market_id)
    if end is None:
        return State(Market(market_id))
    state = nearest_state(cursor, market_id)
    return replay(cursor, state, upto_version=max(end.head.version, state.head.version), progress=progress)


def version_at(cursor: Any, market_id: str, at_us: int) -> int:
    """The stream's version once everything recorded by that time is in it; 0 before the first event.

    Halves the stream until the place is found: versions and times rise together. Events that are missing are taken for
    archived, and so for older than all that are there. Raises LogUnusable where the place is among them.
    """
    end = stream_end(cursor, market_id)
    below, above, archived = 0, 1 if end is None else end.head.version + 1, 0
    while above - below > 1:
        middle = (below + above) // 2
        recorded_us = recorded_us_of(cursor, stream_id=market_id, version=middle)
        if recorded_us is None:
            archived = middle
        if recorded_us is None or recorded_us <= at_us:
            below = middle
        else:
            above = middle
    if below == archived > 0 and not is_kept_by(cursor, market_id, version=below, at_us=at_us):
        raise _missing(market_id, below)
    return below


def _disagreement(cursor: Any, snapshot: Snapshot) -> str | None:
    """What is wrong between a snapshot and the log around its event, or None.

    Where the event itself has been archived, its successor's hash follows from it, or it is the stream's head.
    """
    cursor.execute(
        "SELECT version, slot_offset, type, data::text, hash, (extract(epoch FROM recorded_at) * 1000000)::bigint, "
        "metadata::text FROM event WHERE stream_id = %s AND version IN (%s, %s) ORDER BY version",
        [snapshot.market_id, snapshot.version, snapshot.version + 1],
    )
    rows = {row[0]: row for row in cursor.fetchall()}
    if (own := rows.get(snapshot.version)) is not None:
        agrees = bytes(own[4]) == snapshot.event_hash and own[1] == snapshot.slot_offset
    elif (after := rows.get(snapshot.version + 1)) is not None:
        event, metadata = TailEvent._make(after[:6]), after[6]
        agrees = bytes(event.hash) == _hash_after(snapshot.head, snapshot.market_id, event, metadata)
    else:
        end = stream_end(cursor, snapshot.market_id)
        agrees = end is not None and end.head == snapshot.head
    return None if agrees else "the log has another event in its place"


def _hash_after(head: Head, market_id: str, event: TailEvent, metadata: str) -> bytes:
    return chain_hash(
        head.hash, market_id, event.version, event.type, canonical_json(decode_json(event.data)),
        canonical_json(decode_json(metadata)), timestamp_text(event.recorded_us),
    )  # fmt: skip


def _prove(cursor: Any, state: State, page: list[TailEvent]) -> None:
    """Raises LogUnusable at the first event of a page whose hash does not follow from what it says."""
    if not page:
        return
    market_id, head = state.market.market_id, state.head
    cursor.execute(
        "SELECT metadata::text FROM event WHERE stream_id = %s AND version >= %s AND version <= %s ORDER BY version",
        [market_id, page[0].version, page[-1].version],
    )
    for event, (metadata,) in zip(page, cursor.fetchall(), strict=True):
        if bytes(event.hash) != _hash_after(head, market_id, event, metadata):
            raise LogUnusable(
                f"event {event.version} of market {market_id} is not as it was written; see manage.py verify_log"
            )
        head = Head(event.version, event.hash)


def _missing(market_id: str, version: int) -> LogUnusable:
    return LogUnusable(f"event {version} of market {market_id} is not in the log: archived or lost")
