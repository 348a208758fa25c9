"""How bars are read: along their keys, however much else has been traded and quoted."""

import datetime as dt
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from markets import volumes
from tests.trading.reads.test_plans import walked
from trading.ids import market_slot
from trading.market_terms import MarketTerms
from trading.selectors import analytics, books
from trading.selectors.candles import INTERVALS, candles

pytestmark = pytest.mark.django_db
BUSY, OTHER = (f"0191a000-0000-7000-8000-00000000000{digit}" for digit in "45")
DAYS = 20
MINUTES = DAYS * 1440
NOW = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
NOW_S = int(NOW.timestamp())
TERMS = MarketTerms(BUSY, ("A", "B", "C"), 100, 0, 0, 0)


@pytest.fixture(autouse=True)
def busy_markets() -> None:
    """Weeks of a quote and a trade a minute in two outcomes of two markets."""
    arguments = {"markets": [BUSY, OTHER], "minutes": MINUTES, "now": NOW}
    minutes = (
        "unnest(%(markets)s::uuid[]) AS m(id), generate_series(0, 1) AS o(outcome), "
        "generate_series(0, %(minutes)s) AS n"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO quote_bar SELECT m.id, o.outcome, %(now)s::timestamptz - n * interval '1 minute', 4000, 6000, "
            f"1, 1, 1, 1 FROM {minutes}",
            arguments,
        )
        cursor.execute(
            "INSERT INTO trade_bar SELECT m.id, o.outcome, r.resolution, date_trunc(r.unit, at), "
            "1, 1, 1, 1, 1, 1, 1, 1 "
            "FROM (VALUES ('1m', 'minute'), ('1h', 'hour')) AS r(resolution, unit), "
            f"LATERAL (SELECT m.id, o.outcome, %(now)s::timestamptz - n * interval '1 minute' AS at FROM {minutes}) "
            "AS m(id, outcome, at), LATERAL (SELECT m.outcome) AS o(outcome) GROUP BY 1, 2, 3, 4",
            arguments,
        )
        cursor.execute(
            "INSERT INTO activity_hour SELECT date_trunc('hour', %(now)s::timestamptz) - n * interval '1 hour', c, "
            "1, 1, 1, 1, 1, 1, 1 FROM generate_series(0, %(minutes)s / 10) AS n, "
            "unnest('{sport,weather}'::text[]) AS c",
            arguments,
        )
        cursor.execute(
            "INSERT INTO book_level SELECT m.id, o, side, 100 * n, 1, 1 FROM unnest(%(markets)s::uuid[]) AS m(id), "
            "generate_series(0, 49) AS o, unnest('{true,false}'::boolean[]) AS side, generate_series(1, 99) AS n",
            arguments,
        )
        cursor.execute("ANALYZE quote_bar, trade_bar, activity_hour, book_level")


def plans(read: Callable[[], object]) -> Sequence[dict]:  # type: ignore[type-arg]
    """The plan of each query of a read, as it was executed."""
    with CaptureQueriesContext(connection) as seen:
        read()
    found = []
    with connection.cursor() as cursor:
        for query in seen.captured_queries:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"].replace("%", "%%"))
            found.append(cursor.fetchone()[0][0]["Plan"])
    return found


@pytest.mark.parametrize(
    ("name", "intervals", "bars"), [("1m", 500, 1), ("5m", 500, 5), ("1h", 400, 1), ("1d", 15, 24)]
)
def test_candles_walk_a_quote_and_the_bars_of_each_interval(name: str, intervals: int, bars: int) -> None:
    length_s = INTERVALS[name].seconds
    beyond_s = NOW_S // length_s * length_s

    def read() -> object:
        return candles(
            TERMS,
            outcome=1,
            interval=INTERVALS[name],
            first_s=beyond_s - intervals * length_s,
            beyond_s=beyond_s,
        )

    of_bars, of_quotes = plans(read)
    assert walked(of_bars) <= intervals * bars
    assert walked(of_quotes) <= intervals


def test_analytics_walk_a_days_minutes_and_hours() -> None:
    of_quotes, of_bars = plans(lambda: analytics.last_hours(TERMS, outcome=1, hours=24, now_s=NOW_S))
    assert walked(of_quotes) <= 1440 + 1
    assert walked(of_bars) <= 24


def test_activity_walks_no_more_than_a_page() -> None:
    (page,) = plans(lambda: analytics.activity_page(first_s=0, beyond_s=NOW_S, limit=50, cursor=None))
    assert walked(page) <= 51
    cursor = analytics.activity_page(first_s=0, beyond_s=NOW_S, limit=50, cursor=None).next
    (page,) = plans(lambda: analytics.activity_page(first_s=0, beyond_s=NOW_S, limit=50, cursor=cursor))
    assert walked(page) <= 51


def test_a_book_walks_its_own_levels() -> None:
    arguments = {"market": BUSY, "slot": market_slot(BUSY), "book": 7}
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + books._LEVELS, arguments)
        plan = cursor.fetchone()[0][0]["Plan"]
    assert walked(plan, "book_level") <= 2 * 99


def test_a_days_volume_walks_hours_and_the_minutes_at_its_edge() -> None:
    row = SimpleNamespace(market_id=BUSY, outcomes=TERMS.outcomes, is_binary=False, volume_pips=10**9)
    of_volumes, of_prices = plans(lambda: volumes._read([row], NOW - volumes.WINDOW))  # type: ignore[list-item]
    assert walked(of_volumes) <= 2 * (25 + 60)
    assert walked(of_prices) <= len(TERMS.outcomes)
