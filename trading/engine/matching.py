"""Price-time matching of one order against a book, and what it does to each side's money.

Makers get their own price. Whatever happens is an event; nothing here changes the state.
"""

from collections.abc import Iterator

from trading.engine import events as ev
from trading.engine.commands import PlaceOrder
from trading.engine.fees import SHARE_PIPS, fee_numerator, fee_pips, reserve_pips
from trading.engine.market import Market, Order


def match(market: Market, taker: Order, now_us: int) -> Iterator[ev.Event]:
    """Matches an order that was just placed until it is filled, uncrossed or meets its own account."""
    opposite = market.opposite_of(taker)
    while taker.remaining_shares:
        maker = opposite.first()
        if maker is None or not _crosses(taker.is_bid, taker.book_price_pips, maker.book_price_pips):
            return
        if maker.account_id == taker.account_id:
            yield cancelled(market, taker, "self_trade")
            return
        for order in (maker, taker):
            if order.account_id not in market.holdings:
                yield ev.PositionOpened(order.account_id)
        yield _matched(market, maker, taker, now_us)


def _crosses(is_bid: bool, taker_price_pips: int, maker_price_pips: int) -> bool:
    return maker_price_pips <= taker_price_pips if is_bid else maker_price_pips >= taker_price_pips


def _matched(market: Market, maker: Order, taker: Order, now_us: int) -> ev.OrderMatched:
    quantity = min(maker.remaining_shares, taker.remaining_shares)
    price = maker.book_price_pips
    return ev.OrderMatched(
        trade_id(now_us=now_us, seq=market.seq + 1, leg=0, market_hash=market.market_hash),
        taker.book_index,
        price,
        quantity,
        "buy" if taker.is_bid else "sell",
        (_leg(market, maker, "maker", quantity, price), _leg(market, taker, "taker", quantity, price)),
    )


def _leg(market: Market, order: Order, role: str, quantity: int, book_price_pips: int) -> ev.Leg:
    """What a fill means to one order: shares first, then cash; fee, netting and the reserve left."""
    mirrored = order.outcome != order.book_index
    price = SHARE_PIPS - book_price_pips if mirrored else book_price_pips
    rate_e4 = market.taker_fee_e4 if role == "taker" else market.maker_fee_e4
    delivered = min(order.covered_shares, quantity)
    by_cash = quantity - delivered
    numerator = order.fee_numerator + fee_numerator(rate_e4, quantity, price)
    fee = fee_pips(numerator) - order.fees_pips
    reserved = reserve_pips(
        side=order.side, price_pips=order.price_pips,
        units=order.remaining_shares - quantity - order.covered_shares + delivered,
        rate_e4=market.highest_fee_e4, paid_numerator=numerator,
    )  # fmt: skip
    if order.side == "buy":
        flow = (SHARE_PIPS - price) * delivered - price * by_cash
    else:
        flow = price * delivered - (SHARE_PIPS - price) * by_cash
    netted = nettable(market, order, by_cash, buys=order.side == "buy")
    cash = flow - fee + order.reserved_pips - reserved + SHARE_PIPS * netted
    assert cash >= 0, "a fill may not need more than the order reserved"
    return ev.Leg(
        order.order_id, order.account_id, role, order.outcome, order.side, price, quantity, fee, delivered, netted,
        cash, reserved,
    )  # fmt: skip


def nettable(market: Market, order: Order, gained: int, *, buys: bool) -> int:
    """Complete sets once `gained` shares join the account's free ones.

    They are shares of the order's outcome where it `buys`, else of every other outcome.
    """
    holding = market.holdings.get(order.account_id)
    if holding is None or gained == 0:
        return 0
    return min(
        shares + gained if (index == order.outcome) == buys else shares
        for index, shares in enumerate(holding.free)
    )


def cancelled(market: Market, order: Order, reason: str) -> ev.OrderCancelled:
    """The end of an open order: its cash and shares become free, and complete sets net at once."""
    released = order.covered_shares
    netted = nettable(market, order, released, buys=order.side == "sell")
    return ev.OrderCancelled(
        order.order_id, order.account_id, reason, order.remaining_shares, released, netted,
        order.reserved_pips + SHARE_PIPS * netted,
    )  # fmt: skip


def amended(market: Market, order: Order, total_shares: int) -> ev.OrderAmended:
    """A smaller total: cash is freed before shares, the place in the queue is kept."""
    less = order.quantity_shares - total_shares
    uncovered = order.remaining_shares - order.covered_shares
    released = max(0, less - uncovered)
    reserved = reserve_pips(
        side=order.side, price_pips=order.price_pips, units=max(0, uncovered - less),
        rate_e4=market.highest_fee_e4, paid_numerator=order.fee_numerator,
    )  # fmt: skip
    netted = nettable(market, order, released, buys=order.side == "sell")
    return ev.OrderAmended(
        order.order_id, order.account_id, total_shares, released, netted,
        order.reserved_pips - reserved + SHARE_PIPS * netted, reserved,
    )  # fmt: skip


def fillable_shares(market: Market, command: PlaceOrder) -> int:
    """How much of a new order the book could fill at once, up to its quantity.

    Stops before the account's own order, at which it would be cancelled as a self-trade.
    """
    mirrored = market.is_binary and command.outcome == 1
    is_bid = (command.side == "buy") != mirrored
    price = SHARE_PIPS - command.price_pips if mirrored else command.price_pips
    book = market.books[0 if market.is_binary else command.outcome]
    found = 0
    for maker in (book.asks if is_bid else book.bids).queue():
        if not _crosses(is_bid, price, maker.book_price_pips) or maker.account_id == command.account_id:
            break
        found += maker.remaining_shares
        if found >= command.quantity_shares:
            return command.quantity_shares
    return found


def trade_id(*, now_us: int, seq: int, leg: int, market_hash: int) -> str:
    """A UUIDv7 that follows from the log: time in ms, then the event's version, leg and market."""
    value = (
        ((now_us // 1000) << 80)
        | 0x7 << 76
        | ((seq >> 24) & 0xFFF) << 64
        | 0b10 << 62
        | (seq & 0xFFFFFF) << 38
        | (leg & 0x3F) << 32
        | market_hash
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
