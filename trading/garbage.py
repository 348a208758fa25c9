"""How often a process looks for garbage that refers to itself; see docs/adr/0004."""

import gc

YOUNG = 50_000


def collect_rarely(*, older: int = 20) -> None:
    """Call once a process has loaded what it keeps: that is never looked at again.

    `older` is how many collections of the young make one of those that have survived one: many where most of
    what is made lives long and forms no circles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, older, older)
