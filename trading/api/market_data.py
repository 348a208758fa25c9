"""A market's trades and order book through DRF. Open to everybody; no account is named."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.query import MIN_AS_OF, OUTCOME, PAGE, Query
from trading.api.read_schema import TRADE_PAGE, BookSchema
from trading.api.schema import problems
from trading.checksum import PRICE_TEXTS, Level
from trading.errors import Refused
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import market_slot
from trading.market_terms import MarketTerms, market_terms
from trading.selectors.books import Book, order_book
from trading.selectors.tape import Trade, trades_page

TAGS = ["market data"]
DEFAULT_DEPTH = 20
MAX_DEPTH = 500


class TradesView(APIView):
    """The tape."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_trades", tags=TAGS, summary="Trades of a market, newest first", auth=[],
        parameters=[OUTCOME, *PAGE], responses={200: TRADE_PAGE, **problems(400, 404, 503)},
    )  # fmt: skip
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "limit", "cursor", "min_as_of")
        terms = market_terms(market)
        outcome, limit = query.outcome(terms), query.limit()
        as_of = query.reach(("trades",), [market_slot(terms.market_id)])
        page = trades_page(terms, outcome=outcome, limit=limit, cursor=query.text("cursor"))
        return Response(
            {"results": [trade_json(row, terms) for row in page.rows], "next": page.next, "as_of": as_of}
        )


class OrderBookView(APIView):
    """Resting orders, added up by price."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_orderbook", tags=TAGS, summary="The order book of an outcome", auth=[],
        description="Of the first outcome if none is named.",
        parameters=[
            OUTCOME, MIN_AS_OF,
            OpenApiParameter("depth", int, description=f"{DEFAULT_DEPTH} if left out, at most {MAX_DEPTH}"),
        ],
        responses={200: BookSchema, **problems(400, 404, 422, 503)},
    )  # fmt: skip
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "depth", "at", "min_as_of")
        if query.text("at") is not None:
            raise Refused("not_supported", "Past order books are not kept yet.")
        terms = market_terms(market)
        depth = query.number("depth", default=DEFAULT_DEPTH, least=1, most=MAX_DEPTH)
        outcome = query.outcome(terms) or 0
        as_of = query.reach(("orders", "markets"), [market_slot(terms.market_id)])
        return Response({**book_json(order_book(terms, outcome=outcome, depth=depth), terms), "as_of": as_of})


def trade_json(trade: Trade, terms: MarketTerms) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "outcome": terms.outcomes[trade.outcome],
        "price": PRICE_TEXTS[trade.price_pips],
        "quantity": trade.quantity_shares,
        "taker_side": trade.taker_side,
        "at": timestamp_text(to_us(trade.at)),
        "seq": trade.seq,
    }


def book_json(book: Book, terms: MarketTerms) -> dict[str, Any]:
    return {
        "outcome": terms.outcomes[book.outcome],
        "bids": levels_json(book.bids),
        "asks": levels_json(book.asks),
        "seq": book.seq,
        "checksum": book.checksum,
    }


def levels_json(levels: list[Level]) -> list[list[Any]]:
    return [[PRICE_TEXTS[price_pips], quantity] for price_pips, quantity in levels]


market_data_patterns = [
    path("markets/<str:market>/trades", TradesView.as_view(), name="api-market-trades"),
    path("markets/<str:market>/orderbook", OrderBookView.as_view(), name="api-market-orderbook"),
]
