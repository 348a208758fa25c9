"""An outcome's candles: its trades and the last quotes of each interval, from the bars that the projections keep.

A binary market's second outcome is the first's, mirrored. Five minutes are made of minutes, a day of hours, in UTC.
"""

from typing import NamedTuple

from trading.market_terms import MarketTerms
from trading.money import SHARE_PIPS
from trading.replicas import reading
from trading.selectors.books import is_binary


class Interval(NamedTuple):
    """How long it is, and of which bars it is made."""

    seconds: int
    resolution: str


INTERVALS = {
    "1m": Interval(60, "1m"),
    "5m": Interval(300, "1m"),
    "1h": Interval(3_600, "1h"),
    "1d": Interval(86_400, "1h"),
}


class Candle(NamedTuple):
    """One interval, from `at_s` (seconds since the epoch). No price without a trade, no quote of an empty side."""

    at_s: int
    open_pips: int | None
    high_pips: int | None
    low_pips: int | None
    close_pips: int | None
    volume_pips: int
    quantity: int
    trades: int
    bid_close_pips: int | None
    ask_close_pips: int | None


_NO_TRADE = (None, None, None, None, 0, 0, 0)
_NO_QUOTE = (None, None)

_BARS = """
SELECT extract(epoch FROM at)::bigint / %(seconds)s * %(seconds)s AS begins, (array_agg(open_pips ORDER BY at))[1],
       max(high_pips), min(low_pips), (array_agg(close_pips ORDER BY at DESC))[1], sum(volume_pips)::bigint,
       sum(quantity)::bigint, sum(trades)::bigint
FROM trade_bar
WHERE market_id = %(market)s AND outcome = %(book)s AND resolution = %(resolution)s
    AND at >= to_timestamp(%(first)s) AND at < to_timestamp(%(beyond)s)
GROUP BY 1
"""
# One step down the index for each interval, however many quotes there were in it or since.
_QUOTES = """
SELECT begins, quote.bid_pips, quote.ask_pips
FROM generate_series(%(first)s::bigint, %(beyond)s::bigint - 1, %(seconds)s) AS begins, LATERAL (
    SELECT bid_pips, ask_pips FROM quote_bar
    WHERE market_id = %(market)s AND outcome = %(book)s AND at < to_timestamp(begins + %(seconds)s)
    ORDER BY at DESC LIMIT 1
) AS quote
WHERE quote.bid_pips IS NOT NULL OR quote.ask_pips IS NOT NULL
"""


def candles(
    terms: MarketTerms, *, outcome: int, interval: Interval, first_s: int, beyond_s: int
) -> list[Candle]:
    """The intervals from `first_s` to before `beyond_s` of which anything is known, oldest first.

    Both are whole intervals since the epoch. A quote stands until the next one, also one from before `first_s`.
    """
    arguments: dict[str, str | int] = {
        "market": terms.market_id,
        "book": 0 if is_binary(terms) else outcome,
        "seconds": interval.seconds,
        "resolution": interval.resolution,
        "first": first_s,
        "beyond": beyond_s,
    }
    with reading().cursor() as cursor:
        cursor.execute(_BARS, arguments)
        bars = {begins: tuple(values) for begins, *values in cursor.fetchall()}
        cursor.execute(_QUOTES, arguments)
        quotes = {begins: tuple(values) for begins, *values in cursor.fetchall()}
    found = [
        Candle(at_s, *bars.get(at_s, _NO_TRADE), *quotes.get(at_s, _NO_QUOTE))
        for at_s in sorted(bars.keys() | quotes.keys())
    ]
    return [_mirrored(each) for each in found] if is_binary(terms) and outcome == 1 else found


def _mirrored(candle: Candle) -> Candle:
    """The other outcome's view: what was bought here at p was sold there at 1 - p."""
    return candle._replace(
        open_pips=complement(candle.open_pips),
        high_pips=complement(candle.low_pips),
        low_pips=complement(candle.high_pips),
        close_pips=complement(candle.close_pips),
        volume_pips=SHARE_PIPS * candle.quantity - candle.volume_pips,
        bid_close_pips=complement(candle.ask_close_pips),
        ask_close_pips=complement(candle.bid_close_pips),
    )


def complement(pips: int | None) -> int | None:
    """The price of the other outcome of two."""
    return None if pips is None else SHARE_PIPS - pips
