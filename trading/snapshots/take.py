"""Takes snapshots: off the hot path, in a process of its own, from what is committed."""

import logging
from collections.abc import Callable
from typing import Any

from trading.engine.snapshot import FORMAT
from trading.eventlog.tail import stream_end
from trading.ids import MARKET_SLOTS
from trading.snapshots.replay import State, nearest_state, replay
from trading.snapshots.store import EVENTS_BETWEEN, snapshot_of, thin_out, write_snapshot

log = logging.getLogger(__name__)

LEAST_TAIL = 10_000
"""Events since its last snapshot that make a market due for another."""


def due_markets(cursor: Any, *, least_tail: int = LEAST_TAIL) -> list[str]:
    """Markets whose tails have grown that long, the longest first."""
    cursor.execute(
        "SELECT s.id::text FROM stream s LEFT JOIN LATERAL (SELECT max(version) AS version FROM market_snapshot "
        "WHERE market_id = s.id AND format = %s) AS last ON true "
        "WHERE s.slot < %s AND s.version - coalesce(last.version, 0) >= %s "
        "ORDER BY s.version - coalesce(last.version, 0) DESC, s.id",
        [FORMAT, MARKET_SLOTS, least_tail],
    )
    return [row[0] for row in cursor.fetchall()]


def take_snapshot(
    cursor: Any, market_id: str, *, progress: Callable[[int], object] = lambda events: None
) -> int:
    """Snapshots a market after its last event, and on a long way there; answers that version, 0 if it has none.

    Every event since the snapshot before is proved by its hash. Raises LogUnusable.
    """
    end = stream_end(cursor, market_id)
    if end is None:
        return 0
    state = nearest_state(cursor, market_id)
    begin, last = state.head.version, max(end.head.version, state.head.version)
    while state.head.version < last:
        upto = min(state.head.version + EVENTS_BETWEEN, last)
        replay(cursor, state, upto_version=upto, progress=progress, prove=True)
        _keep(cursor, state)
    if last > begin:
        thin_out(cursor, market_id)
    return last


def _keep(cursor: Any, state: State) -> None:
    snapshot = snapshot_of(
        state.market, slot_offset=state.slot_offset, event_hash=state.head.hash, recorded_us=state.recorded_us
    )
    write_snapshot(cursor, snapshot)
    log.info(
        "snapshot %s of market %s: %s bytes", snapshot.version, snapshot.market_id, len(snapshot.payload)
    )
