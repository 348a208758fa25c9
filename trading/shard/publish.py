"""PUBLISH: tells gateways, hubs, caches and projectors what was committed. Never before it was.

A message may be lost; nothing depends on it. Feeds are numbered (`seq`, `prev`), replies are
looked up, and after a takeover or an emptied Valkey every book is written afresh (`reset`).
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
import redis

from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market
from trading.engine.trades import Trade
from trading.ids import market_slot
from trading.shard.batch import Batch
from trading.shard.crash_points import reach
from trading.shard.faults import SlotLost
from trading.shard.inbox import trim
from trading.shard.slots import OwnedSlot
from trading.wire import RESEND_CHANNEL, Outcome, encode_outcomes, outcome_channel

FEED_CHANNEL = "feed"
WAKE_CHANNEL = "wake"
# Without a batch for that long a slot's mark is lost; then its books are written once more than needed.
MARK_EXPIRES_S = 86_400

# `books:{slot}` holds the epoch of the slot's owner, and while that one is still writing the books, WRITING after it.
# So an owner that was replaced cannot write old books over new ones, and a Valkey that came back empty shows.
WRITING = ":writing"

# Marks slots as written by this epoch, unless a later one has.
BEGIN = """
for number, key in ipairs(KEYS) do
  local held = tonumber(string.match(redis.call('GET', key) or '', '^%d+') or 0)
  if held > tonumber(ARGV[1 + number]) then return 0 end
end
for number, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1 + number] .. ':writing', 'EX', ARGV[1]) end
return 1
"""

# The books of these slots are all there.
END = """
for number, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[1 + number] .. ':writing' then return 0 end
end
for number, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1 + number], 'EX', ARGV[1]) end
return 1
"""

IN_PARTS = """
local function in_parts(command, key, list)
  for i = 1, #list, 1000 do redis.call(command, key, unpack(list, i, math.min(i + 999, #list))) end
end
"""

REWRITE_BOOK = (
    IN_PARTS
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
in_parts('HSET', KEYS[2], cmsgpack.unpack(ARGV[2]))
redis.call('SET', KEYS[3], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""
)

# One call for all books and tickers of a batch, or none of them if one of its slots has another mark.
# A call takes a limited number of arguments, so long lists go in parts.
PUBLISH_BOOKS = (
    IN_PARTS
    + """
for number, key in ipairs(KEYS) do
  if redis.call('GETEX', key, 'EX', ARGV[1]) ~= ARGV[5 + number] then return 0 end
