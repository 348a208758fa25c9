"""What a market's outcomes trade at now: best bid, best ask and last price, from what the shard publishes.

`ticker:{market_id}` in Valkey is newest; without it (or without Valkey) the last prices come from the read model and
bids and asks are unknown. Unknown is None, never 0.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import redis

from markets.figures import chance_pips
from markets.selectors import Listing
from trading.selectors.prices import feed_valkey

PUBLISHED_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quote:
    """One outcome's prices in pips."""

    last_pips: int | None = None
    bid_pips: int | None = None
    ask_pips: int | None = None

    @property
    def chance_pips(self) -> int | None:
        """The one price that stands for the outcome's chance."""
        return chance_pips(last=self.last_pips, bid=self.bid_pips, ask=self.ask_pips)


@dataclass(frozen=True, slots=True)
class Quotes:
    """A market's live figures: a quote for each outcome, in order."""

    outcomes: Sequence[Quote]
    status: str
    volume_pips: int
    open_interest_sets: int
    seq: int


class Figures(Protocol):
    """What the shard publishes of a market, whoever has decoded it."""

    status: str
    last: list[int | None]
    bid: list[int | None]
    ask: list[int | None]
    volume_pips: int
    open_interest: int


class _Ticker(msgspec.Struct):
    """As the shard stores it; trading.live reads the same."""

    seq: int
    status: str
    last: list[int | None]
    bid: list[int | None]
    ask: list[int | None]
    volume_pips: int
    open_interest: int


_decode = msgspec.msgpack.Decoder(_Ticker).decode


def quotes_of(listing: Listing) -> Quotes:
    """One market's quotes."""
    return quotes_for([listing])[listing.market_id]


def quotes_for(listings: Sequence[Listing]) -> dict[str, Quotes]:
    """Every market's quotes by its id, with one read of Valkey."""
    tickers = _read_tickers(row.market_id for row in listings)
    return {row.market_id: _quotes(row, tickers.get(row.market_id)) for row in listings}


def _quotes(row: Listing, ticker: _Ticker | None) -> Quotes:
    return quotes_from(row, ticker, 0 if ticker is None else ticker.seq)


def quotes_from(row: Listing, ticker: Figures | None, seq: int) -> Quotes:
    """A market's quotes from figures as of `seq`, or from its row alone."""
    count = len(row.outcomes)
    last: Sequence[int | None] = row.last_prices
    bid: Sequence[int | None] = [None] * count
    ask = bid
    if ticker is not None and len(ticker.last) == len(ticker.bid) == len(ticker.ask) == count:
        if seq >= row.seq:
            last = ticker.last
        # What is committed is read a moment before it is published; a ticker that stays behind is of a book long gone.
        if seq >= row.seq or time.time() - row.updated_at.timestamp() < PUBLISHED_S:
            bid, ask = ticker.bid, ticker.ask
    # As a rule the read model is behind the ticker; after a loss of Valkey the ticker is behind the rows.
    newest = ticker if seq > row.seq else None
    return Quotes(
        outcomes=[Quote(*prices) for prices in zip(last, bid, ask, strict=True)],
        status=newest.status if newest else row.status,
        volume_pips=newest.volume_pips if newest else row.volume_pips,
        open_interest_sets=newest.open_interest if newest else row.open_interest_sets,
        seq=max(seq, row.seq) if ticker else row.seq,
    )


def _read_tickers(market_ids: Iterable[str]) -> dict[str, _Ticker]:
    """What Valkey has; nothing if it is away."""
    wanted = list(market_ids)
    if not wanted:
        return {}
    try:
        stored = feed_valkey().mget([f"ticker:{market_id}" for market_id in wanted])
    except redis.RedisError as error:
        log.warning("no tickers: %s", error)
        return {}
    tickers = {}
    for market_id, raw in zip(wanted, stored, strict=True):
        if raw is None:
            continue
        try:
            tickers[market_id] = _decode(raw)
        except msgspec.MsgspecError as error:
            log.warning("the ticker of market %s is foul: %s", market_id, error)
    return tickers
