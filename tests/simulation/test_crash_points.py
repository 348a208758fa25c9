"""Crash points: their one list is what the code has, and one is switched on from outside the process."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

import trading.shard
from tests.running_exchange import PROJECT
from tests.simulation.run import run_seed
from trading.shard import crash_points
from trading.shard.crash_points import POINTS, VARIABLE

SHARD = Path(trading.shard.__file__).parent


def test_names_in_the_code_are_those_of_the_list_each_at_one_place() -> None:
    code = "".join(path.read_text() for path in SHARD.glob("*.py"))
    assert sorted(re.findall(r'\breach\("(\w+)"\)', code)) == sorted(POINTS)


def test_every_point_is_reached() -> None:
    reached: set[str] = set()
    for seed in range(1, 60):
        reached.update(run_seed(seed, 400).reached)
        if reached == set(POINTS):
            break
    assert sorted(set(POINTS) - reached) == []


@pytest.mark.parametrize(
    ("wanted", "survived"), [("after_match", 0), ("after_match:1", 0), ("after_match:3", 2)]
)
def test_process_is_killed_when_it_comes_there_the_time_that_was_asked_for(
    wanted: str, survived: int
) -> None:
    script = (
        "from trading.shard.crash_points import arm_from_environment, reach\n"
        "arm_from_environment()\n"
        "for n in range(5):\n"
        "    reach('before_match'); reach('after_match'); print(n, flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env={VARIABLE: wanted}, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == [str(n) for n in range(survived)]


@pytest.mark.parametrize("wanted", ["nowhere", "after_match:0", "after_match:often"])
def test_engine_refuses_a_point_that_it_does_not_know(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, wanted)
    with pytest.raises(CommandError):
        call_command("engine")


def test_without_the_variable_nothing_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    crash_points.arm_from_environment()
    assert crash_points._hook is None
    crash_points.reach("before_read")
