"""What each kind of notification says. Pure: facts in, a note out; nothing is read or written here."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from accounts.models import Notification, PriceAlert
from trading.money import format_pips

Kind = Notification.Kind
STATEMENT = "statement"

ABOUT = {
    Kind.ORDER_FILLED: "Order filled",
    Kind.ORDER_CANCELLED: "Order cancelled by its market's end or halt",
    Kind.ORDER_EXPIRED: "Order expired",
    Kind.MARKET_CLOSING: "Market closing soon",
    Kind.RESOLUTION_PROPOSED: "Resolution proposed",
    Kind.MARKET_RESOLVED: "Market resolved",
    Kind.MARKET_VOIDED: "Market voided",
    Kind.MARKET_REVERSED: "Result undone",
    Kind.DEPOSIT: "Deposit",
    Kind.SIGN_IN: "Sign-in from a new place",
    Kind.PRICE_ALERT: "Price alert",
    Kind.WEBHOOK_OFF: "Webhook switched off",
}
"""How a person calls each kind, in the order in which they are listed."""

LABELS = {**{str(kind): label for kind, label in ABOUT.items()}, STATEMENT: "Daily statement"}
"""The same of all rows of the grid."""

CANCELLED_BECAUSE = {"market_closed": "Market closed", "market_suspended": "Market suspended"}
"""Reasons for which an order ends without its owner's doing: he is told."""


class Note(NamedTuple):
    """One notification to be written; `key` names what it tells of, `at_us` when that was."""

    account_id: str
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    at_us: int
    key: str


class Market(NamedTuple):
    """What a market is called."""

    market_id: str
    question: str
    outcomes: Sequence[str]


class Order(NamedTuple):
    """An order as its read model has it."""

    order_id: str
    market_id: str
    account_id: str
    outcome: int
    side: str
    status: str
    quantity: int
    filled: int
    cost_pips: int
    fees_pips: int
    reason: str | None
    updated_us: int

    @property
    def average_pips(self) -> int:
        """Average price, half up, as the API rounds it."""
        return (2 * self.cost_pips + self.filled) // (2 * self.filled)


def order_filled(order: Order, market: Market) -> Note:
    verb = "Bought" if order.side == "buy" else "Sold"
    price = format_pips(order.average_pips)
    return Note(
        order.account_id,
        Kind.ORDER_FILLED,
        f"{verb} {order.filled:,} {market.outcomes[order.outcome]} at ${price}",
        market.question,
        _order_data(order, market) | {"average_price": price, "fees": format_pips(order.fees_pips)},
        order.updated_us,
        f"order_filled:{order.order_id}",
    )


def order_cancelled(order: Order, market: Market) -> Note:
    because = CANCELLED_BECAUSE[order.reason or ""]
    return _ended(order, market, Kind.ORDER_CANCELLED, f"{because}: your order to {{}} was cancelled")


def order_expired(order: Order, market: Market) -> Note:
    return _ended(order, market, Kind.ORDER_EXPIRED, "Your order to {} has expired")


def _ended(order: Order, market: Market, kind: str, title: str) -> Note:
    what = f"{order.side} {order.quantity - order.filled:,} {market.outcomes[order.outcome]}"
    return Note(
        order.account_id,
        kind,
        title.format(what),
        market.question,
        _order_data(order, market),
        order.updated_us,
        f"{kind}:{order.order_id}",
    )


def market_resolved(account_id: str, market: Market, *, settlement_id: str, payout_pips: int, at_us: int, key: str) -> Note:  # fmt: skip  # noqa: E501
    paid = f"you were paid ${format_pips(payout_pips)}" if payout_pips else "your shares paid nothing"
    data = _settlement_data(market, settlement_id, payout_pips)
    return Note(
        account_id, Kind.MARKET_RESOLVED, f"Market resolved: {paid}", market.question, data, at_us, key
    )


def market_voided(
    account_id: str, market: Market, *, settlement_id: str, returned_pips: int, at_us: int, key: str
) -> Note:
    """`returned_pips` is negative where a pay-out was taken back."""
    amount = format_pips(abs(returned_pips))
    said = f"${amount} was taken back" if returned_pips < 0 else f"you were returned ${amount}"
    data = _settlement_data(market, settlement_id, returned_pips)
    return Note(account_id, Kind.MARKET_VOIDED, f"Market voided: {said}", market.question, data, at_us, key)


