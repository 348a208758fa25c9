"""Judges a command against a market and yields the events that follow.

Each event is yielded on its own and must be applied before the next is asked for: `decide` never
mutates, but reads the state as the events so far have left it. `run` does just that.
"""

from collections.abc import Callable, Iterator
from typing import Any

from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine import lifecycle, resolution
from trading.engine.apply import apply
from trading.engine.fees import SHARE_PIPS, reserve_pips
from trading.engine.liquidity import Interest, affordable_shares, fillable_shares, would_cross
from trading.engine.market import MAX_OPEN_ORDERS, RESTING, Market, Order
from trading.engine.matching import amended, amended_reserve, cancelled, expired, interest_of, match
from trading.engine.rejection import RejectReason


def decide(market: Market, command: cmd.Command, *, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    """The events of a command. `budget_pips` is the free cash it may use, `now_us` the batch's time.

    An unborn market yields nothing except for CreateMarket: there is no stream to write to.
    """
    if market.seq == 0 and not isinstance(command, cmd.CreateMarket):
        return iter(())
    return _DECIDERS[type(command)](market, command, budget_pips, now_us)


def run(market: Market, command: cmd.Command, *, budget_pips: int, now_us: int) -> list[ev.Event]:
    """Decides and applies; answers the events."""
    written = []
    for event in decide(market, command, budget_pips=budget_pips, now_us=now_us):
        apply(market, event, now_us)
        written.append(event)
    return written


def _place(market: Market, command: cmd.PlaceOrder, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    reason = _refuse_unseen(market, command, now_us)
    if reason is not None:
        yield _rejected(command, reason)
        return
    quantity = command.quantity_shares
    if command.max_cost_pips is not None:
        quantity = affordable_shares(
            market, _interest(market, command), max_cost_pips=command.max_cost_pips, most_shares=quantity,
            mirrored=market.is_binary and command.outcome == 1, now_us=now_us,
        )  # fmt: skip
    # Money that buys nothing still makes an order, of one share, which ends without having met anything.
    can_buy, quantity = quantity > 0, max(quantity, 1)
    covered = min(
        quantity, market.coverable(account_id=command.account_id, outcome=command.outcome, side=command.side)
    )
    if command.max_cost_pips is None:
        reserved = reserve_pips(
            side=command.side, price_pips=command.price_pips, units=quantity - covered,
            rate_e4=market.highest_fee_e4, paid_numerator=0,
        )  # fmt: skip
    else:
        reserved = command.max_cost_pips if covered < quantity else 0
    reason = _refuse_seen(market, command, now_us)
    if reason is None and command.reduce_only and covered < quantity:
        reason = RejectReason.REDUCE_ONLY
    if reason is None and reserved > budget_pips:
        reason = RejectReason.EXCEEDS_AVAILABLE_CASH
    if reason is not None:
        yield _rejected(command, reason)
        return
    # From here on the order must succeed.
    yield ev.OrderPlaced(
        account=command.account_id, by=command.by, cash=-reserved, client_order_id=command.client_order_id,
        covered=covered, expires_us=command.expires_us, max_cost=command.max_cost_pips, on_suspend=command.on_suspend,
        order=command.order_id, outcome=command.outcome, post_only=command.post_only, price=command.price_pips,
        quantity=quantity, reduce_only=command.reduce_only, reserved=reserved, side=command.side,
        stp=command.self_trade_prevention, tif=command.time_in_force, type=command.order_type,
    )  # fmt: skip
    order = market.orders[command.order_id]
    if can_buy:
        yield from match(market, order, now_us)
    if order.remaining_shares and not order.rests:
        yield cancelled(market, order, "unfilled")


def _interest(market: Market, command: cmd.PlaceOrder) -> Interest:
    mirrored = market.is_binary and command.outcome == 1
    return Interest(
        command.account_id,
        0 if market.is_binary else command.outcome,
        (command.side == "buy") != mirrored,
        SHARE_PIPS - command.price_pips if mirrored else command.price_pips,
        command.self_trade_prevention,
    )


def _refuse_unseen(market: Market, command: cmd.PlaceOrder, now_us: int) -> RejectReason | None:
    """What can be said without looking at the books."""
    if not _takes_orders(market, now_us):
        return RejectReason.MARKET_NOT_OPEN
    for until_us in (command.valid_until_us, command.expires_us):
        if until_us is not None and until_us <= now_us:
            return RejectReason.EXPIRED
    if market.is_fenced(command):
        return RejectReason.CANCELLED_BY_OWNER
    if command.price_pips % market.tick_pips:
        return RejectReason.OFF_TICK
    if len(market.orders_of.get(command.account_id, ())) >= MAX_OPEN_ORDERS:
        return RejectReason.EXCEEDS_LIMITS
    return None


def _takes_orders(market: Market, now_us: int) -> bool:
    return (
        market.status == "open"
        and now_us < market.closes_us
        and not _is_in_phase(market, "cancel_only", now_us)
    )


def _is_in_phase(market: Market, kind: str, now_us: int) -> bool:
    """Whether a resumed market is still in that phase, whose end is no event."""
    phase = market.phase
    return phase is not None and now_us < phase.until_us and phase.kind == kind


def _refuse_seen(market: Market, command: cmd.PlaceOrder, now_us: int) -> RejectReason | None:
    """What follows from the books: they are looked at only where it can matter."""
    nothing_trades = _is_in_phase(market, "post_only", now_us)
    if nothing_trades and command.time_in_force not in RESTING:
        return RejectReason.WOULD_CROSS
    if (command.post_only or nothing_trades) and would_cross(market, _interest(market, command), now_us):
        return RejectReason.WOULD_CROSS
    if command.time_in_force == "FOK":
        wanted = command.quantity_shares
        if fillable_shares(market, _interest(market, command), wanted, now_us) < wanted:
            return RejectReason.CANNOT_FILL
    return None


def _rejected(command: cmd.PlaceOrder, reason: RejectReason) -> ev.OrderRejected:
    return ev.OrderRejected(
        account=command.account_id, by=command.by, client_order_id=command.client_order_id,
        expires_us=command.expires_us, max_cost=command.max_cost_pips, on_suspend=command.on_suspend,
        order=command.order_id, outcome=command.outcome, post_only=command.post_only, price=command.price_pips,
        quantity=command.quantity_shares, reason=reason.value, reduce_only=command.reduce_only, side=command.side,
        stp=command.self_trade_prevention, tif=command.time_in_force, type=command.order_type,
    )  # fmt: skip


def _cancel(market: Market, command: cmd.CancelOrder, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    order = market.find_order(
        account_id=command.account_id, order_id=command.order_id, client_order_id=command.client_order_id
    )
    if order is None:
        yield _refused(market, command, "cancel")
        return
    yield cancelled(market, order, "by_owner")


def _amend(market: Market, command: cmd.AmendOrder, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    order = market.find_order(
        account_id=command.account_id, order_id=command.order_id, client_order_id=command.client_order_id
    )
    if order is None:
        yield _refused(market, command, "amend")
        return
    total = order.quantity_shares - (command.reduce_by_shares or 0)
    if command.quantity_shares is not None:
        total = command.quantity_shares
    price = order.price_pips if command.price_pips is None else command.price_pips
    left = total - order.filled_shares
    if left <= 0:
        yield cancelled(market, order, "by_owner")
        return
    if total <= order.quantity_shares and price == order.price_pips:
        # Cash is freed before shares.
        covered = min(order.covered_shares, left)
        yield amended(
            market, order, total_shares=total, price_pips=price, covered_shares=covered, requeued=False
        )
        return
    coverable = market.coverable(account_id=order.account_id, outcome=order.outcome, side=order.side)
    covered = min(left, order.covered_shares + coverable)
    reserved = amended_reserve(market, order, total_shares=total, price_pips=price, covered_shares=covered)
    reason = _refuse_amend(market, order, price, now_us)
    if reason is None and order.reduce_only and covered < left:
        reason = RejectReason.REDUCE_ONLY
    if reason is None and reserved - order.reserved_pips > budget_pips:
        reason = RejectReason.EXCEEDS_AVAILABLE_CASH
    if reason is not None:
        yield ev.CommandRefused(
            account=command.account_id, command="amend", order=order.order_id, reason=reason.value
        )
        return
    # From here on it must succeed.
    yield amended(market, order, total_shares=total, price_pips=price, covered_shares=covered, requeued=True)
    yield from match(market, order, now_us)


def _refuse_amend(market: Market, order: Order, price_pips: int, now_us: int) -> RejectReason | None:
    """Why an open order may not be moved to a price, which makes it a new one in its queue."""
    if not _takes_orders(market, now_us):
        return RejectReason.MARKET_NOT_OPEN
    if order.expires_us is not None and order.expires_us <= now_us:
        return RejectReason.EXPIRED
    if price_pips % market.tick_pips:
        return RejectReason.OFF_TICK
    if order.post_only or _is_in_phase(market, "post_only", now_us):
        mirrored = order.outcome != order.book_index
        moved = interest_of(order)._replace(price_pips=SHARE_PIPS - price_pips if mirrored else price_pips)
        if would_cross(market, moved, now_us):
            return RejectReason.WOULD_CROSS
    return None


def _refused(market: Market, command: cmd.CancelOrder | cmd.AmendOrder, verb: str) -> ev.CommandRefused:
    """Another's open order must look like one that does not exist."""
    foreign = command.order_id is not None and command.order_id in market.orders
    reason = RejectReason.NOT_FOUND if foreign else RejectReason.ORDER_NOT_OPEN
    return ev.CommandRefused(
        account=command.account_id, command=verb, order=command.order_id, reason=reason.value
    )


def _cancel_orders(
    market: Market, command: cmd.CancelOrders, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    def chosen(order: Order) -> bool:
        return (
            command.placed_until_us != cmd.FENCE_ONLY_US
            and command.outcome in (None, order.outcome)
            and command.side in (None, order.side)
            and command.by in (None, order.by)
            and (
                command.placed_until_us is None
                or order.created_us <= command.placed_until_us
                or (command.fence is not None and order.order_id < command.fence)
            )
        )

    if command.fence is not None and market.status not in lifecycle.ENDED:
        yield ev.CancelAllFence(
            account=command.account_id, by=command.by, fence=command.fence, outcome=command.outcome,
            side=command.side,
        )  # fmt: skip
    own = market.orders_of.get(command.account_id)
    if own is not None:
        for order in [order for order in own.values() if chosen(order)]:
            yield cancelled(market, order, command.reason)


# --- What goes on by itself -----------------------------------------------------------------------


def next_expiry_us(market: Market) -> int | None:
    """When the next order's time is over; None while there is nothing to expire."""
    return market.expiring[0][0] if market.expiring else None


def _expire_orders(
    market: Market, command: cmd.ExpireOrders, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    """Ends at most lifecycle.SWEEP_SIZE orders whose time is over."""
    due = [
        order_id for expires_us, order_id in market.expiring[: lifecycle.SWEEP_SIZE] if expires_us <= now_us
    ]
    for order_id in due:
        yield expired(market, market.orders[order_id])


_DECIDERS: dict[type, Callable[[Market, Any, int, int], Iterator[ev.Event]]] = {
    cmd.PlaceOrder: _place,
    cmd.CancelOrder: _cancel,
    cmd.AmendOrder: _amend,
    cmd.CancelOrders: _cancel_orders,
    cmd.CreateMarket: lifecycle.create,
    cmd.OpenMarket: lifecycle.open_market,
    cmd.SuspendMarket: lifecycle.suspend,
    cmd.ResumeMarket: lifecycle.resume,
    cmd.CloseMarket: lifecycle.close,
    cmd.ResolveMarket: lifecycle.resolve,
    cmd.VoidMarket: lifecycle.void,
    cmd.SweepOrders: lifecycle.sweep_orders,
    cmd.ProposeResolution: resolution.propose,
    cmd.ApproveResolution: resolution.approve,
    cmd.DisputeResolution: resolution.dispute,
    cmd.WithdrawResolution: resolution.withdraw,
    cmd.SettleResolution: resolution.settle,
    cmd.ReverseResolution: resolution.reverse,
    cmd.ExpireOrders: _expire_orders,
}
