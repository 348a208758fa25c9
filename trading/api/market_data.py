"""A market's trades, order book and price through DRF, now or at a past moment. Open to all; names no account."""

from django.http.response import HttpResponseBase
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from trading.api.public import encoded, public_response
from trading.api.query import AT, FRESHNESS, OUTCOME, PAGE, Query
from trading.api.read_schema import TRADE_PAGE, BookSchema, PriceSchema
from trading.api.schema import problems
from trading.market_documents import (
    BOOK_TAKES,
    DEFAULT_DEPTH,
    MAX_DEPTH,
    PRICE_TAKES,
    TRADES_TAKE,
    book_document,
    price_document,
    trades_document,
)
from trading.market_terms import market_terms
from trading.rates import PAST_COST
from trading.replicas import may_lag

TAGS = ["market data"]


class TradesView(APIView):
    """The tape."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_trades", tags=TAGS, summary="Trades of a market, newest first", auth=[],
        parameters=[OUTCOME, *PAGE], responses={200: TRADE_PAGE, **problems(400, 404, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> HttpResponseBase:
        query = Query(request, *TRADES_TAKE)
        return public_response(request, encoded(trades_document(query, market_terms(market))), max_age_s=1)


class _PastView(APIView):
    """What can be asked of a past moment, too: that may take a replay, and costs as much as ten other reads."""

    throttle_class_name = "data"

    def throttle_cost(self, request: Request) -> int:
        return PAST_COST if "at" in request.query_params else 1


class OrderBookView(_PastView):
    """Resting orders, added up by price."""

    @extend_schema(
        operation_id="market_orderbook", tags=TAGS, summary="The order book of an outcome", auth=[],
        description="Of the first outcome if none is named.",
        parameters=[
            OUTCOME, AT, *FRESHNESS,
            OpenApiParameter("depth", int, description=f"{DEFAULT_DEPTH} if left out, at most {MAX_DEPTH}"),
        ],
        responses={200: BookSchema, **problems(400, 404, 410, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> HttpResponseBase:
        query = Query(request, *BOOK_TAKES)
        return public_response(request, encoded(book_document(query, market_terms(market))), max_age_s=1)


class PriceView(_PastView):
    """What an outcome costs."""

    @extend_schema(
        operation_id="market_price", tags=TAGS, summary="The price of an outcome, now or at a past moment", auth=[],
        description="`price` is that of the last trade. Of the first outcome if none is named.",
        parameters=[OUTCOME, AT, *FRESHNESS],
        responses={200: PriceSchema, **problems(400, 404, 410, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> HttpResponseBase:
        query = Query(request, *PRICE_TAKES)
        return public_response(request, encoded(price_document(query, market_terms(market))), max_age_s=1)


market_data_patterns = [
    path("markets/<str:market>/trades", TradesView.as_view(), name="api-market-trades"),
    path("markets/<str:market>/orderbook", OrderBookView.as_view(), name="api-market-orderbook"),
    path("markets/<str:market>/price", PriceView.as_view(), name="api-market-price"),
]
