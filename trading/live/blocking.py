"""The read model for code on an event loop: Django's blocking queries, in a thread, connection given back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

T = TypeVar("T")
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="blocking")


async def in_thread(function: Callable[[], T]) -> T:
    """Runs `function` in one of a few threads; its database connections go back to the pool afterwards."""

    def run() -> T:
        try:
            return function()
        finally:
            connections.close_all()

    return await sync_to_async(run, thread_sensitive=False, executor=_threads)()
