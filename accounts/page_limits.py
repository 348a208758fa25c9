"""How often the HTML forms may be sent: fixed windows by django-ratelimit, counted in the cache.

The API has its token buckets in `ops.throttle`; people who fill in forms need less precision.
"""

import logging

import redis
from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from django_redis.exceptions import ConnectionInterrupted

from accounts.client_ip import client_ip

logger = logging.getLogger(__name__)

# Attempts a minute. The one by name slows guessing from many addresses; it can keep an owner out for that
# minute.
SIGN_IN_BY_ADDRESS = "20/m"
SIGN_IN_BY_NAME = "20/m"
SIGN_UP_BY_ADDRESS = "10/m"
ACCOUNT_FORMS_BY_USER = "30/m"

TOO_MANY = "Too many attempts. Please wait a minute."


def sign_in_is_limited(request: HttpRequest) -> bool:
    """Count one attempt to sign in; whether it is one too many."""
    by_address = _is_over(request, "sign-in", _address(request), SIGN_IN_BY_ADDRESS)
    name = request.POST.get("username", "").lower()[:64]
    return _is_over(request, "sign-in-name", name, SIGN_IN_BY_NAME) or by_address


def sign_up_is_limited(request: HttpRequest) -> bool:
    """Count one attempt to sign up; whether it is one too many."""
    return _is_over(request, "sign-up", _address(request), SIGN_UP_BY_ADDRESS)


def account_form_is_limited(request: HttpRequest) -> bool:
    """Count one form of a signed-in user; whether it is one too many."""
    return _is_over(request, "account", str(request.user.pk), ACCOUNT_FORMS_BY_USER)


def _is_over(request: HttpRequest, group: str, subject: str, rate: str) -> bool:
    if not settings.THROTTLE:
        return False
    try:
        usage = get_usage(
            request, group=f"page:{group}", key=lambda *_: subject, rate=rate, method="POST", increment=True
        )
    except (redis.RedisError, ConnectionInterrupted):
        usage = None
    if usage is None or usage["time_left"] < 0:
        # Without the cache people must still reach what they own; the slow password hash bounds guessing.
        logger.warning("form attempts are not being counted: the cache does not answer")
        return False
    return bool(usage["should_limit"])


def _address(request: HttpRequest) -> str:
    return client_ip(request) or "unknown"
