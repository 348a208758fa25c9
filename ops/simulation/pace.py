"""A client that stays below the rate limits, so that it never has to be told to wait."""

import asyncio
import time


class Pace:
    """At most `per_second` requests a second, with bursts of `burst`: for a bot that stays below the limits."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._tokens, self._at_s = float(burst), time.monotonic()

    async def take(self) -> None:
        """Returns when the next request may go. The token is taken at once, so those who wait queue up."""
        now_s = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_second) - 1
        self._at_s = now_s
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._per_second)
