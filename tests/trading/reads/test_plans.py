"""How pages of an account's own are read: along an index, however much the account has done elsewhere."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from trading.selectors import accounts, ledger

pytestmark = pytest.mark.django_db
ACCOUNT, BUSY, RARE = (f"0191a000-0000-7000-8000-00000000000{digit}" for digit in "123")
ROWS = 20_000

anywhere = pytest.mark.parametrize("market_id", [None, RARE, BUSY], ids=["everywhere", "rare", "busy"])

# An id of this month for each n, the larger the younger.
_ID = (
    "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + n), 12, '0') || '70008000' "
    "|| lpad(to_hex(n), 12, '0'))::uuid"
)
_MARKET = "CASE WHEN n % 10000 = 1 THEN %(rare)s::uuid ELSE %(busy)s::uuid END".replace(" % ", " %% ")


@pytest.fixture(autouse=True)
def busy_account() -> None:
    """Thousands of orders and fills in one market, and two in another, long ago."""
    numbers = "generate_series(1, %(rows)s) AS n"
    arguments = {"rows": ROWS, "account": ACCOUNT, "busy": BUSY, "rare": RARE}
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO "order" (order_id, market_id, account_id, outcome, side, type, price_pips, quantity, '
            "time_in_force, status, created_at, updated_at, seq) "
            f"SELECT {_ID}, {_MARKET}, %(account)s, 0, 'buy', 'limit', 5000, 10, 'GTC', "
            f"CASE WHEN n %% 100 = 0 THEN 'open' ELSE 'filled' END, now(), now(), n FROM {numbers}",
            arguments,
        )
        cursor.execute(
            "INSERT INTO fill (trade_id, order_id, account_id, market_id, outcome, side, price_pips, quantity, "
            "fee_pips, role, executed_at, seq) "
            f"SELECT {_ID}, {_ID}, %(account)s, {_MARKET}, 0, 'buy', 5000, 10, 0, 'maker', now(), n FROM {numbers}",
            arguments,
        )
        cursor.execute(
            "INSERT INTO ledger_entry (account_id, at, slot, slot_offset, leg, kind, amount_pips) "
            f"SELECT %(account)s, now() + n * interval '5 minutes', 3, n, 0, 'trade', 1 FROM {numbers}",
            arguments,
        )
        cursor.execute(
            "INSERT INTO account_ledger VALUES (%(account)s, %(rows)s, %(rows)s, now())", arguments
        )
        cursor.execute('ANALYZE "order", fill, ledger_entry')


def rows_walked(read: Callable[[], object]) -> int:
    """How many rows of the tables the page's first query looked at."""
    with CaptureQueriesContext(connection) as seen:
        read()
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + seen.captured_queries[0]["sql"].replace("%", "%%"))
        return walked(cursor.fetchone()[0][0]["Plan"])


def walked(plan: dict, table: str | None = None) -> int:  # type: ignore[type-arg]
    """How many rows, of one table if named, an executed plan has looked at."""
    own = 0
    if "Relation Name" in plan and table in (None, plan["Relation Name"]):
        per_loop = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = round(per_loop * plan["Actual Loops"])
    return own + sum(walked(child, table) for child in plan.get("Plans", ()))


@anywhere
def test_page_of_fills_walks_no_more_than_it_shows(market_id: str | None) -> None:
    def page() -> object:
        return accounts.fills_page(ACCOUNT, market_id=market_id, limit=10, cursor=None)

    # The eleventh shows that there is another page, the twelfth that it is of another trade.
    assert rows_walked(page) <= 12


@anywhere
def test_page_of_orders_walks_no_more_than_it_shows_of_each_status(market_id: str | None) -> None:
    def page() -> object:
        return accounts.orders_page(ACCOUNT, market_id=market_id, only_open=False, limit=10, cursor=None)

    assert rows_walked(page) <= (22 if market_id is None else 11)


@anywhere
def test_page_of_open_orders_walks_no_more_than_are_open(market_id: str | None) -> None:
    def page() -> object:
        return accounts.orders_page(ACCOUNT, market_id=market_id, only_open=True, limit=10, cursor=None)

    assert rows_walked(page) <= ROWS // 100


def test_page_of_the_ledger_walks_no_more_than_it_shows_however_old_it_is() -> None:
    """The entries are of three months, and a cursor may stand in any of them."""
    cursor = None
    for _ in range(3):
        assert rows_walked(lambda: ledger.ledger_page(ACCOUNT, limit=10, cursor=cursor)) <= 12  # noqa: B023
        cursor = ledger.ledger_page(ACCOUNT, limit=8_000, cursor=cursor).next
    assert cursor is None
