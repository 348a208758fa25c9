"""Real workers and beats on the test database and the tests' Valkey, and a way to wait for what they write."""

import os
import time

from django.db import connection
from psycopg.conninfo import make_conninfo

from ops.supervisor import CommandProcess, Console, child_environment, read_procfile
from tests.running_exchange import PROJECT

PATIENCE_S = 20


class Processes:
    """Lines of the Procfile, started by the test and ended after it."""

    def __init__(self, folder):
        self.folder = folder
        self._console = Console((folder / "all.txt").open("w"), folder)
        self._started = []

    def start(self, line, name, *, options="", **variables):
        command = read_procfile(PROJECT / "Procfile")[line]
        environment = child_environment(
            {
                "DATABASE_URL": make_conninfo(
                    os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]
                )
            }
        )
        environment |= {"DATA_DIR": str(self.folder), **variables}
        process = CommandProcess(
            name, f"{command} {options}", environment=environment, cwd=PROJECT, console=self._console
        )
        process.start()
        self._started.append(process)
        return process

    def worker(self, name, queue="notify"):
        """One that knows this folder's jobs. `wait_ready` waits until it takes messages."""
        return self.start(queue, name, options=f"-I tests.trading.jobs.work -n {name}@%h")

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_ready(self, *names):
        wait_for(lambda: all(" ready." in self.log(name) for name in names), f"the start of {names}")

    def stop(self):
        for process in reversed(self._started):
            process.end_group()
            process.stop()


def wait_for(done, what="it"):
    """Until it is so; the answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def notes():
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM job_note ORDER BY at")
        return [what for (what,) in cursor.fetchall()]


def change(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
