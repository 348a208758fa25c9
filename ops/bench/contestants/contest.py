"""The rules of the contest in matching: the flow is read, made into the contestant's own orders, then timed.

Every contestant collects garbage as rarely as the engine does. Its result is one line of JSON. Standard library only.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

YOUNG = 50_000

# Operations are [number, account, is_buy, price_ticks, quantity] or, to cancel, [number, account].
Flow = list[list[Any]]


class Result(NamedTuple):
    """What the flow led to, counted once the clock had stopped; `raised`: operations that the contestant failed at."""

    trades: int
    volume_shares: int
    raised: int = 0


def compete(prepare: Callable[[Flow], Callable[[], Callable[[], Result]]]) -> None:
    """Runs the flow of the file in argv[1] argv[2] times.

    `prepare` makes an empty book and the contestant's own orders of the flow, which is not timed, and answers what
    works through them, which is; that answers what counts the result.
    """
    flow: Flow = json.loads(Path(sys.argv[1]).read_text())
    seconds, result = [], None
    for _ in range(int(sys.argv[2])):
        work = prepare(flow)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, 20, 20)
        begin = time.perf_counter()
        count = work()
        seconds.append(time.perf_counter() - begin)
        result = count()
        del work, count
        gc.unfreeze()
    assert result is not None
    sys.stdout.write(json.dumps({"seconds": seconds, **result._asdict()}) + "\n")
