"""What a recorded log decided of a market, named one by one: a new attribute of the engine must not change it."""

import hashlib
import json
from typing import Any

from trading.engine.market import Market, Order

ORDER_FACTS = (
    "order_id", "account_id", "client_order_id", "outcome", "side", "order_type", "price_pips", "quantity_shares",
    "time_in_force", "remaining_shares", "covered_shares", "reserved_pips", "fees_pips", "cost_pips", "fills",
)  # fmt: skip


def facts(market: Market) -> dict[str, Any]:
    """What the log decided, named one by one: a new attribute of the engine must not change it."""
    return {
        "seq": market.seq,
        "status": market.status,
        "outcomes": market.outcomes,
        "terms": [market.tick_pips, market.taker_fee_e4, market.maker_fee_e4, market.opens_us, market.closes_us],
        "closing": None if market.closing is None else list(market.closing),
        "totals": [market.sets, market.fees_pips, market.volume_pips],
        "last_prices": market.last_prices,
        "holdings": {account: [holding.free, holding.held] for account, holding in market.holdings.items()},
        "orders": [order_facts(order) for order in market.orders.values()],
        "books": [[list(book.bids.depth()), list(book.asks.depth())] for book in market.books],
        "queues": [
            [order.order_id for side in (book.bids, book.asks) for order in side.queue()] for book in market.books
        ],
    }  # fmt: skip


def order_facts(order: Order) -> list[Any]:
    return [getattr(order, name) for name in ORDER_FACTS]


def digest(market: Market) -> str:
    return hashlib.sha256(json.dumps(facts(market), sort_keys=True).encode()).hexdigest()[:16]
