"""Order entry on one socket: `place`, `amend`, `cancel`, `cancel_all`, `batch` and `heartbeat`, as the HTTP calls.

Frames are worked side by side, so none waits for the answer of another; but what they ask for goes to the gateway in
the order in which they came. Only a frame that names an order without its market may be overtaken: where the order
lives has to be looked up first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any, Protocol

from trading import mass_cancel, orders
from trading.errors import (
    ExchangeError,
    InvalidRequest,
    NotAuthenticated,
    PermissionDenied,
    RateLimited,
)
from trading.ids import new_id
from trading.live.desk import Desk
from trading.market_terms import MarketTerms
from trading.order_request import AMEND_FIELDS, Fields, cost_of_batch, parse_batch, parse_reference
from trading.orders import Answer, Caller
from trading.outage import unexpected
from trading.principal import TRADE, Principal, Throttle

# Which bucket pays for an op. A heartbeat is a promise to cancel, and must no more be refused than a cancel.
BUCKETS = {
    "place": "order", "amend": "order", "batch": "order",
    "cancel": "cancel", "cancel_all": "cancel", "heartbeat": "cancel",
}  # fmt: skip
# Of each bucket's frames, on one socket: more than 50 a second for the five seconds that an outcome may take.
MAX_IN_FLIGHT = 256


class Answers(Protocol):
    """The socket: where answers go; it charges for frames that nobody else has paid for."""

    def succeed(self, frame_id: int | str, **members: Any) -> None: ...
    def fail(self, frame_id: int | str | None, error: ExchangeError, request_id: str) -> None: ...
    def charge(self) -> None: ...


class Turns:
    """Lets frames through in the order in which they came. One that has left the queue keeps nobody waiting."""

    def __init__(self) -> None:
        self._numbers = count()
        self._queue: dict[int, asyncio.Future[None]] = {}

    def join(self) -> int:
        turn = next(self._numbers)
        self._queue[turn] = asyncio.get_running_loop().create_future()
        self._call_first()
        return turn

    async def come(self, turn: int) -> None:
        """Returns when all that came before have left; at once for one that has left itself."""
        if turn in self._queue:
            await self._queue[turn]

    def leave(self, turn: int) -> None:
        self._queue.pop(turn, None)
        self._call_first()

    def _call_first(self) -> None:
        first = next(iter(self._queue.values()), None)
        if first is not None and not first.done():
            first.set_result(None)


class OrderFrames:
    """The orders of one socket on their way."""

    def __init__(self, *, desk: Desk, throttle: Throttle | None, ip: str | None, answers: Answers) -> None:
        self._desk = desk
        self._throttle = throttle
        self._ip = ip
        self._answers = answers
        self._turns = Turns()
        self._in_flight = {"order": 0, "cancel": 0}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ops: dict[str, Callable[[Caller, dict[str, Any], int], Awaitable[Answer]]] = {
            "place": self._place,
            "amend": self._amend,
            "cancel": self._cancel,
            "cancel_all": self._cancel_all,
            "batch": self._batch,
            "heartbeat": self._heartbeat,
        }

    def start(
        self, frame_id: int | str, op: str, request: dict[str, Any], who: Coroutine[Any, Any, Principal]
    ) -> None:
        """Begin what a frame asks for; it is answered when it is done. `who` finds the caller as of now."""
        bucket = BUCKETS[op]
        if self._in_flight[bucket] >= MAX_IN_FLIGHT:
            who.close()
            self._answers.charge()
            raise RateLimited(f"At most {MAX_IN_FLIGHT} such frames of a socket can be under way at once.")
        self._in_flight[bucket] += 1
        task = asyncio.create_task(self._work(frame_id, op, request, who, self._turns.join()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Returns when everything that was begun has its outcome: a matter of seconds, as commands have deadlines."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(
        self,
        frame_id: int | str,
        op: str,
        request: dict[str, Any],
        who: Coroutine[Any, Any, Principal],
        turn: int,
    ) -> None:
        request_id = new_id()
        try:
            caller = Caller(await who, request_id)
            caller.principal.require(TRADE)
            await self._pay(op, request, caller.principal)
            answer = await self._ops[op](caller, request, turn)
            self._answers.succeed(frame_id, status=answer.status, body=answer.body)
        except ExchangeError as error:
            if isinstance(error, RateLimited | NotAuthenticated | PermissionDenied):
                self._answers.charge()
            self._answers.fail(frame_id, error, request_id)
        except Exception as error:
            self._answers.fail(frame_id, unexpected(error, f"the order frame {request_id}"), request_id)
        finally:
            self._turns.leave(turn)
            self._in_flight[BUCKETS[op]] -= 1

    async def _pay(self, op: str, request: dict[str, Any], principal: Principal) -> None:
        if self._throttle is None:
            return
        cost = cost_of_batch(request) if op == "batch" else 1
        allowance = await self._throttle.take(BUCKETS[op], principal=principal, ip=self._ip, cost=cost)
        if not allowance.allowed:
            raise RateLimited(retry_after_s=allowance.retry_after_s)

    # Ops ----------------------------------------------------------------------------------------
    # Ids are made in a frame's turn: a cancel-all stops what has an older id, which is what came before it.

    async def _sent(self, turn: int, sending: Awaitable[Answer]) -> Answer:
        # The desk's coroutine reaches the gateway's queue before it waits for anything, and so before the next frame,
        # which is only called here, gets to run.
        self._turns.leave(turn)
        return await sending

    async def _place(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        terms = await self._desk.terms(_required_market(request))
        await self._turns.come(turn)
        return await self._sent(turn, self._desk.perform(orders.place(caller, terms, request), terms))

    async def _amend(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        market, named = _order_named(request, AMEND_FIELDS)
        terms = await self._home(caller, market, named, turn)
        return await self._sent(
            turn, self._desk.perform(orders.amend(caller, terms.market_id, request, **named), terms)
        )

    async def _cancel(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        market, named = _order_named(request, frozenset())
        terms = await self._home(caller, market, named, turn)
        return await self._sent(
            turn, self._desk.perform(orders.cancel(caller, terms.market_id, **named), terms)
        )

    async def _home(
        self, caller: Caller, market: str | None, named: dict[str, str | None], turn: int
    ) -> MarketTerms:
        """The market of a named order, when it is this frame's turn."""
        terms = (
            await self._desk.terms(market) if market is not None else self._desk.known_home(named["order_id"])
        )
        if terms is None:
            self._turns.leave(turn)
            return await self._desk.home(caller, named)
        await self._turns.come(turn)
        return terms

    async def _cancel_all(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        fields = Fields(request, frozenset({"market_id", "outcome", "side"}))
        for name in ("outcome", "side"):
            if fields.has(name) and type(request[name]) is not str:
                fields.fail(name, "Must be a string.")
        fields.done()
        market, outcome, side = _market(request), request.get("outcome"), request.get("side")
        if market is not None:
            terms = await self._desk.terms(market)
            await self._turns.come(turn)
            envelope = mass_cancel.cancel_all(caller, terms, outcome=outcome, side=side)
            return await self._sent(turn, self._desk.perform(envelope, terms))
        await self._turns.come(turn)
        # Orders of later frames wait until the cancels are sent: they are not meant.
        prepared = await self._desk.cancels_everywhere(caller, outcome=outcome, side=side, fence=new_id())
        return await self._sent(turn, self._desk.cancel_many(prepared))

    async def _batch(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        items = parse_batch(request)
        find = await self._desk.markets_of(items)
        await self._turns.come(turn)
        return await self._sent(turn, self._desk.batch(orders.prepare_batch(caller, items, find)))

    async def _heartbeat(self, caller: Caller, request: dict[str, Any], turn: int) -> Answer:
        return await self._sent(turn, self._desk.heartbeat(caller, request))


def _market(request: dict[str, Any]) -> str | None:
    """The market that a frame names, taken out of it; None if it names none."""
    market = request.pop("market_id", None)
    if market is None or (type(market) is str and 1 <= len(market) <= 200):
        return market
    raise InvalidRequest(errors={"market_id": ["Must be a market's id or slug."]})


def _required_market(request: dict[str, Any]) -> str:
    market = _market(request)
    if market is None:
        raise InvalidRequest(errors={"market_id": ["This field is required."]})
    return market


def _order_named(
    request: dict[str, Any], further: frozenset[str]
) -> tuple[str | None, dict[str, str | None]]:
    """The market, if it is named, and the order that a frame is about, both taken out of it."""
    market = _market(request)
    fields = Fields(request, further | {"order_id", "client_order_id"})
    order_id, client_order_id = parse_reference(fields)
    fields.done()
    for name in ("order_id", "client_order_id"):
        request.pop(name, None)
    return market, {"order_id": order_id, "client_order_id": client_order_id}
