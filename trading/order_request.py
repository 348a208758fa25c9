"""Order requests of the API as commands: the one reading of their shape, for both lanes and the sockets.

Shape is judged here and answers 400 with every wrong field; what needs the market's state (tick,
cash, status) or the time is the engine's to refuse.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import structs

from trading.engine.commands import AmendOrder, CancelOrder, PlaceOrder
from trading.engine.fees import MAX_QUANTITY_SHARES
from trading.engine.market import RESTING
from trading.errors import InvalidRequest
from trading.eventlog.codec import to_us
from trading.ids import is_id
from trading.moments import EXAMPLE, read_moment
from trading.money import SHARE_PIPS, format_pips, parse_pips
from trading.strict_json import JsonNumber

MAX_COST_PIPS = 2 * MAX_QUANTITY_SHARES * SHARE_PIPS  # more than any order can cost, fee included
MAX_BATCH_ITEMS = 500
ITEMS_A_TOKEN = 50
# A hostile body may hold a hundred thousand unknown fields; naming a few is enough.
MAX_UNKNOWN_NAMED = 20

PLACE_FIELDS = frozenset({
    "outcome", "side", "type", "price", "quantity", "time_in_force", "expires_at", "post_only", "reduce_only",
    "self_trade_prevention", "client_order_id", "valid_until", "on_suspend", "max_cost",
})  # fmt: skip
AMEND_FIELDS = frozenset({"price", "quantity", "reduce_by", "client_id"})
CHOICES = {
    "side": {"buy", "sell"},
    "type": {"limit", "market"},
    "time_in_force": {"GTC", "IOC", "FOK", "GTD"},
    "self_trade_prevention": {"cancel_taker", "cancel_maker", "cancel_both"},
    "on_suspend": {"keep", "cancel"},
}
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class Terms(Protocol):
    """What must be known of a market to read an order for it."""

    @property
    def market_id(self) -> str: ...
    @property
    def outcomes(self) -> Sequence[str]: ...
    @property
    def tick_pips(self) -> int: ...


class Fields:
    """A JSON object being read: collects what is wrong, field by field, and raises it all at once."""

    def __init__(self, body: object, allowed: frozenset[str]) -> None:
        if type(body) is not dict:
            raise InvalidRequest("The body must be a JSON object.")
        self.body: Mapping[str, Any] = body
        self.errors: dict[str, list[str]] = {}
        unknown = [name for name in body if name not in allowed]
        for name in unknown[:MAX_UNKNOWN_NAMED]:
            self.fail(name[:64], "There is no such field.")

    def fail(self, name: str, text: str) -> None:
        self.errors.setdefault(name, []).append(text)

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def choice(self, name: str, default: str | None = None) -> str:
        """One of CHOICES, or the default; a missing field without one is an error."""
        value = self.body.get(name, default)
        if value is None:
            self.fail(name, "This field is required.")
        elif type(value) is not str or value not in CHOICES[name]:
            self.fail(name, f"Must be one of {', '.join(sorted(CHOICES[name]))}.")
        else:
            return value
        return ""

    def boolean(self, name: str) -> bool:
        value = self.body.get(name, False)
        if type(value) is not bool:
            self.fail(name, "Must be true or false.")
            return False
        return value

    def shares(self, name: str, most: int = MAX_QUANTITY_SHARES) -> int:
        """A whole number of shares from 1 to `most`."""
        value = self.body.get(name)
        if type(value) is not int or not 1 <= value <= most:
            self.fail(name, f"Must be a whole number from 1 to {most}.")
            return 0
        return value

    def price(self, name: str) -> int:
        """A price in pips, above 0 and below $1."""
        pips = amount_pips(self.body.get(name))
        if pips is None or not 0 < pips < SHARE_PIPS:
            self.fail(name, "Must be a price from 0.0001 to 0.9999 with at most four decimals.")
            return 0
        return pips

    def amount(self, name: str, most_pips: int) -> int:
        """An amount of money in pips, above 0."""
        pips = amount_pips(self.body.get(name))
        if pips is None or not 0 < pips <= most_pips:
            self.fail(
                name, f"Must be an amount from 0.0001 to {format_pips(most_pips)} with at most four decimals."
            )
            return 0
        return pips

    def instant_us(self, name: str) -> int | None:
        """A time in microseconds since the epoch, if one is given."""
        value = self.body.get(name)
        if value is None:
            return None
        try:
            at_us = to_us(read_moment(value))
        except ValueError:
            at_us = 0
        if at_us <= 0:
            self.fail(name, f"Must be a time such as {EXAMPLE}.")
        return at_us

    def text_id(self, name: str, is_fit: Callable[[str], object], wanted: str) -> str | None:
        value = self.body.get(name)
        if value is None:
            return None
        if type(value) is not str or not is_fit(value):
            self.fail(name, wanted)
            return None
        return value

    def client_id(self, name: str) -> str | None:
        return self.text_id(
            name, _CLIENT_ID.fullmatch, "Must be 1 to 64 of the characters A-Z a-z 0-9 _ . : -"
        )

    def done(self) -> None:
        if self.errors:
            raise InvalidRequest("The request is malformed.", errors=self.errors)


def amount_pips(value: object) -> int | None:
    """Pips of a decimal string or an exact JSON number; None for everything else."""
    if type(value) is int:
        value = str(value)
    elif type(value) is not str and not isinstance(value, JsonNumber):
        return None
    try:
        return parse_pips(str(value))
    except ValueError:
        return None


def parse_place(body: object, terms: Terms, *, account_id: str, order_id: str, by: str) -> PlaceOrder:
    """An order request. Raises InvalidRequest with its errors."""
    fields = Fields(body, PLACE_FIELDS)
    outcome = fields.body.get("outcome")
    if type(outcome) is not str or outcome not in terms.outcomes:
        fields.fail("outcome", f"Must be one of the market's outcomes: {', '.join(terms.outcomes)}.")
    side = fields.choice("side")
    order_type = fields.choice("type", "limit")
    is_market = order_type == "market"
    tif = fields.choice("time_in_force", "IOC" if is_market else "GTC")
    max_cost = fields.amount("max_cost", MAX_COST_PIPS) if fields.has("max_cost") else None
    if is_market and not fields.has("price"):
        # No worst price given: whatever the book offers.
        price = SHARE_PIPS - terms.tick_pips if side == "buy" else terms.tick_pips
    else:
        price = fields.price("price")
    quantity = (
        fields.shares("quantity") if fields.has("quantity") or max_cost is None else MAX_QUANTITY_SHARES
    )
    command = PlaceOrder(
        terms.market_id, account_id, order_id, 0, side, order_type, price, quantity, tif,
        self_trade_prevention=fields.choice("self_trade_prevention", "cancel_taker"),
        client_order_id=fields.client_id("client_order_id"), by=by,
        post_only=fields.boolean("post_only"), reduce_only=fields.boolean("reduce_only"),
        on_suspend=fields.choice("on_suspend", "keep"), expires_us=fields.instant_us("expires_at"),
        valid_until_us=fields.instant_us("valid_until"), max_cost_pips=max_cost,
    )  # fmt: skip
    _check_together(fields, command)
    fields.done()
    return structs.replace(command, outcome=list(terms.outcomes).index(str(outcome)))


def _check_together(fields: Fields, command: PlaceOrder) -> None:
    """What may not be asked for at once."""
    rests = command.time_in_force in RESTING
    if command.order_type == "market" and rests:
        fields.fail("time_in_force", "A market order is IOC or FOK.")
    if command.post_only and not rests:
        fields.fail("post_only", "A post-only order rests: it is GTC or GTD.")
    if (command.time_in_force == "GTD") != fields.has("expires_at"):
        fields.fail("expires_at", "A GTD order, and no other, says when it expires.")
    if command.max_cost_pips is not None and (
        (command.order_type, command.side, command.time_in_force) != ("market", "buy", "IOC")
    ):
        fields.fail("max_cost", "Only a market order to buy, which is IOC, can have a highest cost.")


def parse_amend(
    body: object, *, market_id: str, account_id: str, order_id: str | None, client_order_id: str | None = None
) -> tuple[AmendOrder, str | None]:
    """An amendment and its own `client_id`, under which a repetition is recognised."""
    fields = Fields(body, AMEND_FIELDS)
    quantity = fields.shares("quantity") if fields.has("quantity") else None
    reduce_by = fields.shares("reduce_by") if fields.has("reduce_by") else None
    price = fields.price("price") if fields.has("price") else None
    if quantity is reduce_by is price is None:
        fields.fail("quantity", "Say what to change: price, quantity or reduce_by.")
    if quantity is not None and reduce_by is not None:
        fields.fail("reduce_by", "Give quantity or reduce_by, not both.")
    client_id = fields.client_id("client_id")
    fields.done()
    return AmendOrder(market_id, account_id, order_id, client_order_id, quantity, reduce_by, price), client_id


def parse_reference(fields: Fields) -> tuple[str | None, str | None]:
    """(order_id, client_order_id) of a batch item that names an order by one of them."""
    order_id = fields.text_id("order_id", is_id, "Must be an order's id.")
    client_order_id = fields.client_id("client_order_id")
    if (order_id is None) == (client_order_id is None) and not fields.errors:
        fields.fail("order_id", "Name the order by order_id or by client_order_id.")
    return order_id, client_order_id


def parse_cancel_item(item: Mapping[str, Any], *, market_id: str, account_id: str) -> CancelOrder:
    """A batch item of op `cancel`."""
    fields = Fields(dict(item), frozenset({"op", "market_id", "order_id", "client_order_id"}))
    order_id, client_order_id = parse_reference(fields)
    fields.done()
    return CancelOrder(market_id, account_id, order_id, client_order_id)


def parse_amend_item(
    item: Mapping[str, Any], *, market_id: str, account_id: str
) -> tuple[AmendOrder, str | None]:
    """A batch item of op `amend`."""
    fields = Fields(dict(item), AMEND_FIELDS | {"op", "market_id", "order_id", "client_order_id"})
    order_id, client_order_id = parse_reference(fields)
    fields.done()
    rest = {name: value for name, value in item.items() if name in AMEND_FIELDS}
    return parse_amend(
        rest, market_id=market_id, account_id=account_id, order_id=order_id, client_order_id=client_order_id
    )


def parse_batch(body: object) -> list[dict[str, Any]]:
    """The items of a batch; each must be an object that names a market, the rest is judged one by one."""
    fields = Fields(body, frozenset({"orders"}))
    items = fields.body.get("orders")
    if type(items) is not list or not 1 <= len(items) <= MAX_BATCH_ITEMS:
        fields.fail("orders", f"Must be a list of 1 to {MAX_BATCH_ITEMS} items.")
        fields.done()
    fields.done()
    assert items is not None, "the list was checked"
    return list(items)


def cost_of_batch(body: object) -> int:
    """The tokens that a batch takes from the order bucket: one for every 50 items begun. Judged before its shape is."""
    items = body.get("orders") if type(body) is dict else None
    return max(1, -(-len(items) // ITEMS_A_TOKEN)) if type(items) is list else 1


def refuse_unknown_parameters(given: Iterable[str], known: Collection[str]) -> None:
    """Raises InvalidRequest for a query parameter that is not among `known`: misspelt, it would choose too much."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidRequest(
            errors={name[:64]: ["This parameter is not known."] for name in unknown[:MAX_UNKNOWN_NAMED]}
        )


def order_reference(text: str) -> str:
    """An order id out of a path. Raises InvalidRequest for what cannot be one."""
    if not is_id(text):
        raise InvalidRequest("An order id is a UUID.", errors={"order_id": ["Must be an order's id."]})
    return text


def client_reference(text: str) -> str:
    """A client order id out of a path."""
    if not _CLIENT_ID.fullmatch(text):
        raise InvalidRequest(
            "A client order id is 1 to 64 of the characters A-Z a-z 0-9 _ . : -",
            errors={"client_order_id": ["Malformed."]},
        )
    return text
