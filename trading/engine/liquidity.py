"""What an order can meet: the best order against it, or best orders of all other outcomes together.

In a categorical market a buy of one outcome also meets the best bids of all others where they and it reach $1 (a
set is minted of them), a sell the best asks (a set is redeemed). Direct comes before implied at the same price.
Makers get their own price and the taker keeps the improvement, but a taker pays at least one tick: what the bids
hold beyond that betters the price of the youngest maker, then of the next.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trading.engine.book import BookSide
from trading.engine.fees import FEE_SCALE, SHARE_PIPS, fee_numerator
from trading.engine.market import Market, Order


class Interest(NamedTuple):
    """What matters of an order that looks for others: `price_pips` in the book's terms."""

    account_id: str
    book_index: int
    is_bid: bool
    price_pips: int
    self_trade_prevention: str


class Offer(NamedTuple):
    """The next that an order meets: for how much at which price (in the book's terms), and each maker's own price."""

    price_pips: int
    quantity_shares: int
    makers: Sequence[tuple[Order, int]]


def best_offer(
    market: Market, interest: Interest, direct: Order | None, others: Sequence[Order], left: Sequence[int]
) -> Offer | None:
    """The offer that comes first and is within the limit.

    `direct` is the first order against it; `others` are the first of every other outcome on its own side, none where
    one has none. `left` says how much of each is left: of `direct` first, then of `others`.
    """
    limit, is_bid = interest.price_pips, interest.is_bid
    if direct is not None and not crosses(is_bid, limit, direct.book_price_pips):
        direct = None
    if others:
        total = sum(order.book_price_pips for order in others)
        implied_price = max(SHARE_PIPS - total, market.tick_pips) if is_bid else SHARE_PIPS - total
        bar = limit if direct is None else direct.book_price_pips
        if _is_better(is_bid, implied_price, bar) or (direct is None and implied_price == bar):
            excess = total - (SHARE_PIPS - implied_price)
            return Offer(implied_price, min(left[1:]), _bettered(others, excess, market.tick_pips))
    if direct is None:
        return None
    return Offer(direct.book_price_pips, left[0], ((direct, direct.book_price_pips),))


def crosses(is_bid: bool, taker_price_pips: int, maker_price_pips: int) -> bool:
    """Whether a price is within a taker's limit."""
    return maker_price_pips <= taker_price_pips if is_bid else maker_price_pips >= taker_price_pips


def _is_better(is_bid: bool, price_pips: int, than_pips: int) -> bool:
    return price_pips < than_pips if is_bid else price_pips > than_pips


def _bettered(makers: Sequence[Order], excess_pips: int, tick_pips: int) -> list[tuple[Order, int]]:
    """Each maker's price: its own, but for what the youngest need not pay."""
    prices = {order.order_id: order.book_price_pips for order in makers}
    for order in sorted(makers, key=lambda each: -each.queued_seq):
        if excess_pips == 0:
            break
        less = min(excess_pips, prices[order.order_id] - tick_pips)
        prices[order.order_id] -= less
        excess_pips -= less
    assert excess_pips == 0, "every outcome can cost a tick"
    return [(order, prices[order.order_id]) for order in makers]


def beside(market: Market, interest: Interest) -> list[BookSide]:
    """The same side of every other outcome's book; none where implied matching does not exist."""
    if market.is_binary or len(market.outcomes) * market.tick_pips > SHARE_PIPS:
        return []
    return [
        book.bids if interest.is_bid else book.asks
        for index, book in enumerate(market.books)
        if index != interest.book_index
    ]


# --- Looking ahead --------------------------------------------------------------------------------


class _Cursor:
    """How far a side was looked through: its first order that is not used up, and how much of that is left."""

    def __init__(self, side: BookSide, now_us: int) -> None:
        self._queue = (
            order for order in side.queue() if order.expires_us is None or order.expires_us > now_us
        )
        self.order: Order | None = None
        self.left = 0
        self.advance()

    def advance(self) -> None:
        self.order = next(self._queue, None)
        self.left = self.order.remaining_shares if self.order is not None else 0

    def take(self, shares: int) -> None:
        self.left -= shares
        if self.left == 0:
            self.advance()


