"""What an order would do, through DRF."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.order_schema import PlaceSchema, QuoteSchema
from trading.api.orders import caller_of
from trading.api.schema import problems
from trading.market_terms import market_terms
from trading.order_quote import quote_document
from trading.principal import READ
from trading.rates import PAST_COST


class QuoteView(APIView):
    """An order, thought through. It takes a replay, and costs as much as ten other reads."""

    throttle_class_name = "data"

    def throttle_cost(self, request: Request) -> int:
        return PAST_COST

    @extend_schema(
        operation_id="order_quote", tags=["orders"], summary="What an order would do now", request=PlaceSchema,
        description="The matcher's own arithmetic; nothing is sent. What the engine would refuse is refused (422).",
        responses={200: QuoteSchema, **problems(400, 401, 403, 404, 410, 422, 503)},
    )  # fmt: skip
    def post(self, request: Request, market: str) -> Response:
        caller = caller_of(request, READ)
        return Response(quote_document(caller.principal, market_terms(market), request.data))


quote_patterns = [path("markets/<str:market>/quote", QuoteView.as_view(), name="api-market-quote")]
