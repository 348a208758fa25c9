"""Jobs of this folder's own, a clock that tests move, and a table without rows of others."""

import datetime as dt

import pytest
from django.db import connection

from tests.trading.jobs import work
from tests.trading.jobs.processes import change
from trading.jobs import registry
from trading.jobs.run import run


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def register(monkeypatch):
    """Registers jobs for one test."""
    monkeypatch.setattr(registry, "_types", dict(registry._types))
    return registry.job


@pytest.fixture
def run_at(clock):
    """Runs a job at the clock's time, with as much jitter as is said."""

    def run_it(key, jitter=0.0):
        found = row(key)
        return run(found["id"], clock=clock, chance=lambda: jitter)

    return run_it


@pytest.fixture
def notes_table():
    """Where jobs that really commit write what they did; all that is left of them is removed."""
    change(work.NOTES)
    yield
    change("DROP TABLE job_note")
    for table in ("job", "dead_letter", "periodic_round"):
        change(f"DELETE FROM {table}")


def row(key):
    """The job with that key as a dict, or None."""
    return one("SELECT *, id::text AS id FROM job WHERE key = %s", key)


def letter(key):
    """The newest dead letter of the job with that key."""
    return one("SELECT * FROM dead_letter WHERE job_key = %s ORDER BY created_at DESC, id DESC LIMIT 1", key)


def one(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        found = cursor.fetchone()
        return found and dict(zip([column.name for column in cursor.description], found, strict=True))
