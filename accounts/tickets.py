"""One-time tickets that let a signed-in page open an authenticated socket.

A browser cannot send an Authorization header with a WebSocket, and a key has no place in a URL or a page. A
ticket lives 30 seconds in Valkey, under its hash, and the first to redeem it takes it away (GETDEL).
"""

import hashlib
import json
import secrets
from functools import lru_cache

import redis
from django.conf import settings

from trading.errors import NotAuthenticated, Overloaded
from trading.principal import Principal

LIFETIME_SECONDS = 30
MAX_TICKET_LENGTH = 100
UNAVAILABLE = "Tickets cannot be made or taken right now."


def issue(principal: Principal) -> str:
    """A ticket for that caller."""
    ticket = secrets.token_urlsafe(32)
    passport = {
        "account_id": principal.account_id,
        "user_id": principal.user_id,
        "key_id": principal.key_id,
        "scopes": sorted(principal.scopes),
        "is_staff": principal.is_staff,
        "tier": principal.tier,
    }
    try:
        _valkey(settings.VALKEY_URL).set(_name(ticket), json.dumps(passport), ex=LIFETIME_SECONDS)
    except redis.RedisError as error:
        raise Overloaded(UNAVAILABLE) from error
    return ticket


def redeem(ticket: str) -> Principal:
    """The caller a ticket was made for. Raises NotAuthenticated the second time, and after its 30 seconds."""
    if not 0 < len(ticket) <= MAX_TICKET_LENGTH or not ticket.isascii():
        raise NotAuthenticated("This ticket does not count.")
    try:
        found = _valkey(settings.VALKEY_URL).getdel(_name(ticket))
    except redis.RedisError as error:
        raise Overloaded(UNAVAILABLE) from error
    if found is None:
        raise NotAuthenticated("This ticket does not count: unknown, used or older than 30 seconds.")
    passport = json.loads(found)
    return Principal(**{**passport, "scopes": frozenset(passport["scopes"])})


def _name(ticket: str) -> str:
    return "ws-ticket:" + hashlib.sha256(ticket.encode()).hexdigest()


@lru_cache(maxsize=4)
def _valkey(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
