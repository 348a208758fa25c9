"""Asks whether a month of the log can be done without: whoever folds events must be past it, for good.

Projections have to have folded all that the log held when they were asked, settlements that began in the month
have to be done, and every market with events in it needs a snapshot at or beyond the last of them: even a
market that has ended is loaded once more when somebody sends it an order.
"""

import time
from collections.abc import Sequence
from typing import Any

from trading.engine.snapshot import FORMAT
from trading.eventlog.read import slot_heads
from trading.ids import BEFORE_ALL

STREAMS_AT_ONCE = 500
POLL_S = 0.1


def wait_for_projections(cursor: Any, projections: Sequence[str], *, wait_s: float) -> list[str]:
    """The projections that do not reach the log's end as it is now; waits for them a while."""
    heads = slot_heads(cursor)
    deadline = time.monotonic() + wait_s
    while behind := _behind(cursor, projections, heads):
        if time.monotonic() > deadline:
            return [f"projection {name} has not folded all events" for name in behind]
        time.sleep(POLL_S)
    return []


def why_needed(cursor: Any, partition: str) -> str | None:
    """Who has to read a month's events again, or None. Statements are short: each looks at a few streams."""
    cursor.execute(
        # A reversal is folded with a look at what it reverses.
        "SELECT s.settlement_id::text FROM settlement s LEFT JOIN settlement r ON r.settlement_id = s.reverses "  # noqa: S608
        f"WHERE s.status <> 'done' AND EXISTS (SELECT FROM \"{partition}\" WHERE "
        "(slot, slot_offset) IN ((s.cause_slot, s.cause_offset), (r.cause_slot, r.cause_offset))) LIMIT 1"
    )
    if (row := cursor.fetchone()) is not None:
        return f"settlement {row[0]} began in it, or undoes one that did, and is not done"
    market_id = _market_without_snapshot(cursor, partition)
    if market_id is not None:
        return f"market {market_id} has events in it and no snapshot beyond them"
    return None


def _behind(cursor: Any, projections: Sequence[str], heads: dict[int, int]) -> list[str]:
    cursor.execute(
        "SELECT projection, slot, next_offset FROM projection_checkpoint WHERE projection = ANY(%s)",
        [list(projections)],
    )
    reached = {(name, slot): offset for name, slot, offset in cursor.fetchall()}
    return [
        name
        for name in projections
        if any(reached.get((name, slot), 0) < head for slot, head in heads.items())
    ]


def _market_without_snapshot(cursor: Any, partition: str) -> str | None:
    after = BEFORE_ALL
    while True:
        cursor.execute(
            "WITH w AS MATERIALIZED (SELECT id FROM stream JOIN slot USING (slot) "  # noqa: S608
            "WHERE kind = 'market' AND id > %s ORDER BY id LIMIT %s) "
            "SELECT id::text, ("
            f'SELECT version FROM "{partition}" WHERE stream_id = w.id ORDER BY version DESC LIMIT 1'
            ") > coalesce((SELECT max(version) FROM market_snapshot s WHERE s.market_id = w.id AND format = %s), 0) "
            "FROM w ORDER BY id",
            [after, STREAMS_AT_ONCE, FORMAT],
        )
        rows = cursor.fetchall()
        if (needed := next((market_id for market_id, needs in rows if needs), None)) is not None:
            return str(needed)
        if len(rows) < STREAMS_AT_ONCE:
            return None
        after = rows[-1][0]
