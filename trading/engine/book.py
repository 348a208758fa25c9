"""The order book of one outcome: price levels, each a queue in order of arrival.

The best price of a side is the last element of a sorted list, so finding, adding and removing a
level there is cheap; a level is an OrderedDict, whose first element is found in constant time
however many were removed before it (a plain dict would scan its gaps).
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trading.engine.market import Order


class Level:
    """The orders at one price, first come first served, and their total size."""

    __slots__ = ("orders", "quantity_shares")

    def __init__(self) -> None:
        self.orders: OrderedDict[str, Order] = OrderedDict()
        self.quantity_shares = 0


class BookSide:
    """Bids or asks. A key is the price for bids and its negative for asks: the greatest is best."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def add(self, order: "Order") -> None:
        """Queues the order behind all others at its price. O(log levels)."""
        key = order.book_price_pips * self.sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level()
            insort(self.keys, key)
        level.orders[order.order_id] = order
        level.quantity_shares += order.remaining_shares

    def reduce(self, order: "Order", shares: int) -> None:
        """Takes shares off a queued order, which keeps its place; at zero it leaves."""
        key = order.book_price_pips * self.sign
        level = self.levels[key]
        level.quantity_shares -= shares
        if order.remaining_shares == 0:
            self._leave(level, key, order)

    def remove(self, order: "Order") -> None:
        """Takes a queued order out of the book as it is."""
        key = order.book_price_pips * self.sign
        level = self.levels[key]
        level.quantity_shares -= order.remaining_shares
        self._leave(level, key, order)

    def _leave(self, level: Level, key: int, order: "Order") -> None:
        del level.orders[order.order_id]
        if not level.orders:
            assert level.quantity_shares == 0, "a level without orders has size"
            del self.levels[key]
            keys = self.keys
            if keys[-1] == key:
                keys.pop()
            else:
                del keys[bisect_left(keys, key)]

    def first(self) -> "Order | None":
        """The order with the highest priority: best price, then longest wait."""
        if not self.keys:
            return None
        return next(iter(self.levels[self.keys[-1]].orders.values()))

    def best_price(self) -> int | None:
        """The best price in pips, or None where the side is empty."""
        return self.keys[-1] * self.sign if self.keys else None

    def depth(self) -> Iterator[tuple[int, int]]:
        """(price_pips, quantity_shares) of each level, best first."""
        for key in reversed(self.keys):
            yield key * self.sign, self.levels[key].quantity_shares

    def queue(self) -> "Iterator[Order]":
        """Every order in the order in which it would be matched."""
        for key in reversed(self.keys):
            yield from self.levels[key].orders.values()

    def size_at(self, price_pips: int) -> int:
        """Shares offered at a price; 0 where there is no level."""
        level = self.levels.get(price_pips * self.sign)
        return level.quantity_shares if level is not None else 0


class Book:
    """Both sides of one outcome."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(1)
        self.asks = BookSide(-1)
