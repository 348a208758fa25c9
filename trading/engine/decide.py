"""Judges a command against a market and yields the events that follow.

Each event is yielded on its own and must be applied before the next is asked for: `decide` never
mutates, but reads the state as the events so far have left it. `run` does just that.
"""

from collections.abc import Callable, Iterator
from typing import Any

from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.fees import reserve_pips
from trading.engine.market import MAX_OPEN_ORDERS, Market, Order
from trading.engine.matching import amended, cancelled, fillable_shares, match
from trading.engine.rejection import RejectReason

SWEEP_SIZE = 500


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
    covered = min(
        command.quantity_shares,
        market.coverable(account_id=command.account_id, outcome=command.outcome, side=command.side),
    )
    reserved = reserve_pips(
        side=command.side, price_pips=command.price_pips, units=command.quantity_shares - covered,
        rate_e4=market.highest_fee_e4, paid_numerator=0,
    )  # fmt: skip
    reason = _refuse_place(market, command, reserved, budget_pips, now_us)
    if reason is not None:
        yield ev.OrderRejected(
            command.order_id, command.account_id, command.client_order_id, command.outcome, command.side,
            command.order_type, command.price_pips, command.quantity_shares, command.time_in_force, reason.value,
        )  # fmt: skip
        return
    # From here on the order must succeed.
    yield ev.OrderPlaced(
        command.order_id, command.account_id, command.client_order_id, command.outcome, command.side,
        command.order_type, command.price_pips, command.quantity_shares, command.time_in_force,
        command.self_trade_prevention, covered, reserved, -reserved,
    )  # fmt: skip
    order = market.orders[command.order_id]
    yield from match(market, order, now_us)
    if order.remaining_shares and command.time_in_force != "GTC":
        yield cancelled(market, order, "unfilled")


def _refuse_place(
    market: Market, command: cmd.PlaceOrder, reserved_pips: int, budget_pips: int, now_us: int
) -> RejectReason | None:
    if market.status != "open" or now_us >= market.closes_us:
        return RejectReason.MARKET_NOT_OPEN
    if command.price_pips % market.tick_pips:
        return RejectReason.OFF_TICK
    if market.open_counts.get(command.account_id, 0) >= MAX_OPEN_ORDERS:
        return RejectReason.EXCEEDS_LIMITS
    if command.time_in_force == "FOK" and fillable_shares(market, command) < command.quantity_shares:
        return RejectReason.CANNOT_FILL
    if reserved_pips > budget_pips:
        return RejectReason.EXCEEDS_AVAILABLE_CASH
    return None


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
    if command.quantity_shares is not None:
        total = command.quantity_shares
    else:
        assert command.reduce_by_shares is not None, "an amend says how"
        total = order.quantity_shares - command.reduce_by_shares
    if total > order.quantity_shares:
        yield ev.CommandRefused(command.account_id, "amend", order.order_id, RejectReason.NOT_SUPPORTED.value)
        return
    if total <= order.quantity_shares - order.remaining_shares:
        yield cancelled(market, order, "by_owner")
        return
    yield amended(market, order, total)


def _refused(market: Market, command: cmd.CancelOrder | cmd.AmendOrder, verb: str) -> ev.CommandRefused:
    """Another's open order must look like one that does not exist."""
    foreign = command.order_id is not None and command.order_id in market.orders
    reason = RejectReason.NOT_FOUND if foreign else RejectReason.ORDER_NOT_OPEN
    return ev.CommandRefused(command.account_id, verb, command.order_id, reason.value)


def _cancel_orders(
    market: Market, command: cmd.CancelOrders, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    def chosen(order: Order) -> bool:
        return (
            order.account_id == command.account_id
            and command.outcome in (None, order.outcome)
            and command.side in (None, order.side)
        )

    if command.account_id in market.open_counts:
        for order in [order for order in market.orders.values() if chosen(order)]:
            yield cancelled(market, order, "by_owner")


def _create(market: Market, command: cmd.CreateMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.seq:
        yield ev.CommandRefused(None, "create", None, RejectReason.NOT_SUPPORTED.value)
        return
    yield ev.MarketCreated(
        command.market_id, command.question, command.outcomes, command.category, command.tick_pips,
        command.taker_fee_e4, command.maker_fee_e4, command.opens_us, command.closes_us, now_us,
    )  # fmt: skip
    if command.opens_us is None or command.opens_us <= now_us:
        yield ev.MarketOpened()


def _open(market: Market, command: cmd.OpenMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.status != "draft":
        yield ev.CommandRefused(None, "open", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketOpened()


def _suspend(market: Market, command: cmd.SuspendMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.status != "open":
        yield ev.CommandRefused(None, "suspend", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketSuspended(command.reason)


def _resume(market: Market, command: cmd.ResumeMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.status != "suspended":
        yield ev.CommandRefused(None, "resume", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketResumed()


def _close(market: Market, command: cmd.CloseMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.status not in ("draft", "open", "suspended"):
        yield ev.CommandRefused(None, "close", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketClosed("time", None, None, "")
    yield from _sweep(market)


def _resolve(market: Market, command: cmd.ResolveMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if _is_ending(market):
        yield ev.CommandRefused(None, "resolve", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketClosed("resolution", command.payouts_pips, command.settlement_id, command.evidence)
    yield from _sweep(market)


def _void(market: Market, command: cmd.VoidMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if _is_ending(market):
        yield ev.CommandRefused(None, "void", None, RejectReason.MARKET_NOT_OPEN.value)
        return
    yield ev.MarketClosed("void", None, command.settlement_id, command.evidence)
    yield from _sweep(market)


def _is_ending(market: Market) -> bool:
    """Resolved or voided, or on the way there: it cannot be decided twice."""
    return market.status in ("resolved", "voided") or (
        market.closing is not None and market.closing.reason != "time"
    )


def needs_sweep(market: Market) -> bool:
    """Whether a closed market still has orders to cancel or an end to record."""
    if market.status != "closed" or market.closing is None:
        return False
    return bool(market.orders) or market.closing.reason != "time"


def _sweep_orders(
    market: Market, command: cmd.SweepOrders, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    if needs_sweep(market):
        yield from _sweep(market)


def _sweep(market: Market) -> Iterator[ev.Event]:
    """Cancels at most SWEEP_SIZE orders; the last of them is followed by the market's end."""
    for order in [order for order, _ in zip(market.orders.values(), range(SWEEP_SIZE), strict=False)]:
        yield cancelled(market, order, "market_closed")
    closing = market.closing
    if market.orders or closing is None or closing.settlement is None:
        return
    if closing.payouts is not None:
        yield ev.MarketResolved(
            closing.payouts, closing.settlement, closing.evidence, market.sets, market.fees_pips
        )
    else:
        yield ev.MarketVoided(closing.settlement, closing.evidence, market.sets, market.fees_pips)


_DECIDERS: dict[type, Callable[[Market, Any, int, int], Iterator[ev.Event]]] = {
    cmd.PlaceOrder: _place,
    cmd.CancelOrder: _cancel,
    cmd.AmendOrder: _amend,
    cmd.CancelOrders: _cancel_orders,
    cmd.CreateMarket: _create,
    cmd.OpenMarket: _open,
    cmd.SuspendMarket: _suspend,
    cmd.ResumeMarket: _resume,
    cmd.CloseMarket: _close,
    cmd.ResolveMarket: _resolve,
    cmd.VoidMarket: _void,
    cmd.SweepOrders: _sweep_orders,
}
