"""PUBLISH: tells gateways, hubs, caches and projectors what was committed. Never before it was.

A message may be lost; nothing depends on it. Feeds are numbered (`seq`, `prev`), replies are
looked up, and after a restart or an emptied Valkey every book is written afresh (`reset`).
"""

from typing import Any, NamedTuple

import msgspec
import redis

from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market
from trading.ids import new_id
from trading.shard.batch import Batch, Trade
from trading.wire import RESEND_CHANNEL, Outcome, encode_outcomes, outcome_channel

FEED_CHANNEL = "feed"
WAKE_CHANNEL = "wake"
# A Valkey that came back empty has lost the mark as well, which the next batch finds at once. Without a batch for
# that long it is lost too; then the books are written once more than needed.
MARK_EXPIRES_S = 86_400

_encode = msgspec.msgpack.Encoder().encode


class Publication(NamedTuple):
    """Commands to Valkey, ready to be sent."""

    books: Any  # a pipeline, None if no market changed
    replies: Any  # a pipeline; it sends nothing if it is empty


class Publisher:
    """Remembers the `seq` last prepared for each market."""

    def __init__(self, *, bus: redis.Redis, feed: redis.Redis) -> None:
        self._bus = bus
        self._feed = feed
        self._published: dict[str, int] = {}
        self._mark = f"books-written:{new_id()}"

    def prepare(self, batch: Batch) -> Publication:
        """What a batch has changed, put into commands; call once, after its last command."""
        books = None
        if batch.markets:
            books = self._feed.pipeline(transaction=True)
            updates = []
            for market in batch.markets.values():
                levels = self._write_book(books, market)
                trades = batch.trades.get(market.market_id, [])
                updates.append(self._update(books, market, levels, trades, batch.now_us, reset=False))
            books.publish(FEED_CHANNEL, _encode(updates))
            books.publish(WAKE_CHANNEL, b"")
            books.set(self._mark, b"", ex=MARK_EXPIRES_S, get=True)
        replies = self._bus.pipeline(transaction=False)
        for gateway_id, outcomes in batch.replies().items():
            replies.publish(outcome_channel(gateway_id), encode_outcomes(outcomes))
        return Publication(books, replies)

    def publish(self, publication: Publication) -> None:
        """Books, prices and trades first, so that a reply can be followed by a read."""
        if publication.books is not None and publication.books.execute()[-1] is None:
            raise redis.ConnectionError("Valkey has lost the books; they are written again")
        publication.replies.execute()

    def answer(self, gateway_id: str, outcomes: list[Outcome]) -> None:
        """Outcomes outside a batch's own reply."""
        self._bus.publish(outcome_channel(gateway_id), encode_outcomes(outcomes))

    def rewrite(self, market: Market, at_us: int) -> None:
        """Writes a whole book, and has every hub read it again."""
        pipeline = self._feed.pipeline(transaction=True)
        pipeline.delete(f"book:{market.market_id}")
        fields: dict[Any, Any] = {"seq": market.seq}
        for index, book in enumerate(market.books):
            for name, side in (("bid", book.bids), ("ask", book.asks)):
                fields.update({f"{index}|{name}|{price}": size for price, size in side.depth()})
        pipeline.hset(f"book:{market.market_id}", mapping=fields)
        market.touched.clear()
        update = self._update(pipeline, market, [], [], at_us, reset=True)
        pipeline.publish(FEED_CHANNEL, _encode([update]))
        pipeline.execute()

    def announce(self) -> None:
        """All books are written: projectors may look, gateways shall send again what still waits."""
        self._feed.set(self._mark, b"", ex=MARK_EXPIRES_S)
        self._feed.publish(WAKE_CHANNEL, b"")
        self._bus.publish(RESEND_CHANNEL, b"")

    def _write_book(self, pipeline: Any, market: Market) -> list[tuple[int, str, int, int]]:
        """Writes the touched levels to the book's hash; answers them with their sizes now."""
        levels, kept, gone = [], {"seq": market.seq}, []
        for index, is_bid, price in market.touched:
            book = market.books[index]
            size = (book.bids if is_bid else book.asks).size_at(price)
            name = "bid" if is_bid else "ask"
            levels.append((index, name, price, size))
            if size:
                kept[f"{index}|{name}|{price}"] = size
            else:
                gone.append(f"{index}|{name}|{price}")
        market.touched.clear()
        key = f"book:{market.market_id}"
        pipeline.hset(key, mapping=kept)
        if gone:
            pipeline.hdel(key, *gone)
        return levels

    def _update(
        self, pipeline: Any, market: Market, levels: list[tuple[int, str, int, int]], trades: list[Trade], at_us: int,
        *, reset: bool,
    ) -> dict[str, Any]:  # fmt: skip
        bids, asks = tops(market)
        ticker = {
            "last": market.last_prices, "bid": bids, "ask": asks, "volume_pips": market.volume_pips,
            "open_interest": market.sets,
        }  # fmt: skip
        pipeline.set(
            f"ticker:{market.market_id}", _encode({"seq": market.seq, "status": market.status, **ticker})
        )
        previous = self._published.get(market.market_id, 0)
        self._published[market.market_id] = market.seq
        return {
            "m": market.market_id, "seq": market.seq, "prev": previous, "at_us": at_us, "levels": levels,
            "trades": [
                (t.trade_id, t.outcome, t.price_pips, t.quantity_shares, t.taker_side, at_us, t.seq) for t in trades
            ],
            "ticker": ticker, "status": market.status, "reset": reset,
        }  # fmt: skip


def tops(market: Market) -> tuple[list[int | None], list[int | None]]:
    """Best bid and best ask of every outcome; the second of a binary market mirrors the first."""
    bids = [book.bids.best_price() for book in market.books]
    asks = [book.asks.best_price() for book in market.books]
    if market.is_binary and market.books:
        bid, ask = bids[0], asks[0]
        bids.append(None if ask is None else SHARE_PIPS - ask)
        asks.append(None if bid is None else SHARE_PIPS - bid)
    return bids, asks
