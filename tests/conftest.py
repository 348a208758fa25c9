"""What every test stands on: one throw-away PostgreSQL and Valkey a run, and `exchange`, the real processes.

The servers are started before Django reads its settings and stopped when pytest ends, however it ends. Tests in this
process use Django's test database; `exchange` has a database and a Valkey of its own: neither disturbs the other.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch

import pytest

# Bugs planted by tests need the sources; test_compiled.py and COMPILED=1 run the rest on what they compile to.
os.environ.setdefault("COMPILED", "0")

from ops.embedded import EmbeddedServers
from tests.running_exchange import RunningExchange

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# `python -m pytest -n` starts further processes: these find the first one's PostgreSQL here.
POSTGRES_VARIABLE = "PMARKET_TEST_DATABASE_URL"


def _start_servers() -> tuple[EmbeddedServers, Path]:
    folder = Path(tempfile.mkdtemp(prefix="pmarket-test-"))
    shared = os.environ.get(POSTGRES_VARIABLE)
    servers = EmbeddedServers.prepare(folder, postgres=shared is None, durable=False)
    servers.start()
    if servers.postgres is not None:
        os.environ[POSTGRES_VARIABLE] = servers.postgres.url()
    return servers, folder


def _configure_environment(servers: EmbeddedServers, folder: Path) -> None:
    for name in ("REPLICA_URLS", "CACHE_URL", "BROKER_URL", "FEED_URL", "PROMETHEUS_MULTIPROC_DIR"):
        os.environ.pop(name, None)
    os.environ.update(servers.environment)
    os.environ.update(
        DATABASE_URL=os.environ[POSTGRES_VARIABLE],
        DATA_DIR=str(folder),
        DJANGO_SETTINGS_MODULE="pmarket.settings",
        SECRET_KEY="only-for-tests-" + "x" * 40,
        PROCESS_NAME="tests",
        THROTTLE=os.environ.get("THROTTLE") or "0",
        # What one test has read is not to be the next one's answer; `exchange` remembers as it always does.
        READ_CACHE="0",
        # A test's transaction may take its time, and Django drops the test database only without a pool.
        TRANSACTION_TIMEOUT_MS="0",
        DB_POOL_MAX="0",
    )


SERVERS, FOLDER = _start_servers()
_configure_environment(SERVERS, FOLDER)

from django.conf import settings  # noqa: E402  (its environment is complete only now)

assert settings.DATABASES, "pytest-django sets Django up once its settings are read"
assert os.environ["VALKEY_URL"] == settings.VALKEY_URL, (
    "the settings were read before this process had its servers"
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Further processes inherit this variable, and would read the settings before they have servers of their own."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure(config: pytest.Config) -> None:
    logging.disable()  # Threads that still listen would have the last word.
    SERVERS.stop()
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> EmbeddedServers:
    """The throw-away servers; `.postgres` is None in a further xdist process."""
    return SERVERS


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """Engine, projector, workers, web and live as real processes, THROTTLE=0 and DEMO=0, shared by the whole session.

    Use accounts and markets of your own; nothing here is rolled back.
    """
    folder, database_url = tmp_path_factory.mktemp("exchange"), os.environ[POSTGRES_VARIABLE]
    with RunningExchange.running(folder, database_url=database_url) as running:
        yield running


@pytest.fixture(scope="session")
def reviewed(exchange: RunningExchange) -> Iterator[RunningExchange]:
    """The same, where one further person has to approve how a market ends, and holders have an hour to object."""
    with exchange.second_door(RESOLUTION_APPROVALS="1", DISPUTE_WINDOW="3600") as door:
        yield door


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> Iterator[None]:
    """Hashing slowly protects people, not tests."""
    from django.test import override_settings

    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True, scope="session")
def _cheap_flushes() -> Iterator[None]:
    """TRUNCATE, after each test that may commit, makes new files for every table and index: a tenth of a second."""
    from django.db.backends.postgresql.operations import DatabaseOperations

    def deletes(operations: Any, _style: Any, tables: list[str], **_more: Any) -> list[str]:
        return [f"DELETE FROM {operations.quote_name(table)}" for table in tables]

    with patch.object(DatabaseOperations, "sql_flush", deletes):
        yield


# Browsers -----------------------------------------------------------------------------------------

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def cannot_run(reason: str) -> NoReturn:
    """A test that cannot run here says so, and fails where CI=true: nothing passes because it was left out."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"not run: {reason}")
    pytest.skip(f"not run: {reason}")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of this machine's Chromium."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    cannot_run("no Chromium")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """A headless browser for a module of tests marked `browser`.

    While it runs, an event loop runs in this thread: such a module holds no async tests and no ORM calls.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], headless=True)
        yield running
        running.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page with cookies of its own. A test that wants a phone calls `page.set_viewport_size`."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()
