"""A streaming replica of an embedded PostgreSQL, made anew at each start: what a stopped one lacks, the primary need
not have kept."""

import shutil
from pathlib import Path

from ops.embedded.errors import EmbeddedError
from ops.embedded.postgres import PostgresServer
from ops.embedded.process import own, spawn

SETTINGS = {
    "hot_standby": "on",
    # A long read here must not keep the primary from cleaning up; it is ended instead, and asked of the primary.
    "hot_standby_feedback": "off",
    # The replay waits for a read no longer than this, well under the lag at which a replica is left out.
    "max_standby_streaming_delay": "1s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
}


class ReplicaServer(PostgresServer):
    """Reads only. Its roles, passwords and databases are the primary's, which must be running when it starts."""

    def __init__(self, data_dir: Path, *, port: int, primary: PostgresServer) -> None:
        super().__init__(
            data_dir, port=port, superuser_password=primary.superuser_password, password=primary.password,
            durable=primary.durable,
        )  # fmt: skip
        self._primary = primary

    def _make_cluster(self) -> None:
        """A copy of the primary as it is now, which follows it from then on. The last one gives way to it."""
        is_in_use = self.data_dir.exists() and any(self.data_dir.iterdir())
        if is_in_use and not (self.data_dir / "standby.signal").exists():
            raise EmbeddedError(f"{self.data_dir} holds files but no replica; move it away")
        fresh = self.data_dir.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        own(fresh, self.user)
        self._copy_primary(fresh)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        fresh.rename(self.data_dir)

    def _copy_primary(self, folder: Path) -> None:
        command = [str(self.bin_dir / "pg_basebackup"), "-D", str(folder), "--write-recovery-conf"]
        command += ["--wal-method=stream", "--checkpoint=fast"]
        if not self.durable:
            command.append("--no-sync")
        primary = self._primary
        command += ["--host", str(primary.socket_dir), "--port", str(primary.port), "--username", "postgres"]
        password = {"PGPASSWORD": primary.superuser_password}
        with self.log_path.open("ab") as log:
            code = spawn(command, user=self.user, log=log, cwd=folder, secrets=password).wait()
        if code != 0:
            raise EmbeddedError(f"pg_basebackup failed with code {code}; see {self.log_path}")

    def _settings(self) -> dict[str, str]:
        return super()._settings() | SETTINGS

    def _make_role_and_database(self) -> None:
        """They come with the copy."""
