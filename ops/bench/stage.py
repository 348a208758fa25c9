"""What a benchmark stands on: throw-away servers with everything durable, fresh databases, the real processes.

Nothing of an exchange that runs on this machine is touched, and nothing is left behind.
"""

import contextlib
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from django.conf import settings
from psycopg import sql

from ops.embedded import EmbeddedServers
from ops.embedded.process import free_port
from ops.supervisor import CommandProcess, Console, child_environment, read_procfile
from trading import compiled
from trading.eventlog.append import NewEvent, append_to_accounts
from trading.ids import account_slot, new_id

OPERATOR = "operator"
TEMPLATE = "bench_template"
ACCOUNTS = 5_000
ACCOUNT_CASH_PIPS = 1_000_000 * 10_000
START_SECONDS = 60.0
STATED = ("fsync", "synchronous_commit", "full_page_writes", "wal_init_zero", "shared_buffers")

# An exchange's variables that must not leak in from the caller's environment.
FOREIGN = (
    "REPLICA_URLS",
    "REPLICAS",
    "CACHE_URL",
    "BROKER_URL",
    "FEED_URL",
    "ENGINES",
    "DB_POOL_MIN",
    "DB_POOL_MAX",
)


class StageError(Exception):
    """The stage could not be set; the message has the end of the log that says why."""


