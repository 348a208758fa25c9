"""GET /status: what a client should know of the exchange before it trades."""

import time
from dataclasses import asdict

from django.db import connection
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.engine.market import MAX_OPEN_ORDERS
from trading.eventlog.codec import timestamp_text
from trading.order_request import MAX_BATCH_ITEMS, MAX_QUANTITY_SHARES
from trading.rates import RATES, TIER_FACTORS
from trading.shard.overview import slot_states
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
        with connection.cursor() as cursor:
            is_open = all(state.is_owned for state in slot_states(cursor))
        return Response(
            {
                "time": timestamp_text(time.time_ns() // 1000),
                "exchange": "open" if is_open else "degraded",
                "limits": {
                    "quantity": MAX_QUANTITY_SHARES,
                    "batch_items": MAX_BATCH_ITEMS,
                    "open_orders_per_market": MAX_OPEN_ORDERS,
                    "body_bytes": MAX_BODY_BYTES,
                },
                "tiers": {
                    tier: {name: asdict(rate.times(factor)) for name, rate in RATES.items()}
                    for tier, factor in TIER_FACTORS.items()
                },
                "fees": {
                    "formula": "ceil(rate * sum(quantity * price * (1 - price)))",
                    "rates": "per market",
                },
                "versions": VERSIONS,
            }
        )


status_patterns = [path("status", StatusView.as_view(), name="api-status")]
