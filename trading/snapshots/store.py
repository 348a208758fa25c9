"""The table market_snapshot: states that were written down, found again by version, thinned out with age."""

import zlib
from itertools import pairwise
from typing import Any, NamedTuple

from trading.engine.market import Market
from trading.engine.snapshot import FORMAT, decode_state, encode_state, state_hash
from trading.eventlog.append import Head
from trading.eventlog.codec import timestamp_text

# Halves a deep book's bytes in a third of the time that encoding took; level 6 takes thrice as long for a tenth more.
COMPRESSION = 1
ASKED_AT_ONCE = 3
KEPT_NEWEST = 3
EVENTS_BETWEEN = 40_000
"""Old snapshots are thinned out to one in so many events, or one a day where those are more."""
OTHER_FORMATS_DAYS = 7


class Snapshot(NamedTuple):
    """A market's state after an event: where in the log that was, and the state as compressed bytes."""

    market_id: str
    version: int
    format: str
    slot_offset: int
    event_hash: bytes
    recorded_us: int
    state_hash: bytes
    payload: bytes

    @property
    def head(self) -> Head:
        return Head(self.version, self.event_hash)


def snapshot_of(market: Market, *, slot_offset: int, event_hash: bytes, recorded_us: int) -> Snapshot:
    """The snapshot of a state and the event that led to it."""
    state = encode_state(market)
    return Snapshot(
        market.market_id, market.seq, FORMAT, slot_offset, event_hash, recorded_us, state_hash(state),
        zlib.compress(state, COMPRESSION),
    )  # fmt: skip


def market_of(snapshot: Snapshot) -> Market:
    """The state. Raises ValueError where format, bytes, hash or version are not what was written."""
    if snapshot.format != FORMAT:
        raise ValueError(f"its format {snapshot.format} is not {FORMAT}")
    try:
        state = zlib.decompress(snapshot.payload)
    except zlib.error as error:
        raise ValueError(f"its payload is damaged: {error}") from error
    if state_hash(state) != snapshot.state_hash:
        raise ValueError("its payload has another hash")
    try:
        market = decode_state(state)
    except Exception as error:
        # Only a fault of ours gets here, such as a changed layout under an old name; the events still tell.
        raise ValueError(f"its payload cannot be read: {error!r}") from error
    if (market.market_id, market.seq) != (snapshot.market_id, snapshot.version):
        raise ValueError("its payload is of another state")
    return market


def write_snapshot(cursor: Any, snapshot: Snapshot) -> None:
    """Keeps a snapshot; one of the same event and format is replaced, since it may be the one that was damaged."""
    cursor.execute(
        "INSERT INTO market_snapshot (market_id, version, format, slot_offset, event_hash, recorded_at, state_hash, "
        "payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (market_id, version, format) DO UPDATE SET "
        "slot_offset = excluded.slot_offset, event_hash = excluded.event_hash, recorded_at = excluded.recorded_at, "
        "state_hash = excluded.state_hash, payload = excluded.payload, created_at = now()",
        [*snapshot[:5], timestamp_text(snapshot.recorded_us), *snapshot[6:]],
    )


def newest_snapshots(cursor: Any, market_id: str, *, upto_version: int | None = None) -> list[Snapshot]:
    """The newest snapshots of this FORMAT, at a version if given or before it; the first should do."""
    cursor.execute(
        "SELECT market_id::text, version, format, slot_offset, event_hash, "
        "(extract(epoch FROM recorded_at) * 1000000)::bigint, state_hash, payload FROM market_snapshot "
        "WHERE market_id = %s AND format = %s AND version <= coalesce(%s::bigint, version) "
        "ORDER BY version DESC LIMIT %s",
        [market_id, FORMAT, upto_version, ASKED_AT_ONCE],
    )
    return [
        Snapshot._make([*row[:4], bytes(row[4]), row[5], bytes(row[6]), bytes(row[7])])
        for row in cursor.fetchall()
    ]


def is_kept_by(cursor: Any, market_id: str, *, version: int, at_us: int) -> bool:
    """Whether there is a snapshot after that very event, recorded by that time."""
    cursor.execute(
        "SELECT FROM market_snapshot WHERE market_id = %s AND version = %s AND format = %s AND recorded_at <= %s",
        [market_id, version, FORMAT, timestamp_text(at_us)],
    )
    return cursor.fetchone() is not None


def thin_out(cursor: Any, market_id: str) -> int:
    """Deletes snapshots that nothing needs; answers how many.

    The newest stay, and of the older ones as many as keep the way to any past moment short. Those of another
    format, which an older or newer release may still read, go when they are old and this format has its own.
    """
    cursor.execute(
        "SELECT version, (recorded_at AT TIME ZONE 'UTC')::date FROM market_snapshot "
        "WHERE market_id = %s AND format = %s ORDER BY version",
        [market_id, FORMAT],
    )
    rows = cursor.fetchall()
    if len(rows) < KEPT_NEWEST:
        return 0
    cursor.execute(
        "DELETE FROM market_snapshot WHERE market_id = %s AND "
        "CASE format WHEN %s THEN version = ANY(%s::bigint[]) ELSE created_at < now() - %s * interval '1 day' END",
        [market_id, FORMAT, _superfluous(rows), OTHER_FORMATS_DAYS],
    )
    return int(cursor.rowcount)


def _superfluous(rows: list[tuple[int, Any]]) -> list[int]:
    """Of (version, day), oldest first, the versions without which no gap becomes too wide and no day goes empty."""
    dropped: list[int] = []
    kept_version, kept_day = 0, None
    for (version, day), (following, _) in pairwise(rows[: 1 - KEPT_NEWEST]):
        if day != kept_day or following - kept_version > EVENTS_BETWEEN:
            kept_version, kept_day = version, day
        else:
            dropped.append(version)
    return dropped
