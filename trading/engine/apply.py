"""Changes a market's state by one event: the only code that does.

It adds up what the events say and knows no rules, so that replaying a log gives the same state
whatever the rules have become since.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from trading.engine import events as ev
from trading.engine.book import Book
from trading.engine.fees import SHARE_PIPS, fee_numerator
from trading.engine.market import (
    FENCE_STANDS_US,
    Closing,
    Fence,
    Holding,
    Market,
    Order,
    Phase,
    Proposal,
    Reversal,
)
from trading.engine.trades import leg_trade_ids


def apply(market: Market, event: ev.Event, at_us: int) -> None:
    """Moves the market one event forward; `at_us` is the event's recorded time."""
    market.seq += 1
    _APPLIERS[type(event)](market, event, at_us)


def _created(market: Market, event: ev.MarketCreated, at_us: int) -> None:
    market.outcomes = event.outcomes
    market.is_binary = len(event.outcomes) == 2
    market.tick_pips = event.tick
    market.taker_fee_e4 = event.taker_fee_e4
    market.maker_fee_e4 = event.maker_fee_e4
    market.highest_fee_e4 = max(event.taker_fee_e4, event.maker_fee_e4)
    market.opens_us, market.closes_us = event.opens_us, event.closes_us
    market.books = [Book() for _ in range(1 if market.is_binary else len(market.outcomes))]
    market.last_prices = [None] * len(market.outcomes)
    market.status = "draft"


def _opened(market: Market, event: ev.MarketOpened, at_us: int) -> None:
    market.status = "open"


def _suspended(market: Market, event: ev.MarketSuspended, at_us: int) -> None:
    market.status = "suspended"


def _resumed(market: Market, event: ev.MarketResumed, at_us: int) -> None:
    market.status = "open"
    market.phase = None if event.until_us is None else Phase(event.phase, event.until_us)


def _closed(market: Market, event: ev.MarketClosed, at_us: int) -> None:
    if event.reason == "time" and market.proposal is not None:
        # Its time has come under review, which goes on; there is no way back to trading.
        market.proposal = market.proposal._replace(status_before="closed")
    else:
        market.status = "closed"
    market.closing = Closing(event.reason, event.payouts, event.settlement, event.evidence)


def _resolved(market: Market, event: ev.MarketResolved, at_us: int) -> None:
    market.status = "resolved"
    market.proposal, market.is_contested = None, False


def _voided(market: Market, event: ev.MarketVoided, at_us: int) -> None:
    market.status = "voided"
    market.proposal, market.is_contested = None, False


def _proposed(market: Market, event: ev.ResolutionProposed, at_us: int) -> None:
    before = market.status if market.proposal is None else market.proposal.status_before
    market.proposal = Proposal(
        event.resolution, event.payouts, event.evidence, event.by, event.approvals, event.window_us, before,
        approved_by=(), disputed_by=(), until_us=event.until_us,
    )  # fmt: skip
    market.status = "proposed"


def _approved(market: Market, event: ev.ResolutionApproved, at_us: int) -> None:
    proposal = market.proposal
    assert proposal is not None, "what is approved was proposed"
    market.proposal = proposal._replace(
        approved_by=(*proposal.approved_by, event.by), until_us=event.until_us
    )


def _disputed(market: Market, event: ev.ResolutionDisputed, at_us: int) -> None:
    proposal = market.proposal
    assert proposal is not None, "what is disputed was proposed"
    disputed_by = (*proposal.disputed_by, event.account)
    if market.status == "proposed":
        proposal = proposal._replace(approved_by=(), until_us=None)
    market.proposal = proposal._replace(disputed_by=disputed_by)
    market.status, market.is_contested = "disputed", True


def _withdrawn(market: Market, event: ev.ResolutionWithdrawn, at_us: int) -> None:
    market.proposal = None
    market.status = event.status


def _reversal_requested(market: Market, event: ev.ReversalRequested, at_us: int) -> None:
    asked = market.reversal
    if asked is None:
        asked = Reversal(event.approvals, ())
    market.reversal = asked._replace(by=(*asked.by, event.by))


def _reversed(market: Market, event: ev.ResolutionReversed, at_us: int) -> None:
    market.status = "reversed"
    market.closing = market.reversal = None


def _position_opened(market: Market, event: ev.PositionOpened, at_us: int) -> None:
    market.holdings[event.account] = Holding(len(market.outcomes))


