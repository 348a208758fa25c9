"""Many seeded sessions, the engine beside the naive exchange, event by event: python -m tests.engine.long_run --help"""

import argparse
import random
import sys
import time
from collections import Counter

from tests.engine.sequences import STEP_BYTES, steps
from tests.engine.trial import Trial
from trading.engine import decide, lifecycle
from trading.engine import events as ev

SHAPES = [(outcomes, with_fees) for outcomes in (2, 3, 6) for with_fees in (False, True)]
# (sweep size, open orders an account may have): short sessions must reach limits, longer ones deep books.
LIMITS = [(3, 5), (500, 40)]
PROGRESS_EVERY_S = 5.0


class Difference(AssertionError):
    """A session in which something did not agree; it says how to repeat it."""


def play_session(seed: int, *, commands: int, counts: Counter[str]) -> int:
    """Plays one session; answers how many commands. Raises Difference."""
    draw = random.Random(seed)
    outcomes, with_fees = SHAPES[seed % len(SHAPES)]
    lifecycle.SWEEP_SIZE, decide.MAX_OPEN_ORDERS = LIMITS[seed // len(SHAPES) % len(LIMITS)]
    data = bytearray(draw.randbytes(STEP_BYTES * (1 + commands)))
    data[4] = 0  # No session is shorter than asked for.
    trial, number = Trial(), 0
    try:
        for now_us, command in steps(bytes(data), outcomes=outcomes, with_fees=with_fees):
            number += 1
            for event in trial.play(now_us, command):
                counts[_kind(event)] += 1
        trial.finish()
    except Exception as problem:
        raise Difference(
            f"seed {seed}, {outcomes} outcomes, {'fees' if with_fees else 'no fees'}, command {number}: "
            f"{type(problem).__name__}: {problem}\nrepeat: python -m tests.engine.long_run --seed {seed} "
            f"--commands {commands} --session {commands}"
        ) from problem
    return number


def _kind(event: ev.Event) -> str:
    if isinstance(event, ev.OrderMatched):
        return "implied trades" if len(event.legs) > 2 else "direct trades"
    if isinstance(event, ev.OrderCancelled | ev.OrderRejected | ev.CommandRefused):
        return f"{type(event).__name__} {event.reason}"
    return type(event).__name__


def play(*, commands: int, seed: int, session: int, progress: bool = False) -> Counter[str]:
    """Plays sessions with seeds from `seed` on until `commands` are done. Raises Difference."""
    counts: Counter[str] = Counter()
    began_s = shown_s = time.monotonic()
    limits = (lifecycle.SWEEP_SIZE, decide.MAX_OPEN_ORDERS)
    try:
        while counts["commands"] < commands:
            counts["commands"] += play_session(seed + counts["sessions"], commands=session, counts=counts)
            counts["sessions"] += 1
            if progress and time.monotonic() - shown_s > PROGRESS_EVERY_S:
                shown_s = time.monotonic()
                done, rate = counts["commands"], counts["commands"] / (shown_s - began_s)
                bar = "#" * (40 * min(done, commands) // commands)
                print(
                    f"\r[{bar:40}] {done:,} of {commands:,} commands, {rate:,.0f}/s", end="", file=sys.stderr
                )
    finally:
        lifecycle.SWEEP_SIZE, decide.MAX_OPEN_ORDERS = limits
        if progress:
            print(file=sys.stderr)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Plays random commands to the engine and to a naive exchange and compares every event, balance "
        "and book. Ends with 1 and the seed of the session where they differ."
    )
    parser.add_argument(
        "--commands", type=int, default=1_000_000, help="how many in all (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first session; the next has the next")
    parser.add_argument(
        "--session", type=int, default=500, help="steps of one session (default: %(default)s)"
    )
    asked = parser.parse_args()
    began_s = time.monotonic()
    try:
        counts = play(commands=asked.commands, seed=asked.seed, session=asked.session, progress=True)
    except Difference as difference:
        print(difference, file=sys.stderr)
        return 1
    for kind in sorted(set(counts) - {"commands", "sessions"}):
        print(f"{counts[kind]:>12,}  {kind}")
    print(
        f"{counts['commands']:,} commands in {counts['sessions']:,} sessions (seeds {asked.seed} to "
        f"{asked.seed + counts['sessions'] - 1}): no difference, {time.monotonic() - began_s:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
