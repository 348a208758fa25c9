"""One call at a time to a place, so that one that is slow holds one of the workers' threads and no more.

The hold is a key in Valkey that runs out by itself; without Valkey nobody is held up.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from trading.jobs import NotYet
from trading.outside.valkey import valkey


@contextmanager
def alone_at(place: str, *, busy_s: int) -> Iterator[None]:
    """Hold a place for a job's call, or NotYet while another does. It is free after `busy_s` though its holder died."""
    key = f"busy:{place}"
    try:
        is_free = valkey().set(key, 1, nx=True, ex=busy_s)
    except redis.RedisError:
        is_free = True
    if not is_free:
        # Spread out, or all that wait for a slow place would come back at once.
        raise NotYet("another call is on its way there", retry_in_s=random.uniform(0.5, 5.0))  # noqa: S311
    try:
        yield
    finally:
        with suppress(redis.RedisError):  # It runs out by itself.
            valkey().delete(key)
