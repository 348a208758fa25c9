"""What an account has and did, and the events of a stream, through DRF. Thin over trading.selectors."""

import datetime as dt
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.account_view import fill_json, money_or_null, position_json
from trading.api.market_data import market_data_patterns
from trading.api.query import FRESHNESS, FRESHNESS_NAMES, LIMIT, MARKET, PAGE, STATUS, Query
from trading.api.read_schema import (
    EVENT_PAGE,
    FILL_PAGE,
    ORDER_PAGE,
    POSITION_PAGE,
    SETTLEMENT_PAGE,
    PortfolioSchema,
)
from trading.api.schema import problems
from trading.as_of import token_of, wait_for
from trading.cash import balance_with_positions, equity_pips
from trading.errors import NotFound
from trading.eventlog.codec import timestamp_text, to_us
from trading.market_terms import market_terms
from trading.money import format_pips
from trading.order_view import order_json
from trading.principal import READ, Principal, require_principal
from trading.replicas import may_lag
from trading.selectors import accounts, history
from trading.selectors.accounts import OwnSettlement
from trading.selectors.pages import Page

TAGS = ["portfolio"]
LIST_PARAMETERS = ("market_id", "status", "limit", "cursor", *FRESHNESS_NAMES)
LIST_ERRORS = (400, 401, 403, 404, 503)
LAST_VERSION = 10**15


def reader(request: Request) -> Principal:
    """The caller, who must hold the scope `read`."""
    principal = require_principal(request.auth)
    principal.require(READ)
    return principal


def page_json(page: Page[Any], rows: list[dict[str, Any]], as_of: str) -> Response:
    return Response({"results": rows, "next": page.next, "as_of": as_of})


