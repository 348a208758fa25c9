"""A market's trades, order book and price through DRF, now or at a past moment. Open to all; names no account."""

import time
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.query import AT, FRESHNESS, FRESHNESS_NAMES, OUTCOME, PAGE, Query
from trading.api.read_schema import TRADE_PAGE, BookSchema, PriceSchema
from trading.api.schema import problems
from trading.as_of import token_of
from trading.checksum import PRICE_TEXTS, Level
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import market_slot
from trading.market_terms import MarketTerms, market_terms
from trading.replicas import leave_replica, may_lag, reading
from trading.selectors.books import Book, order_book, past_order_book
from trading.selectors.prices import last_price
from trading.selectors.tape import Trade, trades_page
from trading.snapshots.past import PastMarket, past_market

TAGS = ["market data"]
DEFAULT_DEPTH = 20
MAX_DEPTH = 500
PAST_COST = 10
# What was recorded in the last seconds may not have come to a replica, but would have been seen at that time.
RECENT_US = 30_000_000


class TradesView(APIView):
    """The tape."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_trades", tags=TAGS, summary="Trades of a market, newest first", auth=[],
        parameters=[OUTCOME, *PAGE], responses={200: TRADE_PAGE, **problems(400, 404, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "limit", "cursor", *FRESHNESS_NAMES)
        terms = market_terms(market)
        outcome, limit = query.outcome(terms), query.limit()
        as_of = query.reach(("trades",), [market_slot(terms.market_id)])
        page = trades_page(terms, outcome=outcome, limit=limit, cursor=query.text("cursor"))
        return Response(
            {"results": [trade_json(row, terms) for row in page.rows], "next": page.next, "as_of": as_of}
        )


class _PastView(APIView):
    """What can be asked of a past moment, too: that may take a replay, and costs as much as ten other reads."""

    throttle_class_name = "data"

    def throttle_cost(self, request: Request) -> int:
        return PAST_COST if "at" in request.query_params else 1

    def past(self, query: Query, terms: MarketTerms) -> PastMarket | None:
        """The market at the time that was asked for, if one was."""
        at_us = query.moment_us("at")
        if at_us is None:
            return None
        query.reach(())
        if at_us > time.time_ns() // 1000 - RECENT_US:
            leave_replica()
        with reading().cursor() as cursor:
            return past_market(cursor, terms.market_id, at_us)


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
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "depth", "at", *FRESHNESS_NAMES)
        terms = market_terms(market)
        depth = query.number("depth", default=DEFAULT_DEPTH, least=1, most=MAX_DEPTH)
        outcome = query.outcome(terms) or 0
        if (past := self.past(query, terms)) is not None:
            book = past_order_book(terms, past, outcome=outcome, depth=depth)
            return Response({**book_json(book, terms), "as_of": _as_of(past)})
        as_of = query.reach(("books", "markets"), [market_slot(terms.market_id)])
        return Response({**book_json(order_book(terms, outcome=outcome, depth=depth), terms), "as_of": as_of})


class PriceView(_PastView):
    """What an outcome costs."""

    @extend_schema(
        operation_id="market_price", tags=TAGS, summary="The price of an outcome, now or at a past moment", auth=[],
        description="`price` is that of the last trade. Of the first outcome if none is named.",
        parameters=[OUTCOME, AT, *FRESHNESS],
        responses={200: PriceSchema, **problems(400, 404, 410, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "at", *FRESHNESS_NAMES)
        terms = market_terms(market)
        outcome = query.outcome(terms) or 0
        if (past := self.past(query, terms)) is not None:
            book = past_order_book(terms, past, outcome=outcome, depth=1)
            status, price, as_of = past.status, past.last_prices[outcome], _as_of(past)
        else:
            as_of = query.reach(("books", "markets"), [market_slot(terms.market_id)])
            book = order_book(terms, outcome=outcome, depth=1)
            status, price = last_price(terms.market_id, outcome)
        return Response({**price_json(book, price, terms), "status": status, "as_of": as_of})


def _as_of(past: PastMarket) -> str:
    """The event that the past moment reflects."""
    return token_of([(past.slot, past.slot_offset + 1)])


def price_json(book: Book, price_pips: int | None, terms: MarketTerms) -> dict[str, Any]:
    return {
        "outcome": terms.outcomes[book.outcome],
        "price": None if price_pips is None else PRICE_TEXTS[price_pips],
        "best_bid": PRICE_TEXTS[book.bids[0][0]] if book.bids else None,
        "best_ask": PRICE_TEXTS[book.asks[0][0]] if book.asks else None,
        "seq": book.seq,
    }


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
    path("markets/<str:market>/price", PriceView.as_view(), name="api-market-price"),
]
