"""The state of one market: its terms, books, open orders, holdings and totals.

Plain data with small lookups; only apply.py changes it. A binary market keeps one book, of
outcome 0: orders for outcome 1 stand in it mirrored (buy No at p is sell Yes at 1 − p).
"""

from typing import NamedTuple
from zlib import crc32

from trading.engine.book import Book, BookSide
from trading.engine.commands import PlaceOrder
from trading.engine.events import OrderPlaced
from trading.engine.fees import SHARE_PIPS

MAX_OPEN_ORDERS = 10_000  # of one account in one market: what a cancel-all ends in one step
RESTING = ("GTC", "GTD")
FENCE_STANDS_US = 60_000_000  # longer than any command may be on its way


class Order:
    """An open order in its owner's terms, with where it stands in the book.

    `queued_seq` is the event with which it took its place: the lower, the older in its queue.
    """

    __slots__ = (
        "account_id", "book_index", "book_price_pips", "by", "client_order_id", "cost_pips", "covered_shares",
        "created_us", "expires_us", "fee_numerator", "fees_pips", "filled_shares", "fills", "is_bid", "max_cost_pips",
        "on_suspend", "order_id", "order_type", "outcome", "post_only", "price_pips", "quantity_shares", "queued_seq",
        "reason", "reduce_only", "remaining_shares", "reserved_pips", "rests", "self_trade_prevention", "seq", "side",
        "status", "time_in_force", "updated_us",
    )  # fmt: skip

    def __init__(self, event: OrderPlaced, *, at_us: int, seq: int) -> None:
        self.order_id = event.order
        self.account_id = event.account
        self.by = event.by
        self.client_order_id = event.client_order_id
        self.outcome = event.outcome
        self.side = event.side
        self.order_type = event.type
        self.price_pips = event.price
        self.quantity_shares = self.remaining_shares = event.quantity
        self.time_in_force = event.tif
        self.self_trade_prevention = event.stp
        self.post_only = event.post_only
        self.reduce_only = event.reduce_only
        self.on_suspend = event.on_suspend
        self.expires_us = event.expires_us
        self.max_cost_pips = event.max_cost
        self.covered_shares = event.covered
        self.reserved_pips = event.reserved
        self.status = "open"
        self.reason: str | None = None
        self.fee_numerator = 0
        self.fees_pips = 0
        self.cost_pips = 0
        self.filled_shares = 0
        self.fills: list[tuple[str, int, int, int]] = []  # (trade, price, quantity, fee)
        self.created_us = self.updated_us = at_us
        self.seq = self.queued_seq = seq
        self.rests = event.tif in RESTING
        self.book_index = event.outcome
        self.book_price_pips = event.price
        self.is_bid = event.side == "buy"


class Holding:
    """Shares of one account: `free` may be sold or netted, `held` back its open orders."""

    __slots__ = ("free", "held")

    def __init__(self, outcomes: int) -> None:
        self.free = [0] * outcomes
        self.held = [0] * outcomes


class Closing(NamedTuple):
    """What follows once the book of a closed market is empty."""

    reason: str
    payouts: tuple[int, ...] | None
    settlement: str | None
    evidence: str


class Phase(NamedTuple):
    """How a market takes orders after it was resumed: cancel_only or post_only, until a moment."""

    kind: str
    until_us: int


class Proposal(NamedTuple):
    """How the market should end, and who has said what about it.

    `until_us` is the end of the dispute window, which begins when `approvals` others have agreed; None before.
    """

    resolution_id: str
    payouts: tuple[int, ...] | None
    evidence: str
    by: str
    approvals: int
    window_us: int
    status_before: str
    approved_by: tuple[str, ...]
    disputed_by: tuple[str, ...]
    until_us: int | None


class Reversal(NamedTuple):
    """Who wants the market's end undone, and how many persons have to want it besides the first."""

    approvals: int
    by: tuple[str, ...]


