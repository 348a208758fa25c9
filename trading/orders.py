"""What a caller may do with orders, the same for both lanes and the sockets.

Each operation has three steps: a request becomes envelopes (pure), the gateway sends them, and
outcomes become answers. An outcome that says what happened is answered at once; a repetition, or an
order that had already ended, is looked up in the read model (`looked_up`, which blocks).
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from trading.engine.commands import AmendOrder, CancelOrder, CancelOrders, PlaceOrder
from trading.engine.rejection import RejectReason
from trading.errors import (
    ExchangeError,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ReadLag,
    Refused,
)
from trading.gateway import accepted, seal
from trading.ids import id_time_ms, new_id
from trading.market_terms import MarketTerms, market_terms
from trading.order_lookup import FoundOrder, catch_up, find_order, market_of_client_id, market_of_order
from trading.order_request import (
    order_reference,
    parse_amend,
    parse_amend_item,
    parse_cancel_item,
    parse_place,
)
from trading.order_view import order_json
from trading.outage import OUTAGES
from trading.principal import Principal
from trading.wire import DEADLINE_US, GRACE_US, Envelope, OrderView, Outcome


class Answer(NamedTuple):
    """An HTTP status and the body that goes with it."""

    status: int
    body: dict[str, Any]


class Prepared(NamedTuple):
    """A command ready to be sent, and its market."""

    envelope: Envelope
    terms: MarketTerms


class Waiting(NamedTuple):
    """An item of a batch, by its place, that the read model has to answer."""

    place: int
    prepared: Prepared
    outcome: Outcome


class Caller(NamedTuple):
    """Who asks, and under which request id."""

    principal: Principal
    request_id: str


def place(caller: Caller, terms: MarketTerms, body: object) -> Envelope:
    """A place command in its envelope. Raises InvalidRequest."""
    account_id, order_id = caller.principal.account_id, new_id()
    command = parse_place(body, terms, account_id=account_id, order_id=order_id, by=caller.principal.actor)
    return sealed(caller, command, order_id, command.client_order_id)


def amend(
    caller: Caller, market_id: str, body: object, *, order_id: str | None, client_order_id: str | None = None
) -> Envelope:
    """An amend command in its envelope."""
    command, client_id = parse_amend(
        body, market_id=market_id, account_id=caller.principal.account_id, order_id=order_id,
        client_order_id=client_order_id,
    )  # fmt: skip
    return sealed(caller, command, new_id(), client_id)


def cancel(
    caller: Caller, market_id: str, *, order_id: str | None, client_order_id: str | None = None
) -> Envelope:
    """A cancel command in its envelope."""
    command = CancelOrder(market_id, caller.principal.account_id, order_id, client_order_id)
    return sealed(caller, command, new_id(), None)


def batch_item(caller: Caller, terms: MarketTerms, item: dict[str, Any]) -> Envelope:
    """One item of a batch whose market is known."""
    op = item.get("op", "place")
    account_id = caller.principal.account_id
    if op == "place":
        return place(caller, terms, {k: v for k, v in item.items() if k not in ("op", "market_id")})
    if op == "cancel":
        cancels = parse_cancel_item(item, market_id=terms.market_id, account_id=account_id)
        return sealed(caller, cancels, new_id(), None)
    if op == "amend":
        amends, client_id = parse_amend_item(item, market_id=terms.market_id, account_id=account_id)
        return sealed(caller, amends, new_id(), client_id)
    raise InvalidRequest("The item is malformed.", errors={"op": ["Must be place, cancel or amend."]})


def market_named(item: object) -> str | None:
    """The market a batch item names; None if it does not."""
    market = item.get("market_id") if type(item) is dict else None
    return market if type(market) is str and 1 <= len(market) <= 200 else None


def prepare_batch(
    caller: Caller, items: Iterable[object], terms_of: Callable[[str], MarketTerms] = market_terms
) -> list[Prepared | ExchangeError]:
    """Each item in its envelope, with its market; or what is wrong with it. Blocks if `terms_of` does."""
    return [_prepare_item(caller, item, terms_of) for item in items]


def _prepare_item(
    caller: Caller, item: object, terms_of: Callable[[str], MarketTerms]
) -> Prepared | ExchangeError:
    try:
        market = market_named(item)
        if market is None or type(item) is not dict:
            raise InvalidRequest("The item is malformed.", errors={"market_id": ["This field is required."]})
        terms = terms_of(market)
        return Prepared(batch_item(caller, terms, item), terms)
    except ExchangeError as error:
        return error


def quick_batch(
    prepared: list[Prepared | ExchangeError], outcomes: Iterable[Outcome | None]
) -> tuple[list[Answer | ExchangeError], list[Waiting]]:
    """An answer for each item, and those whose answer (a NotFound until then) has to be looked up."""
    outcome_of = iter(outcomes)
    answers: list[Answer | ExchangeError] = []
    waiting = []
    for each in prepared:
        if isinstance(each, ExchangeError):
            answers.append(each)
            continue
        outcome = next(outcome_of)
        try:
            answer = quick_answer(each.envelope, outcome, each.terms)
        except ExchangeError as error:
            answers.append(error)
            continue
        if answer is None and outcome is not None:
            waiting.append(Waiting(len(answers), each, outcome))
        answers.append(answer or NotFound("There is no such order."))
    return answers, waiting


def look_up_batch(answers: list[Answer | ExchangeError], waiting: list[Waiting]) -> None:
    """Fills in the answers that the read model knows. Blocks."""
    for place, (envelope, terms), outcome in waiting:
        try:
            answers[place] = looked_up(envelope, outcome, terms)
        except ExchangeError as error:
            answers[place] = error


def sealed(
    caller: Caller,
    command: PlaceOrder | AmendOrder | CancelOrder | CancelOrders,
    command_id: str,
    client_id: str | None,
) -> Envelope:
    """A caller's command in its envelope."""
    return seal(
        command, command_id=command_id, account_id=caller.principal.account_id, actor=caller.principal.actor,
        request_id=caller.request_id, client_id=client_id,
    )  # fmt: skip