class Stage:
    """Use as a context manager. `say` is told about progress."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._busy_percent = psutil.cpu_percent(interval=1.0)
        self.folder = Path(tempfile.mkdtemp(prefix="pmarket-bench-"))
        self.account_ids: list[str] = []
        self.ports = {"PORT": free_port(), "WS_PORT": free_port()}
        self._servers = EmbeddedServers.prepare(self.folder / "servers", durable=True)
        (self.folder / "logs").mkdir()
        self.metrics_folder = self.folder / "metrics"
        self.metrics_folder.mkdir()
        self._output = (self.folder / "logs" / "all.txt").open("w")
        self._console = Console(self._output, self.folder / "logs")
        self._secrets = {"SECRET_KEY": secrets.token_urlsafe(50), "ADMIN_PASSWORD": secrets.token_urlsafe(16)}

    def __enter__(self) -> "Stage":
        try:
            self.say("starting PostgreSQL and Valkey")
            self._servers.start()
            self.say("migrating, funding accounts")
            self._make_template()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.stop()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Servers ------------------------------------------------------------------------------------

    @property
    def valkey_url(self) -> str:
        assert self._servers.valkey is not None
        return self._servers.valkey.url()

    def database_url(self, name: str) -> str:
        assert self._servers.postgres is not None
        return self._servers.postgres.url(name)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection in autocommit."""
        return psycopg.connect(self.database_url(database), autocommit=True)

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A fresh database: migrated, accounts funded, no market; dropped afterwards."""
        name = f"{name}_{secrets.token_hex(4)}"
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(TEMPLATE)
                )
            )
        try:
            yield name
        finally:
            # As superuser: the server's own vacuum may be at work in it and has to be ended too.
            with self._as_superuser() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _as_superuser(self) -> psycopg.Connection[Any]:
        assert self._servers.postgres is not None
        return psycopg.connect(self._servers.postgres.url("postgres", superuser=True), autocommit=True)

    def conditions(self) -> dict[str, Any]:
        """What the figures were measured on and with."""
        with self.connect(TEMPLATE) as connection:
            stated = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in STATED}  # type: ignore[index]
            version = connection.execute("SHOW server_version").fetchone()
        with redis.Redis.from_url(self.valkey_url) as valkey:
            info = valkey.info("server")
        assert version is not None
        memory_gb = psutil.virtual_memory().total / 2**30
        return {
            "machine": f"{os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}; "
            f"{self._busy_percent:.0f} % busy before the run",
            "versions": f"Python {platform.python_version()}, PostgreSQL {version[0]}, "
            f"Valkey {info.get('valkey_version', info['redis_version'])}",
            "PostgreSQL": ", ".join(f"{name}={value}" for name, value in stated.items()),
            "hot path": "compiled to C (make compile)" if compiled.is_used() else "interpreted",
            "THROTTLE": "0",
            "accounts": len(self.account_ids),
        }

    def _make_template(self) -> None:
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        self.manage(TEMPLATE, "migrate", "--no-input", "--verbosity", "0")
        self.manage(TEMPLATE, "seed_users")
        with psycopg.connect(self.database_url(TEMPLATE)) as connection:
            self.account_ids = fund_accounts(connection, ACCOUNTS)
            connection.execute("ANALYZE")

    # Processes ----------------------------------------------------------------------------------

    def manage(self, database: str, *arguments: str) -> str:
        """Run a command of manage.py to its end; answers its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=self._environment(database),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise StageError(f"manage.py {arguments[0]} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def processes(
        self, database: str, *names: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, psutil.Process]]:
        """Lines of the Procfile, running on that database and an empty Valkey; stopped afterwards."""
        with redis.Redis.from_url(self.valkey_url) as valkey:
            valkey.flushall()
        for counted in self.metrics_folder.iterdir():
            counted.unlink()
        commands = read_procfile(settings.BASE_DIR / "Procfile")
        variables = self._environment(database) | dict(environment or {})
        started: list[CommandProcess] = []
        try:
            for name in names:
                process = CommandProcess(
                    name,
                    commands[name],
                    environment=variables,
                    cwd=settings.BASE_DIR,
                    console=self._console,
                )
                process.start()
                started.append(process)
            self._wait_ready(database, started)
            yield {process.name: psutil.Process(process.pid) for process in started}
        finally:
            for process in reversed(started):
                process.stop()

    def _environment(self, database: str) -> dict[str, str]:
        changes = {
            **self._secrets,
            **{name: str(port) for name, port in self.ports.items()},
            "DATA_DIR": str(self.folder),
            "DATABASE_URL": self.database_url(database),
            "VALKEY_URL": self.valkey_url,
            "HOST": "127.0.0.1",
            "THROTTLE": "0",
            "DEMO": "0",
            "DEBUG": "0",
            "ADMIN_USERNAME": OPERATOR,
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics_folder),
            "DJANGO_SETTINGS_MODULE": "pmarket.settings",
        }
        return {name: value for name, value in child_environment(changes).items() if name not in FOREIGN}

    def _wait_ready(self, database: str, processes: list[CommandProcess]) -> None:
        names = {process.name for process in processes}
        probes = {"web": f"{self.base_url('web')}/health/ready", "live": f"{self.base_url('live')}/ws/health"}
        deadline = time.monotonic() + START_SECONDS
        with self.connect(database) as connection:
            while not (
                self._engine_runs(connection) and all(_says_yes(probes[n]) for n in names & probes.keys())
            ):
                dead = [process.name for process in processes if process.exit_code() is not None]
                if dead or time.monotonic() > deadline:
                    raise StageError(f"{', '.join(dead or sorted(names))} did not start: {self._log_end()}")
                time.sleep(0.1)

    @staticmethod
    def _engine_runs(connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute("SELECT count(*) FROM shard WHERE state = 'running'").fetchone()
        return row is not None and row[0] > 0

    def base_url(self, lane: str) -> str:
        """`web` or `live`, without a final slash."""
        return f"http://127.0.0.1:{self.ports['PORT' if lane == 'web' else 'WS_PORT']}"

    def _log_end(self) -> str:
        self._output.flush()
        return (self.folder / "logs" / "all.txt").read_text()[-2000:]


def fund_accounts(
    connection: psycopg.Connection[Any], count: int, *, cash_pips: int = ACCOUNT_CASH_PIPS
) -> list[str]:
    """Accounts with that much each, by deposits in the log, a transaction a slot."""
    account_ids = sorted((new_id() for _ in range(count)), key=account_slot)
    by_slot: dict[int, list[str]] = {}
    for account_id in account_ids:
        by_slot.setdefault(account_slot(account_id), []).append(account_id)
    data = {"amount": cash_pips, "client_id": None, "repaid": 0}
    for slot, accounts in by_slot.items():
        at_us = time.time_ns() // 1000
        command = {"op": "deposit", "amount": cash_pips, "client_id": None}
        metadata = {"command": command, "actor": "bench", "request_id": None, "at_us": at_us}
        event = NewEvent("funds_deposited/1", data, metadata)
        with connection.transaction(), connection.cursor() as cursor:
            append_to_accounts(cursor, slot=slot, events=[(each, event) for each in accounts], at_us=at_us)
            cursor.execute(
                "INSERT INTO cash_account (account_id, cash_pips) SELECT unnest(%s::uuid[]), %s",
                [accounts, cash_pips],
            )
    return account_ids


def _says_yes(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False
