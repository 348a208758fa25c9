"""Volume of the last 24 hours, summed from trades and remembered for half a minute a market.

Sums rows on demand: enough until a projection keeps candles.
"""

import datetime as dt
from collections.abc import Sequence

from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from trading.ids import first_id_at

WINDOW = dt.timedelta(hours=24)
REMEMBER_S = 30

# Trades are partitioned by their ids, which carry the time: the bound on trade_id spares the older months.
_SUM = """
SELECT market_id::text, sum(price_pips::bigint * quantity)::bigint FROM trade
WHERE market_id = ANY(%s::uuid[]) AND executed_at > %s AND trade_id >= %s::uuid GROUP BY 1
"""


def volumes_24h(market_ids: Sequence[str]) -> dict[str, int]:
    """Pips traded in the last 24 hours by market id, at most REMEMBER_S seconds old."""
    names = {f"volume_24h:{market_id}": market_id for market_id in market_ids}
    known = {names[name]: volume for name, volume in cache.get_many(names).items()}
    missing = [market_id for market_id in market_ids if market_id not in known]
    if not missing:
        return known
    summed = {**dict.fromkeys(missing, 0), **_sum(missing)}
    cache.set_many({f"volume_24h:{market_id}": volume for market_id, volume in summed.items()}, REMEMBER_S)
    return known | summed


def _sum(market_ids: Sequence[str]) -> dict[str, int]:
    since = timezone.now() - WINDOW
    with connection.cursor() as cursor:
        cursor.execute(_SUM, [list(market_ids), since, first_id_at(since)])
        return dict(cursor.fetchall())