def quick_answer(envelope: Envelope, outcome: Outcome | None, terms: MarketTerms) -> Answer | None:
    """The answer, or None where the read model has to be asked. Raises ExchangeErrors for refusals."""
    command = envelope.command
    is_place = isinstance(command, PlaceOrder)
    if outcome is not None and outcome.kind == "refused":
        code, view = outcome.payload
        if view is not None:
            raise Refused(code, order=order_json(OrderView(*view), terms.outcomes, _as_of(outcome)))
        if code == RejectReason.NOT_FOUND:
            raise NotFound("There is no such order.")
        if code == RejectReason.ORDER_NOT_OPEN:
            return None
    accepted(outcome, order_id=envelope.command_id if is_place else getattr(command, "order_id", None))
    assert outcome is not None, "an unknown outcome has raised"
    if outcome.kind == "order":
        view = OrderView(*outcome.payload)
        recent_markets.note(view.order_id, view.market_id)
        return Answer(201 if is_place else 200, order_json(view, terms.outcomes, _as_of(outcome)))
    if outcome.kind == "count":
        return Answer(200, {"cancelled": outcome.payload, "as_of": _as_of(outcome)})
    assert outcome.kind == "repeat", f"an order command ended as {outcome.kind}"
    _, _, is_same, refusal = outcome.payload
    if not is_same:
        raise IdempotencyMismatch()
    if refusal not in (None, RejectReason.ORDER_NOT_OPEN):
        raise NotFound("There is no such order.") if refusal == RejectReason.NOT_FOUND else Refused(refusal)
    return None


def looked_up(envelope: Envelope, outcome: Outcome | None, terms: MarketTerms) -> Answer:
    """The answer for a repetition or for an order that had ended. Blocks on the database.

    Where that cannot be read it is OutcomeUnknown: a 503 would say that the command has had no effect.
    """
    command = envelope.command
    assert outcome is not None, "only what is known can be looked up"
    if isinstance(command, CancelOrders):
        # It has happened, but the reply with its number was lost on the way.
        raise OutcomeUnknown("The orders are cancelled; how many they were is not known.")
    assert isinstance(command, PlaceOrder | CancelOrder | AmendOrder), (
        "only commands about orders are looked up"
    )
    is_repeat = outcome.kind == "repeat"
    is_place = isinstance(command, PlaceOrder)
    order_id = outcome.payload[0] if is_repeat and is_place else command.order_id
    try:
        found = find_order(
            account_id=envelope.account_id,
            order_id=order_id,
            client_order_id=None if is_place else command.client_order_id,
            min_as_of=_as_of(outcome),
            wait=False,
        )
    except (ReadLag, *OUTAGES) as error:
        raise OutcomeUnknown(
            "It was taken in; what became of it cannot be read now.", order_id=order_id
        ) from error
    if found is None or found.view.market_id != terms.market_id:
        raise NotFound("There is no such order.")
    view, body = found.view, order_json(found.view, terms.outcomes, found.as_of)
    if is_place:
        if view.status == "rejected":
            raise Refused(str(view.reason), order=body)
        return Answer(201 if view.order_id == envelope.command_id else 200, body)
    if isinstance(command, AmendOrder) and (not is_repeat or outcome.payload[3] is not None):
        raise Refused(RejectReason.ORDER_NOT_OPEN, "The order has ended.", order=body)
    return Answer(200, body)


