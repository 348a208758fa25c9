"""Price-time matching of one order against the books, and what it does to each side's money.

Makers get their own price. Whatever happens is an event; nothing here changes the state.
"""

from collections.abc import Iterator, Sequence

from trading.engine import events as ev
from trading.engine.fees import SHARE_PIPS, fee_numerator, fee_pips, reserve_pips
from trading.engine.liquidity import Interest, Offer, beside, best_offer, crosses
from trading.engine.market import Market, Order
from trading.engine.trades import trade_id


def match(market: Market, taker: Order, now_us: int) -> Iterator[ev.Event]:
    """Matches an order until it is filled, uncrossed or ended by its own account's orders."""
    return _match_direct(market, taker, now_us) if market.is_binary else _match_any(market, taker, now_us)


def _match_direct(market: Market, taker: Order, now_us: int) -> Iterator[ev.Event]:
    """In one book; `_match_any` would do the same, at twice the time."""
    opposite = market.opposite_of(taker)
    while taker.remaining_shares:
        maker = opposite.first()
        if maker is None or not crosses(taker.is_bid, taker.book_price_pips, maker.book_price_pips):
            return
        if maker.expires_us is not None and maker.expires_us <= now_us:
            yield expired(market, maker)
        elif maker.account_id == taker.account_id:
            yield from _prevent_self_trade(market, taker, [maker])
        else:
            yield from _trade_directly(market, taker, maker, now_us)


def _match_any(market: Market, taker: Order, now_us: int) -> Iterator[ev.Event]:
    """In the order's own book and, implied, in all others together."""
    interest = interest_of(taker)
    opposite, others = market.opposite_of(taker), beside(market, interest)
    while taker.remaining_shares:
        direct, firsts = opposite.first(), [side.first() for side in others]
        implied = [order for order in firsts if order is not None]
        left = [
            direct.remaining_shares if direct is not None else 0,
            *(order.remaining_shares for order in implied),
        ]
        offer = best_offer(market, interest, direct, implied if len(implied) == len(others) else (), left)
        if offer is None:
            return
        makers = [order for order, _ in offer.makers]
        stale = [order for order in makers if order.expires_us is not None and order.expires_us <= now_us]
        own = [order for order in makers if order.account_id == taker.account_id]
        if stale:
            for order in stale:
                yield expired(market, order)
        elif own:
            yield from _prevent_self_trade(market, taker, own)
        elif len(offer.makers) == 1:
            yield from _trade_directly(market, taker, makers[0], now_us)
        else:
            yield from _trade_implied(market, taker, offer, now_us)


def interest_of(order: Order) -> Interest:
    """What an order looks for."""
    return Interest(
        order.account_id, order.book_index, order.is_bid, order.book_price_pips, order.self_trade_prevention
    )


def _prevent_self_trade(market: Market, taker: Order, own: Sequence[Order]) -> Iterator[ev.Event]:
    if taker.self_trade_prevention != "cancel_taker":
        for order in own:
            yield cancelled(market, order, "self_trade")
    if taker.self_trade_prevention != "cancel_maker":
        yield cancelled(market, taker, "self_trade")


def _trade_directly(market: Market, taker: Order, maker: Order, now_us: int) -> Iterator[ev.Event]:
    for order in (maker, taker):
        if order.account_id not in market.holdings:
            yield ev.PositionOpened(account=order.account_id)
    quantity, price = min(maker.remaining_shares, taker.remaining_shares), maker.book_price_pips
    legs = (
        _leg(market, maker, "maker", quantity, _own_price(maker, price)),
        _leg(market, taker, "taker", quantity, _own_price(taker, price)),
    )
    yield _matched(market, taker, price, quantity, legs, now_us)


def _trade_implied(market: Market, taker: Order, offer: Offer, now_us: int) -> Iterator[ev.Event]:
    """A leg of every outcome. An account with several of them nets what it has after the legs before."""
    parts = [*offer.makers, (taker, offer.price_pips)]
    for order, _ in parts:
        if order.account_id not in market.holdings:
            yield ev.PositionOpened(account=order.account_id)
    quantity = min(offer.quantity_shares, taker.remaining_shares)
    free = {order.account_id: list(market.holdings[order.account_id].free) for order, _ in parts}
    legs = []
    for order, price in parts:
        held = free[order.account_id]
        leg = _leg(market, order, "taker" if order is taker else "maker", quantity, price, held)
        for index in range(len(held)):
            if (index == leg.outcome) == (leg.side == "buy"):
                held[index] += quantity - leg.delivered
            held[index] -= leg.netted
        legs.append(leg)
    yield _matched(market, taker, offer.price_pips, quantity, tuple(legs), now_us)


def _matched(
    market: Market, taker: Order, price: int, quantity: int, legs: tuple[ev.Leg, ...], now_us: int
) -> ev.OrderMatched:
    return ev.OrderMatched(
        legs=legs, outcome=taker.book_index, price=price, quantity=quantity,
        taker_side="buy" if taker.is_bid else "sell",
        trade=trade_id(now_us=now_us, seq=market.seq + 1, market_hash=market.market_hash),
    )  # fmt: skip


