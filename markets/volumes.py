"""What markets were like 24 hours ago: what each had traded, and what its outcomes cost.

The volume of the last 24 hours is what a market has traded in all less what it had traded then. That changes slowly, so
it is read from the bars and remembered for half a minute, while new trades count at once.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from django.utils import timezone

from markets.remembered import recall, remember
from markets.selectors import Listing
from trading.money import SHARE_PIPS
from trading.replicas import reading

WINDOW = dt.timedelta(hours=24)
REMEMBER_S = 30


class DayBefore(NamedTuple):
    """Pips that a market had traded, and each outcome's last price then (None before its first trade)."""

    volume_pips: int
    prices: Sequence[int | None]


# Whole hours, and the minutes before the first of them.
_VOLUMES = """
SELECT market_id::text, sum(volume_pips)::bigint FROM (
    SELECT market_id, volume_pips FROM trade_bar
    WHERE market_id = ANY(%(markets)s::uuid[]) AND resolution = '1h' AND at >= %(hour)s
    UNION ALL
    SELECT market_id, volume_pips FROM trade_bar
    WHERE market_id = ANY(%(markets)s::uuid[]) AND resolution = '1m' AND at >= %(since)s AND at < %(hour)s
) AS bars GROUP BY 1
"""
# A binary market's trades are all in its first outcome's terms.
_PRICES = """
SELECT w.market_id::text, w.outcome, bar.close_pips
FROM unnest(%s::uuid[], %s::smallint[]) AS w(market_id, outcome), LATERAL (
    SELECT close_pips FROM trade_bar b
    WHERE b.market_id = w.market_id AND b.outcome = w.outcome AND b.resolution = '1m' AND b.at < %s
    ORDER BY b.at DESC LIMIT 1
) AS bar
"""


def day_before(rows: Sequence[Listing]) -> dict[str, DayBefore]:
    """Every market by its id as it was 24 hours ago, to the minute; at most REMEMBER_S seconds old."""
    names = {_name(row.market_id): row.market_id for row in rows}
    known = {names[name]: DayBefore(*found) for name, found in recall(names).items()}
    missing = [row for row in rows if row.market_id not in known]
    if not missing:
        return known
    found = _read(missing, (timezone.now() - WINDOW).replace(second=0, microsecond=0))
    remember({_name(market_id): tuple(each) for market_id, each in found.items()}, seconds=REMEMBER_S)
    return known | found


def change_pips(last_pips: int | None, before_pips: int | None) -> int | None:
    """How far a price has come since; None where either is unknown."""
    return None if last_pips is None or before_pips is None else last_pips - before_pips


def _name(market_id: str) -> str:
    return f"day_before:{market_id}"


def _read(rows: Sequence[Listing], since: dt.datetime) -> dict[str, DayBefore]:
    """`since` is a whole minute."""
    hour = since.replace(minute=0) + dt.timedelta(hours=1 if since.minute else 0)
    with reading().cursor() as cursor:
        market_ids = [row.market_id for row in rows]
        cursor.execute(_VOLUMES, {"markets": market_ids, "hour": hour, "since": since})
        recent = dict(cursor.fetchall())
        books = [(row.market_id, book) for row in rows for book in range(_books(row))]
        cursor.execute(_PRICES, [[each[0] for each in books], [each[1] for each in books], since])
        prices = {(market_id, book): pips for market_id, book, pips in cursor.fetchall()}
    return {
        # Trades may be projected a moment before their market's total: never less than nothing.
        row.market_id: DayBefore(
            max(0, row.volume_pips - recent.get(row.market_id, 0)),
            _prices(row, [prices.get((row.market_id, book)) for book in range(_books(row))]),
        )
        for row in rows
    }


def _books(row: Listing) -> int:
    return 1 if row.is_binary else len(row.outcomes)


def _prices(row: Listing, of_books: list[int | None]) -> Sequence[int | None]:
    if not row.is_binary:
        return of_books
    (first,) = of_books
    return [first, None if first is None else SHARE_PIPS - first]
