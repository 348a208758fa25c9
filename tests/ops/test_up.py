"""`manage.py up` as a person uses it: real processes, real signals, one directory."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ops.embedded import DataDirLock
from ops.embedded.process import free_port

PATIENCE_S = 90
PROJECT = Path(__file__).resolve().parents[2]
# What conftest sets for the tests' own process would lead `up` to the tests' servers.
OF_THE_TESTS = {
    "DATABASE_URL", "VALKEY_URL", "DATA_DIR", "SECRET_KEY", "TRANSACTION_TIMEOUT_MS", "DB_POOL_MAX", "PROCESS_NAME",
}  # fmt: skip


class Up:
    """A running `manage.py up`."""

    def __init__(self, data_dir: Path, **variables: str) -> None:
        self.port, self.ws_port = free_port(), free_port()
        self.env = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS}
        self.env |= {
            "DATA_DIR": str(data_dir),
            "DEMO": "0",
            "PORT": str(self.port),
            "WS_PORT": str(self.ws_port),
        }
        self.env |= {"ADMIN_USERNAME": "root", "ADMIN_PASSWORD": "correct-horse-battery", **variables}
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=PROJECT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for_line(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not any(text in line for line in self.lines):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"never said {text!r}:\n" + "\n".join(self.lines))
            time.sleep(0.05)

    def family(self) -> list[psutil.Process]:
        """Every process that has come from this one."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(5)
        return code


@contextmanager
def up(data_dir: Path, **variables: str) -> Iterator[Up]:
    running = Up(data_dir, **variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGINT)


