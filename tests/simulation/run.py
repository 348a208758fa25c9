"""Runs seeds and says what became of them."""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

from tests.simulation.world import Report, World


def run_seed(seed: int, commands: int) -> Report:
    """One seed, quietly."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return World(seed, commands).run()
    finally:
        logging.disable(before)


def _run(task: tuple[int, int]) -> Report:
    return run_seed(*task)


def reports(seeds: Sequence[int], commands: int, jobs: int) -> Iterator[Report]:
    """A report of each seed, as they come."""
    tasks = [(seed, commands) for seed in seeds]
    if jobs == 1:
        yield from map(_run, tasks)
        return
    # As `python -m tests.simulation` has it, so that it repeats what is seen here.
    os.environ["PYTHONHASHSEED"] = "0"
    # A process that is killed breaks the pool, where multiprocessing's own would wait for its result for ever.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_run, task) for task in tasks]):
            yield done.result()


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.commands, arguments.trace)
    from tests.simulation.written import commit_at_work, write_report

    started, commit = time.monotonic(), commit_at_work()  # by its end the working copy may be another's
    done: list[Report] = []
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    failed = 0
    for report in reports(seeds, arguments.commands, arguments.jobs):
        done.append(report)
        if report.failure:
            failed += 1
            print(f"\nseed {report.seed} FAILED: {report.failure}")
            print(
                f"  python -m tests.simulation --seed {report.seed} --commands {arguments.commands} --trace"
            )
        if len(done) % 10 == 0 or len(done) == len(seeds):
            took = time.monotonic() - started
            print(f"{len(done)} of {len(seeds)} seeds, {failed} failed, {took:.0f} s", file=sys.stderr)
        if arguments.report and len(done) % 500 == 0:  # so that a run that is cut short has a report as well
            write_report(arguments.report, done, time.monotonic() - started, arguments, commit=commit)
    print(summary(done, time.monotonic() - started))
    if arguments.report:
        write_report(arguments.report, done, time.monotonic() - started, arguments, commit=commit)
    return 1 if failed else 0


def _one(seed: int, commands: int, trace: bool) -> int:
    if trace:
        World(seed, commands, trace=print).run()
    report = run_seed(seed, commands)
    print(summary([report], 0.0))
    print(f"digest {report.digest}")
    if report.failure:
        print(f"FAILED: {report.failure}")
    return 1 if report.failure else 0


def total(counts: Sequence[dict[str, int]]) -> Counter[str]:
    """Counts of all seeds together."""
    added: Counter[str] = Counter()
    for each in counts:
        added.update(each)
    return added


def told(report: Report) -> str:
    """A failed seed, and the one command that repeats it."""
    return (
        f"seed {report.seed} FAILED: {report.failure}\n"
        f"  python -m tests.simulation --seed {report.seed} --commands {report.commands} --trace"
    )


def summary(done: list[Report], took_s: float) -> str:
    """What has happened, in a few lines."""
    lines = [
        f"{len(done)} seeds, {sum(r.commands for r in done):,} commands, {sum(r.events for r in done):,} events, "
        f"{sum(r.virtual_s for r in done) / 3600:.1f} h of simulated time in {took_s:.0f} s"
    ]
    for title, counts in (
        ("crashes", total([r.crashes for r in done])), ("faults", total([r.faults for r in done])),
        ("answers", total([r.told for r in done])), ("events", total([r.kinds for r in done])),
    ):  # fmt: skip
        lines.append(f"{title}: {', '.join(f'{name} {count:,}' for name, count in sorted(counts.items()))}")
    lines.append(f"{sum(bool(r.failure) for r in done)} failed")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--commands", type=int, default=2000, help="commands a seed (default 2000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (default 1)")
    parser.add_argument("--report", metavar="FILE", help="write a report in Markdown")
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument(
        "--trace", action="store_true", help="with --seed: print every step, and a failure's traceback"
    )
    return parser
