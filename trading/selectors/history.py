"""The events of one stream, straight from the log.

Everybody may read what happens to a market itself, but not which account has disputed a resolution. Its orders and
trades name accounts, so those events are shown to staff alone, as other accounts' streams are.
"""

import datetime as dt
from typing import Any, NamedTuple

from trading.eventlog.archived import refuse_archived_stream
from trading.eventlog.codec import decode_json
from trading.eventlog.upcast import stored_names
from trading.ids import is_id
from trading.replicas import reading
from trading.selectors.pages import Page

PUBLIC_EVENTS = (
    "market_created/1", "market_opened/1", "market_suspended/1", "market_resumed/1", "market_closed/1",
    "resolution_proposed/1", "resolution_approved/1", "resolution_disputed/1", "resolution_withdrawn/1",
    "market_resolved/1", "market_voided/1", "reversal_requested/1", "resolution_reversed/1",
)  # fmt: skip

VERSIONS_AT_ONCE = 20_000
"""Most events looked through for one page of the public ones, which are few among the orders."""


class Event(NamedTuple):
    """One event as the API shows it; the metadata stays inside."""

    event_id: str
    stream_id: str
    version: int
    type: str
    data: dict[str, Any]
    hash: str
    recorded_at: dt.datetime


def events_page(stream_id: str, *, after: int, limit: int, only_public: bool) -> Page[Event]:
    """Events of a stream with versions above `after`, in order; the next page's `after` is in `next`.

    As they were stored, so that their hashes can be followed. Raises ArchivedEvents.
    A page of public events may be short or empty although more follow.
    """
    upto = after + (VERSIONS_AT_ONCE if only_public else limit)
    # Before the events: what is written between the two statements has not been looked through.
    head = _head(stream_id) or 0
    with reading().cursor() as cursor:
        refuse_archived_stream(cursor, stream_id=stream_id, version=after + 1)
        cursor.execute(
            "SELECT slot || '-' || slot_offset, stream_id::text, version, type, data::text, encode(hash, 'hex'), "
            "recorded_at FROM event WHERE stream_id = %s AND version > %s AND version <= %s "
            "AND (NOT %s OR type = ANY(%s)) ORDER BY version LIMIT %s",
            [stream_id, after, upto, only_public, stored_names(*PUBLIC_EVENTS), limit],
        )
        rows = [Event._make([*row[:4], decode_json(row[4]), *row[5:]]) for row in cursor.fetchall()]
    if only_public:
        rows = [
            row._replace(data={**row.data, "account": None}) if "account" in row.data else row for row in rows
        ]
    last = rows[-1].version if rows else after
    looked_to = last if len(rows) == limit else max(last, min(upto, head))
    return Page(rows, str(looked_to) if looked_to < head else None)


class Step(NamedTuple):
    """One step of a market's life; `actor` is who took it ("user:7", "system"), None where its event is archived."""

    seq: int
    type: str
    data: dict[str, Any]
    actor: str | None
    recorded_at: dt.datetime


def market_steps(market_id: str) -> list[Step]:
    """All steps of a market's life, oldest first."""
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT s.seq, s.type, s.data::text, e.metadata->>'actor', s.recorded_at FROM market_step s "
            "LEFT JOIN event e ON e.slot = s.slot AND e.slot_offset = s.slot_offset AND e.recorded_at = s.recorded_at "
            "WHERE s.market_id = %s ORDER BY s.seq",
            [market_id],
        )
        return [
            Step(seq, kind, decode_json(data), actor, at) for seq, kind, data, actor, at in cursor.fetchall()
        ]


def is_stream(name: str) -> bool:
    """Whether the log has events under this id."""
    return is_id(name) and _head(name) is not None


def stream_head(stream_id: str) -> list[tuple[int, int]]:
    """(slot, next offset) of the slot that the stream lives in; empty for a stream without events."""
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT slot, next_offset FROM slot WHERE slot = (SELECT slot FROM stream WHERE id = %s)",
            [stream_id],
        )
        return list(cursor.fetchall())


def _head(stream_id: str) -> int | None:
    """The stream's last version."""
    with reading().cursor() as cursor:
        cursor.execute("SELECT version FROM stream WHERE id = %s", [stream_id])
        row = cursor.fetchone()
    return None if row is None else int(row[0])
