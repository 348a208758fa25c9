"""A real primary with a real streaming replica, both thrown away after a module's tests."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import psycopg
import pytest

from ops.embedded import EmbeddedServers, PostgresServer

PATIENCE_S = 60


class Pair:
    """The two servers, and what a test does to the replica."""

    def __init__(self, servers: EmbeddedServers) -> None:
        assert servers.postgres is not None
        (self.replica,) = servers.replicas
        self.primary: PostgresServer = servers.postgres

    def on_primary(self) -> psycopg.Connection[Any]:
        return connect(self.primary)

    def on_replica(self) -> psycopg.Connection[Any]:
        return connect(self.replica)

    def pause(self) -> None:
        """The replica answers, and follows no more."""
        with connect(self.replica, superuser=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT pg_get_wal_replay_pause_state()"
            eventually(
                lambda: connection.execute(state).fetchone() == ("paused",), what="the replay to be paused"
            )

    def resume(self) -> None:
        with connect(self.replica, superuser=True) as connection:
            connection.execute("SELECT pg_wal_replay_resume()")

    def wal_writer(self) -> psutil.Process:
        """The primary's process that writes what nobody waits for."""
        assert self.primary.process is not None
        family = psutil.Process(self.primary.process.pid).children()
        (found,) = [each for each in family if "walwriter" in " ".join(each.cmdline())]
        return found

    def kill(self) -> None:
        """SIGKILL to the postmaster and to each of its children, as when a machine goes."""
        for process in self._family():
            process.send_signal(signal.SIGKILL)
        assert self.replica.process is not None
        self.replica.process.wait()

    def freeze(self) -> None:
        """Every process of the replica stands still; its sockets stay open."""
        for process in self._family():
            process.suspend()

    def thaw(self) -> None:
        for process in self._family():
            process.resume()

    def _family(self) -> list[psutil.Process]:
        assert self.replica.process is not None
        postmaster = psutil.Process(self.replica.process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def restart(self) -> None:
        """On the data that it died with."""
        (self.replica.data_dir / "postmaster.pid").unlink(missing_ok=True)
        self.replica.launch()


def connect(server: PostgresServer, *, superuser: bool = False) -> psycopg.Connection[Any]:
    return psycopg.connect(server.url(superuser=superuser), autocommit=True)


def eventually(is_so: Callable[[], bool], *, what: str) -> None:
    """Polls until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    servers = EmbeddedServers.prepare(
        tmp_path_factory.mktemp("pair"), valkey=False, replicas=1, durable=False
    )
    servers.start()
    try:
        yield Pair(servers)
    finally:
        servers.stop()
