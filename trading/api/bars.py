"""Candles and analytics through DRF: what trading was like over time. Open to all; names no account."""

from typing import Any, NamedTuple

from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.query import FRESHNESS, FRESHNESS_NAMES, OUTCOME, PAGE, Query
from trading.api.read_schema import ACTIVITY_PAGE, CANDLE_PAGE, AnalyticsSchema
from trading.api.schema import problems
from trading.errors import InvalidRequest
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import MARKET_SLOTS, market_slot
from trading.market_terms import market_terms
from trading.money import SHARE_PIPS, format_pips
from trading.replicas import may_lag
from trading.selectors.analytics import HOUR_S, Activity, Hour, Quote, activity_page, last_hours
from trading.selectors.candles import INTERVALS, Candle, candles

TAGS = ["market data"]
DEFAULT_INTERVAL = "1h"
DEFAULT_CANDLES = 500
MAX_CANDLES = 5_000
ANALYTICS_HOURS = 24
SECOND_US = 1_000_000

FROM = OpenApiParameter("from", OpenApiTypes.DATETIME, description="from the interval that this time is in")
TO = OpenApiParameter("to", OpenApiTypes.DATETIME, description="up to this time; now if left out")


class Window(NamedTuple):
    """Whole intervals in seconds since the epoch, the end not included; none of them is in the future."""

    first_s: int
    beyond_s: int


def now_us() -> int:
    """The time of this process, in microseconds since the epoch."""
    return to_us(timezone.now())


