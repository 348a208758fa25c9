"""An empty exchange whose log is followed and whose jobs are run by the test itself, at the time it says."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection

from tests.trading.outside.local_server import LocalServer, local_server
from tests.trading.projections import written_log
from tests.trading.projections.emptied import empty_exchange
from trading.cash import deposit


@pytest.fixture(autouse=True)
def _empty(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    empty_exchange()
    written_log.RESERVES.clear()
    monkeypatch.setattr("trading.projections.markets.hint", lambda jobs: None)
    # What users want is read anew; test_preferences.py is about what is remembered.
    monkeypatch.setattr("accounts.notifications.projection.WISHES_S", -1.0)
    _forget_breakers()
    yield
    empty_exchange()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM job")
    _forget_breakers()


def _forget_breakers() -> None:
    with redis.Redis.from_url(django_settings.VALKEY_URL) as valkey:
        for key in valkey.scan_iter("breaker*"):
            valkey.delete(key)


@pytest.fixture
def follow(_empty: None) -> Iterator[Callable[[], None]]:
    """Give everything that is in the log to the projections, in their usual order."""
    from accounts.notifications.projection import NotificationsProjection
    from trading.projections.projection import load_projections
    from trading.projections.runner import Projector

    others = [each for each in load_projections() if each.name != "notifications"]
    projector = Projector([*others, NotificationsProjection()])

    def run() -> None:
        while projector.round():
            pass

    yield run
    projector.close()


@pytest.fixture
def read_again(_empty: None) -> Callable[[], None]:
    """Have the projection read the whole log once more."""
    from accounts.notifications.projection import NotificationsProjection
    from trading.projections.runner import Projector

    def reached() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT slot, next_offset FROM projection_checkpoint WHERE projection = 'notifications' ORDER BY slot"
            )
            return cursor.fetchall()

    def again() -> None:
        before = reached()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE projection_checkpoint SET next_offset = 0, recorded_at = NULL "
                "WHERE projection = 'notifications'"
            )
        # Another projector, since one that runs looks only now and then whether its checkpoints are where they were.
        projector = Projector([NotificationsProjection()])
        while projector.round():
            pass
        projector.close()
        assert reached() == before

    return again


@pytest.fixture
def someone() -> Callable[..., str]:
    """`someone("mia")`: the account of a new user who has cash; with `email=` a confirmed address."""
    from accounts import services
    from accounts.models import NotificationPreferences
    from tests.accounts.callers import PASSWORD

    def make(username: str, **more: Any) -> str:
        account_id = str(services.register(username=username, password=PASSWORD, **more).account_id)
        if more.get("email"):
            NotificationPreferences.objects.filter(account_id=account_id).update(
                confirmed_email=more["email"]
            )
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM job WHERE name = 'accounts.confirm_email'")
        deposit(account_id=account_id, amount_pips=10**9, client_id=None, actor="tests")
        return account_id

    return make


@pytest.fixture
def run_jobs() -> Callable[..., list[tuple[str, str]]]:
    """Run every job that is due by then, once each; answers (name, what became of it)."""
    from trading.jobs.run import database_clock, run

    def run_all(later: dt.timedelta = dt.timedelta()) -> list[tuple[str, str]]:
        now = database_clock() + later
        with connection.cursor() as cursor:
            cursor.execute("SELECT id::text, name FROM job WHERE due_at <= %s ORDER BY due_at, id", [now])
            due = cursor.fetchall()
        return [(name, run(job_id, clock=lambda: now)) for job_id, name in due]

    return run_all


@pytest.fixture
def jobs() -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """The jobs that wait, as (name, payload)."""

    def waiting() -> list[tuple[str, dict[str, Any]]]:
        import json

        with connection.cursor() as cursor:
            cursor.execute("SELECT name, payload::text FROM job ORDER BY id")
            return [(name, json.loads(payload)) for name, payload in cursor.fetchall()]

    return waiting


@pytest.fixture
def server(settings: Any) -> Iterator[LocalServer]:
    """A receiver of webhooks on this machine, which may be called."""
    settings.OUTSIDE_ALLOW = ["127.0.0.0/8"]
    with local_server() as running:
        yield running
