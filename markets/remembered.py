"""What may be forgotten at any time: the cache, which answers with nothing while Valkey is away."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.cache import cache
from redis import RedisError

log = logging.getLogger(__name__)


def recall(names: Iterable[str]) -> dict[str, Any]:
    """The values that are there, by name."""
    try:
        return cache.get_many(names)
    except RedisError as error:
        log.warning("nothing is remembered: %s", error)
        return {}


def remember(values: Mapping[str, Any], *, seconds: int) -> None:
    """Keep values for a while, or not."""
    try:
        cache.set_many(dict(values), seconds)
    except RedisError as error:
        log.warning("nothing will be remembered: %s", error)
