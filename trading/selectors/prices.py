"""What a share of each outcome is worth now: its pay-out once decided, else the best bid, else the last price.

Bids are in `ticker:{market_id}`, which the shard publishes. Without it, or without Valkey, last prices
come from the read model. Unknown is None, never 0.
"""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import redis
from django.conf import settings

from trading.errors import NotFound
from trading.replicas import reading

log = logging.getLogger(__name__)

Prices = list[int | None]


class _Ticker(msgspec.Struct):
    """As the shard stores it; what is not listed here is passed over."""

    last: Prices
    bid: Prices


_decode = msgspec.msgpack.Decoder(_Ticker).decode


@functools.cache
def feed_valkey() -> Any:
    """One client a process for what shards publish; it fails fast, since PostgreSQL knows the answers too."""
    return redis.Redis.from_url(settings.FEED_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def share_prices(market_ids: Sequence[str]) -> dict[str, Prices]:
    """The prices of every outcome of these markets, by market. Unknown markets are left out."""
    if not market_ids:
        return {}
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT m.market_id::text, m.resolution->>'payouts', s.last_prices FROM market m "
            "JOIN market_summary s USING (market_id) WHERE m.market_id = ANY(%s::uuid[])",
            [list(market_ids)],
        )
        rows = cursor.fetchall()
    # After the rows, so that they are the newer as a rule.
    tickers = _tickers(market_ids)
    return {
        market_id: msgspec.json.decode(payouts) if payouts else _live(tickers.get(market_id), last)
        for market_id, payouts, last in rows
    }


def last_price(market_id: str, outcome: int) -> tuple[str, int | None]:
    """The market's status, and the outcome's last price in pips, None before its first trade.

    Raises NotFound for a market that a replica does not have yet.
    """
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT m.status, s.last_prices FROM market m JOIN market_summary s USING (market_id) WHERE market_id = %s",
            [market_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such market.")
    status, prices = row
    return status, prices[outcome]


def _live(ticker: _Ticker | None, last: Prices) -> Prices:
    if ticker is None or not len(ticker.bid) == len(ticker.last) == len(last):
        return last
    return [traded if bid is None else bid for bid, traded in zip(ticker.bid, ticker.last, strict=True)]


def _tickers(market_ids: Sequence[str]) -> dict[str, _Ticker]:
    try:
        found = feed_valkey().mget([f"ticker:{market_id}" for market_id in market_ids])
        return {
            market_id: _decode(raw)
            for market_id, raw in zip(market_ids, found, strict=True)
            if raw is not None
        }
    except (redis.RedisError, msgspec.MsgspecError) as error:
        log.warning("no tickers, last prices serve instead: %s", error)
        return {}