# --- Orders ---------------------------------------------------------------------------------------


def _placed(market: Market, event: ev.OrderPlaced, at_us: int) -> None:
    order = Order(event, at_us=at_us, seq=market.seq)
    if market.is_binary:
        _stand_at(order, event.price)
    if event.covered:
        _earmark(market, order, event.covered)
    enter(market, order)
    if order.rests:
        market.side_of(order).add(order)
        market.touched.add((order.book_index, order.is_bid, order.book_price_pips))


def enter(market: Market, order: Order) -> None:
    """Puts an open order into all look-ups but the book; `_forget` takes it out of them."""
    market.orders[order.order_id] = order
    if order.client_order_id is not None:
        market.client_orders[order.account_id, order.client_order_id] = order
    own = market.orders_of.get(order.account_id)
    if own is None:
        own = market.orders_of[order.account_id] = {}
    own[order.order_id] = order
    if order.expires_us is not None:
        insort(market.expiring, (order.expires_us, order.order_id))
    if order.on_suspend == "cancel":
        market.cancelled_when_suspended[order.order_id] = order


def _stand_at(order: Order, price_pips: int) -> None:
    """Where an order of a binary market stands in its one book, which is outcome 0's."""
    order.book_index = 0
    if order.outcome == 0:
        order.book_price_pips = price_pips
    else:
        order.book_price_pips = SHARE_PIPS - price_pips
        order.is_bid = order.side == "sell"


def _earmark(market: Market, order: Order, units: int) -> None:
    """Moves shares between free and held: positive units back the order, negative are released."""
    holding = market.holdings[order.account_id]
    for index in range(len(holding.free)):
        if (index == order.outcome) == (order.side == "sell"):
            holding.free[index] -= units
            holding.held[index] += units


def _matched(market: Market, event: ev.OrderMatched, at_us: int) -> None:
    for leg, trade_id in zip(event.legs, leg_trade_ids(event.trade, len(event.legs)), strict=True):
        _apply_leg(market, leg, trade_id, at_us)
    if len(event.legs) == 2:
        market.volume_pips += event.price * event.quantity
        market.last_prices[event.outcome] = event.price
        if market.is_binary:
            market.last_prices[1] = SHARE_PIPS - event.price
        return
    market.volume_pips += SHARE_PIPS * event.quantity
    for leg in event.legs:
        market.last_prices[leg.outcome] = leg.price


def _apply_leg(market: Market, leg: ev.Leg, trade_id: str, at_us: int) -> None:
    order = market.orders[leg.order]
    order.remaining_shares -= leg.quantity
    order.filled_shares += leg.quantity
    order.covered_shares -= leg.delivered
    order.reserved_pips = leg.reserved
    rate_e4 = market.taker_fee_e4 if leg.role == "taker" else market.maker_fee_e4
    if rate_e4:
        order.fee_numerator += fee_numerator(rate_e4, leg.quantity, leg.price)
        order.fees_pips += leg.fee
        market.fees_pips += leg.fee
    order.cost_pips += leg.price * leg.quantity
    order.fills.append((trade_id, leg.price, leg.quantity, leg.fee))
    order.updated_us = at_us
    order.seq = market.seq
    if order.rests:
        market.side_of(order).reduce(order, leg.quantity)
        market.touched.add((order.book_index, order.is_bid, order.book_price_pips))
    _move_shares(market, leg)
    if order.remaining_shares == 0:
        order.status = "filled"
        _forget(market, order)


def _move_shares(market: Market, leg: ev.Leg) -> None:
    """Adds the leg's shares to the holding: what was bought, minus what was delivered and netted."""
    holding = market.holdings[leg.account]
    free, held = holding.free, holding.held
    delivered, netted = leg.delivered, leg.netted
    by_cash = leg.quantity - delivered
    is_buy = leg.side == "buy"
    for index in range(len(free)):
        if (index == leg.outcome) == is_buy:
            free[index] += by_cash - netted
        else:
            held[index] -= delivered
            free[index] -= netted
    # Sets are counted by shares of outcome 0; every outcome has as many.
    market.sets += (by_cash if (leg.outcome == 0) == is_buy else -delivered) - netted


def _cancelled(market: Market, event: ev.OrderCancelled, at_us: int) -> None:
    _end(market, event, "cancelled", event.reason, at_us)


def _expired(market: Market, event: ev.OrderExpired, at_us: int) -> None:
    _end(market, event, "expired", "expired", at_us)


