"""Two hundred simulated exchanges, in which everything goes wrong and no invariant breaks."""

import os

import pytest

from tests.simulation.run import reports, run_seed, told, total
from trading.shard.crash_points import POINTS

SEEDS = range(1, 201)
COMMANDS = 2000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_invariant_holds_and_every_point_is_crashed_at() -> None:
    """A failure names its seeds, and for each the one command that repeats it."""
    done = list(reports(SEEDS, COMMANDS, len(os.sched_getaffinity(0))))
    failed = [told(report) for report in done if report.failure]
    assert not failed, "\n" + "\n".join(failed)
    assert len(done) == len(SEEDS)
    crashes = total([report.crashes for report in done])
    assert [point for point in POINTS if not crashes[point]] == []
    faults = total([report.faults for report in done])
    missing = {
        "statement lost", "statement's answer lost", "Valkey call lost", "Valkey answer lost", "outcome dropped",
        "outcome late", "frame dropped", "frame repeated", "frame overtaken", "feed message dropped", "freeze",
        "clean stop", "kill", "gateway gone", "Valkey wiped", "Valkey away", "PostgreSQL stopped", "another shard",
    } - set(faults)  # fmt: skip
    assert missing == set()
    answers = total([report.told for report in done])
    assert {"order", "refused", "repeat", "count", "market", "failed", "unknown"} <= set(answers)


def test_seed_repeats_itself_to_the_byte() -> None:
    first, second, other = run_seed(5, 400), run_seed(5, 400), run_seed(6, 400)
    assert first.failure == second.failure == ""
    assert first.events > 300
    assert (first.digest, first.reached) == (second.digest, second.reached)
    assert other.digest != first.digest
