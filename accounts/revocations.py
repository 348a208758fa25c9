"""Tells every process at once that keys were revoked, since their rows are remembered for a moment."""

import functools
import logging
import time

import redis
from django.conf import settings

from trading import generations
from trading.generations import Generations

CHANNEL = "revoked-keys"
# Time for the others to hear of it, before the one who revoked a key is told that it is done.
SPREAD_S = 0.02

logger = logging.getLogger(__name__)


def announce() -> None:
    """Call once a revocation is committed. Without Valkey others know after the moment for which they remember."""
    try:
        if generations.announce(settings.VALKEY_URL, CHANNEL):
            time.sleep(SPREAD_S)
    except redis.RedisError as error:
        logger.warning("a revoked key was not announced: %s", error)


@functools.cache
def revocations() -> Generations:
    """This process's listener."""
    return Generations(settings.VALKEY_URL, CHANNEL)
