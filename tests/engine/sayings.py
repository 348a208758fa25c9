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
    kind: str = "limit", client: str | None = None, stp: str = "cancel_taker", by: str = "",
    post_only: bool = False, reduce_only: bool = False, on_suspend: str = "keep", expires_us: int | None = None,
    valid_until_us: int | None = None, max_cost: int | None = None,
) -> cmd.PlaceOrder:  # fmt: skip
    """An order; one with an expiry is GTD, one with a `max_cost` a market order."""
    tif = "GTD" if expires_us is not None and tif == "GTC" else tif
    if max_cost is not None:
        tif, kind = "IOC", "market"
    return cmd.PlaceOrder(
        "m", account, order, outcome, side, kind, price, quantity, tif, stp, client, by, post_only, reduce_only,
        on_suspend, expires_us, valid_until_us, max_cost,
    )  # fmt: skip


def cancel(account: str, order: str | None = None, *, client: str | None = None) -> cmd.CancelOrder:
    return cmd.CancelOrder("m", account, order, client)


def cancel_all(
    account: str, *, outcome: int | None = None, side: str | None = None, by: str | None = None,
    reason: str = "by_owner", fence: str | None = None, until_us: int | None = None,
) -> cmd.CancelOrders:  # fmt: skip
    return cmd.CancelOrders("m", account, outcome, side, by, reason, fence, until_us)


def amend(
    account: str,
    order: str | None = None,
    *,
    client: str | None = None,
    to: int | None = None,
    by: int | None = None,
    price: int | None = None,
) -> cmd.AmendOrder:
    return cmd.AmendOrder("m", account, order, client, to, by, price)


def suspend() -> cmd.SuspendMarket:
    return cmd.SuspendMarket("m", "news")


def resume(phase: str = "", phase_us: int = 0) -> cmd.ResumeMarket:
    return cmd.ResumeMarket("m", phase, phase_us)


def propose(
    *payouts: int, by: str = "ann", resolution: str = "r1", approvals: int = 1, window_us: int = 0
) -> cmd.ProposeResolution:
    """How it should end; without payouts by a void."""
    return cmd.ProposeResolution("m", resolution, payouts or None, "seen", by, approvals, window_us)


def approve(by: str, resolution: str = "r1") -> cmd.ApproveResolution:
    return cmd.ApproveResolution("m", resolution, by)


def dispute(account: str, resolution: str = "r1") -> cmd.DisputeResolution:
    return cmd.DisputeResolution("m", resolution, account, "not so")


def withdraw(by: str = "ann", resolution: str = "r1") -> cmd.WithdrawResolution:
    return cmd.WithdrawResolution("m", resolution, by, "too early")


def settle(resolution: str = "r1") -> cmd.SettleResolution:
    return cmd.SettleResolution("m", resolution)


def reverse(
    by: str, *, settlement: str = "u1", approvals: int = 0, reverses: str | None = None
) -> cmd.ReverseResolution:
    return cmd.ReverseResolution("m", settlement, "wrong", by, approvals, reverses)


def close() -> cmd.CloseMarket:
    return cmd.CloseMarket("m")


def resolve(*payouts: int) -> cmd.ResolveMarket:
    return cmd.ResolveMarket("m", payouts or (10_000, 0), "s1", "seen")


def void() -> cmd.VoidMarket:
    return cmd.VoidMarket("m", "s1", "unclear")


def sweep() -> cmd.SweepOrders:
    return cmd.SweepOrders("m")


def expire() -> cmd.ExpireOrders:
    return cmd.ExpireOrders("m")


def placed(
    command: cmd.PlaceOrder, *, reserved: int, covered: int = 0, quantity: int | None = None
) -> ev.OrderPlaced:
    """What a place that is accepted says first; the quantity is said where money decided it."""
    return ev.OrderPlaced(
        order=command.order_id, account=command.account_id, client_order_id=command.client_order_id,
        outcome=command.outcome, side=command.side, type=command.order_type, price=command.price_pips,
        quantity=command.quantity_shares if quantity is None else quantity, tif=command.time_in_force,
        stp=command.self_trade_prevention, covered=covered, reserved=reserved, cash=-reserved, by=command.by,
        post_only=command.post_only, reduce_only=command.reduce_only, on_suspend=command.on_suspend,
        expires_us=command.expires_us, max_cost=command.max_cost_pips,
    )  # fmt: skip


