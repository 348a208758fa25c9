"""The part of the table on matching without commits."""

import json
from collections.abc import Callable
from pathlib import Path

from ops.bench.contestants.contest import Result
from ops.bench.interpreters import YardstickMissing
from ops.bench.matching import (
    ACCOUNTS,
    OPERATIONS,
    OWN,
    PACKAGES,
    MatchingRun,
    matching_flow,
    run_engine,
    run_package,
)
from ops.bench.report import Figure, Report

OWN_NAMES = {
    "book": "matching: production book alone",
    "rules": "matching: decide and apply",
    "match": "matching: MATCH step of a batch",
}


def matching_part(folder: Path, *, repetitions: int, report: Report, say: Callable[[str], None]) -> None:
    """Every contestant on one flow, one after the other; each repeats it in one process."""
    packages = {name: Figure(f"matching: {name}", "orders/s", label=name) for name in PACKAGES}
    beside = list(packages.values())
    own = {depth: Figure(OWN_NAMES[depth], "orders/s", yardstick=beside[0], also=beside[1:]) for depth in OWN}
    report.figures += [*own.values(), *beside]
    say("making the flow for matching")
    flow, expected = matching_flow(operations=OPERATIONS, accounts=ACCOUNTS, seed=1)
    flow_file = folder / "flow.json"
    flow_file.write_text(json.dumps(flow))
    runs: dict[str, MatchingRun] = {}
    for depth, figure in own.items():
        say(figure.name)
        runs[depth] = run_engine(flow_file, depth=depth, repetitions=repetitions)
        _fill(figure, expected, runs[depth])
    for name, figure in packages.items():
        say(figure.name)
        try:
            _fill(figure, expected, run_package(flow_file, name=name, repetitions=repetitions))
        except YardstickMissing as missing:
            figure.note = str(missing)
    _note_costs(own, runs)


def _fill(figure: Figure, expected: Result, run: MatchingRun) -> None:
    figure.samples += run.per_s(OPERATIONS)
    if run.result == expected:
        figure.note = f"{expected.trades:,} trades, {expected.volume_shares:,} shares: the same as all"
    else:
        figure.note = (
            f"NOT the same: {run.result.trades:,} trades of {expected.trades:,}, {run.result.volume_shares:,} "
            f"shares of {expected.volume_shares:,}; {run.result.raised:,} operations raised"
        )


def _note_costs(own: dict[str, Figure], runs: dict[str, MatchingRun]) -> None:
    """What stands on top of the bare book, in µs an order."""
    book, rules, match = (runs[depth].us_each(OPERATIONS) for depth in OWN)
    own["book"].note += f"; {book:.1f} µs an order"
    own[
        "rules"
    ].note += f"; positions, money and events cost {rules - book:.1f} µs an order on top of the book"
    own[
        "match"
    ].note += f"; JSON, hash chain, cash and replies cost {match - rules:.1f} µs an order on top of decide and apply"