def _own_price(order: Order, book_price_pips: int) -> int:
    """A book's price in the terms of the order's owner."""
    return book_price_pips if order.outcome == order.book_index else SHARE_PIPS - book_price_pips


def _leg(
    market: Market, order: Order, role: str, quantity: int, price: int, free: list[int] | None = None
) -> ev.Leg:
    """What a fill means to one order: shares first, then cash; fee, netting and the reserve left.

    `free` are the account's free shares, if they are no longer those of its holding.
    """
    rate_e4 = market.taker_fee_e4 if role == "taker" else market.maker_fee_e4
    delivered = min(order.covered_shares, quantity)
    by_cash = quantity - delivered
    numerator = order.fee_numerator + fee_numerator(rate_e4, quantity, price)
    fee = fee_pips(numerator) - order.fees_pips
    if order.side == "buy":
        flow = (SHARE_PIPS - price) * delivered - price * by_cash
    else:
        flow = price * delivered - (SHARE_PIPS - price) * by_cash
    left = order.remaining_shares - quantity
    if order.max_cost_pips is None:
        reserved = reserve_pips(
            side=order.side, price_pips=order.price_pips, units=left - order.covered_shares + delivered,
            rate_e4=market.highest_fee_e4, paid_numerator=numerator,
        )  # fmt: skip
    else:
        # It fills at once for no more than that; what it has not spent it keeps until its end.
        reserved = order.reserved_pips + min(0, flow - fee) if left else 0
    netted = 0
    if by_cash:
        if free is None:
            free = market.holdings[order.account_id].free
        netted = nettable(free, order.outcome, by_cash, buys=order.side == "buy")
    cash = flow - fee + order.reserved_pips - reserved + SHARE_PIPS * netted
    assert cash >= 0 <= reserved, "a fill may not need more than the order reserved"
    return ev.Leg(
        account=order.account_id, cash=cash, delivered=delivered, fee=fee, netted=netted, order=order.order_id,
        outcome=order.outcome, price=price, quantity=quantity, reserved=reserved, role=role, side=order.side,
    )  # fmt: skip


def nettable(free: list[int], outcome: int, gained: int, *, buys: bool) -> int:
    """Complete sets once `gained` shares join an account's free ones.

    They are shares of the outcome where it `buys`, else of every other outcome.
    """
    if len(free) == 2:
        index = outcome if buys else 1 - outcome
        return min(free[index] + gained, free[1 - index])
    return min(shares + gained if (index == outcome) == buys else shares for index, shares in enumerate(free))


def _freed(market: Market, order: Order, units: int) -> int:
    """Complete sets once shares that backed an order are free again."""
    if units <= 0:
        return 0
    return nettable(market.holdings[order.account_id].free, order.outcome, units, buys=order.side == "sell")


def cancelled(market: Market, order: Order, reason: str) -> ev.OrderCancelled:
    """The end of an open order: its cash and shares become free, and complete sets net at once."""
    released = order.covered_shares
    netted = _freed(market, order, released)
    return ev.OrderCancelled(
        account=order.account_id, cash=order.reserved_pips + SHARE_PIPS * netted, netted=netted, order=order.order_id,
        quantity=order.remaining_shares, reason=reason, released=released,
    )  # fmt: skip


def expired(market: Market, order: Order) -> ev.OrderExpired:
    """The same for an order whose time is over."""
    end = cancelled(market, order, "expired")
    return ev.OrderExpired(
        account=end.account, cash=end.cash, netted=end.netted, order=end.order, quantity=end.quantity,
        released=end.released,
    )  # fmt: skip


def amended(
    market: Market, order: Order, *, total_shares: int, price_pips: int, covered_shares: int, requeued: bool
) -> ev.OrderAmended:
    """An order's new total, price and cover, and the cash that it needs or frees."""
    reserved = amended_reserve(
        market, order, total_shares=total_shares, price_pips=price_pips, covered_shares=covered_shares
    )
    netted = _freed(market, order, order.covered_shares - covered_shares)
    return ev.OrderAmended(
        account=order.account_id, cash=order.reserved_pips - reserved + SHARE_PIPS * netted, covered=covered_shares,
        netted=netted, order=order.order_id, price=price_pips, quantity=total_shares, requeued=requeued,
        reserved=reserved,
    )  # fmt: skip


def amended_reserve(
    market: Market, order: Order, *, total_shares: int, price_pips: int, covered_shares: int
) -> int:
    """What an order will hold in reserve once it is amended."""
    return reserve_pips(
        side=order.side, price_pips=price_pips, units=total_shares - order.filled_shares - covered_shares,
        rate_e4=market.highest_fee_e4, paid_numerator=order.fee_numerator,
    )  # fmt: skip
