"""GET /log/heads: the newest signed heads of the log, for whoever wants to keep them."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.schema import problems
from trading.errors import NotFound
from trading.eventlog.heads import newest_line


class SlotHeadSchema(serializers.Serializer):
    slot = serializers.IntegerField()
    next_offset = serializers.IntegerField(help_text="how many events the slot holds")
    recorded_at = serializers.DateTimeField()
    digest = serializers.CharField(
        help_text="SHA-256, in hexadecimal, over (id, version, hash) of each stream of the slot, sorted by id"
    )


class SignedHeadsSchema(serializers.Serializer):
    published_at = serializers.DateTimeField()
    heads = SlotHeadSchema(many=True)


class PublishedHeadsSchema(serializers.Serializer):
    """The signature is over `signed` as JSON with sorted keys, without spaces."""

    public_key = serializers.CharField(help_text="Ed25519, in hexadecimal")
    signature = serializers.CharField(help_text="Ed25519, in hexadecimal")
    signed = SignedHeadsSchema()


class HeadsView(APIView):
    """Open to everybody."""

    authentication_classes = ()
    throttle_class_name = "data"

    @extend_schema(
        operation_id="log_heads", summary="The newest signed heads of the event log",
        responses={200: PublishedHeadsSchema, **problems(404)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        line = newest_line()
        if line is None:
            raise NotFound("No heads have been published yet.")
        return Response(line)


log_patterns = [path("log/heads", HeadsView.as_view(), name="api-log-heads")]
