"""The client of what is known about outside services: asked shortly, since whoever has no answer goes on without."""

import functools

import redis
from django.conf import settings


@functools.cache
def valkey() -> redis.Redis:
    """One of the process; its calls raise redis.RedisError."""
    return redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=1, socket_connect_timeout=1)