def _survivors(family: list[psutil.Process], timeout_s: float = 0) -> list[str]:
    """The command lines of those that still run."""
    _gone, alive = psutil.wait_procs(family, timeout=timeout_s)
    return [
        f"{process.pid} {' '.join(process.cmdline())}"
        for process in alive
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_up_again_finds_its_data_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        first.wait_for_line("pmarket is ready")
        registered = httpx.post(
            f"{first.url}/api/v1/register", json={"username": "carol", "password": "correct-horse-battery"}
        )
        assert registered.status_code == 201, registered.text
        family = first.family()
        assert {"postgres", "valkey-server"} <= {process.name() for process in family}
        assert first.end(signal.SIGINT) == 0
        assert _survivors(family) == []
        assert not (tmp_path / "runtime.env").exists()

    with up(tmp_path) as second:
        second.wait_for_line("pmarket is ready")
        key = registered.json()["api_key"]
        account = httpx.get(f"{second.url}/api/v1/account", headers={"Authorization": f"Bearer {key}"})
        assert account.status_code == 200, account.text
        family = second.family()
        assert second.end(signal.SIGTERM) == 0
        assert _survivors(family) == []


@pytest.mark.slow
def test_several_engines_share_the_slots_one_that_is_killed_is_replaced_and_none_outlives_a_killed_up(
    tmp_path: Path,
) -> None:
    def wait_for_shares(*, without: int | None = None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = httpx.get(f"{running.url}/matching/health", timeout=10).json()["shards"]
            pids = {int(each["shard"].split(":")[1]) for each in found}
            if without not in pids and sorted(each["slots"] for each in found) == [5, 5, 6]:
                return
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    with up(tmp_path, ENGINES="3") as running:
        running.wait_for_line("pmarket is ready")
        wait_for_shares()
        killed = _pid_of(running, "manage.py engine")
        os.kill(killed, signal.SIGKILL)
        wait_for_shares(without=killed)
        _wait_for_200(f"{running.url}/matching/health")

        family = running.family()
        running.end(signal.SIGKILL)
        assert _survivors(family, timeout_s=30) == []


@pytest.mark.slow
def test_replica_is_read_from_and_one_that_is_killed_comes_back(tmp_path: Path) -> None:
    def wait_for_replica() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (found := _replica(running))["status"] != "ok":
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    with up(tmp_path, REPLICAS="1", WEB_WORKERS="1") as running:
        running.wait_for_line("pmarket is ready")
        wait_for_replica()
        assert httpx.get(f"{running.url}/api/v1/markets").status_code == 200
        assert (
            'exchange_replica_reads_total{server="replica_0"} 1.0' in httpx.get(f"{running.url}/metrics").text
        )
        os.kill(_pid_of(running, str(tmp_path / "replica_0")), signal.SIGKILL)
        running.wait_for_line("replica_0 ended with code")
        assert httpx.get(f"{running.url}/api/v1/markets").status_code == 200
        wait_for_replica()


def test_a_killed_process_comes_back_other_terminals_find_the_servers_and_many_signals_end_all(
    tmp_path: Path,
) -> None:
    with up(tmp_path) as running:
        running.wait_for_line("pmarket is ready")
        for marker in ("manage.py engine", "uvicorn", "valkey-server"):
            os.kill(_pid_of(running, marker), signal.SIGKILL)
        running.wait_for_line("engine ended with code -9: starting it again in 1 s")
        running.wait_for_line("live ended with code -9: starting it again in 1 s")
        running.wait_for_line("valkey ended with code -9: starting it again in 1 s")
        _wait_for_200(f"{running.url}/matching/health")
        _wait_for_200(f"http://127.0.0.1:{running.ws_port}/ws/health")

        other_terminal = {
            name: value for name, value in running.env.items() if name not in {"PORT", "WS_PORT", "DEMO"}
        }
        made = subprocess.run(
            [sys.executable, "manage.py", "create_api_key", "root", "--scopes", "read"],
            cwd=PROJECT,
            env=other_terminal,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("pm_")

        # A handler that a further signal interrupts must not wait for itself.
        family = running.family()
        projector = _pid_of(running, "manage.py projector")
        for _ in range(300):
            for pid in (projector, running.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        assert running.wait_for_end() == 0
        assert _survivors(family, timeout_s=30) == []


def test_a_taken_port_is_refused_in_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as occupier:
        occupier.bind(("127.0.0.1", 0))
        occupier.listen()
        taken = occupier.getsockname()[1]
        for variable in ("PORT", "WS_PORT"):
            _assert_refused(
                tmp_path, f"port {taken} is taken: set {variable} to a free one", **{variable: str(taken)}
            )


def test_a_locked_data_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    with DataDirLock(tmp_path):
        _assert_refused(tmp_path, f"is in use by process {os.getpid()}")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "eighty", "PORT must be a whole number, not 'eighty'"),
        ("PORT", "70000", "PORT=70000 is no port"),
        ("REPLICAS", "-1", "REPLICAS must be a whole number, not '-1'"),
        ("ENGINES", "0", "ENGINES must be a positive whole number, not '0'"),
    ],
)
def test_a_senseless_variable_is_refused_in_one_line(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    _assert_refused(tmp_path, said, **{variable: value})


def test_a_directory_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _assert_refused(tmp_path / "file" / "data", "cannot be written", looked_at=tmp_path)


def test_an_empty_exchange_without_its_superuser_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with up(tmp_path, ADMIN_PASSWORD="") as running:
        assert running.wait_for_end() == 1
        assert any("ADMIN_USERNAME and ADMIN_PASSWORD" in line for line in running.lines), running.lines
    assert _processes_of(tmp_path) == []


def _assert_refused(data_dir: Path, said: str, *, looked_at: Path | None = None, **variables: str) -> None:
    with up(data_dir, **variables) as running:
        assert running.wait_for_end() != 0
    assert len(running.lines) == 1, running.lines
    assert said in running.lines[0]
    assert not (data_dir / "postgres").exists()
    assert _processes_of(looked_at or data_dir) == []


def _processes_of(data_dir: Path) -> list[psutil.Process]:
    """Processes that were started for a directory, but this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(data_dir) in " ".join(process.environ().values()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _pid_of(running: Up, marker: str) -> int:
    for process in running.family():
        if marker in " ".join(process.cmdline()):
            return process.pid
    raise AssertionError(f"no process {marker}")


def _wait_for_200(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, f"{url} never answered 200"
        time.sleep(0.1)


def _replica(running: Up) -> dict[str, Any]:
    """What the probe says of the replica."""
    found: dict[str, Any] = httpx.get(f"{running.url}/health/deep", timeout=10).json()["dependencies"][
        "replica_0"
    ]
    return found
