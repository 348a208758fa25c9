"""The end of asyncio tasks."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.1


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels them until all have ended, whatever they end with.

    Once is not enough: Python 3.11's `wait_for`, which redis-py sends with, takes a cancellation for nothing if it
    comes together with what is waited for.
    """
    ended, left = set[asyncio.Task[Any]](), set(tasks)
    while left:
        for task in left:
            task.cancel()
        now_ended, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        ended |= now_ended
    for task in ended:
        if not task.cancelled():
            task.exception()