def _end(
    market: Market, event: ev.OrderCancelled | ev.OrderExpired, status: str, reason: str, at_us: int
) -> None:
    order = market.orders[event.order]
    assert order.remaining_shares == event.quantity, "an end must take all that is left"
    if order.rests:
        market.side_of(order).remove(order)
        market.touched.add((order.book_index, order.is_bid, order.book_price_pips))
    order.remaining_shares = 0
    order.status, order.reason = status, reason
    order.updated_us = at_us
    order.seq = market.seq
    order.covered_shares -= event.released
    order.reserved_pips = 0
    _release(market, order, event.released, event.netted)
    _forget(market, order)


def _amended(market: Market, event: ev.OrderAmended, at_us: int) -> None:
    order = market.orders[event.order]
    side = market.side_of(order)
    market.touched.add((order.book_index, order.is_bid, order.book_price_pips))
    less = order.quantity_shares - event.quantity
    released = order.covered_shares - event.covered
    if event.requeued:
        side.remove(order)
    order.quantity_shares = event.quantity
    order.remaining_shares -= less
    order.covered_shares = event.covered
    order.reserved_pips = event.reserved
    order.updated_us = at_us
    order.seq = market.seq
    if event.requeued:
        order.price_pips = order.book_price_pips = event.price
        if market.is_binary:
            _stand_at(order, event.price)
        order.queued_seq = market.seq
        side.add(order)
        market.touched.add((order.book_index, order.is_bid, order.book_price_pips))
    else:
        side.reduce(order, less)
    _release(market, order, released, event.netted)


def _release(market: Market, order: Order, units: int, netted: int) -> None:
    if units:
        _earmark(market, order, -units)
    if netted:
        free = market.holdings[order.account_id].free
        for index in range(len(free)):
            free[index] -= netted
        market.sets -= netted


def _forget(market: Market, order: Order) -> None:
    """An ended order leaves the engine; the log and the read models keep it."""
    del market.orders[order.order_id]
    if order.client_order_id is not None:
        del market.client_orders[order.account_id, order.client_order_id]
    if order.expires_us is not None:
        del market.expiring[bisect_left(market.expiring, (order.expires_us, order.order_id))]
    if order.on_suspend == "cancel":
        del market.cancelled_when_suspended[order.order_id]
    own = market.orders_of[order.account_id]
    del own[order.order_id]
    if not own:
        del market.orders_of[order.account_id]


def _fenced(market: Market, event: ev.CancelAllFence, at_us: int) -> None:
    """Takes the place of those of the account that stop no more than it does; which have stood long enough go."""
    fence = Fence(event.fence, event.outcome, event.side, event.by, at_us)
    long_ago_us = at_us - FENCE_STANDS_US
    others = [
        earlier
        for earlier in market.fences.pop(event.account, ())
        if earlier.at_us > long_ago_us
        and not (earlier.scope == fence.scope and earlier.order_id <= fence.order_id)
    ]
    market.fences[event.account] = [*others, fence]
    # Whoever fenced last comes last.
    while (oldest := next(iter(market.fences.items())))[1][-1].at_us <= long_ago_us:
        del market.fences[oldest[0]]


def _nothing(market: Market, event: ev.Event, at_us: int) -> None:
    """Refusals are facts of the log that change no state."""


_APPLIERS: dict[type, Callable[[Market, Any, int], None]] = {
    ev.MarketCreated: _created,
    ev.MarketOpened: _opened,
    ev.MarketSuspended: _suspended,
    ev.MarketResumed: _resumed,
    ev.MarketClosed: _closed,
    ev.MarketResolved: _resolved,
    ev.MarketVoided: _voided,
    ev.ResolutionProposed: _proposed,
    ev.ResolutionApproved: _approved,
    ev.ResolutionDisputed: _disputed,
    ev.ResolutionWithdrawn: _withdrawn,
    ev.ReversalRequested: _reversal_requested,
    ev.ResolutionReversed: _reversed,
    ev.OrderPlaced: _placed,
    ev.OrderRejected: _nothing,
    ev.OrderMatched: _matched,
    ev.OrderCancelled: _cancelled,
    ev.OrderExpired: _expired,
    ev.OrderAmended: _amended,
    ev.CancelAllFence: _fenced,
    ev.CommandRefused: _nothing,
    ev.PositionOpened: _position_opened,
}
