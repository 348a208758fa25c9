"""What a book and its trading were like by hour, and the exchange's activity by hour and category."""

from typing import Annotated, Any, NamedTuple

import msgspec

from trading.market_terms import MarketTerms
from trading.money import SHARE_PIPS
from trading.replicas import reading
from trading.selectors.books import is_binary
from trading.selectors.candles import complement
from trading.selectors.pages import Cursor, Moment, Page

MINUTE_S = 60
HOUR_S = 3_600


class Quote(NamedTuple):
    """The top of a book from a minute on, until the next; None where a side is empty."""

    at_s: int
    bid_pips: int | None
    ask_pips: int | None
    bid_depth: int
    ask_depth: int

    @property
    def spread_pips(self) -> int | None:
        if self.bid_pips is None or self.ask_pips is None:
            return None
        return self.ask_pips - self.bid_pips


class Hour(NamedTuple):
    """One hour, from `at_s`. The book's figures are sums over its minutes, of which `spread_minutes` had both sides."""

    at_s: int
    minutes: int = 0
    spread_minutes: int = 0
    spread_pips: int = 0
    bid_depth: int = 0
    ask_depth: int = 0
    volume_pips: int = 0
    quantity: int = 0
    trades: int = 0
    buy_quantity: int = 0


class Day(NamedTuple):
    """The last hours of a book of which anything is known, oldest first, and its top now."""

    hours: list[Hour]
    now: Quote | None


_QUOTES = """
(SELECT extract(epoch FROM at)::bigint, bid_pips, ask_pips, bid_depth, ask_depth FROM quote_bar
 WHERE market_id = %(market)s AND outcome = %(book)s AND at < to_timestamp(%(first)s) ORDER BY at DESC LIMIT 1)
UNION ALL
(SELECT extract(epoch FROM at)::bigint, bid_pips, ask_pips, bid_depth, ask_depth FROM quote_bar
 WHERE market_id = %(market)s AND outcome = %(book)s AND at >= to_timestamp(%(first)s))
ORDER BY 1
"""
_BARS = """
SELECT extract(epoch FROM at)::bigint, volume_pips, quantity, trades, buy_quantity FROM trade_bar
WHERE market_id = %(market)s AND outcome = %(book)s AND resolution = '1h' AND at >= to_timestamp(%(first)s)
"""


def last_hours(terms: MarketTerms, *, outcome: int, hours: int, now_s: int) -> Day:
    """The hour of `now_s` and those before it."""
    first_s = now_s // HOUR_S * HOUR_S - (hours - 1) * HOUR_S
    arguments: dict[str, str | int] = {
        "market": terms.market_id,
        "book": 0 if is_binary(terms) else outcome,
        "first": first_s,
    }
    with reading().cursor() as cursor:
        cursor.execute(_QUOTES, arguments)
        quotes = [Quote(*row) for row in cursor.fetchall()]
        cursor.execute(_BARS, arguments)
        traded = {at_s: values for at_s, *values in cursor.fetchall()}
    is_mirrored = is_binary(terms) and outcome == 1
    if is_mirrored:
        quotes = [_mirrored_quote(each) for each in quotes]
    found = _by_hour(quotes, first_s=first_s, beyond_s=now_s // MINUTE_S * MINUTE_S + MINUTE_S)
    for at_s, (volume_pips, quantity, trades, buy_quantity) in traded.items():
        hour = found.get(at_s, Hour(at_s))._replace(
            volume_pips=volume_pips, quantity=quantity, trades=trades, buy_quantity=buy_quantity
        )
        found[at_s] = _mirrored_trades(hour) if is_mirrored else hour
    return Day([found[at_s] for at_s in sorted(found)], quotes[-1] if quotes else None)


def _by_hour(quotes: list[Quote], *, first_s: int, beyond_s: int) -> dict[int, Hour]:
    """Adds up each minute's quote; one stands until the next."""
    found: dict[int, Hour] = {}
    for index, quote in enumerate(quotes, start=1):
        end_s = quotes[index].at_s if index < len(quotes) else beyond_s
        begin_s = max(quote.at_s, first_s)
        while begin_s < end_s:
            hour_s = begin_s // HOUR_S * HOUR_S
            until_s = min(end_s, hour_s + HOUR_S)
            found[hour_s] = _with_quote(
                found.get(hour_s, Hour(hour_s)), quote, (until_s - begin_s) // MINUTE_S
            )
            begin_s = until_s
    return found


def _with_quote(hour: Hour, quote: Quote, minutes: int) -> Hour:
    spread_pips = quote.spread_pips
    return hour._replace(
        minutes=hour.minutes + minutes,
        spread_minutes=hour.spread_minutes + (0 if spread_pips is None else minutes),
        spread_pips=hour.spread_pips + (spread_pips or 0) * minutes,
        bid_depth=hour.bid_depth + quote.bid_depth * minutes,
        ask_depth=hour.ask_depth + quote.ask_depth * minutes,
    )


def _mirrored_quote(quote: Quote) -> Quote:
    return quote._replace(
        bid_pips=complement(quote.ask_pips),
        ask_pips=complement(quote.bid_pips),
        bid_depth=quote.ask_depth,
        ask_depth=quote.bid_depth,
    )


def _mirrored_trades(hour: Hour) -> Hour:
    return hour._replace(
        volume_pips=SHARE_PIPS * hour.quantity - hour.volume_pips,
        buy_quantity=hour.quantity - hour.buy_quantity,
    )


# The exchange ---------------------------------------------------------------------------------------


class Activity(NamedTuple):
    """An hour of a category, from `at_s`; makers' and takers' own legs in their own terms."""

    at_s: int
    category: str
    volume_pips: int
    trades: int
    maker_volume_pips: int
    taker_volume_pips: int
    maker_fees_pips: int
    taker_fees_pips: int
    taker_buys_pips: int


class _Key(NamedTuple):
    at_us: Moment
    # What PostgreSQL's text takes: anything but NUL.
    category: Annotated[str, msgspec.Meta(max_length=200, pattern=r"\A[^\x00]*\Z")]


_CURSOR = Cursor("activity", _Key)


def activity_page(*, first_s: int, beyond_s: int, limit: int, cursor: str | None) -> Page[Activity]:
    """Hours of categories from `first_s` to before `beyond_s`, oldest first."""
    conditions = ["at >= to_timestamp(%s)", "at < to_timestamp(%s)"]
    arguments: list[Any] = [first_s, beyond_s]
    if (key := _CURSOR.read(cursor)) is not None:
        conditions.append("(at, category) > (to_timestamp(0) + %s * interval '1 microsecond', %s)")
        arguments += [key.at_us, key.category]
    with reading().cursor() as db:
        db.execute(
            "SELECT extract(epoch FROM a.at)::bigint, category, volume_pips, trades, maker_volume_pips, "  # noqa: S608
            "taker_volume_pips, maker_fees_pips, taker_fees_pips, taker_buys_pips FROM activity_hour AS a "
            f"WHERE {' AND '.join(conditions)} ORDER BY a.at, a.category LIMIT %s",
            [*arguments, limit + 1],
        )
        rows = [Activity(*row) for row in db.fetchall()]
    return _CURSOR.page(rows, limit=limit, key_of=lambda row: _Key(row.at_s * 1_000_000, row.category))
