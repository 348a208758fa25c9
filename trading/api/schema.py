"""What the OpenAPI document says of errors: the problem document, and one entry a status."""

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers


class ProblemSerializer(serializers.Serializer):
    """A problem document (RFC 9457); `code` is what programs branch on."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    # Only to the types is this a clash: DRF takes declared fields out of the class.
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )
    request_id = serializers.CharField(allow_null=True)


_MEANING = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    409: "idempotency_mismatch",
    410: "not_kept",
    413: "invalid_request: the body is over 1 MB",
    422: "The exchange refuses; the code is the reason.",
    429: "rate_limited",
    503: "overloaded or read_lag",
    504: "outcome_unknown, with the order_id",
}


def problems(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Responses for `extend_schema`: `responses={200: X, **problems(400, 401)}`; 429 is always among them."""
    return {
        (status, "application/problem+json"): OpenApiResponse(ProblemSerializer, description=_MEANING[status])
        for status in (*statuses, 429)
    }
