"""Every error of the DRF lane as a problem document; wired in as DRF's exception handler.

An ExchangeError says itself what it is. DRF's and Django's own exceptions are translated. Anything else is an
outage of the database or a bug, which is answered as a 500 problem document that tells nothing of its inside.
"""

from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from trading import errors
from trading.errors import PROBLEM_CONTENT_TYPE, ExchangeError, problem
from trading.outage import unexpected


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER. Rolls an open atomic request back, as DRF's own handler does."""
    request = context.get("request")
    error = as_exchange_error(exc) or unexpected(exc, "the API")
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["ATOMIC_REQUESTS"] and connection.in_atomic_block:
            connection.set_rollback(True)
    return Response(
        problem(error, request_id_of(request)),
        status=error.status,
        headers=error.headers,
        content_type=PROBLEM_CONTENT_TYPE,
    )


def problem_response(error: ExchangeError, request: HttpRequest | None) -> HttpResponse:
    """The same document outside DRF: for middleware and for Django's own error views."""
    return JsonResponse(
        problem(error, request_id_of(request)),
        status=error.status,
        headers=error.headers,
        content_type=PROBLEM_CONTENT_TYPE,
    )


def request_id_of(request: Any) -> str | None:
    """The id the request-id middleware gave the request; None outside a request."""
    return getattr(request, "request_id", None)


def as_exchange_error(exc: Exception) -> ExchangeError | None:
    """The ExchangeError that says the same as a framework's exception; None for what nobody expected."""
    if isinstance(exc, ExchangeError):
        return exc
    if isinstance(exc, drf.APIException):
        return _from_drf(exc)
    if isinstance(exc, Http404):
        return errors.NotFound()
    if isinstance(exc, DjangoPermissionDenied):
        return errors.PermissionDenied()
    if isinstance(exc, RequestDataTooBig):
        return errors.BodyTooLarge()
    if isinstance(exc, SuspiciousOperation):
        return errors.InvalidRequest()
    return None


def _from_drf(exc: drf.APIException) -> ExchangeError | None:
    if isinstance(exc, drf.ValidationError):
        return errors.InvalidRequest(errors=field_errors(exc.detail))
    if isinstance(exc, drf.ParseError | drf.UnsupportedMediaType | drf.NotAcceptable):
        return _from_negotiation(exc)
    if isinstance(exc, drf.NotAuthenticated | drf.AuthenticationFailed):
        return errors.NotAuthenticated(str(exc.detail))
    if isinstance(exc, drf.PermissionDenied):
        return errors.PermissionDenied(str(exc.detail))
    if isinstance(exc, drf.NotFound):
        return errors.NotFound(str(exc.detail))
    if isinstance(exc, drf.MethodNotAllowed):
        return errors.MethodNotAllowed(str(exc.detail))
    if isinstance(exc, drf.Throttled):
        return errors.RateLimited(
            str(exc.detail), retry_after_s=max(1, round(getattr(exc, "wait", None) or 1))
        )
    return None


def _from_negotiation(exc: drf.APIException) -> ExchangeError:
    if isinstance(exc, drf.UnsupportedMediaType):
        return errors.UnsupportedMediaType()
    if isinstance(exc, drf.NotAcceptable):
        return errors.NotAcceptable()
    return errors.InvalidRequest(str(exc.detail))


def field_errors(detail: Any) -> dict[str, list[str]]:
    """DRF's nested error detail as one flat mapping, with dotted names: `orders.3.price`."""
    flat: dict[str, list[str]] = {}

    def collect(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                collect(below, path if name == "non_field_errors" else (*path, str(name)))
        elif isinstance(value, list | tuple) and any(isinstance(item, dict | list) for item in value):
            for index, below in enumerate(value):
                collect(below, (*path, str(index)))
        else:
            texts = value if isinstance(value, list | tuple) else [value]
            flat.setdefault(".".join(path) or "request", []).extend(str(text) for text in texts)

    collect(detail, ())
    return flat
