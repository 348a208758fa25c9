"""Starts processes, watches them, starts a dead one again, and takes all of them down in reverse order.

Knows nothing of what the processes do. Each runs in a process group of its own, which ends with it: by request,
by force after a grace period, or with us if we are killed.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from ops.embedded.process import die_with_parent
from ops.group_guard import GroupGuard

RESTART_DELAYS_S = (1, 2, 4)
DEATHS_ALLOWED = 4
DEATHS_WINDOW_S = 60
GRACE_S = 10
GUARD_S = 15
TICK_S = 0.1
COLOURS = (36, 33, 32, 35, 34, 31, 96, 93, 92, 95)


class Watched(Protocol):
    """A process that can be started again. Two kinds: lines of the Procfile, and embedded servers."""

    name: str

    def start(self) -> None: ...

    def exit_code(self) -> int | None:
        """None while it lives."""

    def stop(self) -> None: ...


class Console:
    """Prints the processes' lines with coloured names, one whole line at a time."""

    def __init__(self, stream: IO[str], log_dir: Path) -> None:
        self.stream = stream
        self.log_dir = log_dir
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}

    def say(self, text: str, *, name: str = "up") -> None:
        with self._lock:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            label = f"\x1b[{colour}m{name:<10}\x1b[0m" if self.stream.isatty() else f"{name:<10}"
            self.stream.write(f"{label}| {text}\n")
            self.stream.flush()

    def follow(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        """Copy a process's output here and to its log file until it ends."""

        def copy() -> None:
            with pipe, (self.log_dir / f"{name}.log").open("ab", buffering=0) as log:
                for line in pipe:
                    log.write(line)
                    self.say(line.decode("utf-8", "replace").rstrip(), name=name)

        thread = threading.Thread(target=copy, name=f"output of {name}", daemon=True)
        thread.start()
        return thread


class CommandProcess:
    """A shell command in a process group of its own."""

    def __init__(
        self, name: str, command: str, *, environment: Mapping[str, str], cwd: Path, console: Console
    ) -> None:
        self.name = name
        self.command = command
        self._environment = {**environment, "PROCESS_NAME": name}
        self._cwd = cwd
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._output: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        # `exec env` lets a line begin with NAME=value and leaves no shell between us and the process.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec env {self.command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            env=self._environment,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        assert self._process.stdout is not None
        self._output = self._console.follow(self.name, self._process.stdout)

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ask the process, then end its whole group; returns when none of it is left."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._console.say(f"{self.name} did not stop within {GRACE_S} s and is killed")
        self.end_group()
        self._process.wait()
        if self._output is not None:
            self._output.join(1)

    def end_group(self) -> None:
        """Children that a dead process left behind would hold its port."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


@dataclass(slots=True)
class _Record:
    """What is remembered of one watched process."""

    process: Watched
    deaths: deque[float] = field(default_factory=deque)
    start_at: float | None = None


class Supervisor:
    """`add` starts a process; `run` watches until a signal or until one process dies too often."""

    def __init__(
        self, console: Console, *, on_death: Callable[[Watched], None] = lambda process: None
    ) -> None:
        self.console = console
        # Set by a signal's handler. A threading.Event would not do: a second signal that interrupts the first one's
        # handler while that holds the event's lock waits for it for ever.
        self.stopping = False
        self._on_death = on_death
        self._records: list[_Record] = []
        self._guard: GroupGuard | None = None

    def listen_to_signals(self) -> None:
        def stop(*_: object) -> None:
            self.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)

    def add(self, process: Watched, *, running: bool = False) -> None:
        self._records.append(_Record(process))
        if not running:
            self._start(process)

    def run(self, steps: Iterable[None] = ()) -> int:
        """Watch; between two looks take one of `steps`, the work that follows a start. Answers the exit code."""
        todo: Iterator[None] = iter(steps)
        while True:
            time.sleep(TICK_S)
            if self.stopping:
                return 0
            now = time.monotonic()
            for record in self._records:
                if not self._look_after(record, now):
                    return 1
            next(todo, None)

    def stop(self) -> None:
        """Take all down, the last started first. A further signal does not interrupt it."""
        for record in reversed(self._records):
            record.process.stop()
        self._records.clear()
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def _look_after(self, record: _Record, now: float) -> bool:
        """False when the process has died too often to go on."""
        if record.start_at is not None:
            if now >= record.start_at:
                record.start_at = None
                self._start_again(record.process)
            return True
        code = record.process.exit_code()
        if code is None:
            return True
        return self._count_death(record, code, now)

    def _count_death(self, record: _Record, code: int, now: float) -> bool:
        self._on_death(record.process)
        record.deaths.append(now)
        while record.deaths[0] < now - DEATHS_WINDOW_S:
            record.deaths.popleft()
        name, count = record.process.name, len(record.deaths)
        if count > DEATHS_ALLOWED:
            self.console.say(
                f"{name} ended with code {code}, {count} times within a minute: stopping everything"
            )
            return False
        delay = RESTART_DELAYS_S[min(count, len(RESTART_DELAYS_S)) - 1]
        self.console.say(f"{name} ended with code {code}: starting it again in {delay} s")
        record.start_at = now + delay
        return True

    def _start(self, process: Watched) -> None:
        process.start()
        if self._guard is None:
            self._guard = GroupGuard(GUARD_S)
        # An embedded server ends by the kernel's signal alone: to be killed would cost it its clean end.
        commands = [each.process for each in self._records if isinstance(each.process, CommandProcess)]
        self._guard.watch(command.pid for command in commands if command.pid is not None)

    def _start_again(self, process: Watched) -> None:
        try:
            self._start(process)
        except Exception as error:  # A failed start is a death like any other, counted at the next look.
            self.console.say(f"{process.name} could not be started: {error}")


def read_procfile(path: Path) -> dict[str, str]:
    """name -> command, in the file's order."""
    lines = (re.match(r"([A-Za-z0-9_-]+):\s*(\S.*)", line) for line in path.read_text().splitlines())
    return {match.group(1): match.group(2) for match in lines if match}


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Ours, with the changes, and with the folder of this Python first, so that `python` means it."""
    own_bin = str(Path(sys.executable).parent)
    path = os.pathsep.join([own_bin, *filter(None, [os.environ.get("PATH")])])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **changes}
