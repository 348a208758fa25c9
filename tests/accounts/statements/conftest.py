"""People whose log is followed at the time that a test says, and their statements as a program reads them."""

import csv
import datetime as dt
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from tests.accounts.notifications.conftest import (
    _empty,
    follow,
    jobs,
    run_jobs,
)
from tests.trading.projections import written_log
from trading.eventlog.codec import to_us
from trading.eventlog.partitions import make_partitions

__all__ = ["_empty", "follow", "jobs", "run_jobs"]


@pytest.fixture(autouse=True)
def _past_is_forgotten() -> None:
    from accounts.models import DailyStatement
    from trading.snapshots.past import forget_the_past

    forget_the_past()
    DailyStatement.objects.all().delete()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.datetime], None]:
    """`clock(moment)`: when what follows happens, ids of trades and times of records alike; a millisecond an event."""
    now = [0]

    def tick() -> int:
        now[0] += 1_000
        return now[0]

    def set_to(moment: dt.datetime) -> None:
        now[0] = to_us(moment)
        monkeypatch.setattr(written_log, "START_US", to_us(moment))
        monkeypatch.setattr(written_log, "now_us", tick)

    return set_to


def pay_in(account_id: str, amount_pips: int) -> None:
    """A deposit, or a withdrawal, at the time of the test's clock."""
    kind = "funds_deposited/1" if amount_pips > 0 else "funds_withdrawn/1"
    data: dict[str, Any] = {"amount": abs(amount_pips), "client_id": None}
    written_log.append_to_account(account_id, (kind, data | ({"repaid": 0} if amount_pips > 0 else {})))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cash_account SET cash_pips = cash_pips + %s WHERE account_id = %s",
            [amount_pips, account_id],
        )


@pytest.fixture
def someone() -> Callable[..., str]:
    """`someone("mia")`: the account of a new user who has cash; with `email=` a confirmed address."""
    from accounts import services
    from accounts.models import NotificationPreferences
    from tests.accounts.callers import PASSWORD

    def make(username: str, **more: Any) -> str:
        account_id = str(services.register(username=username, password=PASSWORD, **more).account_id)
        if more.get("email"):
            rows = NotificationPreferences.objects.filter(account_id=account_id)
            rows.update(confirmed_email=more["email"])
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM job WHERE name = 'accounts.confirm_email'")
        pay_in(account_id, 10**9)
        return account_id

    return make


@pytest.fixture
def days(_empty: None) -> tuple[dt.datetime, dt.datetime, dt.datetime]:
    """Noon of three days in a row, the last one yesterday; there are partitions for them."""
    noon = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    found = noon - dt.timedelta(days=3), noon - dt.timedelta(days=2), noon - dt.timedelta(days=1)
    for each in found:
        with transaction.atomic(), connection.cursor() as cursor:
            make_partitions(cursor, months_ahead=0, today=each)
    return found


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def read(
    account_id: str, day: dt.date, *, now: dt.datetime | None = None, **more: Any
) -> list[dict[str, str]]:
    """The rows of a statement."""
    from accounts.statements.making import make_statement

    statement = make_statement(account_id, day, now=now or dt.datetime.now(dt.UTC), **more)
    with statement.file:
        return rows_of(statement.file.read())


def of(rows: list[dict[str, str]], record: str) -> list[dict[str, str]]:
    return [row for row in rows if row["record"] == record]


def pips(text: str) -> int:
    """Exact, and by other code than the one under test."""
    sign = -1 if text.startswith("-") else 1
    dollars, fraction = text.lstrip("+-").split(".")
    assert len(fraction) == 4, text
    return sign * (int(dollars) * 10_000 + int(fraction))
