"""Cancelling many orders at once: of a market, of an account everywhere, of a client who is gone.

Each is one command a market, with a fence: an id below which orders that arrive later are refused.
"""

from collections.abc import Mapping
from typing import Any

from trading.engine.commands import CancelOrders
from trading.errors import ExchangeError, InvalidRequest, OutcomeUnknown
from trading.ids import new_id
from trading.market_terms import MarketTerms, market_terms
from trading.order_lookup import open_order_markets, raise_fence
from trading.order_request import CHOICES
from trading.orders import Answer, Caller, Prepared, looked_up, quick_answer, sealed
from trading.principal import Principal
from trading.wire import Envelope, Outcome

# What a cancel-all may be limited to.
CHOSEN_BY = ("outcome", "side")


def chosen_by(query: Mapping[str, str]) -> dict[str, Any]:
    """What a query string limits a cancel-all to, None where it does not."""
    return {name: query.get(name) for name in CHOSEN_BY}


def cancel_all(
    caller: Caller, terms: MarketTerms, *, outcome: str | None, side: str | None, fence: str | None = None
) -> Envelope:
    """Cancels every open order of the caller in a market, of one outcome or side if given.

    Those too that were sent before and are still on their way: with an id below `fence`, which is the command's own
    if none is given.
    """
    if outcome is not None and outcome not in terms.outcomes:
        raise InvalidRequest("There is no such outcome.", errors={"outcome": ["Unknown outcome."]})
    _check_side(side)
    index = None if outcome is None else terms.outcomes.index(outcome)
    command_id = new_id()
    command = CancelOrders(
        terms.market_id, caller.principal.account_id, index, side, fence=fence or command_id
    )
    return sealed(caller, command, command_id, None)


def cancel_everywhere(caller: Caller, *, outcome: str | None, side: str | None, fence: str) -> list[Prepared]:
    """The same in each market where the caller has open orders, and which has that outcome. Blocks.

    `fence` is a fresh id: orders of the caller with an older one are stopped wherever they are. Those of a batch
    under way are reached by a command to their market; those not yet in one are refused for the account's own fence.
    """
    if outcome == "":
        raise InvalidRequest("An outcome has a name.", errors={"outcome": ["Must not be empty."]})
    _check_side(side)
    account_id = caller.principal.account_id
    if outcome is None and side is None:
        raise_fence(account_id=account_id, fence=fence)
    every = [market_terms(market_id) for market_id in open_order_markets(account_id=account_id)]
    return [
        Prepared(cancel_all(caller, terms, outcome=outcome, side=side, fence=fence), terms)
        for terms in every
        if outcome is None or outcome in terms.outcomes
    ]


def cancel_of_the_gone(principal: Principal, *, by: str | None) -> list[Envelope]:
    """Cancels the orders of a client whose connection has ended, of one placer if given, in each market that may
    have some. Blocks."""
    account_id = principal.account_id
    envelopes = []
    for market_id in open_order_markets(account_id=account_id):
        command_id = new_id()
        command = CancelOrders(
            market_id, account_id, None, None, by=by, reason="disconnected", fence=command_id
        )
        envelopes.append(sealed(Caller(principal, command_id), command, command_id, None))
    return envelopes


def _check_side(side: str | None) -> None:
    if side is not None and side not in CHOICES["side"]:
        raise InvalidRequest("A side is buy or sell.", errors={"side": ["Must be buy or sell."]})


def total_cancelled(sent: list[Prepared], outcomes: list[Outcome | None]) -> Answer:
    """The sum over the markets of a cancel-all.

    Where only some of them cancelled it is OutcomeUnknown, which names the others: a 503 would say that nothing was
    done, a 2xx that all was. Where all of them said no, that is the first one's error.
    """
    total, positions, failed = 0, [], dict[str, ExchangeError]()
    for (envelope, terms), outcome in zip(sent, outcomes, strict=True):
        try:
            answer = quick_answer(envelope, outcome, terms) or looked_up(envelope, outcome, terms)
        except ExchangeError as error:
            failed[terms.market_id] = error
            continue
        total += answer.body["cancelled"]
        positions.append(answer.body["as_of"])
    if not failed:
        return Answer(200, {"cancelled": total, "as_of": ".".join(positions)})
    if len(failed) == len(sent) and not any(isinstance(error, OutcomeUnknown) for error in failed.values()):
        raise next(iter(failed.values()))
    raise OutcomeUnknown(
        f"{total} orders are cancelled; those in {len(failed)} of {len(sent)} markets may not be: ask again.",
        errors={market_id: [error.detail] for market_id, error in failed.items()},
    )
