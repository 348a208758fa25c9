"""Volume of the last 24 hours: what a market has traded in all, less what it had traded before them.

The latter changes slowly, so it is summed from the trades and remembered for half a minute, while new trades count at
once. Sums rows on demand: enough until a projection keeps candles.
"""

import datetime as dt
from collections.abc import Collection, Sequence

from django.utils import timezone

from markets.remembered import recall, remember
from markets.selectors import Listing
from trading.ids import first_id_at
from trading.replicas import reading

WINDOW = dt.timedelta(hours=24)
REMEMBER_S = 30

# Trades are partitioned by their ids, which carry the time: the bound on trade_id spares the older months.
_SUM = """
SELECT market_id::text, sum(price_pips::bigint * quantity)::bigint FROM trade
WHERE market_id = ANY(%s::uuid[]) AND executed_at > %s AND trade_id >= %s::uuid GROUP BY 1
"""


def volumes_before(rows: Sequence[Listing]) -> dict[str, int]:
    """Pips that each market had traded 24 hours ago, at most REMEMBER_S seconds old."""
    names = {_name(row.market_id): row.market_id for row in rows}
    known = {names[name]: volume for name, volume in recall(names).items()}
    missing = [row for row in rows if row.market_id not in known]
    if not missing:
        return known
    recent = _sum([row.market_id for row in missing])
    # Trades may be projected a moment before their market's total: never less than nothing.
    found = {row.market_id: max(0, row.volume_pips - recent.get(row.market_id, 0)) for row in missing}
    remember({_name(market_id): volume for market_id, volume in found.items()}, seconds=REMEMBER_S)
    return known | found


def _name(market_id: str) -> str:
    return f"volume_before:{market_id}"


def _sum(market_ids: Collection[str]) -> dict[str, int]:
    """Pips traded within the window, by market."""
    since = timezone.now() - WINDOW
    with reading().cursor() as cursor:
        cursor.execute(_SUM, [list(market_ids), since, first_id_at(since)])
        return dict(cursor.fetchall())
