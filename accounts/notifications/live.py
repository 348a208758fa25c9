"""The channel to the owner's open pages and sockets, which may lose a note: the row is the truth."""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import redis
from django.conf import settings

logger = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


def publish(notes: Sequence[dict[str, Any]]) -> None:
    """Send notifications to their owners' sockets, wherever those are; what is lost is still in the list."""
    if not notes:
        return
    pipeline = _feed().pipeline(transaction=False)
    for note in notes:
        pipeline.publish(f"account:{note['account_id']}", _encode(note))
    try:
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning("%s notifications were not pushed: %s", len(notes), error)


@cache
def _feed() -> redis.Redis:
    return redis.Redis.from_url(settings.FEED_URL, socket_timeout=1.0, socket_connect_timeout=1.0)
