"""The report of a run, as it is kept under docs/."""

import argparse
import os
import platform
import subprocess
from pathlib import Path

from tests.simulation.run import total
from tests.simulation.world import Report
from trading.shard.crash_points import POINTS


def commit_at_work() -> str:
    """The commit whose code runs, and whether anything differs from it."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "not known: no repository here"
    return head.stdout.strip() + (" with changes that are not committed" if changed.stdout else "")


def write_report(
    path: str, done: list[Report], took_s: float, arguments: argparse.Namespace, *, commit: str
) -> None:
    """Writes Markdown: what was run, on what, and what came of it."""
    Path(path).write_text("\n".join(_lines(done, took_s, arguments, commit)) + "\n")


def _lines(done: list[Report], took_s: float, arguments: argparse.Namespace, commit: str) -> list[str]:
    failed = sorted((report for report in done if report.failure), key=lambda report: report.seed)
    command = (
        f"python -m tests.simulation --seeds {arguments.seeds} --first {arguments.first} "
        f"--commands {arguments.commands} --jobs {arguments.jobs} --report {arguments.report}"
    )
    lines = [
        "# A long run of the simulation",
        "",
        "What the simulation is, and what it proves: [SIMULATION.md](SIMULATION.md). This page is written by the run.",
        "",
        "| | |",
        "|---|---|",
        f"| command | `{command}` |",
        f"| seeds | {len(done):,}, from {arguments.first} on |",
        f"| commit | {commit} |",
        f"| machine | {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()} |",
        f"| time | {took_s / 60:.0f} minutes |",
        f"| commands | {sum(r.commands for r in done):,} |",
        f"| events committed | {sum(r.events for r in done):,} |",
        f"| simulated time | {sum(r.virtual_s for r in done) / 3600:.0f} hours |",
        f"| **result** | **{len(done) - len(failed):,} of {len(done):,} seeds hold every invariant** |",
        "",
    ]
    for report in failed:
        lines.append(f"- seed {report.seed}: {report.failure}; repeat it with")
        lines.append(
            f"  `python -m tests.simulation --seed {report.seed} --commands {report.commands} --trace`"
        )
    crashes, reached = total([r.crashes for r in done]), total([r.reached for r in done])
    lines += ["", "## Crashes at named points", "", "| point | reached | crashed there |", "|---|---|---|"]
    lines += [f"| `{point}` | {reached[point]:,} | {crashes[point]:,} |" for point in POINTS]
    for title, counts in (
        ("Faults", total([r.faults for r in done])),
        ("What clients were told", total([r.told for r in done])),
        ("Events in the logs", total([r.kinds for r in done])),
    ):
        lines += ["", f"## {title}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {count:,} |" for name, count in sorted(counts.items())]
    return lines
