"""What can go wrong with a request, as one tree of exceptions, and the problem document each becomes.

    ExchangeError
    ├── InvalidRequest          400 invalid_request        the request is malformed
    │   └── BodyTooLarge        413 invalid_request        its body is over 1 MB
    ├── NotAuthenticated        401 not_authenticated      no key or session, or one that does not count
    ├── PermissionDenied        403 permission_denied      known, but without the scope or the role
    ├── NotFound                404 not_found              not there, or another's
    ├── MethodNotAllowed        405 method_not_allowed
    ├── NotAcceptable           406 not_acceptable
    ├── NotKept                 410 not_kept               the log no longer has the events that it takes
    ├── IdempotencyMismatch     409 idempotency_mismatch   the same client id with another command
    ├── ArchivedEvents          410 archived               the events are in cold storage, not in the table
    ├── UnsupportedMediaType    415 unsupported_media_type
    ├── Refused                 422 the reason             well-formed, and the exchange says no
    ├── RateLimited             429 rate_limited           retry_after_s says when to come again
    ├── InternalError           500 internal_error         a bug; the log has it under the request id
    ├── Overloaded              503 overloaded             nothing was done
    │   └── Unreachable         503 overloaded             the database does not answer
    ├── ReadLag                 503 read_lag               the read side did not reach min_as_of in time
    └── OutcomeUnknown          504 outcome_unknown        done or not: look order_id up

A refusal by the matcher is an event and a code; `Refused` only carries that code to a caller.
This module knows no framework: `problem` is the one place that makes problem documents (RFC 9457),
for both lanes, the sockets and the pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

PROBLEM_CONTENT_TYPE = "application/problem+json"

TYPE_PREFIX = "urn:pmarket:problem:"


class ExchangeError(Exception):
    """A request's failure with its HTTP status and its code. `errors` maps a field to what is wrong with it."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: str = "Internal error"

    def __init__(
        self, detail: str | None = None, *, errors: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.detail = detail if detail is not None else self.title
        self.errors = {field: list(texts) for field, texts in errors.items()} if errors else None
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """Response headers this failure carries."""
        return {}

    @property
    def members(self) -> dict[str, Any]:
        """Further members of the problem document."""
        return {}


class InvalidRequest(ExchangeError):
    status = 400
    code = "invalid_request"
    title = "The request is malformed."


class BodyTooLarge(InvalidRequest):
    status = 413
    title = "The request body is too large."


class NotAuthenticated(ExchangeError):
    status = 401
    code = "not_authenticated"
    title = "A valid API key or session is needed."

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class PermissionDenied(ExchangeError):
    status = 403
    code = "permission_denied"
    title = "This key or user may not do that."


class NotFound(ExchangeError):
    status = 404
    code = "not_found"
    title = "Not found."


class MethodNotAllowed(ExchangeError):
    status = 405
    code = "method_not_allowed"
    title = "This path does not know that method."

    def __init__(self, detail: str | None = None, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class NotAcceptable(ExchangeError):
    status = 406
    code = "not_acceptable"
    title = "The exchange answers in JSON only."


class NotKept(ExchangeError):
    status = 410
    code = "not_kept"
    title = "The log no longer has what this needs."


class IdempotencyMismatch(ExchangeError):
    status = 409
    code = "idempotency_mismatch"
    title = "This client id was used for another command."


class ArchivedEvents(ExchangeError):
    """What was asked for is part of the log, but archived; the detail says where and how it comes back."""

    status = 410
    code = "archived"
    title = "These events are archived."


class UnsupportedMediaType(ExchangeError):
    status = 415
    code = "unsupported_media_type"
    title = "The exchange reads application/json only."


class Refused(ExchangeError):
    """The exchange's no to a well-formed request; the code is the reason, e.g. `off_tick`."""

    status = 422
    title = "The exchange refuses this."

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        order: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail if detail is not None else f"Refused: {code}.", errors=errors)
        self.code = code
        self.order = order

    @property
    def members(self) -> dict[str, Any]:
        """The rejected order as it can be looked up, where there is one."""
        return {"order": self.order} if self.order is not None else {}


class RateLimited(ExchangeError):
    status = 429
    code = "rate_limited"
    title = "Too many requests."

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class InternalError(ExchangeError):
    status = 500
    code = "internal_error"
    title = "Something went wrong here; it has been logged."


class Overloaded(ExchangeError):
    status = 503
    code = "overloaded"
    title = "The exchange is overloaded; nothing was done."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class Unreachable(Overloaded):
    title = "The exchange does not reach its database."


class ReadLag(ExchangeError):
    status = 503
    code = "read_lag"
    title = "The read side has not reached min_as_of yet."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class OutcomeUnknown(ExchangeError):
    """The result did not arrive before the deadline; a look-up of `order_id` is final from now on."""

    status = 504
    code = "outcome_unknown"
    title = "The outcome is unknown; look the order up."

    def __init__(
        self,
        detail: str | None = None,
        *,
        order_id: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(detail, errors=errors)
        self.order_id = order_id

    @property
    def members(self) -> dict[str, Any]:
        return {"order_id": self.order_id} if self.order_id is not None else {}


def problem(error: ExchangeError, request_id: str | None) -> dict[str, Any]:
    """The problem document of an error: RFC 9457's members plus `code`, `errors` and `request_id`."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.errors:
        document["errors"] = error.errors
    document.update(error.members)
    document["request_id"] = request_id
    return document
