"""The naive exchange's orders, and what a taker would meet next: one plain list, sorted anew at every step.

Written from the rules, not from the engine; slow on purpose.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from trading.engine import commands as cmd

DOLLAR = 10_000


@dataclass
class OpenOrder:
    """An order that has not ended. `backed` of its remaining shares are covered by shares held."""

    terms: cmd.PlaceOrder
    price: int  # its owner's limit; an amend may change it
    total: int
    created_us: int
    queued: int  # when it took its place: the higher, the younger
    backed: int = 0
    reserve: int = 0
    filled: int = 0
    cost: int = 0  # price of each share filled, added up
    fee_units: int = 0  # what the fills cost by the fee formula, exactly: 10^-8 pips
    fees: int = 0

    @property
    def left(self) -> int:
        return self.total - self.filled

    @property
    def account(self) -> str:
        return self.terms.account_id

    def own_price(self, book_price: int, outcomes: int) -> int:
        """A price of the book in the order's own outcome."""
        mirrored = outcomes == 2 and self.terms.outcome == 1
        return DOLLAR - book_price if mirrored else book_price

    def is_over(self, now_us: int) -> bool:
        """Whether its time has come, so that it never trades again."""
        return self.terms.expires_us is not None and self.terms.expires_us <= now_us


@dataclass
class Offer:
    """The next trade that a taker may have: one maker, or one of every other outcome. Prices in the book's terms."""

    price: int
    makers: list[OpenOrder]
    maker_prices: list[int]

    def quantity(self, taker: OpenOrder) -> int:
        return min(order.left for order in [*self.makers, taker])

    def of(self, account: str) -> list[OpenOrder]:
        return [maker for maker in self.makers if maker.account == account]


def in_book(order: OpenOrder, outcomes: int) -> tuple[int, bool, int]:
    """(book, is it a bid, price there): a binary market has the first outcome's book only."""
    if outcomes == 2 and order.terms.outcome == 1:
        return 0, order.terms.side == "sell", DOLLAR - order.price
    return order.terms.outcome, order.terms.side == "buy", order.price


def queue(orders: list[OpenOrder], *, book: int, bids: bool, outcomes: int) -> list[OpenOrder]:
    """The orders of one side of a book: best price first, then who has waited longest."""
    rows = []
    for order in orders:
        its_book, is_bid, price = in_book(order, outcomes)
        if its_book == book and is_bid == bids:
            rows.append((-price if bids else price, order.queued, order))
    return [order for _, _, order in sorted(rows, key=lambda row: row[:2])]


def next_offer(orders: list[OpenOrder], taker: OpenOrder, *, outcomes: int, tick: int) -> Offer | None:
    """The best of what the taker can meet within its limit; direct before implied at the same price."""
    _, is_bid, limit = in_book(taker, outcomes)
    offers = [
        offer
        for offer in (
            direct_offer(orders, taker, outcomes=outcomes),
            implied_offer(orders, taker, outcomes=outcomes, tick=tick),
        )
        if offer is not None and (offer.price <= limit if is_bid else offer.price >= limit)
    ]
    # Sorting is stable, so that a direct offer stays before an implied one.
    offers.sort(key=lambda offer: offer.price if is_bid else -offer.price)
    return offers[0] if offers else None


def direct_offer(orders: list[OpenOrder], taker: OpenOrder, *, outcomes: int) -> Offer | None:
    book, is_bid, _ = in_book(taker, outcomes)
    waiting = queue(orders, book=book, bids=not is_bid, outcomes=outcomes)
    if not waiting:
        return None
    price = in_book(waiting[0], outcomes)[2]
    return Offer(price, [waiting[0]], [price])


def implied_offer(orders: list[OpenOrder], taker: OpenOrder, *, outcomes: int, tick: int) -> Offer | None:
    """The first order of every other outcome on the taker's own side; together with the taker they make $1."""
    if outcomes < 3 or outcomes * tick > DOLLAR:
        return None
    book, is_bid, _ = in_book(taker, outcomes)
    makers = []
    for other in range(outcomes):
        if other != book:
            waiting = queue(orders, book=other, bids=is_bid, outcomes=outcomes)
            if not waiting:
                return None
            makers.append(waiting[0])
    prices = [maker.price for maker in makers]
    price = DOLLAR - sum(prices)
    if is_bid:
        while price < tick:
            # The youngest that still pays more than a tick pays a pip less.
            youngest = max((maker.queued, at) for at, maker in enumerate(makers) if prices[at] > tick)[1]
            prices[youngest] -= 1
            price += 1
    return Offer(price, makers, prices)


def look_ahead(
    orders: list[OpenOrder], taker: OpenOrder, *, outcomes: int, tick: int, now_us: int
) -> Iterator[tuple[Offer, int]]:
    """What the taker would meet one after another, with how many shares of it there are, as if it were endless.

    Expired orders are looked over, as are the taker's own where they would be cancelled; otherwise its own
    offer is the last that is answered: the caller judges it.
    """
    skip_own = taker.terms.self_trade_prevention == "cancel_maker"
    copies = [
        replace(order)
        for order in orders
        if not order.is_over(now_us) and not (skip_own and order.account == taker.account)
    ]
    while True:
        offer = next_offer(copies, taker, outcomes=outcomes, tick=tick)
        if offer is None:
            return
        shares = min(maker.left for maker in offer.makers)
        yield offer, shares
        if offer.of(taker.account):
            return
        for maker in offer.makers:
            maker.filled += shares
        copies = [order for order in copies if order.left > 0]