def rejected(command: cmd.PlaceOrder, reason: str) -> ev.OrderRejected:
    return ev.OrderRejected(
        order=command.order_id, account=command.account_id, client_order_id=command.client_order_id,
        outcome=command.outcome, side=command.side, type=command.order_type, price=command.price_pips,
        quantity=command.quantity_shares, tif=command.time_in_force, stp=command.self_trade_prevention,
        reason=reason, by=command.by, post_only=command.post_only, reduce_only=command.reduce_only,
        on_suspend=command.on_suspend, expires_us=command.expires_us, max_cost=command.max_cost_pips,
    )  # fmt: skip


def leg(
    order: str, account: str, role: str, side: str, quantity: int, price: int, *, cash: int, reserved: int,
    outcome: int = 0, fee: int = 0, delivered: int = 0, netted: int = 0,
) -> ev.Leg:  # fmt: skip
    """A leg in its owner's own terms."""
    return ev.Leg(
        order=order, account=account, role=role, outcome=outcome, side=side, price=price, quantity=quantity, fee=fee,
        delivered=delivered, netted=netted, cash=cash, reserved=reserved,
    )  # fmt: skip


def matched(
    trade: str, taker_side: str, quantity: int, price: int, *legs: ev.Leg, outcome: int = 0
) -> ev.OrderMatched:
    """A trade in the book's terms; the makers' legs come first."""
    return ev.OrderMatched(
        trade=trade, outcome=outcome, price=price, quantity=quantity, taker_side=taker_side, legs=legs
    )


def cancelled(
    order: str, account: str, reason: str, quantity: int, *, cash: int, released: int = 0, netted: int = 0
) -> ev.OrderCancelled:
    return ev.OrderCancelled(
        order=order,
        account=account,
        reason=reason,
        quantity=quantity,
        released=released,
        netted=netted,
        cash=cash,
    )


def expired(
    order: str, account: str, quantity: int, *, cash: int, released: int = 0, netted: int = 0
) -> ev.OrderExpired:
    return ev.OrderExpired(
        order=order, account=account, quantity=quantity, released=released, netted=netted, cash=cash
    )


def amended(
    order: str, account: str, total: int, price: int, *, cash: int, reserved: int, covered: int = 0, netted: int = 0,
    requeued: bool = False,
) -> ev.OrderAmended:  # fmt: skip
    return ev.OrderAmended(
        order=order, account=account, quantity=total, price=price, covered=covered, netted=netted, cash=cash,
        reserved=reserved, requeued=requeued,
    )  # fmt: skip


def fenced(
    account: str, fence: str, *, outcome: int | None = None, side: str | None = None, by: str | None = None
) -> ev.CancelAllFence:
    return ev.CancelAllFence(account=account, fence=fence, outcome=outcome, side=side, by=by)


def refused(account: str | None, command: str, order: str | None, reason: str) -> ev.CommandRefused:
    return ev.CommandRefused(account=account, command=command, order=order, reason=reason)


def opened(account: str) -> ev.PositionOpened:
    return ev.PositionOpened(account=account)


def created(creation: cmd.CreateMarket, *, at_us: int) -> ev.MarketCreated:
    return ev.MarketCreated(
        market=creation.market_id, question=creation.question, outcomes=creation.outcomes, category=creation.category,
        tick=creation.tick_pips, taker_fee_e4=creation.taker_fee_e4, maker_fee_e4=creation.maker_fee_e4,
        opens_us=creation.opens_us, closes_us=creation.closes_us, created_us=at_us,
    )  # fmt: skip


def closed(reason: str, *payouts: int) -> ev.MarketClosed:
    """The first event of a close, a resolution or a void as they are said above."""
    if reason == "time":
        return ev.MarketClosed(reason="time")
    evidence = "seen" if payouts else "unclear"
    return ev.MarketClosed(reason=reason, payouts=payouts or None, settlement="s1", evidence=evidence)


def resolved(*payouts: int, sets: int, fees: int) -> ev.MarketResolved:
    return ev.MarketResolved(payouts=payouts, settlement="s1", evidence="seen", sets=sets, fees=fees)


def voided(*, sets: int, fees: int) -> ev.MarketVoided:
    return ev.MarketVoided(settlement="s1", evidence="unclear", sets=sets, fees=fees)