def market_reversed(
    account_id: str, market: Market, *, settlement_id: str, taken_pips: int, at_us: int, key: str
) -> Note:
    """`taken_pips` is negative where what a void had taken is given back."""
    amount = format_pips(abs(taken_pips))
    said = f"${amount} was taken back" if taken_pips > 0 else f"you were given ${amount} back"
    data = _settlement_data(market, settlement_id, -taken_pips)
    return Note(account_id, Kind.MARKET_REVERSED, f"Result undone: {said}", market.question, data, at_us, key)


def market_closing(account_id: str, market: Market, *, closes_at: dt.datetime, at_us: int) -> Note:
    return Note(
        account_id,
        Kind.MARKET_CLOSING,
        f"Market closes at {closes_at:%H:%M} UTC",
        market.question,
        {"market_id": market.market_id, "closes_at": closes_at.isoformat()},
        at_us,
        f"market_closing:{market.market_id}:{account_id}",
    )


def resolution_proposed(
    account_id: str, market: Market, *, proposal: dict[str, Any], event_id: str, at_us: int
) -> Note:
    """`proposal` is the event's data: what a share of each outcome would pay, in pips; without that it is a void."""
    payouts = proposal.get("payouts")
    if payouts is None:
        said = "to be voided"
    else:
        paying = [
            name if pips == max(payouts) == sum(payouts) else f"{name} ${format_pips(pips)}"
            for name, pips in zip(market.outcomes, payouts, strict=True)
            if pips
        ]
        said = f"to resolve as {', '.join(paying)}"
    return Note(
        account_id,
        Kind.RESOLUTION_PROPOSED,
        f"Market is proposed {said}",
        market.question,
        {
            "market_id": market.market_id,
            "resolution_id": proposal["resolution"],
            "kind": "void" if payouts is None else "resolve",
            "payouts": None if payouts is None else [format_pips(pips) for pips in payouts],
            "evidence": proposal.get("evidence"),
        },
        at_us,
        f"resolution_proposed:{event_id}:{account_id}",
    )


def deposit(account_id: str, *, amount_pips: int, repaid_pips: int, event_id: str, at_us: int) -> Note:
    """`repaid_pips` is what of it went into the account's debt."""
    body = f"${format_pips(repaid_pips)} of it repaid your debt." if repaid_pips else ""
    data = {"amount": format_pips(amount_pips), "repaid": format_pips(repaid_pips)}
    title = f"${format_pips(amount_pips)} was deposited"
    return Note(account_id, Kind.DEPOSIT, title, body, data, at_us, f"deposit:{event_id}")


def sign_in(account_id: str, *, browser: str, network: str, place_id: int, at_us: int) -> Note:
    return Note(
        account_id,
        Kind.SIGN_IN,
        f"Signed in from a new place: {browser}, {network}",
        "If this was not you, change your password and revoke your API keys.",
        {"browser": browser, "network": network},
        at_us,
        f"sign_in:{place_id}",
    )


def price_alert(
    account_id: str, market: Market, *, alert_id: str, outcome: int, direction: str, wanted_pips: int,
    price_pips: int, at_us: int,
) -> Note:  # fmt: skip
    """`price_pips` is the traded price that has fired it."""
    words = "at or above" if direction == PriceAlert.Direction.AT_OR_ABOVE else "at or below"
    name = market.outcomes[outcome]
    return Note(
        account_id,
        Kind.PRICE_ALERT,
        f"{name} traded at ${format_pips(price_pips)}, {words} ${format_pips(wanted_pips)}",
        market.question,
        {
            "market_id": market.market_id,
            "alert_id": alert_id,
            "outcome": name,
            "direction": str(direction),
            "price": format_pips(wanted_pips),
            "last_price": format_pips(price_pips),
        },
        at_us,
        f"price_alert:{alert_id}",
    )


def webhook_off(account_id: str, *, webhook_id: str, url: str, days: int, at_us: int) -> Note:
    return Note(
        account_id,
        Kind.WEBHOOK_OFF,
        "A webhook was switched off",
        f"Every delivery to {url} has failed for {days} days.",
        {"webhook_id": webhook_id, "url": url},
        at_us,
        f"webhook_off:{webhook_id}:{at_us}",
    )


def _order_data(order: Order, market: Market) -> dict[str, Any]:
    return {
        "market_id": order.market_id,
        "order_id": order.order_id,
        "outcome": market.outcomes[order.outcome],
        "side": order.side,
        "quantity": order.quantity,
        "filled": order.filled,
    }


def _settlement_data(market: Market, settlement_id: str, amount_pips: int) -> dict[str, Any]:
    return {
        "market_id": market.market_id,
        "settlement_id": settlement_id,
        "amount": format_pips(amount_pips),
    }
