"""GET /status: what a client should know of the exchange before it trades."""

import time

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.engine.market import MAX_OPEN_ORDERS
from trading.eventlog.codec import timestamp_text
from trading.models import Slot
from trading.order_request import MAX_BATCH_ITEMS, MAX_QUANTITY_SHARES
from trading.strict_json import MAX_BODY_BYTES

VERSIONS = {"api": "1", "events": "1"}


class StatusSchema(serializers.Serializer):
    time = serializers.DateTimeField()
    exchange = serializers.ChoiceField(["open", "degraded"])
    limits = serializers.DictField()
    tiers = serializers.DictField()
    fees = serializers.DictField()
    versions = serializers.DictField()


class StatusView(APIView):
    """Open to everybody."""

    authentication_classes = ()
    throttle_class_name = "data"

    @extend_schema(
        operation_id="status", summary="Time, limits, tiers, fees and versions", responses=StatusSchema
    )
    def get(self, request: Request) -> Response:
        owned = not Slot.objects.filter(kind="market", owner__isnull=True).exists()
        return Response(
            {
                "time": timestamp_text(time.time_ns() // 1000),
                "exchange": "open" if owned else "degraded",
                "limits": {
                    "quantity": MAX_QUANTITY_SHARES,
                    "batch_items": MAX_BATCH_ITEMS,
                    "open_orders_per_market": MAX_OPEN_ORDERS,
                    "body_bytes": MAX_BODY_BYTES,
                },
                "tiers": {
                    "standard": {
                        "order": {"per_second": 5, "burst": 10},
                        "cancel": {"per_second": 50, "burst": 500},
                        "data": {"per_second": 30, "burst": 60},
                        "general": {"per_second": 10, "burst": 20},
                        "sign_in": {"per_second": 1, "burst": 5},
                    }
                },
                "fees": {
                    "formula": "ceil(rate * sum(quantity * price * (1 - price)))",
                    "rates": "per market",
                },
                "versions": VERSIONS,
            }
        )


status_patterns = [path("status", StatusView.as_view(), name="api-status")]
