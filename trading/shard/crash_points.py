"""Named places in the shard where a process may be made to die: before and after each of its steps.

Off unless `CRASH_AT` (see `arm_from_environment`) or a simulation asks for it; then `reach` is one look at a variable.
"""

import os
import signal
from collections.abc import Callable

VARIABLE = "CRASH_AT"

POINTS = (
    "before_heartbeat", "after_heartbeat",
    "before_take_slots", "between_taking_and_giving_back", "after_take_slots",
    "before_load", "after_load",
    "before_begin_books", "before_rewrite_book", "before_announce", "after_announce",
    "before_read", "after_read",
    "before_reserve", "after_reserve",
    "before_match", "after_match",
    "before_commit", "between_copy_and_commit", "after_commit",
    "before_publish", "between_books_and_replies", "after_publish",
    "before_give_back", "after_give_back",
    "before_let_go", "after_let_go",
    "before_bury", "after_bury",
    "before_sign_off", "between_freeing_and_forgetting", "after_sign_off",
)  # fmt: skip
"""Every name that `reach` is called with."""

_hook: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """The process has come to this point; one of POINTS."""
    if _hook is not None:
        _hook(name)


def watch(hook: Callable[[str], None] | None) -> None:
    """Has a function called at every point from now on; None ends that."""
    global _hook
    _hook = hook


def arm_from_environment() -> None:
    """Has this process killed where `CRASH_AT` says: `before_commit`, or `before_commit:3` for the third time.

    Raises ValueError for anything else.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    name, _, count = wanted.partition(":")
    if name not in POINTS:
        raise ValueError(f"{VARIABLE} names no crash point: {name}. There are {', '.join(POINTS)}.")
    if count and not (count.isdecimal() and int(count)):
        raise ValueError(f"{VARIABLE} counts from 1: {wanted}")
    left = int(count or 1)

    def die(reached: str) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if left == 0:
                # As from outside: nothing is cleaned up, nobody signs off.
                os.kill(os.getpid(), signal.SIGKILL)

    watch(die)
