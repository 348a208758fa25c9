"""How long to wait between two looks at what another process is about to do."""

from collections.abc import Iterator

FIRST_S = 0.01
LONGEST_S = 0.1
GROWTH = 1.5


def pauses() -> Iterator[float]:
    """Seconds between looks, without end: short at first, then longer, since many who look often on a machine that is
    full take the time of the one they wait for."""
    pause_s = FIRST_S
    while True:
        yield pause_s
        pause_s = min(GROWTH * pause_s, LONGEST_S)
