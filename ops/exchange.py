"""One whole exchange on this machine: its directory, servers, preparation and processes. `manage.py up` runs it.

Everything that can be refused is refused before anything is started. Refuses to know what the processes do.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from prometheus_client import multiprocess

from ops.embedded import DataDirLock, EmbeddedServers, PostgresServer, ValkeyServer
from ops.embedded.process import port_is_free
from ops.supervisor import CommandProcess, Console, Supervisor, Watched, child_environment, read_procfile

DEMO_LOGINS = ("admin", "alice", "bob")
DEMO_PASSWORD = "demo-pmarket"  # noqa: S105  (printed for everyone on purpose)
DEMO_ONLY = "simulate"
KEPT_LOG_BYTES = 50_000_000


class CannotStart(Exception):
    """Why nothing was started, in one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the environment asks for."""

    data_dir: Path
    host: str
    port: int
    ws_port: int
    demo: bool
    engines: int
    replicas: int
    own_postgres: bool
    own_valkey: bool

    @classmethod
    def from_environment(cls, data_dir: Path, environment: Mapping[str, str]) -> "Plan":
        """The process environment alone: what an earlier run noted down is not asked."""
        own_postgres = not environment.get("DATABASE_URL")
        replicas = _number(environment, "REPLICAS", 0)
        if replicas and not (own_postgres and not environment.get("REPLICA_URLS")):
            raise CannotStart(
                "REPLICAS is for the embedded PostgreSQL: leave out DATABASE_URL and REPLICA_URLS"
            )
        return cls(
            data_dir=data_dir,
            host=environment.get("HOST") or "127.0.0.1",
            port=_number(environment, "PORT", 8000),
            ws_port=_number(environment, "WS_PORT", 8001),
            demo=(environment.get("DEMO") or "1").lower() not in {"0", "false", "no", "off"},
            engines=_number(environment, "ENGINES", 1),
            replicas=replicas,
            own_postgres=own_postgres,
            own_valkey=not environment.get("VALKEY_URL"),
        )

    @property
    def address(self) -> str:
        return f"http://{'localhost' if self.host in {'127.0.0.1', '0.0.0.0'} else self.host}:{self.port}"  # noqa: S104

    def probe(self, port: int, path: str) -> str:
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{port}{path}"  # noqa: S104

    def refuse_taken_ports(self) -> None:
        if self.port == self.ws_port:
            raise CannotStart(f"PORT and WS_PORT are both {self.port}: they must differ")
        for name, port in (("PORT", self.port), ("WS_PORT", self.ws_port)):
            try:
                free = port_is_free(port, self.host)
            except OverflowError:
                raise CannotStart(f"{name}={port} is no port") from None
            if not free:
                raise CannotStart(f"port {port} is taken: set {name} to a free one")


class EmbeddedProcess:
    """An embedded server as the supervisor sees it."""

    def __init__(self, name: str, server: PostgresServer | ValkeyServer) -> None:
        self.name = name
        self._server = server

    def start(self) -> None:
        self._server.launch()

    def exit_code(self) -> int | None:
        process = self._server.process
        return -1 if process is None else process.poll()

    def stop(self) -> None:
        self._server.stop()


class Exchange:
    """Use: `prepare` (may refuse, starts nothing), `run` (until a signal), `close`."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan = plan
        self.console = console
        self.metrics_dir = plan.data_dir / "metrics"
        self.supervisor = Supervisor(console, on_death=self._forget_metrics)
        self._lock = DataDirLock(plan.data_dir)
        self._servers: EmbeddedServers | None = None
        self._environment: dict[str, str] = {}

    def prepare(self) -> None:
        """Take the directory, check ports and binaries. Raises CannotStart or EmbeddedError."""
        self._lock.acquire()
        self.plan.refuse_taken_ports()
        self._servers = EmbeddedServers.prepare(
            self.plan.data_dir,
            postgres=self.plan.own_postgres,
            valkey=self.plan.own_valkey,
            replicas=self.plan.replicas,
        )
        self._clean_directories()
        self._environment = self._child_environment()

    def run(self) -> int:
        """Start everything and watch; answers the exit code."""
        self._start_servers()
        for command in self._preparing_commands():
            if not self._manage(*command):
                return 0 if self.supervisor.stopping else 1
        self._collect_static_files()
        for process in self._processes():
            self.supervisor.add(process)
        return self.supervisor.run(self._after_start())

    def close(self) -> None:
        """Nothing is left behind; also right when `prepare` or `run` ended early."""
        self.supervisor.stop()
        if self._servers is not None:
            self._servers.stop()
            settings.RUNTIME_FILE.unlink(missing_ok=True)
        self._lock.release()

    # Preparation ----------------------------------------------------------------------------------

    def _clean_directories(self) -> None:
        logs = self.plan.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for log in logs.glob("*.log"):
            if log.stat().st_size > KEPT_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
        shutil.rmtree(self.metrics_dir, ignore_errors=True)
        self.metrics_dir.mkdir()

    def _child_environment(self) -> dict[str, str]:
        assert self._servers is not None
        _make_secret_key(settings.SECRET_KEY_FILE)
        return child_environment(
            {
                "DATA_DIR": str(self.plan.data_dir),
                "HOST": self.plan.host,
                "PORT": str(self.plan.port),
                "WS_PORT": str(self.plan.ws_port),
                "DEMO": "1" if self.plan.demo else "0",
                "DJANGO_SETTINGS_MODULE": "pmarket.settings",
                "PROMETHEUS_MULTIPROC_DIR": str(self.metrics_dir),
                "LOG_FORMAT": os.environ.get("LOG_FORMAT") or "console",
                **self._servers.environment,
            }
        )

    def _start_servers(self) -> None:
        assert self._servers is not None
        self._servers.start()
        replicas = ((each.data_dir.name, each) for each in self._servers.replicas)
        for name, server in (
            ("postgres", self._servers.postgres),
            *replicas,
            ("valkey", self._servers.valkey),
        ):
            if server is not None:
                self.supervisor.add(EmbeddedProcess(name, server), running=True)
                self.console.say(f"{name} is up", name=name)
        noted = {"HOST": self.plan.host, "PORT": self.plan.port, "WS_PORT": self.plan.ws_port}
        _write_private(
            settings.RUNTIME_FILE,
            "".join(f"{name}={value}\n" for name, value in {**noted, **self._servers.environment}.items()),
        )

    def _preparing_commands(self) -> Iterator[tuple[str, ...]]:
        yield ("migrate", "--no-input", "--verbosity", "0")
        yield ("seed_users",)

    def _collect_static_files(self) -> None:
        """Only when a source has changed; compressing the assets takes seconds."""
        mark = self.plan.data_dir / "static" / ".collected"
        fingerprint = _static_fingerprint()
        if mark.exists() and mark.read_text() == fingerprint:
            return
        if self._manage("collectstatic", "--no-input", "--clear", "--verbosity", "0"):
            mark.write_text(fingerprint)

    def _manage(self, *arguments: str) -> bool:
        """Run a command of manage.py to its end; a signal ends it."""
        self.console.say(f"{arguments[0].replace('_', ' ')} …")
        process = self._one_shot(*arguments)
        process.start()
        while process.exit_code() is None and not self.supervisor.stopping:
            time.sleep(0.05)
        process.stop()
        if (code := process.exit_code()) != 0 and not self.supervisor.stopping:
            self.console.say(f"manage.py {arguments[0]} failed with code {code}")
        return code == 0

    def _one_shot(self, *arguments: str) -> CommandProcess:
        return self._command(arguments[0], " ".join(["python", "manage.py", *arguments]))

    def _command(self, name: str, command: str) -> CommandProcess:
        return CommandProcess(
            name, command, environment=self._environment, cwd=settings.BASE_DIR, console=self.console
        )

    # Processes ------------------------------------------------------------------------------------

    def _processes(self) -> Iterator[CommandProcess]:
        for name, command in read_procfile(settings.BASE_DIR / "Procfile").items():
            if name == DEMO_ONLY:
                continue
            yield self._command(name, command)
            if name == "engine":
                for number in range(2, self.plan.engines + 1):
                    yield self._command(f"engine.{number}", command)

    def _after_start(self) -> Iterator[None]:
        """Steps between two looks of the supervisor: wait for health, seed, start the crowd, say where."""
        while not self._is_healthy():
            yield
        if self.plan.demo:
            self.console.say("seeding the demo …")
            seeding = self._one_shot("seed_demo")
            seeding.start()
            try:
                while seeding.exit_code() is None:
                    yield
            finally:
                seeding.stop()
            self.supervisor.add(
                self._command(DEMO_ONLY, read_procfile(settings.BASE_DIR / "Procfile")[DEMO_ONLY])
            )
        self._announce()

    def _is_healthy(self) -> bool:
        return _answers_200(self.plan.probe(self.plan.port, "/health/ready")) and _answers_200(
            self.plan.probe(self.plan.ws_port, "/ws/health")
        )

    def _announce(self) -> None:
        self.console.say(f"pmarket is ready: {self.plan.address}")
        self.console.say(f"API documentation: {self.plan.address}/api/docs/")
        if self.plan.demo:
            names = ", ".join(DEMO_LOGINS)
            self.console.say(f"demo logins: {names}; the password of each is {DEMO_PASSWORD}")
        self.console.say("Ctrl-C stops everything")

    def _forget_metrics(self, process: Watched) -> None:
        """A dead process counts no sockets any more."""
        pid = getattr(process, "pid", None)
        if pid is not None:
            multiprocess.mark_process_dead(pid, str(self.metrics_dir))


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    """A whole number, positive but where 0 is the default."""
    value = environment.get(name) or str(default)
    if not value.isascii() or not value.isdigit() or int(value) < min(default, 1):
        kind = "positive whole number" if default else "whole number"
        raise CannotStart(f"{name} must be a {kind}, not {value!r}")
    return int(value)


def _answers_200(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _make_secret_key(path: Path) -> None:
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(64) + "\n")


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _static_fingerprint() -> str:
    from django.contrib.staticfiles.finders import get_finders

    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in sorted(finder.list(None), key=lambda found: found[0]):
            seen = Path(storage.path(path)).stat()
            digest.update(f"{path}|{seen.st_size}|{seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()
