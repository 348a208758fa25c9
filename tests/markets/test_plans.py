"""How the catalogue is read: along indexes, however many markets there have been."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from markets import selectors
from markets.selectors import ORDERINGS, Wanted
from tests.trading.reads.test_plans import walked

pytestmark = pytest.mark.django_db
MARKETS = 10_000
LIMIT = 20
_ID = "('0191a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"


@pytest.fixture(autouse=True)
def many_markets() -> None:
    """Most of them ended long ago, one in a hundred open; one in five hundred is about the weather."""
    numbers = f"generate_series(1, {MARKETS}) AS n"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO market_listing (market_id, slug, question, description, resolution_criteria, category, "
            f"outcomes, created_at) SELECT {_ID}, 'market-' || n, 'Will number ' || n || ' come true' || "
            "CASE WHEN n % 500 = 0 THEN ' in snow' ELSE '' END || '?', '', 'As it says.', "
            f"CASE WHEN n % 500 = 0 THEN 'weather' ELSE 'sport' END, '{{Yes,No}}', now() FROM {numbers}"
        )
        cursor.execute(
            "INSERT INTO market (market_id, slot, status, tick_pips, taker_fee_e4, maker_fee_e4, created_at, "
            f"closes_at, seq) SELECT {_ID}, n % 16, CASE WHEN n % 100 = 0 THEN 'open' ELSE 'resolved' END, 100, 0, 0, "
            f"now() + n * interval '1 second', now() + (n * 7919 % {MARKETS}) * interval '1 minute', 1 FROM {numbers}"
        )
        cursor.execute(
            "INSERT INTO market_summary (market_id, volume_pips, last_prices, seq, updated_at) "
            f"SELECT {_ID}, n * 104729 % {MARKETS}, '{{NULL,NULL}}', 1, now() FROM {numbers}"
        )
        cursor.execute("ANALYZE market_listing, market, market_summary")


def plan_of(read: Callable[[], object]) -> dict:  # type: ignore[type-arg]
    """What was done for the one query that this makes."""
    with CaptureQueriesContext(connection) as seen:
        read()
    (query,) = seen.captured_queries
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"].replace("%", "%%"))
        plan: dict = cursor.fetchone()[0][0]["Plan"]  # type: ignore[type-arg]
        return plan


def nodes(plan: dict) -> list[str]:  # type: ignore[type-arg]
    """The plan's steps, with what each goes along."""
    own = f"{plan['Node Type']} {plan.get('Index Name', plan.get('Relation Name', ''))}".strip()
    return [own, *(step for child in plan.get("Plans", ()) for step in nodes(child))]


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_page_walks_no_more_markets_than_it_shows(ordering: str) -> None:
    second = selectors.page(Wanted(ordering=ordering), limit=LIMIT, cursor=None).next
    for cursor in (None, second):
        plan = plan_of(
            lambda cursor=cursor: selectors.page(Wanted(ordering=ordering), limit=LIMIT, cursor=cursor)
        )  # type: ignore[misc]
        assert not any(step.startswith("Seq Scan") for step in nodes(plan)), nodes(plan)
        assert walked(plan) <= 3 * (LIMIT + 2)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_page_of_what_is_open_walks_along_an_index(ordering: str) -> None:
    wanted = Wanted(statuses=("open",), ordering=ordering)
    plan = plan_of(lambda: selectors.page(wanted, limit=LIMIT, cursor=None))
    assert not any(step.startswith("Seq Scan") for step in nodes(plan)), nodes(plan)


def test_words_are_found_in_their_index_and_a_category_in_its_own() -> None:
    for wanted, index in (
        (Wanted(query="snow"), "market_listing_search"),
        (Wanted(query="sno"), "market_listing_search"),
        (Wanted(category="weather"), "market_listing_category"),
    ):
        plan = plan_of(lambda wanted=wanted: selectors.page(wanted, limit=LIMIT, cursor=None))  # type: ignore[misc]
        assert any(index in step for step in nodes(plan)), nodes(plan)
        assert walked(plan) <= 4 * MARKETS // 500


@pytest.mark.parametrize("name", ["market-4711", "0191a000-0000-7000-8000-000000001267"])
def test_one_market_is_one_row_of_each_table(name: str) -> None:
    assert walked(plan_of(lambda: selectors.find(name))) == 3
