"""How fast a process tells its sockets: as fast as things happen, until the sending would take most of its time.

Then frames wait their turn, first come, first served, and what changes meanwhile joins them: a book or a ticker is
told as it is in the end, trades together. So a market that changes 500 times a second costs no more than its sockets
can take.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

# What one frame to one socket costs, measured (`make bench`), over the part of the time that sending may take.
SEND_SECONDS = 0.000_015 / 0.75
# So much sending may be due before anything waits: an evenly loaded feed never does.
FREE_SECONDS = 0.05


class Pace(Protocol):
    """Runs actions that send."""

    def run(self, sends: int, action: Callable[[], None]) -> None:
        """Now, or when the sends of those before it are paid."""


class SharedPace:
    """One for all channels of an event loop."""

    def __init__(self) -> None:
        self._paid_until = 0.0

    def run(self, sends: int, action: Callable[[], None]) -> None:
        """As Pace has it."""
        now = time.monotonic()
        due = max(self._paid_until, now)
        self._paid_until = due + sends * SEND_SECONDS
        if due - now <= FREE_SECONDS:
            action()
        else:
            asyncio.get_running_loop().call_later(due - now - FREE_SECONDS, action)
