"""Asks whether this release can load every market: from a snapshot it can read, or from events in the table.

A release with other lists of fields reads no snapshot of the one before it. A market whose beginning is archived
cannot be replayed then until its months are back, and an engine that took its slot would halt it.
"""

from collections.abc import Sequence
from typing import Any

from trading.engine.snapshot import FORMAT

NAMED = 10

OUT_OF_REACH = """
SELECT market_id::text FROM archived_creation JOIN stream ON stream.id = market_id
WHERE NOT EXISTS (
    SELECT FROM market_snapshot AS kept WHERE kept.market_id = archived_creation.market_id AND format = %s
        AND (kept.version >= stream.version
             OR EXISTS (SELECT FROM event WHERE stream_id = kept.market_id AND event.version = kept.version + 1))
) ORDER BY market_id
"""


class MarketsOutOfReach(Exception):
    """Markets, ended ones too, that can be loaded only once archived months are back; names both."""


def refuse_out_of_reach(connection: Any) -> None:
    """Raises MarketsOutOfReach. Looks only at markets whose beginning is archived."""
    market_ids = [market_id for (market_id,) in connection.execute(OUT_OF_REACH, [FORMAT]).fetchall()]
    if market_ids:
        raise MarketsOutOfReach(_told(market_ids, _files(connection)))


def _files(connection: Any) -> list[str]:
    rows = connection.execute("SELECT file FROM event_archive ORDER BY partition DESC").fetchall()
    return [file for (file,) in rows]


def _told(market_ids: Sequence[str], files: Sequence[str]) -> str:
    others = f" and {len(market_ids) - NAMED} more" if len(market_ids) > NAMED else ""
    return (
        f"{len(market_ids)} markets have archived events and no snapshot of format {FORMAT}, which this release reads: "
        f"{', '.join(market_ids[:NAMED])}{others}. Bring months back until all of theirs are there, in this order: "
        + "; ".join(f"manage.py archive --restore {file}" for file in files)
        + ". Then start the engine, take `manage.py snapshot --all` and archive them again. See docs/TIME_TRAVEL.md."
    )
