"""The hint that new events are committed. It carries nothing, and losing it only costs a poll's wait."""

import functools
import logging

import redis
from django.conf import settings
from django.db import transaction

CHANNEL = "wake"

log = logging.getLogger(__name__)


@functools.cache
def _client() -> redis.Redis:
    """One client a process; its pool makes new connections after a fork."""
    return redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def wake_readers() -> None:
    """Tell the projections to look at the log now instead of at their next poll."""
    try:
        _client().publish(CHANNEL, b"")
    except redis.RedisError as error:
        log.info("wake hint lost: %s", error)


def wake_readers_after_commit() -> None:
    """The same, once the current transaction has committed."""
    transaction.on_commit(wake_readers)
