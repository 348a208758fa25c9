"""Watching processes: deaths, restarts, and an end that leaves nothing behind."""

import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ops import supervisor as module
from ops.group_guard import GroupGuard
from ops.supervisor import CommandProcess, Console, Supervisor, child_environment, read_procfile

PATIENCE_S = 15


class Fixture:
    """A supervisor that runs in this thread until a condition holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = io.StringIO()
        self.console = Console(self.output, folder)
        self.supervisor = Supervisor(self.console)

    def process(self, name: str, command: str) -> CommandProcess:
        return CommandProcess(
            name, command, environment=child_environment({}), cwd=self.folder, console=self.console
        )

    def run_until(self, condition: Callable[[], bool]) -> int:
        def steps() -> Iterator[None]:
            deadline = time.monotonic() + PATIENCE_S
            while not condition():
                assert time.monotonic() < deadline, self.output.getvalue()
                yield
            self.supervisor.stopping = True

        return self.supervisor.run(steps())

    def run_to_its_end(self, process: CommandProcess) -> None:
        process.start()
        deadline = time.monotonic() + PATIENCE_S
        while process.exit_code() is None:
            assert time.monotonic() < deadline, f"{process.name} did not end"
            time.sleep(0.01)
        process.stop()

    def lines(self, name: str) -> int:
        path = self.folder / name
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    monkeypatch.setattr(module, "RESTART_DELAYS_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(module, "GRACE_S", 0.5)
    monkeypatch.setattr(module, "TICK_S", 0.01)
    fixture = Fixture(tmp_path)
    yield fixture
    fixture.supervisor.stop()


def test_the_delays_are_1_2_and_4_seconds_and_the_fifth_death_in_a_minute_is_the_last() -> None:
    assert module.RESTART_DELAYS_S == (1, 2, 4)
    assert (module.DEATHS_ALLOWED, module.DEATHS_WINDOW_S) == (4, 60)


def test_a_dead_process_is_started_again(watched: Fixture) -> None:
    watched.supervisor.add(watched.process("worker", "sh -c 'echo $$ >> starts; sleep 60'"))
    first = int(_read_when_written(watched.folder / "starts"))
    os.kill(first, signal.SIGKILL)
    assert watched.run_until(lambda: watched.lines("starts") == 2) == 0
    assert "worker ended with code -9: starting it again" in watched.output.getvalue()


def test_five_deaths_within_a_minute_stop_everything_with_an_error(watched: Fixture) -> None:
    healthy = watched.process("healthy", "sleep 60")
    watched.supervisor.add(healthy)
    watched.supervisor.add(watched.process("broken", "sh -c 'echo once >> starts; exit 3'"))
    assert watched.run_until(lambda: False) == 1
    assert watched.lines("starts") == 5
    assert "broken ended with code 3, 5 times within a minute" in watched.output.getvalue()
    watched.supervisor.stop()
    assert healthy.exit_code() is not None


def test_deaths_of_different_processes_are_not_added_up(watched: Fixture) -> None:
    for name in ("a", "b", "c"):
        watched.supervisor.add(
            watched.process(name, f"sh -c 'echo x >> {name}; [ $(wc -l < {name}) -gt 2 ] && exec sleep 60'")
        )
    assert watched.run_until(lambda: all(watched.lines(name) == 3 for name in "abc")) == 0


def test_stopping_goes_backwards_through_the_starts(watched: Fixture) -> None:
    for name in ("first", "second", "third"):
        trap = f'trap "echo {name} >> ends; exit 0" TERM; echo up > {name}; while :; do sleep 0.05; done'
        watched.supervisor.add(watched.process(name, f"sh -c '{trap}'"))
        _read_when_written(watched.folder / name)
    watched.supervisor.stop()
    assert (watched.folder / "ends").read_text().split() == ["third", "second", "first"]


def test_a_process_that_ignores_the_request_is_killed_with_its_children(watched: Fixture) -> None:
    stubborn = watched.process(
        "stubborn", """sh -c 'trap "" TERM; sleep 61 & echo $! > child; while :; do sleep 0.05; done'"""
    )
    watched.supervisor.add(stubborn)
    child = int(_read_when_written(watched.folder / "child"))
    watched.supervisor.stop()
    assert stubborn.exit_code() == -signal.SIGKILL
    assert _has_ended(child)


def test_children_of_a_process_that_left_by_itself_are_ended_too(watched: Fixture) -> None:
    watched.supervisor.add(watched.process("leaver", "sh -c 'sleep 62 & echo $! > child; exit 0'"))
    child = int(_read_when_written(watched.folder / "child"))
    watched.supervisor.stop()
    assert _has_ended(child)


def test_output_carries_the_process_name_and_is_kept_in_a_file(watched: Fixture) -> None:
    process = watched.process("speaker", "printf 'one\\ntwo without an end'")
    watched.run_to_its_end(process)
    assert watched.output.getvalue().splitlines() == ["speaker   | one", "speaker   | two without an end"]
    assert (watched.folder / "speaker.log").read_text() == "one\ntwo without an end"


def test_a_line_may_begin_with_variables(watched: Fixture) -> None:
    process = watched.process("web", "GREETING=hello sh -c 'echo $GREETING $PROCESS_NAME'")
    watched.run_to_its_end(process)
    assert watched.output.getvalue() == "web       | hello web\n"


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo $$ > pid; sleep 63'",
        # Neither this one nor its child ends when it is asked to.
        "sh -c 'trap : TERM; (trap : TERM; echo x > pid; while :; do sleep 1; done) & wait; wait'",
    ],
    ids=["that hear", "that do not hear"],
)
def test_processes_end_with_a_supervisor_that_was_killed(tmp_path: Path, command: str) -> None:
    """The kernel asks them, and a guard ends those that are left: nobody else could."""
    program = (
        "import sys; from pathlib import Path; from ops import supervisor; import signal\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "supervisor.GUARD_S = 1\n"
        "console = supervisor.Console(sys.stdout, folder)\n"
        "environment = supervisor.child_environment({})\n"
        f"p = supervisor.CommandProcess('x', {command!r}, environment=environment, cwd=folder, console=console)\n"
        "watching = supervisor.Supervisor(console); watching.add(p)\n"
        "(folder / 'group').write_text(str(p.pid)); signal.pause()\n"
    )
    (tmp_path / "program.py").write_text(program)
    parent = CommandProcess(
        "parent",
        f"python {tmp_path / 'program.py'}",
        environment=child_environment({"PYTHONPATH": str(Path.cwd())}),
        cwd=tmp_path,
        console=Console(io.StringIO(), tmp_path),
    )
    parent.start()
    _read_when_written(tmp_path / "pid")
    leader = psutil.Process(int(_read_when_written(tmp_path / "group")))
    assert parent.pid is not None
    family = [leader, *leader.children(recursive=True), *psutil.Process(parent.pid).children(recursive=True)]
    os.kill(parent.pid, signal.SIGKILL)
    assert all(_has_ended(process.pid) for process in family)
    parent.stop()


def test_a_guard_leaves_groups_alone_that_it_was_not_last_told_of() -> None:
    before, last = (subprocess.Popen(["sleep", "63"], start_new_session=True) for _ in range(2))
    guard = GroupGuard(0)
    guard.watch([before.pid, last.pid])
    guard.watch([last.pid])
    guard._shell.communicate(timeout=PATIENCE_S)  # The end of the pipe, as when its supervisor dies.
    assert last.wait(PATIENCE_S) == -signal.SIGKILL
    assert before.poll() is None
    before.kill()
    before.wait()


def test_a_process_is_not_started_by_a_thread_that_may_end_before_it(watched: Fixture) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(watched.process("short-lived", "sleep 63").start).result()


def test_the_procfile_names_every_kind_of_process() -> None:
    processes = read_procfile(Path("Procfile"))
    assert list(processes) == [
        "web",
        "live",
        "engine",
        "projector",
        "settlement",
        "market",
        "notify",
        "report",
        "beat",
        "simulate",
    ]


def test_lines_of_two_processes_never_mix(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(output, tmp_path)
    threads = [
        threading.Thread(target=lambda name=name: [console.say("x" * 200, name=name) for _ in range(200)])
        for name in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {line[12:] for line in output.getvalue().splitlines()} == {"x" * 200}


def _read_when_written(path: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.01)
    return path.read_text().split()[0]


def _has_ended(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        process.wait(PATIENCE_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True
