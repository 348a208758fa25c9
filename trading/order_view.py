"""An order as the API shows it, whether it comes from the engine or from the read model."""

from collections.abc import Sequence
from typing import Any

from trading.engine.events import OrderRejected
from trading.engine.market import Market, Order
from trading.eventlog.codec import timestamp_text
from trading.money import format_pips
from trading.wire import OrderView

# An OrderView but for its fills, of a row `o` of "order".
ORDER_COLUMNS = """
       o.order_id::text, o.client_order_id, o.market_id::text, o.account_id::text, o.outcome, o.side, o.type,
       o.price_pips, o.quantity, o.filled, CASE WHEN o.status = 'open' THEN o.quantity - o.filled ELSE 0 END,
       o.cost_pips, o.fees_pips, o.time_in_force, o.status, o.reason,
       (extract(epoch FROM o.created_at) * 1000000)::bigint, (extract(epoch FROM o.updated_at) * 1000000)::bigint,
       o.seq, (extract(epoch FROM o.expires_at) * 1000000)::bigint"""
ORDER_WIDTH = len(OrderView.__struct_fields__) - 1
_FILLS_AT = OrderView.__struct_fields__.index("fills")


def order_view_of(columns: Sequence[Any], fills: list[tuple[str, int, int, int]]) -> OrderView:
    """The read model's order: the ORDER_COLUMNS of its row, and its fills."""
    return OrderView(*[*columns[:_FILLS_AT], fills, *columns[_FILLS_AT:]])


def order_view(order: Order, market_id: str) -> OrderView:
    """The engine's order, open or just ended."""
    return OrderView(
        order.order_id, order.client_order_id, market_id, order.account_id, order.outcome, order.side,
        order.order_type, order.price_pips, order.quantity_shares, order.filled_shares, order.remaining_shares,
        order.cost_pips, order.fees_pips, order.time_in_force, order.status, order.reason, order.fills,
        order.created_us, order.updated_us, order.seq, order.expires_us,
    )  # fmt: skip


def rejected_view(event: OrderRejected, market: Market, at_us: int) -> OrderView:
    """An order that was refused: it has an id and can be looked up, and nothing else happened."""
    return OrderView(
        event.order, event.client_order_id, market.market_id, event.account, event.outcome, event.side, event.type,
        event.price, event.quantity, 0, 0, 0, 0, event.tif, "rejected", event.reason, [], at_us, at_us, market.seq,
        event.expires_us,
    )  # fmt: skip


def order_json(view: OrderView, outcomes: Sequence[str], as_of: str | None) -> dict[str, Any]:
    """The API's order. `remaining` is what still works: 0 for an order that has ended.

    `average_price` is rounded to whole pips, half up, and null without a fill.
    """
    filled = view.filled_shares
    average = format_pips((2 * view.cost_pips + filled) // (2 * filled)) if filled else None
    return {
        "order_id": view.order_id,
        "client_order_id": view.client_order_id,
        "market_id": view.market_id,
        "outcome": outcomes[view.outcome],
        "side": view.side,
        "type": view.order_type,
        "price": format_pips(view.price_pips),
        "quantity": view.quantity_shares,
        "filled": filled,
        "remaining": view.remaining_shares,
        "average_price": average,
        "fees": format_pips(view.fees_pips),
        "time_in_force": view.time_in_force,
        "expires_at": None if view.expires_us is None else timestamp_text(view.expires_us),
        "status": view.status,
        "reason": view.reason,
        "fills": [
            {"trade_id": trade_id, "price": format_pips(price), "quantity": quantity, "fee": format_pips(fee)}
            for trade_id, price, quantity, fee in view.fills
        ],
        "created_at": timestamp_text(view.created_us),
        "updated_at": timestamp_text(view.updated_us),
        "seq": view.seq,
        "as_of": as_of,
    }