def offers(market: Market, interest: Interest, now_us: int) -> Iterator[Offer]:
    """All that an order would meet, best first, each offer as large as it is; changes nothing.

    Ends where the order would be cancelled as a self-trade, and leaves out own orders that would be cancelled.
    """
    book = market.books[interest.book_index]
    direct = _Cursor(book.asks if interest.is_bid else book.bids, now_us)
    others = [_Cursor(side, now_us) for side in beside(market, interest)]
    while True:
        firsts = [cursor.order for cursor in others]
        offer = best_offer(
            market, interest, direct.order, [order for order in firsts if order] if all(firsts) else [],
            [direct.left, *(cursor.left for cursor in others)],
        )  # fmt: skip
        if offer is None:
            return
        met = {order.order_id for order, _ in offer.makers}
        used = [each for each in (direct, *others) if each.order is not None and each.order.order_id in met]
        own = [
            each for each in used if each.order is not None and each.order.account_id == interest.account_id
        ]
        if own and interest.self_trade_prevention != "cancel_maker":
            return
        for cursor in own:
            cursor.advance()
        if not own:
            yield offer
            for cursor in used:
                cursor.take(offer.quantity_shares)


def shares_on_offer(market: Market, interest: Interest, now_us: int) -> Iterator[tuple[int, int]]:
    """(price in the book's terms, shares) of `offers`, those of a price together where that takes no look at each."""
    if beside(market, interest):
        for offer in offers(market, interest, now_us):
            yield offer.price_pips, offer.quantity_shares
        return
    book = market.books[interest.book_index]
    side = book.asks if interest.is_bid else book.bids
    own = market.orders_of.get(interest.account_id, {}).values()
    looked_into = {order.book_price_pips for order in own if order.is_bid != interest.is_bid and order.rests}
    for expires_us, order_id in market.expiring:
        if expires_us > now_us:
            break
        looked_into.add(market.orders[order_id].book_price_pips)
    for price, shares in side.depth():
        if not crosses(interest.is_bid, interest.price_pips, price):
            return
        if price not in looked_into:
            yield price, shares
            continue
        for order in side.levels[price * side.sign].orders.values():
            if order.expires_us is not None and order.expires_us <= now_us:
                continue
            if order.account_id != interest.account_id:
                yield price, order.remaining_shares
            elif interest.self_trade_prevention != "cancel_maker":
                return


def would_cross(market: Market, interest: Interest, now_us: int) -> bool:
    """Whether an order would meet anything at all, its own account's orders included."""
    nobody = interest._replace(account_id="")
    return next(offers(market, nobody, now_us), None) is not None


def fillable_shares(market: Market, interest: Interest, wanted_shares: int, now_us: int) -> int:
    """How much of an order could be filled at once, up to what it wants."""
    found = 0
    for _, shares in shares_on_offer(market, interest, now_us):
        found += shares
        if found >= wanted_shares:
            return wanted_shares
    return found


def affordable_shares(
    market: Market, interest: Interest, *, max_cost_pips: int, most_shares: int, mirrored: bool, now_us: int
) -> int:
    """The shares that a buy for at most `max_cost_pips`, fees included, is about; 0 where it cannot buy one.

    They are what the money buys of what is offered; where the offers end first, also what the rest of it would buy
    at the worst price allowed.
    """
    rate_e4 = market.taker_fee_e4
    bought, spent, numerator = 0, 0, 0
    worst = SHARE_PIPS - interest.price_pips if mirrored else interest.price_pips
    for book_price, shares in shares_on_offer(market, interest, now_us):
        price = SHARE_PIPS - book_price if mirrored else book_price
        can = _shares_for(max_cost_pips - spent, price, rate_e4, numerator)
        quantity = min(can, shares, most_shares - bought)
        bought += quantity
        spent += quantity * price
        numerator += fee_numerator(rate_e4, quantity, price)
        if quantity < shares:
            return bought
    further = _shares_for(max_cost_pips - spent, worst, rate_e4, numerator)
    return min(bought + further, most_shares)


def _shares_for(money_pips: int, price_pips: int, rate_e4: int, paid_numerator: int) -> int:
    """The most shares whose price and fee, on top of the fee so far, come to at most that much; exact."""
    return (money_pips * FEE_SCALE - paid_numerator) // (
        price_pips * FEE_SCALE + fee_numerator(rate_e4, 1, price_pips)
    )
