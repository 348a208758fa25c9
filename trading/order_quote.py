"""What an order would do if it came now: the matcher itself, run on a copy of the market. Nothing is sent or kept.

The copy is the newest snapshot with the events since, so queues, the caller's shares and what a fill frees are as the
engine has them. Another's order may still come first.

Cash changes by `collateral_freed - cost - fee`, and by what a rest of the order reserves.
"""

import time
from collections.abc import Sequence
from typing import Any

from django.db import connection

from trading.as_of import token_of
from trading.engine.decide import run
from trading.engine.events import Event, Leg, OrderMatched, OrderRejected
from trading.engine.market import Market
from trading.errors import NotFound, Refused
from trading.ids import market_slot, new_id
from trading.market_terms import MarketTerms
from trading.money import SHARE_PIPS, format_pips
from trading.order_request import parse_place
from trading.principal import Principal
from trading.snapshots.past import newest_market


def quote_document(principal: Principal, terms: MarketTerms, body: object) -> dict[str, Any]:
    """The quote of an order request. Blocks.

    Raises InvalidRequest for a malformed order, Refused with the reason for one that the engine would refuse, NotFound,
    Overloaded and NotKept as `newest_market` does.
    """
    account_id, order_id = principal.account_id, new_id()
    command = parse_place(body, terms, account_id=account_id, order_id=order_id, by=principal.actor)
    with connection.cursor() as cursor, newest_market(cursor, terms.market_id) as state:
        market = state.market
        if market.seq == 0:
            raise NotFound("There is no such market.")
        cash_pips = _free_cash_pips(cursor, account_id)
        seq, before = market.seq, shares_of(market, account_id)
        events = run(market, command, budget_pips=cash_pips, now_us=time.time_ns() // 1000)
        after, rest = shares_of(market, account_id), market.orders.get(order_id)
        as_of = token_of([(market_slot(terms.market_id), state.slot_offset + 1)])
    for event in events:
        if isinstance(event, OrderRejected):
            raise Refused(event.reason)
    legs = legs_of(order_id, events)
    return {
        **_fills_json(legs),
        **_risk_json(
            legs,
            gained=[now - was for now, was in zip(after, before, strict=True)],
            reserved_pips=0 if rest is None else rest.reserved_pips,
        ),
        "resting": 0 if rest is None else rest.remaining_shares,
        "seq": seq,
        "as_of": as_of,
    }


def shares_of(market: Market, account_id: str) -> list[int]:
    """What an account holds of each outcome."""
    holding = market.holdings.get(account_id)
    if holding is None:
        return [0] * len(market.outcomes)
    return [free + held for free, held in zip(holding.free, holding.held, strict=True)]


def legs_of(order_id: str, events: Sequence[Event]) -> list[Leg]:
    """The order's own part in each match."""
    matches = [event for event in events if isinstance(event, OrderMatched)]
    return [leg for match in matches for leg in match.legs if leg.order == order_id]


def cost_pips(leg: Leg) -> int:
    """What a fill takes, fee and freed collateral aside: less than nothing where it brings money."""
    by_cash = leg.quantity - leg.delivered
    if leg.side == "buy":
        return leg.price * leg.quantity
    return (SHARE_PIPS - leg.price) * by_cash - leg.price * leg.delivered


def freed_pips(leg: Leg) -> int:
    """$1 for each complete set that a fill dissolves: of shares that the account has then, or has bought against."""
    return SHARE_PIPS * (leg.netted + (leg.delivered if leg.side == "buy" else 0))


def _free_cash_pips(cursor: Any, account_id: str) -> int:
    cursor.execute("SELECT cash_pips FROM cash_account WHERE account_id = %s", [account_id])
    row = cursor.fetchone()
    return row[0] if row is not None else 0


def _fills_json(legs: Sequence[Leg]) -> dict[str, Any]:
    shares, paid_pips = sum(leg.quantity for leg in legs), sum(leg.quantity * leg.price for leg in legs)
    average_pips = (2 * paid_pips + shares) // (2 * shares) if shares else None
    impact_pips = None if average_pips is None else abs(average_pips - legs[0].price)
    return {
        "fills": [
            {"price": format_pips(leg.price), "quantity": leg.quantity, "fee": format_pips(leg.fee)}
            for leg in legs
        ],
        "filled": shares,
        "average_price": None if average_pips is None else format_pips(average_pips),
        "price_impact": None if impact_pips is None else format_pips(impact_pips),
    }


def _risk_json(legs: Sequence[Leg], *, gained: Sequence[int], reserved_pips: int) -> dict[str, str]:
    """`gained` is what the fills change of each outcome's shares; one outcome will be worth $1 a share."""
    cost, fee = sum(map(cost_pips, legs)), sum(leg.fee for leg in legs)
    freed = sum(map(freed_pips, legs))
    worst_pips = freed - cost - fee + SHARE_PIPS * min(gained)
    return {
        "cost": format_pips(cost),
        "fee": format_pips(fee),
        "collateral_freed": format_pips(freed),
        "max_loss": format_pips(max(0, reserved_pips - worst_pips)),
        "payout_if_right": format_pips(SHARE_PIPS * max(0, *gained)),
    }
