"""The books of one market as price levels, and the tops that a minute is remembered by. Pure.

Everything is in the book's terms: a binary market has one book, in which an order for outcome 1 stands mirrored.
"""

from typing import NamedTuple

from trading.money import SHARE_PIPS

DEPTH_PIPS = 500
"""How far from the best price a resting share counts as depth."""

_Side = dict[int, "Level"]


class Resting:
    """An open order in its book. `quantity` is its total, filled part included; `remaining` is 0 once it has left."""

    __slots__ = ("is_bid", "is_mirrored", "market_id", "outcome", "price_pips", "quantity", "remaining")

    def __init__(
        self, market_id: str, outcome: int, is_bid: bool, is_mirrored: bool, price_pips: int, quantity: int,
        remaining: int,
    ) -> None:  # fmt: skip
        self.market_id = market_id
        self.outcome = outcome
        self.is_bid = is_bid
        self.is_mirrored = is_mirrored
        self.price_pips = price_pips
        self.quantity = quantity
        self.remaining = remaining

    @classmethod
    def placed(
        cls, market_id: str, *, is_binary: bool, outcome: int, side: str, price_pips: int, quantity: int
    ) -> "Resting":
        """An order as its owner has placed it: buying outcome 1 of two at p is selling outcome 0 at 1 - p."""
        if is_binary and outcome == 1:
            return cls(market_id, 0, side == "sell", True, SHARE_PIPS - price_pips, quantity, quantity)
        return cls(market_id, outcome, side == "buy", False, price_pips, quantity, quantity)

    def amend(self, *, price_pips: int, quantity: int) -> None:
        """New terms in the owner's words, while it is out of the book."""
        self.price_pips = SHARE_PIPS - price_pips if self.is_mirrored else price_pips
        self.remaining += quantity - self.quantity
        self.quantity = quantity


class Level:
    """What rests at one price."""

    __slots__ = ("orders", "quantity")

    def __init__(self, quantity: int = 0, orders: int = 0) -> None:
        self.quantity = quantity
        self.orders = orders


class Top(NamedTuple):
    """Best prices, what rests at them, and the depth behind them; None and 0 where a side is empty."""

    bid_pips: int | None
    ask_pips: int | None
    bid_quantity: int
    ask_quantity: int
    bid_depth: int
    ask_depth: int


class Ladder:
    """The levels of a market's books, by outcome and side, then price; a level without orders is not there."""

    __slots__ = ("sides",)

    def __init__(self) -> None:
        self.sides: dict[tuple[int, bool], _Side] = {}

    def put(self, outcome: int, is_bid: bool, price_pips: int, level: Level) -> None:
        self.sides.setdefault((outcome, is_bid), {})[price_pips] = level

    def level(self, outcome: int, is_bid: bool, price_pips: int) -> Level | None:
        return self.sides.get((outcome, is_bid), {}).get(price_pips)

    def enter(self, order: Resting) -> None:
        side = self.sides.setdefault((order.outcome, order.is_bid), {})
        level = side.get(order.price_pips)
        if level is None:
            level = side[order.price_pips] = Level()
        level.quantity += order.remaining
        level.orders += 1

    def leave(self, order: Resting) -> None:
        """Takes an order out as it is."""
        side = self.sides[order.outcome, order.is_bid]
        level = side[order.price_pips]
        level.quantity -= order.remaining
        level.orders -= 1
        if level.orders == 0:
            del side[order.price_pips]

    def fill(self, order: Resting, shares: int) -> None:
        """Takes shares off an order, which leaves with its last. Raises ValueError for more than it has."""
        if not 0 < shares <= order.remaining:
            raise ValueError(f"{shares} shares are filled of an order with {order.remaining}")
        if shares == order.remaining:
            self.leave(order)
        else:
            self.sides[order.outcome, order.is_bid][order.price_pips].quantity -= shares
        order.remaining -= shares

    @property
    def is_empty(self) -> bool:
        return not any(self.sides.values())

    def top(self, outcome: int) -> Top:
        """O(levels of the book)."""
        bids, asks = self.sides.get((outcome, True), {}), self.sides.get((outcome, False), {})
        bid, ask = max(bids, default=None), min(asks, default=None)
        return Top(
            bid,
            ask,
            0 if bid is None else bids[bid].quantity,
            0 if ask is None else asks[ask].quantity,
            0 if bid is None else _depth(bids, bid),
            0 if ask is None else _depth(asks, ask),
        )


def _depth(side: _Side, best_pips: int) -> int:
    return sum(level.quantity for price, level in side.items() if abs(price - best_pips) <= DEPTH_PIPS)
