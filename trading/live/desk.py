"""The desk of the live process: what the fast lane and the sockets do with orders, on its event loop.

What can be sealed without I/O is (trading.orders); here markets are found, commands sent and answers looked up,
each blocking query in a thread.
"""

from collections.abc import Callable, Iterable

from trading import dead_man, mass_cancel, orders
from trading.errors import ExchangeError, NotFound
from trading.gateway import Gateway
from trading.live.blocking import in_thread
from trading.market_terms import MarketTerms, cached_terms, market_terms
from trading.orders import Answer, Caller, Prepared
from trading.principal import Principal
from trading.wire import Envelope

# What became of a cancel-all that need not be tried again: there are no such orders any more.
_SETTLED = {"count", "missing", "repeat"}


class Desk:
    """Operations on orders over a started gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    # Markets ------------------------------------------------------------------------------------

    @staticmethod
    async def terms(reference: str) -> MarketTerms:
        """A market by id or slug. Raises NotFound."""
        known = cached_terms(reference)
        return known if known is not None else await in_thread(lambda: market_terms(reference))

    @staticmethod
    def known_home(order_id: str | None) -> MarketTerms | None:
        """The market of an order that was placed through this process not long ago; never any I/O."""
        market_id = orders.recent_markets.get(order_id) if order_id is not None else None
        return cached_terms(market_id) if market_id is not None else None

    @staticmethod
    async def home(caller: Caller, named: dict[str, str | None]) -> MarketTerms:
        """The market of an order that is named without it, by `order_id` or `client_order_id`."""
        return await in_thread(lambda: orders.home_of(caller, **named))

    @staticmethod
    async def markets_of(items: Iterable[object]) -> Callable[[str], MarketTerms]:
        """What finds the markets that a batch's items name; without I/O from now on. It raises NotFound."""
        named = {reference for item in items if (reference := orders.market_named(item)) is not None}
        found = {reference: terms for reference in named if (terms := cached_terms(reference)) is not None}
        if unknown := named - found.keys():
            found |= await in_thread(lambda: _found(unknown))

        def find(reference: str) -> MarketTerms:
            if reference not in found:
                raise NotFound("There is no such market.")
            return found[reference]

        return find

    @staticmethod
    async def cancels_everywhere(
        caller: Caller, *, outcome: str | None, side: str | None, fence: str
    ) -> list[Prepared]:
        """What cancels the caller's orders in every market; those sent before `fence` was made are stopped already."""
        return await in_thread(
            lambda: mass_cancel.cancel_everywhere(caller, outcome=outcome, side=side, fence=fence)
        )

    # Commands -----------------------------------------------------------------------------------
    # These reach the gateway's queue before they wait for anything, so what is called first is sent first.

    async def perform(self, envelope: Envelope, terms: MarketTerms) -> Answer:
        """Sends one command and answers it."""
        (outcome,) = await self._gateway.send([envelope])
        answer = orders.quick_answer(envelope, outcome, terms)
        if answer is not None:
            return answer
        return await in_thread(lambda: orders.looked_up(envelope, outcome, terms))

    async def batch(self, prepared: list[Prepared | ExchangeError]) -> Answer:
        """Sends the items that are well-formed; one result for each item, in order."""
        envelopes = [each.envelope for each in prepared if not isinstance(each, ExchangeError)]
        outcomes = await self._gateway.send(envelopes) if envelopes else []
        answers, waiting = orders.quick_batch(prepared, outcomes)
        if waiting:
            await in_thread(lambda: orders.look_up_batch(answers, waiting))
        return Answer(200, {"results": [orders.batch_result(answer) for answer in answers]})

    async def cancel_many(self, prepared: list[Prepared]) -> Answer:
        """Sends cancel-alls of several markets; the sum of what they cancelled."""
        outcomes = await self._gateway.send([each.envelope for each in prepared]) if prepared else []
        return mass_cancel.total_cancelled(prepared, outcomes)

    # Others -------------------------------------------------------------------------------------

    async def cancel_of_the_gone(self, principal: Principal) -> bool:
        """Cancels the orders of a client whose connection has ended; whether that is known to be done."""
        by = dead_man.placer(principal)
        envelopes = await in_thread(lambda: mass_cancel.cancel_of_the_gone(principal, by=by))
        outcomes = await self._gateway.send(envelopes) if envelopes else []
        return all(outcome is not None and outcome.kind in _SETTLED for outcome in outcomes)

    async def heartbeat(self, caller: Caller, body: object) -> Answer:
        """The dead-man switch is set, or put away."""
        return Answer(200, await in_thread(lambda: dead_man.heartbeat(caller.principal, body)))


def _found(references: Iterable[str]) -> dict[str, MarketTerms]:
    found = {}
    for reference in references:
        try:
            found[reference] = market_terms(reference)
        except NotFound:
            continue
    return found