def batch_result(answer: Answer | ExchangeError) -> dict[str, Any]:
    """One entry of a batch's `results`: the status of the single call, with the order or the problem."""
    if isinstance(answer, Answer):
        return {"status": answer.status, "order": answer.body}
    result: dict[str, Any] = {"status": answer.status, "code": answer.code, "detail": answer.detail}
    if answer.errors:
        result["errors"] = answer.errors
    return result | answer.members


def _as_of(outcome: Outcome) -> str:
    return f"{outcome.slot}-{outcome.offset}"


# What a query string may add to a look-up by an order's id, and by its owner's client id.
FIND_BY_ID = ("min_as_of",)
FIND_BY_CLIENT_ID = ("min_as_of", "order_id")


class OrderNotFound(NotFound):
    """No such order of this account. `final` says that none can appear any more under this name, by a command that
    was taken in before."""

    def __init__(self, *, final: bool) -> None:
        super().__init__("There is no such order.")
        self.final = final

    @property
    def members(self) -> dict[str, Any]:
        return {"final": self.final}


def find(
    caller: Caller, *, order_id: str | None = None, client_order_id: str | None = None, sent_as: str | None = None,
    min_as_of: str | None = None, market_id: str | None = None,
) -> Answer:  # fmt: skip
    """One order of the caller as it now stands; waits for what is committed to be readable. Blocks.

    A client id alone does not tell when it was last sent: `sent_as`, the order id that the last OutcomeUnknown named,
    does. Raises OrderNotFound, and ReadLag where it cannot be known yet whether there is such an order.
    """
    sent_as = order_reference(sent_as) if sent_as is not None else order_id
    found = _existing(
        caller,
        order_id=order_id,
        client_order_id=client_order_id,
        sent_as=sent_as,
        min_as_of=min_as_of,
        fresh=True,
    )
    if market_id not in (None, found.view.market_id):
        raise OrderNotFound(final=True)
    return Answer(200, order_json(found.view, market_terms(found.view.market_id).outcomes, found.as_of))


def home_of(
    caller: Caller, *, order_id: str | None = None, client_order_id: str | None = None
) -> MarketTerms:
    """The market of an order that was named without it. Blocks on the database; errors as `find`."""
    if order_id is None:
        assert client_order_id is not None, "an order has a name"
        market_id = market_of_client_id(
            account_id=caller.principal.account_id, client_order_id=client_order_id
        )
    else:
        market_id = (
            recent_markets.get(order_id)
            or market_of_order(account_id=caller.principal.account_id, order_id=order_id)
            or _existing(caller, order_id=order_id, sent_as=order_id).view.market_id
        )
    if market_id is None:
        raise OrderNotFound(final=False)
    return market_terms(market_id)


def _existing(
    caller: Caller, *, order_id: str | None, client_order_id: str | None = None, sent_as: str | None,
    min_as_of: str | None = None, fresh: bool = False,
) -> FoundOrder:  # fmt: skip
    look = partial(
        find_order, account_id=caller.principal.account_id, order_id=order_id, client_order_id=client_order_id
    )
    is_late = sent_as is not None and _deadline_passed(sent_as)
    found = look(min_as_of=min_as_of, wait=not is_late, fresh=fresh)
    if found is None and is_late:
        # No command can bring this order any more: once the read side has all of the log, not there is final.
        catch_up()
        found = look(wait=False)
    if found is None:
        raise OrderNotFound(final=is_late)
    return found


def _deadline_passed(order_id: str) -> bool:
    """Whether a command that carried this id would be dropped by now."""
    return time.time_ns() // 1000 > id_time_ms(order_id) * 1000 + DEADLINE_US + GRACE_US


class RecentMarkets:
    """Where orders placed through this process live, so that a cancel by id needs no look-up."""

    def __init__(self, most: int = 100_000) -> None:
        self._markets: dict[str, str] = {}
        self._most = most

    def get(self, order_id: str) -> str | None:
        return self._markets.get(order_id)

    def note(self, order_id: str, market_id: str) -> None:
        if len(self._markets) >= self._most:
            self._markets.clear()
        self._markets[order_id] = market_id


recent_markets = RecentMarkets()
