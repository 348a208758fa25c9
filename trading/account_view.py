"""What an account holds and has had filled, as the API and the sockets write it."""

from typing import Any

from trading.eventlog.codec import timestamp_text, to_us
from trading.market_terms import market_terms
from trading.money import format_pips
from trading.selectors.accounts import HeldPosition, OwnFill


def position_json(held: HeldPosition) -> dict[str, Any]:
    """Null where no price is known."""
    return {
        "market_id": held.market_id,
        "outcome": market_terms(held.market_id).outcomes[held.outcome],
        "quantity": held.quantity_shares,
        "average_price": money_or_null(held.average_pips),
        "cost": format_pips(held.cost_pips),
        "value": money_or_null(held.value_pips),
        "realized_pnl": format_pips(held.realized_pips),
        "unrealized_pnl": money_or_null(held.unrealized_pips),
    }


def fill_json(fill: OwnFill) -> dict[str, Any]:
    """In its owner's terms."""
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "market_id": fill.market_id,
        "outcome": market_terms(fill.market_id).outcomes[fill.outcome],
        "side": fill.side,
        "price": format_pips(fill.price_pips),
        "quantity": fill.quantity_shares,
        "fee": format_pips(fill.fee_pips),
        "role": fill.role,
        "at": timestamp_text(to_us(fill.at)),
    }


def money_or_null(pips: int | None) -> str | None:
    """With four decimals."""
    return None if pips is None else format_pips(pips)
