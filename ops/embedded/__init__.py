"""PostgreSQL 18 and Valkey 9 from wheels, under one directory and for this machine only.

Data, ports and passwords are found again at the next start. What a killed run left behind is cleared away; a
second live user of the directory is refused. Refuses to be a production database: it has no backups, and its
replicas stand on the same machine.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.embedded.errors import DataDirLocked, EmbeddedError
from ops.embedded.lock import DataDirLock
from ops.embedded.postgres import PostgresServer
from ops.embedded.process import free_port, port_is_free
from ops.embedded.replica import ReplicaServer
from ops.embedded.valkey import ValkeyServer

__all__ = [
    "DataDirLock",
    "DataDirLocked",
    "EmbeddedError",
    "EmbeddedServers",
    "PostgresServer",
    "ReplicaServer",
    "ValkeyServer",
]

STATE_FILE = "servers.json"


@dataclass(slots=True)
class EmbeddedServers:
    """The servers of one DATA_DIR; either may be None where a URL of another one is used."""

    postgres: PostgresServer | None
    valkey: ValkeyServer | None
    replicas: list[ReplicaServer] = field(default_factory=list)

    @classmethod
    def prepare(
        cls,
        data_dir: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        replicas: int = 0,
        durable: bool = True,
    ) -> "EmbeddedServers":
        """Lay out directories, ports and passwords; nothing runs yet. Raises EmbeddedError if a binary is missing.

        `durable=False` switches fsync off: for tests alone.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        state = _State(data_dir / STATE_FILE)
        made = cls(
            postgres=PostgresServer(
                data_dir / "postgres",
                port=state.port("postgres_port"),
                superuser_password=state.password("postgres_superuser_password"),
                password=state.password("postgres_password"),
                durable=durable,
            )
            if postgres
            else None,
            valkey=ValkeyServer(
                data_dir / "valkey",
                port=state.port("valkey_port"),
                password=state.password("valkey_password"),
            )
            if valkey
            else None,
        )
        if made.postgres is not None:
            made.replicas = [
                ReplicaServer(data_dir / name, port=state.port(f"{name}_port"), primary=made.postgres)
                for name in (f"replica_{number}" for number in range(replicas))
            ]
        state.save()
        return made

    def start(self) -> None:
        """Start what there is and wait until it answers; on a failure nothing is left running."""
        try:
            for server in (self.postgres, *self.replicas, self.valkey):
                if server is not None:
                    server.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL, replicas first; a server that is not running is fine."""
        for server in (self.valkey, *self.replicas, self.postgres):
            if server is not None:
                server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a process to these servers."""
        variables = {}
        if self.postgres is not None:
            variables["DATABASE_URL"] = self.postgres.url()
        if self.replicas:
            variables["REPLICA_URLS"] = ",".join(replica.url() for replica in self.replicas)
        if self.valkey is not None:
            variables["VALKEY_URL"] = self.valkey.url()
        return variables


class _State:
    """Ports and passwords of a data directory, in one file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def port(self, name: str) -> int:
        """The remembered port if nobody has taken it meanwhile, else a free one."""
        remembered = self.values.get(name)
        if remembered is None or not port_is_free(remembered):
            self.values[name] = free_port()
        return int(self.values[name])

    def password(self, name: str) -> str:
        return str(self.values.setdefault(name, secrets.token_urlsafe(24)))

    def save(self) -> None:
        fresh = self.path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.values, file, indent=1)
        fresh.replace(self.path)
