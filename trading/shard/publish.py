"""PUBLISH: tells gateways, hubs, caches and projectors what was committed. Never before it was.

A message may be lost; nothing depends on it. Feeds are numbered (`seq`, `prev`), replies are
looked up, and after a restart or an emptied Valkey every book is written afresh (`reset`).
"""

from typing import Any, NamedTuple

import msgspec
import redis

from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market
from trading.engine.trades import Trade
from trading.ids import new_id
from trading.shard.batch import Batch
from trading.wire import RESEND_CHANNEL, Outcome, encode_outcomes, outcome_channel

FEED_CHANNEL = "feed"
WAKE_CHANNEL = "wake"
# A Valkey that came back empty has lost the mark as well, which the next batch finds at once. Without a batch for
# that long it is lost too; then the books are written once more than needed.
MARK_EXPIRES_S = 86_400

# One call for all books and tickers of a batch, or none of them: a Valkey that came back empty has no mark.
# A call takes a limited number of arguments, so long lists go in parts.
PUBLISH_BOOKS = """
if redis.call('EXPIRE', KEYS[1], ARGV[1]) == 0 then return 0 end
local function in_parts(command, key, list)
  for i = 1, #list, 1000 do redis.call(command, key, unpack(list, i, math.min(i + 999, #list))) end
end
for number, change in ipairs(cmsgpack.unpack(ARGV[2])) do
  in_parts('HSET', 'book:' .. change[1], change[2])
  in_parts('HDEL', 'book:' .. change[1], change[3])
  redis.call('SET', 'ticker:' .. change[1], ARGV[5 + number])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], '')
return 1
"""

_encode = msgspec.msgpack.Encoder().encode


class Publication(NamedTuple):
    """What is to be told of a batch, encoded: changes of books, tickers, the feed's message, outcomes by gateway."""

    books: bytes
    tickers: list[bytes]
    feed: bytes
    replies: dict[str, bytes]


class Publisher:
    """Remembers the `seq` last prepared for each market."""

    def __init__(self, *, bus: redis.Redis, feed: redis.Redis) -> None:
        self._bus = bus
        self._feed = feed
        self._publish_books: Any = feed.register_script(PUBLISH_BOOKS)
        self._published: dict[str, int] = {}
        self._mark = f"books-written:{new_id()}"

    def prepare(self, batch: Batch) -> Publication:
        """What a batch has changed, encoded as it is now; call once, after its last command."""
        books, tickers, updates = [], [], []
        for market in batch.markets.values():
            levels, kept, gone = _changed_levels(market)
            ticker, update = self._update(
                market, levels, batch.trades.get(market.market_id, []), batch.now_us, reset=False
            )
            books.append((market.market_id, kept, gone))
            tickers.append(ticker)
            updates.append(update)
        replies = {gateway: encode_outcomes(outcomes) for gateway, outcomes in batch.replies().items()}
        return Publication(_encode(books), tickers, _encode(updates), replies)

    def publish(self, publication: Publication) -> None:
        """Books, prices and trades first, so that a reply can be followed by a read."""
        if publication.tickers:
            arguments = [MARK_EXPIRES_S, publication.books, FEED_CHANNEL, publication.feed, WAKE_CHANNEL]
            if not self._publish_books(keys=[self._mark], args=[*arguments, *publication.tickers]):
                raise redis.ConnectionError("Valkey has lost the books; they are written again")
        if publication.replies:
            replies = self._bus.pipeline(transaction=False)
            for gateway_id, outcomes in publication.replies.items():
                replies.publish(outcome_channel(gateway_id), outcomes)
            replies.execute()

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
        ticker, update = self._update(market, [], [], at_us, reset=True)
        pipeline.set(f"ticker:{market.market_id}", ticker)
        pipeline.publish(FEED_CHANNEL, _encode([update]))
        pipeline.execute()

    def announce(self) -> None:
        """All books are written: projectors may look, gateways shall send again what still waits."""
        self._feed.set(self._mark, b"", ex=MARK_EXPIRES_S)
        self._feed.publish(WAKE_CHANNEL, b"")
        self._bus.publish(RESEND_CHANNEL, b"")

    def _update(
        self,
        market: Market,
        levels: list[tuple[int, str, int, int]],
        trades: list[tuple[Trade, int]],
        at_us: int,
        *,
        reset: bool,
    ) -> tuple[bytes, dict[str, Any]]:
        """A market's ticker as stored, and what the feed tells of it."""
        bids, asks = tops(market)
        ticker = {
            "last": market.last_prices, "bid": bids, "ask": asks, "volume_pips": market.volume_pips,
            "open_interest": market.sets,
        }  # fmt: skip
        previous = self._published.get(market.market_id, 0)
        self._published[market.market_id] = market.seq
        update = {
            "m": market.market_id, "seq": market.seq, "prev": previous, "at_us": at_us, "levels": levels,
            "trades": [
                (t.trade_id, t.outcome, t.price_pips, t.quantity_shares, t.taker_side, at_us, seq) for t, seq in trades
            ],
            "ticker": ticker, "status": market.status, "reset": reset,
        }  # fmt: skip
        return _encode({"seq": market.seq, "status": market.status, **ticker}), update


def _changed_levels(market: Market) -> tuple[list[tuple[int, str, int, int]], list[str | int], list[str]]:
    """The touched levels with their sizes now; and the same as the book's hash has it: fields to set, and to drop."""
    levels: list[tuple[int, str, int, int]] = []
    kept: list[str | int] = ["seq", market.seq]
    gone: list[str] = []
    for index, is_bid, price in market.touched:
        book = market.books[index]
        size = (book.bids if is_bid else book.asks).size_at(price)
        name = "bid" if is_bid else "ask"
        levels.append((index, name, price, size))
        if size:
            kept += (f"{index}|{name}|{price}", size)
        else:
            gone.append(f"{index}|{name}|{price}")
    market.touched.clear()
    return levels, kept, gone


def tops(market: Market) -> tuple[list[int | None], list[int | None]]:
    """Best bid and best ask of every outcome; the second of a binary market mirrors the first."""
    bids = [book.bids.best_price() for book in market.books]
    asks = [book.asks.best_price() for book in market.books]
    if market.is_binary and market.books:
        bid, ask = bids[0], asks[0]
        bids.append(None if ask is None else SHARE_PIPS - ask)
        asks.append(None if bid is None else SHARE_PIPS - bid)
    return bids, asks