class CandlesView(APIView):
    """Prices and quotes over time."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_candles", tags=TAGS, summary="Candles of an outcome, oldest first", auth=[],
        description=f"At most {MAX_CANDLES} intervals; the last {DEFAULT_CANDLES} if `from` is left out. One of which "
        "nothing is known is left out; one without a trade has null prices and the quotes that stand. The second "
        "outcome of two is the first's, mirrored. Of the first outcome if none is named.",
        parameters=[
            OUTCOME, FROM, TO, *FRESHNESS,
            OpenApiParameter("interval", str, enum=tuple(INTERVALS), description=f"`{DEFAULT_INTERVAL}` if left out"),
        ],
        responses={200: CANDLE_PAGE, **problems(400, 404, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", "interval", "from", "to", *FRESHNESS_NAMES)
        terms = market_terms(market)
        outcome = query.outcome(terms) or 0
        interval = INTERVALS[query.choice("interval", INTERVALS, default=DEFAULT_INTERVAL)]
        window = read_window(query, interval.seconds, default=DEFAULT_CANDLES, most=MAX_CANDLES)
        as_of = query.reach(("candles", "books"), [market_slot(terms.market_id)])
        rows = candles(
            terms, outcome=outcome, interval=interval, first_s=window.first_s, beyond_s=window.beyond_s
        )
        return Response({"results": [candle_json(row) for row in rows], "next": None, "as_of": as_of})


class AnalyticsView(APIView):
    """What a book is like."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_analytics", tags=TAGS, summary="Spread, depth and imbalance of a book", auth=[],
        description=f"Now, and in each of the last {ANALYTICS_HOURS} hours, this one included. Of the first outcome if "
        "none is named.",
        parameters=[OUTCOME, *FRESHNESS],
        responses={200: AnalyticsSchema, **problems(400, 404, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "outcome", *FRESHNESS_NAMES)
        terms = market_terms(market)
        outcome = query.outcome(terms) or 0
        as_of = query.reach(("candles", "books"), [market_slot(terms.market_id)])
        day = last_hours(terms, outcome=outcome, hours=ANALYTICS_HOURS, now_s=now_us() // SECOND_US)
        bought, traded = (
            sum(hour.buy_quantity for hour in day.hours),
            sum(hour.quantity for hour in day.hours),
        )
        return Response(
            {
                "outcome": terms.outcomes[outcome],
                "now": quote_json(day.now),
                "taker_buy_share": ratio_text(bought, traded),
                "hours": [hour_json(hour) for hour in day.hours],
                "as_of": as_of,
            }
        )


class ActivityView(APIView):
    """What the whole exchange trades."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="activity", tags=TAGS, summary="Activity by hour and category, oldest first", auth=[],
        description=f"The last {ANALYTICS_HOURS} hours if `from` is left out. `maker_share` and `taker_share` are of "
        "what makers and takers traded in their own terms.",
        parameters=[FROM, TO, *PAGE],
        responses={200: ACTIVITY_PAGE, **problems(400, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        query = Query(request, "from", "to", "limit", "cursor", *FRESHNESS_NAMES)
        limit = query.limit()
        window = read_window(query, HOUR_S, default=ANALYTICS_HOURS)
        as_of = query.reach(("candles",), range(MARKET_SLOTS))
        page = activity_page(
            first_s=window.first_s, beyond_s=window.beyond_s, limit=limit, cursor=query.text("cursor")
        )
        return Response(
            {"results": [activity_json(row) for row in page.rows], "next": page.next, "as_of": as_of}
        )


def read_window(query: Query, seconds: int, *, default: int, most: int | None = None) -> Window:
    """The intervals between `from` and `to`, up to the present one; the last `default` ones without a `from`.

    Raises InvalidRequest for an end before the beginning, and for more than `most` intervals.
    """
    now, length_us = now_us(), seconds * SECOND_US
    from_us, until_us = query.moment_us("from"), query.moment_us("to")
    end_us = now if until_us is None else until_us
    if from_us is not None and end_us < from_us:
        raise InvalidRequest(errors={"to": ["must not be before from; it is now where it is left out"]})
    beyond = -(-end_us // length_us)
    first = beyond - default if from_us is None else from_us // length_us
    if most is not None and beyond - first > most:
        told = f"there are {beyond - first} intervals from there to the end, and at most {most} are answered"
        raise InvalidRequest(errors={"from": [told]})
    return Window(max(first, 0) * seconds, max(0, min(beyond, now // length_us + 1)) * seconds)


def candle_json(row: Candle) -> dict[str, Any]:
    return {
        "at": _moment(row.at_s),
        "open": _price(row.open_pips),
        "high": _price(row.high_pips),
        "low": _price(row.low_pips),
        "close": _price(row.close_pips),
        "volume": format_pips(row.volume_pips),
        "quantity": row.quantity,
        "trades": row.trades,
        "bid_close": _price(row.bid_close_pips),
        "ask_close": _price(row.ask_close_pips),
    }


def quote_json(quote: Quote | None) -> dict[str, Any]:
    """The top of a book; all null before its first order."""
    if quote is None:
        names = ("best_bid", "best_ask", "spread", "bid_depth", "ask_depth", "imbalance")
        return dict.fromkeys(names)
    return {
        "best_bid": _price(quote.bid_pips),
        "best_ask": _price(quote.ask_pips),
        "spread": _price(quote.spread_pips),
        "bid_depth": quote.bid_depth,
        "ask_depth": quote.ask_depth,
        "imbalance": imbalance_text(quote.bid_depth, quote.ask_depth),
    }


def hour_json(hour: Hour) -> dict[str, Any]:
    """Averages over the minutes of which the book is known; null where there are none."""
    return {
        "at": _moment(hour.at_s),
        "average_spread": _price(_average(hour.spread_pips, hour.spread_minutes)),
        "bid_depth": _average(hour.bid_depth, hour.minutes),
        "ask_depth": _average(hour.ask_depth, hour.minutes),
        "imbalance": imbalance_text(hour.bid_depth, hour.ask_depth),
        "volume": format_pips(hour.volume_pips),
        "quantity": hour.quantity,
        "trades": hour.trades,
        "taker_buy_share": ratio_text(hour.buy_quantity, hour.quantity),
    }


def activity_json(row: Activity) -> dict[str, Any]:
    both = row.maker_volume_pips + row.taker_volume_pips
    maker_share = _ratio(row.maker_volume_pips, both)
    return {
        "at": _moment(row.at_s),
        "category": row.category,
        "volume": format_pips(row.volume_pips),
        "trades": row.trades,
        "maker_volume": format_pips(row.maker_volume_pips),
        "taker_volume": format_pips(row.taker_volume_pips),
        "maker_share": format_pips(maker_share),
        "taker_share": format_pips(SHARE_PIPS - maker_share),
        "taker_buy_share": ratio_text(row.taker_buys_pips, row.taker_volume_pips),
        "maker_fees": format_pips(row.maker_fees_pips),
        "taker_fees": format_pips(row.taker_fees_pips),
    }


def imbalance_text(bid_depth: int, ask_depth: int) -> str | None:
    """From -1 (only asks) to 1 (only bids); None for an empty book."""
    return ratio_text(bid_depth - ask_depth, bid_depth + ask_depth)


def ratio_text(part: int, whole: int) -> str | None:
    """Part of a whole with four decimals; None of nothing."""
    return None if whole == 0 else format_pips(_ratio(part, whole))


def _ratio(part: int, whole: int) -> int:
    """In ten-thousandths, to the nearest."""
    return (2 * SHARE_PIPS * part + whole) // (2 * whole)


def _average(total: int, count: int) -> int | None:
    return None if count == 0 else (2 * total + count) // (2 * count)


def _price(pips: int | None) -> str | None:
    return None if pips is None else format_pips(pips)


def _moment(at_s: int) -> str:
    return timestamp_text(at_s * SECOND_US)


bar_patterns = [
    path("markets/<str:market>/candles", CandlesView.as_view(), name="api-market-candles"),
    path("markets/<str:market>/analytics", AnalyticsView.as_view(), name="api-market-analytics"),
    path("analytics/activity", ActivityView.as_view(), name="api-activity"),
]