class Fence(NamedTuple):
    """A cancel-all: orders with an id below `order_id` that come after it are refused."""

    order_id: str
    outcome: int | None
    side: str | None
    by: str | None
    at_us: int

    @property
    def scope(self) -> tuple[int | None, str | None, str | None]:
        """Which of the account's orders it is about."""
        return (self.outcome, self.side, self.by)

    def stops(self, *, order_id: str, outcome: int, side: str, by: str) -> bool:
        """Whether an order was sent before it, and meant by it."""
        return (
            order_id < self.order_id
            and self.outcome in (None, outcome)
            and self.side in (None, side)
            and self.by in (None, by)
        )


class Market:
    """Everything the engine knows of a market. `seq` is its stream's version; 0 means unborn."""

    def __init__(self, market_id: str) -> None:
        self.market_id = market_id
        self.market_hash = crc32(market_id.encode())
        self.seq = 0
        self.status = "unborn"
        self.outcomes: tuple[str, ...] = ()
        self.is_binary = False
        self.tick_pips = 1
        self.taker_fee_e4 = 0
        self.maker_fee_e4 = 0
        self.highest_fee_e4 = 0
        self.closes_us = 0
        self.opens_us: int | None = None
        self.closing: Closing | None = None
        self.phase: Phase | None = None
        self.proposal: Proposal | None = None
        self.reversal: Reversal | None = None
        self.is_contested = False  # holders have objected since the market was last decided
        self.books: list[Book] = []
        self.orders: dict[str, Order] = {}
        self.client_orders: dict[tuple[str, str], Order] = {}
        self.orders_of: dict[str, dict[str, Order]] = {}  # account id -> its open orders, oldest first
        self.expiring: list[tuple[int, str]] = []  # (expires_us, order id) of open GTD orders, soonest first
        self.cancelled_when_suspended: dict[str, Order] = {}
        self.fences: dict[str, list[Fence]] = {}  # account id -> those that stand, newest last
        self.holdings: dict[str, Holding] = {}
        self.sets = 0
        self.fees_pips = 0
        self.volume_pips = 0
        self.last_prices: list[int | None] = []
        # (book, is_bid, price) of every level touched since the publisher last emptied it.
        self.touched: set[tuple[int, bool, int]] = set()

    @property
    def collateral_pips(self) -> int:
        return SHARE_PIPS * self.sets

    def side_of(self, order: Order) -> BookSide:
        """The side of the book where the order stands."""
        book = self.books[order.book_index]
        return book.bids if order.is_bid else book.asks

    def opposite_of(self, order: Order) -> BookSide:
        """The side of the book that the order trades against."""
        book = self.books[order.book_index]
        return book.asks if order.is_bid else book.bids

    def is_fenced(self, order: PlaceOrder) -> bool:
        """Whether a cancel-all that was sent after the order stands against it."""
        for fence in self.fences.get(order.account_id, ()):
            if fence.stops(order_id=order.order_id, outcome=order.outcome, side=order.side, by=order.by):
                return True
        return False

    def find_order(
        self, *, account_id: str, order_id: str | None, client_order_id: str | None
    ) -> Order | None:
        """An open order of the account, or None, also where it is another's."""
        if order_id is not None:
            order = self.orders.get(order_id)
            return order if order is not None and order.account_id == account_id else None
        if client_order_id is not None:
            return self.client_orders.get((account_id, client_order_id))
        return None

    def coverable(self, *, account_id: str, outcome: int, side: str) -> int:
        """Units of an order that free shares could cover: the shares themselves for a sell, for a
        buy the complete complements (one share of every other outcome)."""
        holding = self.holdings.get(account_id)
        if holding is None:
            return 0
        if side == "sell":
            return holding.free[outcome]
        if self.is_binary:
            return holding.free[1 - outcome]
        return min(shares for index, shares in enumerate(holding.free) if index != outcome)
