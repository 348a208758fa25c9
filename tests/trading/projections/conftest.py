"""A projector to step by hand, and what the read models hold."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from tests.trading.projections import written_log
from tests.trading.projections.emptied import empty_exchange
from trading.projections.projection import load_projections
from trading.projections.runner import Projector

TABLES = {
    "order": "order_id",
    "fill": "trade_id, order_id",
    "trade": "trade_id",
    "position": "market_id, account_id, outcome",
    "participation": "market_id, account_id",
    "standing": "day, account_id",
    "forecast": "market_id, account_id, outcome",
    "ledger_entry": "account_id, at, slot, slot_offset, leg",
    "account_ledger": "account_id",
    "market": "market_id",
    "outcome": "market_id, index",
    "market_summary": "market_id",
    "market_step": "market_id, seq",
    "resolution": "resolution_id",
    "resting_order": "order_id",
    "book_level": "market_id, outcome, is_bid, price_pips",
    "quote_bar": "market_id, outcome, at",
    "trade_bar": "market_id, outcome, resolution, at",
    "activity_hour": "at, category",
}

# The day of all time is none that Python knows.
COLUMNS = {"standing": "day::text, account_id, realized_pips, volume_pips, score_sum_e8, scored_markets"}


def read_tables() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the read models, in key order."""
    held = {}
    with connection.cursor() as cursor:
        for table, key in TABLES.items():
            cursor.execute(f'SELECT {COLUMNS.get(table, "*")} FROM "{table}" ORDER BY {key}')
            held[table] = cursor.fetchall()
    return held


def forget_everything(cursor: Any) -> None:
    """The read models as before the first event."""
    for table in reversed(TABLES):
        cursor.execute(f'DELETE FROM "{table}"')
    cursor.execute("UPDATE projection_checkpoint SET next_offset = 0, recorded_at = NULL")


@pytest.fixture(autouse=True)
def _empty(transactional_db: None) -> Iterator[None]:
    """Each test begins with an empty exchange, and leaves nothing broken to the tests after it.

    The marker's `available_apps` keeps pytest-django from flushing every managed table after each test.
    """
    empty_exchange()
    written_log.RESERVES.clear()
    yield
    empty_exchange()


@pytest.fixture(autouse=True)
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the jobs that workers would have been told of."""
    keys: list[str] = []
    monkeypatch.setattr("trading.projections.markets.hint", lambda jobs: keys.extend(job.key for job in jobs))
    return keys


@pytest.fixture
def projector(_empty: None) -> Iterator[Projector]:
    made = Projector(load_projections())
    yield made
    made.close()


@pytest.fixture
def project(projector: Projector) -> Callable[[], None]:
    """Applies everything that is in the log."""

    def run() -> None:
        while projector.round():
            pass

    return run