class PortfolioView(APIView):
    """Everything in one line."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="portfolio", tags=TAGS, summary="What the account is worth", parameters=[*FRESHNESS],
        responses={200: PortfolioSchema, **problems(400, 401, 403, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id = reader(request).account_id
        query, balance = Query(request, *FRESHNESS_NAMES), balance_with_positions(account_id)
        as_of = query.reach(("positions", "orders"))
        sums = accounts.totals(account_id)
        return Response(
            {
                "account_id": account_id,
                "cash": format_pips(balance["cash_pips"]),
                "reserved": format_pips(balance["reserved_pips"]),
                "debt": format_pips(balance["debt_pips"]),
                "fees_paid": format_pips(balance["fees_paid_pips"]),
                "positions_value": format_pips(sums.value_pips),
                "equity": format_pips(equity_pips(balance, sums.value_pips)),
                "cost": format_pips(sums.cost_pips),
                "realized_pnl": format_pips(sums.realized_pips),
                "unrealized_pnl": format_pips(sums.unrealized_pips),
                "open_positions": sums.positions,
                "open_orders": sums.open_orders,
                "as_of": as_of,
            }
        )


class PositionsView(APIView):
    """Shares held."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="portfolio_positions", tags=TAGS, summary="Positions", parameters=[MARKET, STATUS, *PAGE],
        responses={200: POSITION_PAGE, **problems(*LIST_ERRORS)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id, query = reader(request).account_id, Query(request, *LIST_PARAMETERS)
        market_id, only_open, limit = query.market_id(), query.only_open(), query.limit()
        as_of = query.reach(("positions",))
        page = accounts.positions_page(
            account_id, market_id=market_id, only_open=only_open, limit=limit, cursor=query.text("cursor")
        )
        return page_json(page, [position_json(row) for row in page.rows], as_of)


class OwnOrdersView(APIView):
    """Orders with their fills."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="portfolio_orders", tags=TAGS, summary="Orders, newest first",
        parameters=[MARKET, STATUS, *PAGE], responses={200: ORDER_PAGE, **problems(*LIST_ERRORS)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id, query = reader(request).account_id, Query(request, *LIST_PARAMETERS)
        market_id, only_open, limit = query.market_id(), query.only_open(), query.limit()
        as_of = query.reach(("orders",))
        page = accounts.orders_page(
            account_id, market_id=market_id, only_open=only_open, limit=limit, cursor=query.text("cursor")
        )
        rows = [order_json(row, market_terms(row.market_id).outcomes, as_of) for row in page.rows]
        return page_json(page, rows, as_of)


class FillsView(APIView):
    """Executions."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="portfolio_fills", tags=TAGS, summary="Fills, newest first", parameters=[MARKET, *PAGE],
        responses={200: FILL_PAGE, **problems(*LIST_ERRORS)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id, query = reader(request).account_id, Query(request, *LIST_PARAMETERS)
        market_id, limit = query.market_id(), query.limit()
        as_of = query.reach(("orders",))
        page = accounts.fills_page(account_id, market_id=market_id, limit=limit, cursor=query.text("cursor"))
        return page_json(page, [fill_json(row) for row in page.rows], as_of)


class SettlementsView(APIView):
    """Pay-outs and refunds."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="portfolio_settlements", tags=TAGS, summary="Settlements of the account's markets",
        parameters=[MARKET, *PAGE], responses={200: SETTLEMENT_PAGE, **problems(*LIST_ERRORS)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id, query = reader(request).account_id, Query(request, *LIST_PARAMETERS)
        market_id, limit = query.market_id(), query.limit()
        as_of = query.reach(("positions", "markets"))
        page = accounts.settlements_page(
            account_id, market_id=market_id, limit=limit, cursor=query.text("cursor")
        )
        return page_json(page, [settlement_json(row) for row in page.rows], as_of)


class EventsView(APIView):
    """The log itself, one stream at a time."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="events", tags=["events"], summary="Events of a stream, oldest first",
        description="The caller's own account by default. Of a market, everybody sees what happened to the market "
        "itself, staff also its orders and trades. A page may be empty although `next` is not null.",
        parameters=[
            OpenApiParameter("stream", str, description="an account's or a market's id, or a market's slug"),
            OpenApiParameter("after", int, description="a version; `next` of the page before"),
            LIMIT, *FRESHNESS,
        ],
        responses={200: EVENT_PAGE, **problems(*LIST_ERRORS)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        query = Query(request, "stream", "after", "limit", *FRESHNESS_NAMES)
        stream_id, only_public = readable_stream(request, query.text("stream"))
        after = query.number("after", default=0, least=0, most=LAST_VERSION)
        limit = query.limit()
        if (min_as_of := query.text("min_as_of")) is not None:
            wait_for(min_as_of, ())
        as_of = token_of(history.stream_head(stream_id))
        page = history.events_page(stream_id, after=after, limit=limit, only_public=only_public)
        return page_json(page, [event_json(row) for row in page.rows], as_of)


def readable_stream(request: Request, named: str | None) -> tuple[str, bool]:
    """The stream's id, and whether the caller may see its public events only. Raises NotFound for another's."""
    principal = request.auth if isinstance(request.auth, Principal) else None
    if named is None or (principal is not None and named == principal.account_id):
        return reader(request).account_id, False
    is_staff = principal is not None and principal.is_admin
    try:
        return market_terms(named).market_id, not is_staff
    except NotFound:
        if is_staff and history.is_stream(named):
            return named, False
        raise


def settlement_json(settlement: OwnSettlement) -> dict[str, Any]:
    outcomes = market_terms(settlement.market_id).outcomes
    payouts = settlement.payouts
    return {
        "settlement_id": settlement.settlement_id,
        "market_id": settlement.market_id,
        "kind": settlement.kind,
        "status": settlement.status,
        "payouts": None if payouts is None else dict(zip(outcomes, map(format_pips, payouts), strict=True)),
        "paid": money_or_null(settlement.paid_pips),
        "taken_back": format_pips(settlement.taken_back_pips),
        "at": None if settlement.paid_at is None else _moment(settlement.paid_at),
    }


def event_json(event: history.Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "stream": event.stream_id,
        "version": event.version,
        "type": event.type,
        "data": event.data,
        "hash": event.hash,
        "recorded_at": _moment(event.recorded_at),
    }


def _moment(moment: dt.datetime) -> str:
    return timestamp_text(to_us(moment))


portfolio_patterns = [
    path("portfolio", PortfolioView.as_view(), name="api-portfolio"),
    path("portfolio/positions", PositionsView.as_view(), name="api-portfolio-positions"),
    path("portfolio/orders", OwnOrdersView.as_view(), name="api-portfolio-orders"),
    path("portfolio/fills", FillsView.as_view(), name="api-portfolio-fills"),
    path("portfolio/settlements", SettlementsView.as_view(), name="api-portfolio-settlements"),
    path("events", EventsView.as_view(), name="api-events"),
    *market_data_patterns,
]
