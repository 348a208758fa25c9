"""What every request gets: an id. And the refusal to serve with a secret key that dies with the process."""

import re
from collections.abc import Callable

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from accounts.client_ip import client_ip
from trading.ids import new_id

_GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class RequestIdMiddleware:
    """Gives each request an id: the caller's X-Request-ID if it is harmless, else a new one. It goes into the
    answer's header, into problem documents and, with the caller's address, into every log line of the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id()
        request.request_id = request_id  # type: ignore[attr-defined]
        request.META["HTTP_X_REQUEST_ID"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id, ip=client_ip(request)):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


def require_lasting_secret_key() -> None:
    """Sessions signed with a key of one process would be void in the next."""
    if not settings.SECRET_KEY_IS_LASTING:
        raise ImproperlyConfigured("SECRET_KEY is not set, and `manage.py up` has made none under DATA_DIR")
