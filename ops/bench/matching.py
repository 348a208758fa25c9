"""Matching without commits: the production engine and packages from PyPI, each in a process of its own, on one flow.

The flow is made so that no order meets its own account: some contestants know no accounts, and all must come to the
same trades.
"""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from ops.bench.contestants.contest import Flow, Result
from ops.bench.contestants.engine import BUDGET_PIPS, NOW_US, command_of, open_market, uuid_of
from ops.bench.interpreters import YardstickMissing, interpreter
from trading.engine.decide import run
from trading.engine.events import OrderMatched

OPERATIONS = 100_000
ACCOUNTS = 5_000
CANCEL_SHARE = 0.30
RESTING_SHARE, CROSSING_SHARE = 0.66, 0.28  # of placements; the rest sweeps several levels
MIDDLE_TICKS, DEPTH_TICKS, CROSSING_TICKS, SWEEP_TICKS = 50, 20, 3, 10
RESTING_SHARES, CROSSING_SHARES, SWEEP_SHARES = 100, 30, 300
LONGEST_SECONDS = 120.0

# Depths of the engine, see contestants/engine.py.
OWN = ("book", "rules", "match")
# The module of each package's contestant, and the Python it needs.
PACKAGES = {
    "akhil4n-orderbook": ("akhil4n", "3.11"),
    "fastlob": ("fastlob_book", "3.11"),
    "matching-engine": ("matching_engine_book", "3.12"),
}


@dataclass(frozen=True, slots=True)
class MatchingRun:
    """A contestant's seconds for the whole flow, once a repetition, and what it came to."""

    seconds: list[float]
    result: Result

    def per_s(self, operations: int) -> list[float]:
        return [operations / seconds for seconds in self.seconds]

    def us_each(self, operations: int) -> float:
        """µs an operation, by the median repetition."""
        return sorted(self.seconds)[len(self.seconds) // 2] * 1e6 / operations


def matching_flow(*, operations: int, accounts: int, seed: int) -> tuple[Flow, Result]:
    """Placements and cancels of one book, and the trades that they must lead to."""
    flow = _operations(operations, seed)
    met, result = _meetings(flow)
    chance = random.Random(seed)  # noqa: S311
    owners: dict[int, int] = {}
    for step in flow:
        if len(step) == 5:
            makers = {owners[maker] for maker in met.get(step[0], ())}
            assert len(makers) < accounts, "a sweep met every account"
            while (owner := chance.randrange(accounts)) in makers:
                pass
            owners[step[0]] = owner
        step[1] = owners[step[0]]
    return flow, result


def _operations(count: int, seed: int) -> Flow:
    """The flow with every order in an account of its own, which has the order's number."""
    chance = random.Random(seed)  # noqa: S311
    open_numbers: list[int] = []
    flow: Flow = []
    for number in range(1, count + 1):
        if open_numbers and chance.random() < CANCEL_SHARE:
            # Any that was placed, swapped to the end; some have been filled by then, as in life.
            at = chance.randrange(len(open_numbers))
            open_numbers[at], open_numbers[-1] = open_numbers[-1], open_numbers[at]
            cancelled = open_numbers.pop()
            flow.append([cancelled, cancelled])
            continue
        is_buy, dice = chance.random() < 0.5, chance.random()
        if dice < RESTING_SHARE:
            ticks, shares = -chance.randint(1, DEPTH_TICKS), RESTING_SHARES
        elif dice < RESTING_SHARE + CROSSING_SHARE:
            ticks, shares = CROSSING_TICKS, CROSSING_SHARES
        else:
            ticks, shares = SWEEP_TICKS, SWEEP_SHARES
        price = MIDDLE_TICKS + (ticks if is_buy else -ticks)
        flow.append([number, number, is_buy, price, chance.randint(1, shares)])
        open_numbers.append(number)
    return flow


def _meetings(flow: Flow) -> tuple[dict[int, list[int]], Result]:
    """Which makers each order meets, and trades and volume of all."""
    market = open_market()
    numbers = {uuid_of(2, step[0]): step[0] for step in flow}
    met: dict[int, list[int]] = {}
    trades = volume = 0
    for step in flow:
        for event in run(market, command_of(step), budget_pips=BUDGET_PIPS, now_us=NOW_US):
            if isinstance(event, OrderMatched):
                trades += 1
                volume += event.quantity
                maker = next(leg.order for leg in event.legs if leg.role == "maker")
                met.setdefault(step[0], []).append(numbers[maker])
    return met, Result(trades, volume)


def run_engine(flow_file: Path, *, depth: str, repetitions: int) -> MatchingRun:
    """The production engine, as deep as `depth` says. Raises YardstickMissing if it fails."""
    return _run(sys.executable, "engine", str(flow_file), str(repetitions), depth)


def run_package(flow_file: Path, *, name: str, repetitions: int) -> MatchingRun:
    """A package of PACKAGES. Raises YardstickMissing where it cannot run."""
    module, version = PACKAGES[name]
    return _run(str(interpreter(version)), module, str(flow_file), str(repetitions))


def _run(python: str, module: str, *arguments: str) -> MatchingRun:
    found = contestant(python, module, *arguments)
    return MatchingRun(found["seconds"], Result(found["trades"], found["volume_shares"], found["raised"]))


def contestant(python: str, module: str, *arguments: str) -> dict[str, Any]:
    """Runs a module of contestants to its end; answers its line of JSON."""
    command = [python, "-m", f"ops.bench.contestants.{module}", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise YardstickMissing(str(error)) from None
    if done.returncode != 0:
        raise YardstickMissing((done.stderr.strip().splitlines() or ["it ended without a message"])[-1][:200])
    return dict(json.loads(done.stdout))
