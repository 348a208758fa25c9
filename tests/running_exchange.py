"""The real processes of an exchange, started for tests and stopped after them.

It has a database of its own beside Django's test database, and a Valkey of its own. Nothing is rolled back.
"""

import copy
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import redis
from psycopg import sql

from ops.embedded import ValkeyServer
from ops.embedded.process import free_port
from ops.supervisor import CommandProcess, Console, child_environment, read_procfile

PROJECT = Path(__file__).resolve().parent.parent
PROCESSES = ("web", "live", "engine", "projector", "settlement", "market", "notify", "report", "beat")
# What the test process sets for itself and the real processes must not have.
OF_THE_TESTS = ("TRANSACTION_TIMEOUT_MS", "STATEMENT_TIMEOUT_MS", "DB_POOL_MIN", "DB_POOL_MAX")
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Trader:
    """A registered user and the key to act as it."""

    username: str
    user_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class RunningExchange:
    """`http` and `live_http` are base URLs without a slash, `ws` is the socket's, `env` the processes' variables."""

    def __init__(self, folder: Path, *, database_url: str, **variables: str) -> None:
        self.folder = folder
        self._server_url = database_url
        self._database = f"exchange_{secrets.token_hex(6)}"
        self._valkey = ValkeyServer(folder / "valkey", port=free_port(), password=secrets.token_urlsafe(16))
        self._variables = variables
        self._processes: dict[str, CommandProcess] = {}
        self._staff_key = ""
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._console = Console((folder / "logs" / "all.txt").open("w"), folder / "logs")
        self._take_ports()
        self.database_url = _with_database(database_url, self._database)
        self.env = self._environment()

    def _take_ports(self) -> None:
        self.port, self.ws_port = free_port(), free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.live_http = f"http://127.0.0.1:{self.ws_port}"
        self.ws = f"ws://127.0.0.1:{self.ws_port}/ws/v1"

    # Life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Database, migrations, first user and processes; returns when the probes say yes."""
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))
        self._valkey.start()
        (self.folder / "metrics").mkdir(exist_ok=True)
        self.manage("migrate", "--no-input", "--verbosity", "0")
        self.manage("seed_users")
        for name in PROCESSES:
            self.start_process(name)
        self.wait_healthy()

    def stop(self) -> None:
        """Ends the processes. The database goes with its throw-away server: to drop it, vacuum had to be ended first,
        which only a superuser may."""
        for name in self._processes:
            if self.is_alive(name):
                self.signal(name, signal.SIGTERM)
        for process in self._processes.values():
            process.stop()
        self._processes.clear()
        self._valkey.stop()

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, database_url: str, **variables: str) -> Iterator[Self]:
        """One that runs for as long as the `with` lasts."""
        exchange = cls(folder, database_url=database_url, **variables)
        try:
            exchange.start()
            yield exchange
        finally:
            exchange.stop()

    def start_process(self, name: str, **variables: str) -> None:
        """Start a line of the Procfile, with further variables; `engine.2` is a second process of the line `engine`."""
        command = read_procfile(PROJECT / "Procfile")[name.partition(".")[0]]
        environment = {**self.env, **variables}
        process = CommandProcess(name, command, environment=environment, cwd=PROJECT, console=self._console)
        process.start()
        self._processes[name] = process

    @contextmanager
    def running_as(self, name: str, **variables: str) -> Iterator[None]:
        """A process that has further variables for as long as the `with` lasts."""
        self.kill(name, signal.SIGTERM)
        self.start_process(name, **variables)
        try:
            yield
        finally:
            self.kill(name, signal.SIGTERM)
            self.start_process(name)

    @contextmanager
    def second_door(self, **variables: str) -> Iterator[Self]:
        """This exchange behind another pair of `web` and `live`, which have further variables."""
        door = copy.copy(self)
        door._take_ports()
        environment = {"PORT": str(door.port), "WS_PORT": str(door.ws_port), **variables}
        names = [f"{name}.{door.port}" for name in ("web", "live")]
        for name in names:
            self.start_process(name, **environment)
        try:
            door.wait_healthy()
            yield door
        finally:
            for name in names:
                self.kill(name, signal.SIGTERM)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process and wait for its end; it is not started again by itself."""
        process = self._processes[name]
        if process.pid is not None and process.exit_code() is None:
            os.kill(process.pid, number)
        _poll(lambda: process.exit_code() is not None, timeout_s=20, what=f"the end of {name}")
        process.end_group()

    def wait_ended(self, name: str, timeout_s: float = 20) -> int:
        """Until a process has ended by itself; answers its exit code, negative for a signal."""
        process = self._processes[name]
        _poll(lambda: process.exit_code() is not None, timeout_s=timeout_s, what=f"the end of {name}")
        process.end_group()
        code = process.exit_code()
        assert code is not None
        return code

    def restart(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a process and start it again; returns when the exchange is healthy."""
        self.kill(name, number)
        self.start_process(name)
        self.wait_healthy()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal and do not wait: SIGSTOP freezes a process, SIGCONT wakes it."""
        os.kill(self.pid(name), number)

    def pid(self, name: str) -> int:
        pid = self._processes[name].pid
        assert pid is not None
        return pid

    def has(self, name: str) -> bool:
        """Whether it was started, be it alive or not."""
        return name in self._processes

    def is_alive(self, name: str) -> bool:
        return self._processes[name].exit_code() is None

    def wait_healthy(self, timeout_s: float = 60) -> None:
        """Until web, live and every slot's engine say they are well. Fails with the logs' ends."""
        probes = [f"{self.http}/health/ready", f"{self.http}/matching/health", f"{self.live_http}/ws/health"]
        try:
            _poll(lambda: all(map(_says_yes, probes)), timeout_s=timeout_s, what="the exchange's health")
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n" + "\n".join(map(self.log, self._processes))) from None

    def log(self, name: str, lines: int = 25) -> str:
        """The end of what a process has written."""
        path = self.folder / "logs" / f"{name}.log"
        text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
        return "\n".join([f"--- {name}", *text])

    # Use ------------------------------------------------------------------------------------------

    def manage(
        self, *arguments: str, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py against this exchange. With `check` a failure raises, with its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise RuntimeError(
                f"manage.py {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the exchange's database, in autocommit."""
        return psycopg.connect(self.database_url, autocommit=True)

    def valkey(self) -> redis.Redis:
        return redis.Redis.from_url(self._valkey.url())

    def staff_key(self) -> str:
        """A key of the operator, with every scope."""
        if not self._staff_key:
            made = self.manage("create_api_key", OPERATOR, "--scopes", "read,trade,admin")
            self._staff_key = made.stdout.strip()
        return self._staff_key

    def new_colleague(self, name: str, password: str) -> str:
        """A member of staff with every right, made by the operator's own means; answers the username."""
        username = f"{name}_{secrets.token_hex(3)}"
        make = f"User.objects.create_superuser({username!r}, '', {password!r})"
        self.manage("shell", "-c", f"from accounts.models import User; {make}")
        return username

    def staff_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.staff_key()}"}

    def new_trader(self, cash: str = "10000.0000") -> Trader:
        """A user of its own for a test, through the public API; `cash` is deposited."""
        name = f"trader_{secrets.token_hex(5)}"
        body = {"username": name, "password": secrets.token_urlsafe(12)}
        with httpx.Client(base_url=f"{self.http}/api/v1") as client:
            made = client.post("/register", json=body)
            assert made.status_code == 201, made.text
            trader = Trader(name, str(made.json()["user_id"]), made.json()["api_key"])
            paid = client.post("/account/deposit", json={"amount": cash}, headers=trader.headers)
            assert paid.status_code == 201, paid.text
        return trader

    def _environment(self) -> dict[str, str]:
        changes = {
            "DATA_DIR": str(self.folder),
            "DATABASE_URL": self.database_url,
            "VALKEY_URL": self._valkey.url(),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WS_PORT": str(self.ws_port),
            "THROTTLE": "0",
            "READ_CACHE": "1",
            "DEMO": "0",
            "ADMIN_USERNAME": OPERATOR,
            "ADMIN_PASSWORD": secrets.token_urlsafe(16),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "PROMETHEUS_MULTIPROC_DIR": str(self.folder / "metrics"),
            "OUTSIDE_ALLOW": "127.0.0.0/8",
            "LOG_FORMAT": "console",
            **self._variables,
        }
        return {name: value for name, value in child_environment(changes).items() if name not in OF_THE_TESTS}


def _with_database(url: str, name: str) -> str:
    """The same libpq URL for another database: its path is the name."""
    before, _, query = url.partition("?")
    return f"{before.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


def _says_yes(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _poll(done: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)
