"""A hub's copy of one market's books, kept by the feed's absolute sizes.

Reads what the shard publishes: the hash `book:{market_id}` and the updates of the channel `feed`. It refuses an
update that does not follow on its own sequence number; what to do then is its owner's business.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from trading.checksum import CHECKED_LEVELS, PRICE_TEXTS, Level, lines_checksum, outcome_lines
from trading.money import SHARE_PIPS

FeedLevel = tuple[int, str, int, int]
"""(outcome index, "bid" or "ask", price_pips, quantity_shares): absolute, 0 removes the level."""

FeedTrade = tuple[str, int, int, int, str, int, int]
"""(trade_id, outcome index, price_pips, quantity_shares, taker_side, at_us, seq)"""


class FeedEnding(msgspec.Struct, array_like=True):
    """Why a market was closed, what its outcomes pay (pips; None in a void), the settlement's id and the evidence."""

    reason: str
    payouts: list[int] | None
    settlement_id: str | None
    evidence: str


class FeedTicker(msgspec.Struct):
    """A market's figures and its status: a price in pips for each outcome, or None where there is none.

    All that its slot of the log has before `next_offset` is in them.
    """

    last: list[int | None]
    bid: list[int | None]
    ask: list[int | None]
    volume_pips: int
    open_interest: int
    status: str = ""
    ending: FeedEnding | None = None
    next_offset: int = 0

    @property
    def figures(self) -> tuple[Any, ...]:
        """What the channel `ticker` tells."""
        return self.last, self.bid, self.ask, self.volume_pips, self.open_interest


class FeedUpdate(msgspec.Struct):
    """What one batch changed in one market. `prev` is the `seq` of the market's update before this one."""

    m: str
    seq: int
    prev: int | None
    at_us: int
    levels: list[FeedLevel] = []
    trades: list[FeedTrade] = []
    ticker: FeedTicker | None = None
    reset: bool = False


class FeedGap(Exception):
    """An update does not follow the mirror: something between was missed."""


_UPDATES = msgspec.msgpack.Decoder(list[FeedUpdate])
_TICKER = msgspec.msgpack.Decoder(FeedTicker)


def decode_updates(message: bytes) -> list[FeedUpdate]:
    """The market updates of one message of `feed`. Raises msgspec.MsgspecError."""
    return _UPDATES.decode(message)


def decode_ticker(stored: bytes) -> FeedTicker:
    """The ticker as stored under `ticker:{market_id}`. Raises msgspec.MsgspecError."""
    return _TICKER.decode(stored)


class BookSide:
    """One side's levels. Setting and removing are O(levels) moves of a small list, reading the best O(1)."""

    __slots__ = ("_best_last", "_prices", "_quantities")

    def __init__(self, *, is_bid: bool) -> None:
        self._best_last = is_bid
        self._prices: list[int] = []
        self._quantities: dict[int, int] = {}

    def set(self, price_pips: int, quantity: int) -> None:
        """Make `quantity` the size at that price; 0 removes the level."""
        known = price_pips in self._quantities
        if quantity:
            self._quantities[price_pips] = quantity
            if not known:
                insort(self._prices, price_pips)
        elif known:
            del self._quantities[price_pips]
            del self._prices[bisect_left(self._prices, price_pips)]

    def size_at(self, price_pips: int) -> int:
        """Shares at that price, 0 if none."""
        return self._quantities.get(price_pips, 0)

    def levels(self) -> Iterator[Level]:
        """(price_pips, quantity), best first."""
        prices = reversed(self._prices) if self._best_last else iter(self._prices)
        return ((price, self._quantities[price]) for price in prices)

    def texts(self) -> list[tuple[str, int]]:
        """(price text, quantity), best first."""
        return [(PRICE_TEXTS[price], quantity) for price, quantity in self.levels()]


class BookMirror:
    """The books a market shows: one for each outcome, or the first outcome's alone in a binary market.

    `seq` is the market's sequence number the books stand at.
    """

    __slots__ = ("_lines", "_sides", "names", "seq")

    def __init__(self, names: Sequence[str], seq: int) -> None:
        self.names = tuple(names[:1]) if len(names) == 2 else tuple(names)
        self.seq = seq
        self._sides = {
            (index, side): BookSide(is_bid=side == "bid")
            for index in range(len(self.names))
            for side in ("bid", "ask")
        }
        # The checksum's lines of each outcome; None where they have to be written again.
        self._lines: list[str | None] = [None] * len(self.names)

    @classmethod
    def from_hash(cls, names: Sequence[str], fields: Mapping[bytes, bytes]) -> "BookMirror | None":
        """The books of the hash `book:{market_id}`; None if it has no `seq`, so that nothing is known.

        Raises ValueError for fields that are not the shard's.
        """
        if b"seq" not in fields:
            return None
        mirror = cls(names, int(fields[b"seq"]))
        for field, quantity in fields.items():
            if field != b"seq":
                index, side, price = field.decode().split("|")
                mirror._set(int(index), side, int(price), int(quantity))
        return mirror

    def apply(self, update: FeedUpdate) -> None:
        """Bring the books to `update.seq`. Raises FeedGap if the update does not follow, ValueError if it is foul."""
        if update.prev != self.seq or update.seq <= self.seq:
            raise FeedGap(f"update {update.prev}..{update.seq} on a book at {self.seq}")
        for level in update.levels:
            self._set(*level)
        self.seq = update.seq

    def size_at(self, index: int, side: str, price_pips: int) -> int:
        """Shares at that price, 0 if none."""
        return self._sides[index, side].size_at(price_pips)

    def checksum(self) -> int:
        """As trading.checksum has it; only outcomes that changed are written again."""
        for index, lines in enumerate(self._lines):
            if lines is None:
                bids, asks = (self._best(index, side) for side in ("bid", "ask"))
                self._lines[index] = outcome_lines(self.names[index], bids, asks)
        return lines_checksum(lines for lines in self._lines if lines)

    def bids(self) -> dict[str, list[tuple[str, int]]]:
        """[price text, quantity] best first, by outcome name."""
        return self._texts("bid")

    def asks(self) -> dict[str, list[tuple[str, int]]]:
        """[price text, quantity] best first, by outcome name."""
        return self._texts("ask")

    def shown(self, outcome: int) -> tuple[list[Level], list[Level]]:
        """An outcome's bids and asks, best first; a binary market's second is the first's, mirrored."""
        if outcome < len(self.names):
            return list(self._sides[outcome, "bid"].levels()), list(self._sides[outcome, "ask"].levels())
        bids, asks = self.shown(0)
        return _mirrored(asks), _mirrored(bids)

    def _texts(self, side: str) -> dict[str, list[tuple[str, int]]]:
        return {name: self._sides[index, side].texts() for index, name in enumerate(self.names)}

    def _best(self, index: int, side: str) -> list[Level]:
        return list(islice(self._sides[index, side].levels(), CHECKED_LEVELS))

    def _set(self, index: int, side: str, price_pips: int, quantity: int) -> None:
        levels = self._sides.get((index, side))
        if levels is None or not 0 < price_pips < SHARE_PIPS or quantity < 0:
            raise ValueError(f"no such level: {index}|{side}|{price_pips} -> {quantity}")
        levels.set(price_pips, quantity)
        self._lines[index] = None


def _mirrored(levels: list[Level]) -> list[Level]:
    return [(SHARE_PIPS - price_pips, quantity) for price_pips, quantity in levels]
