"""Short ways to say commands and events in tests. Prices and money in pips, quantities in shares."""

from tests.engine.both_markets import CLOSES_US
from trading.engine import commands as cmd
from trading.engine import events as ev


def create(
    *, outcomes: tuple[str, ...] = ("Yes", "No"), tick: int = 1, taker: int = 0, maker: int = 0,
    opens_us: int | None = None, closes_us: int = CLOSES_US,
) -> cmd.CreateMarket:  # fmt: skip
    """A market; fees in ten-thousandths."""
    return cmd.CreateMarket("m", "Will it?", outcomes, "tests", tick, taker, maker, opens_us, closes_us)


def place(
    order: str, account: str, side: str, quantity: int, price: int, *, outcome: int = 0, tif: str = "GTC",
    kind: str = "limit", client: str | None = None,
) -> cmd.PlaceOrder:  # fmt: skip
    return cmd.PlaceOrder(
        "m", account, order, outcome, side, kind, price, quantity, tif, "cancel_taker", client
    )


def cancel(account: str, order: str | None = None, *, client: str | None = None) -> cmd.CancelOrder:
    return cmd.CancelOrder("m", account, order, client)


def cancel_all(account: str, *, outcome: int | None = None, side: str | None = None) -> cmd.CancelOrders:
    return cmd.CancelOrders("m", account, outcome, side)


def amend(
    account: str,
    order: str | None = None,
    *,
    client: str | None = None,
    to: int | None = None,
    by: int | None = None,
) -> cmd.AmendOrder:
    return cmd.AmendOrder("m", account, order, client, to, by)


def suspend() -> cmd.SuspendMarket:
    return cmd.SuspendMarket("m", "news")


def resume() -> cmd.ResumeMarket:
    return cmd.ResumeMarket("m")


def close() -> cmd.CloseMarket:
    return cmd.CloseMarket("m")


def resolve(*payouts: int) -> cmd.ResolveMarket:
    return cmd.ResolveMarket("m", payouts or (10_000, 0), "s1", "seen")


def void() -> cmd.VoidMarket:
    return cmd.VoidMarket("m", "s1", "unclear")


def sweep() -> cmd.SweepOrders:
    return cmd.SweepOrders("m")


def placed(command: cmd.PlaceOrder, *, reserved: int, covered: int = 0) -> ev.OrderPlaced:
    """What a place that is accepted says first."""
    return ev.OrderPlaced(
        command.order_id, command.account_id, command.client_order_id, command.outcome, command.side,
        command.order_type, command.price_pips, command.quantity_shares, command.time_in_force,
        command.self_trade_prevention, covered, reserved, -reserved,
    )  # fmt: skip


def rejected(command: cmd.PlaceOrder, reason: str) -> ev.OrderRejected:
    return ev.OrderRejected(
        command.order_id, command.account_id, command.client_order_id, command.outcome, command.side,
        command.order_type, command.price_pips, command.quantity_shares, command.time_in_force, reason,
    )  # fmt: skip


def leg(
    order: str, account: str, role: str, side: str, quantity: int, price: int, *, cash: int, reserved: int,
    outcome: int = 0, fee: int = 0, delivered: int = 0, netted: int = 0,
) -> ev.Leg:  # fmt: skip
    """A leg in its owner's own terms."""
    return ev.Leg(
        order, account, role, outcome, side, price, quantity, fee, delivered, netted, cash, reserved
    )


def matched(
    trade: str, taker_side: str, quantity: int, price: int, *legs: ev.Leg, outcome: int = 0
) -> ev.OrderMatched:
    """A trade in the book's terms; the maker's leg comes first."""
    return ev.OrderMatched(trade, outcome, price, quantity, taker_side, legs)


def cancelled(
    order: str, account: str, reason: str, quantity: int, *, cash: int, released: int = 0, netted: int = 0
) -> ev.OrderCancelled:
    return ev.OrderCancelled(order, account, reason, quantity, released, netted, cash)


def amended(
    order: str, account: str, total: int, *, cash: int, reserved: int, released: int = 0, netted: int = 0
) -> ev.OrderAmended:
    return ev.OrderAmended(order, account, total, released, netted, cash, reserved)


def refused(account: str | None, command: str, order: str | None, reason: str) -> ev.CommandRefused:
    return ev.CommandRefused(account, command, order, reason)


def opened(account: str) -> ev.PositionOpened:
    return ev.PositionOpened(account)
