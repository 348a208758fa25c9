"""What must be true of a market after every command; tests call it after each."""

from trading.engine.market import Market


def check(market: Market) -> None:
    """Raises AssertionError where shares, earmarks or books do not add up. O(everything)."""
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


def _check_books(market: Market) -> None:
    resting = 0
    for book in market.books:
        bid, ask = book.bids.best_price(), book.asks.best_price()
        assert bid is None or ask is None or bid < ask, "the book is crossed"
        for side in (book.bids, book.asks):
            assert side.keys == sorted(side.levels), "price keys differ from the levels"
            for level in side.levels.values():
                assert level.quantity_shares == sum(o.remaining_shares for o in level.orders.values()) > 0
                resting += len(level.orders)
    assert resting == len(market.orders), "an open order is not in the book"