end
for number, change in ipairs(cmsgpack.unpack(ARGV[2])) do
  in_parts('HSET', 'book:' .. change[1], change[2])
  in_parts('HDEL', 'book:' .. change[1], change[3])
  redis.call('SET', 'ticker:' .. change[1], ARGV[5 + #KEYS + number])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], '')
return 1
"""
)

_encode = msgspec.msgpack.Encoder().encode


class Publication(NamedTuple):
    """What is to be told of a batch, encoded: changes of books, tickers, the feed's message, outcomes by gateway;
    the epochs under which it may be told, and how far it has consumed the slots' streams."""

    epochs: dict[int, int]
    consumed: dict[int, str]
    books: bytes
    tickers: list[bytes]
    feed: bytes
    replies: dict[str, bytes]


class Publisher:
    """Remembers the `seq` last prepared for each market."""

    def __init__(self, *, bus: redis.Redis, feed: redis.Redis) -> None:
        self._bus = bus
        self._feed = feed
        self._begin: Any = feed.register_script(BEGIN)
        self._end: Any = feed.register_script(END)
        self._rewrite_book: Any = feed.register_script(REWRITE_BOOK)
        self._publish_books: Any = feed.register_script(PUBLISH_BOOKS)
        self._published: dict[str, int] = {}

    def prepare(self, batch: Batch) -> Publication:
        """What a batch has changed, encoded as it is now; call once, after its last command."""
        books, tickers, updates = [], [], []
        for market in batch.markets.values():
            levels, kept, gone = _changed_levels(market)
            trades = batch.trades.get(market.market_id, [])
            next_offset = batch.offsets[market_slot(market.market_id)]
            ticker, update = self._update(market, levels, trades, batch.now_us, next_offset, reset=False)
            books.append((market.market_id, kept, gone))
            tickers.append(ticker)
            updates.append(update)
        replies = {gateway: encode_outcomes(outcomes) for gateway, outcomes in batch.replies().items()}
        epochs = {owned.slot: owned.epoch for owned in batch.slots}
        return Publication(epochs, batch.command_offsets, _encode(books), tickers, _encode(updates), replies)

    def publish(self, publication: Publication) -> None:
        """Books, prices and trades first, so that a reply can be followed by a read."""
        reach("before_publish")
        if publication.tickers:
            epochs = publication.epochs
            arguments = [MARK_EXPIRES_S, publication.books, FEED_CHANNEL, publication.feed, WAKE_CHANNEL]
            arguments += [*epochs.values(), *publication.tickers]
            if not self._publish_books(keys=[_mark(slot) for slot in epochs], args=arguments):
                raise redis.ConnectionError("Valkey has lost the books, or another owner writes them")
        reach("between_books_and_replies")
        replies = self._bus.pipeline(transaction=False)
        for gateway_id, outcomes in publication.replies.items():
            replies.publish(outcome_channel(gateway_id), outcomes)
        for slot, consumed in publication.consumed.items():
            trim(replies, slot, consumed)
        replies.execute()
        reach("after_publish")

    def answer(self, gateway_id: str, outcomes: list[Outcome]) -> None:
        """Outcomes outside a batch's own reply."""
        self._bus.publish(outcome_channel(gateway_id), encode_outcomes(outcomes))

    def begin(self, slots: Collection[OwnedSlot]) -> None:
        """From here on only this owner writes the slots' books. Raises SlotLost if a later one has begun."""
        reach("before_begin_books")
        if not self._begin(
            keys=[_mark(s.slot) for s in slots], args=[MARK_EXPIRES_S, *(s.epoch for s in slots)]
        ):
            raise SlotLost("a later owner writes the books")

    def rewrite(self, market: Market, owned: OwnedSlot, at_us: int) -> None:
        """Writes a whole book between `begin` and `announce` of its slot, and has every hub read it again."""
        reach("before_rewrite_book")
        fields: list[str | int] = ["seq", market.seq]
        for index, book in enumerate(market.books):
            for name, side in (("bid", book.bids), ("ask", book.asks)):
                for price, size in side.depth():
                    fields += (f"{index}|{name}|{price}", size)
        market.touched.clear()
        ticker, update = self._update(market, [], [], at_us, owned.next_offset, reset=True)
        keys = [_mark(owned.slot), f"book:{market.market_id}", f"ticker:{market.market_id}"]
        arguments = [f"{owned.epoch}{WRITING}", _encode(fields), ticker, FEED_CHANNEL, _encode([update])]
        if not self._rewrite_book(keys=keys, args=arguments):
            raise redis.ConnectionError("Valkey has lost the books, or another owner writes them")

    def announce(self, slots: Collection[OwnedSlot], *, resend: bool) -> None:
        """All books of these slots are written: projectors may look; with `resend` gateways send again what waits."""
        reach("before_announce")
        if not self._end(
            keys=[_mark(s.slot) for s in slots], args=[MARK_EXPIRES_S, *(s.epoch for s in slots)]
        ):
            raise redis.ConnectionError("Valkey has lost the books, or another owner writes them")
        self._feed.publish(WAKE_CHANNEL, b"")
        if resend:
            self._bus.publish(RESEND_CHANNEL, b"")
        reach("after_announce")

    def _update(
        self,
        market: Market,
        levels: list[tuple[int, str, int, int]],
        trades: list[tuple[Trade, int]],
        at_us: int,
        next_offset: int,
        *,
        reset: bool,
    ) -> tuple[bytes, dict[str, Any]]:
        """A market's ticker as stored, and what the feed tells of it; both reflect its slot up to `next_offset`."""
        bids, asks = tops(market)
        ticker: dict[str, Any] = {
            "last": market.last_prices, "bid": bids, "ask": asks, "volume_pips": market.volume_pips,
            "open_interest": market.sets, "status": market.status, "next_offset": next_offset,
        }  # fmt: skip
        if market.closing is not None:
            ticker["ending"] = tuple(market.closing)
        previous = self._published.get(market.market_id, 0)
        self._published[market.market_id] = market.seq
        update = {
            "m": market.market_id, "seq": market.seq, "prev": previous, "at_us": at_us, "levels": levels,
            "trades": [
                (t.trade_id, t.outcome, t.price_pips, t.quantity_shares, t.taker_side, at_us, seq) for t, seq in trades
            ],
            "ticker": ticker, "reset": reset,
        }  # fmt: skip
        return _encode({"seq": market.seq, **ticker}), update


def _mark(slot: int) -> str:
    return f"books:{slot}"


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
