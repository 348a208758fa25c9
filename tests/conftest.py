"""What every test stands on: one throw-away PostgreSQL and Valkey a run, and `exchange`, the real processes.

The servers are started before Django reads its settings and stopped when pytest ends, however it ends. Tests in this
process use Django's test database; `exchange` has a database and a Valkey of its own: neither disturbs the other.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded import EmbeddedServers
from tests.running_exchange import RunningExchange

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
        # A test's transaction may take its time, and Django drops the test database only without a pool.
        TRANSACTION_TIMEOUT_MS="0",
        DB_POOL_MAX="0",
    )


SERVERS, FOLDER = _start_servers()
_configure_environment(SERVERS, FOLDER)

from django.conf import settings  # noqa: E402  (its environment is complete only now)

assert settings.DATABASES, "pytest-django sets Django up once its settings are read"


def pytest_unconfigure(config: pytest.Config) -> None:
    SERVERS.stop()
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> EmbeddedServers:
    """The throw-away servers; `.postgres` is None in a further xdist process."""
    return SERVERS


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """Engine, projector, worker, web and live as real processes, THROTTLE=0 and DEMO=0, shared by the whole session.

    Use accounts and markets of your own; nothing here is rolled back.
    """
    running = RunningExchange(tmp_path_factory.mktemp("exchange"), database_url=os.environ[POSTGRES_VARIABLE])
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> Iterator[None]:
    """Hashing slowly protects people, not tests."""
    from django.test import override_settings

    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield
