"""What must be true of a market after every command; tests call it after each."""

from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market, Order


def check(market: Market, *, now_us: int | None = None) -> None:
    """Raises AssertionError where shares, earmarks or books do not add up. O(everything).

    Without `now_us`, the time of the last command, orders that expire are left out where prices are compared.
    """
    if market.seq == 0:
        return
    count = len(market.outcomes)
    for index in range(count):
        shares = sum(h.free[index] + h.held[index] for h in market.holdings.values())
        assert shares == market.sets, f"outcome {index} has {shares} shares for {market.sets} sets"
    held: dict[str, list[int]] = {}
    for order in market.orders.values():
        assert order.remaining_shares > 0, "an order without remainder is open"
        assert 0 <= order.covered_shares <= order.remaining_shares, "covered beyond the remainder"
        row = held.setdefault(order.account_id, [0] * count)
        for index in range(count):
            if (index == order.outcome) == (order.side == "sell"):
                row[index] += order.covered_shares
    for account_id, holding in market.holdings.items():
        assert min(holding.free) == 0, "free complete sets were not netted"
        assert min(holding.held) >= 0, "negative holding"
        assert holding.held == held.get(account_id, [0] * count), "earmarks differ from the open orders"
    _check_books(market)
    _check_prices(market, now_us=now_us)
    expiring = sorted((o.expires_us, o.order_id) for o in market.orders.values() if o.expires_us is not None)
    assert market.expiring == expiring, "expiring orders differ from the open ones"
    own: dict[str, list[Order]] = {}
    for order in market.orders.values():
        own.setdefault(order.account_id, []).append(order)
    assert {account: list(orders.values()) for account, orders in market.orders_of.items()} == own, (
        "an account's open orders differ from the open ones"
    )
    leaving = {name: order for name, order in market.orders.items() if order.on_suspend == "cancel"}
    assert market.cancelled_when_suspended == leaving, (
        "orders to cancel when suspended differ from the open ones"
    )


def _check_prices(market: Market, *, now_us: int | None) -> None:
    """No orders that could trade with each other are left: expired ones, which still stand in the book, aside."""
    bids: list[int | None] = []
    asks: list[int | None] = []
    for book in market.books:
        for side, best in ((book.bids, bids), (book.asks, asks)):
            best.append(next((o.book_price_pips for o in side.queue() if _is_live(o, now_us)), None))
        bid, ask = bids[-1], asks[-1]
        assert bid is None or ask is None or bid < ask, "the book is crossed"
    if len(market.outcomes) < 3 or len(market.outcomes) * market.tick_pips > SHARE_PIPS:
        return
    assert None in bids or sum(price or 0 for price in bids) < SHARE_PIPS, (
        "the best bids of all outcomes buy a set"
    )
    assert None in asks or sum(price or 0 for price in asks) > SHARE_PIPS, (
        "the best asks of all outcomes sell a set"
    )


def _is_live(order: Order, now_us: int | None) -> bool:
    return order.expires_us is None or (now_us is not None and order.expires_us > now_us)


def _check_books(market: Market) -> None:
    resting = 0
    for book in market.books:
        for side in (book.bids, book.asks):
            assert side.keys == sorted(side.levels), "price keys differ from the levels"
            for level in side.levels.values():
                size = sum(o.remaining_shares for o in level.orders.values())
                assert level.quantity_shares == size > 0, "a level's size differs from its orders"
                resting += len(level.orders)
    assert resting == len(market.orders), "an open order is not in the book"
