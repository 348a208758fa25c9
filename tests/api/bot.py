"""A client of the order API that takes every answer at its word: form, headers and types are checked on the way."""

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx

from tests.running_exchange import RunningExchange, Trader

ORDER_FIELDS = {
    "order_id", "client_order_id", "market_id", "outcome", "side", "type", "price", "quantity", "filled", "remaining",
    "average_price", "fees", "time_in_force", "expires_at", "status",
    "reason", "fills", "created_at", "updated_at", "seq", "as_of",
}  # fmt: skip
FILL_FIELDS = {"trade_id", "price", "quantity", "fee"}
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail", "request_id"}
FURTHER_PROBLEM_FIELDS = {"errors", "order", "order_id", "final"}

MONEY = re.compile(r"(0|[1-9][0-9]*)\.[0-9]{4}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TOKEN = re.compile(r"[0-9]+-[0-9]+(\.[0-9]+-[0-9]+)*")

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the two ways in."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Market:
    """A market made for a test; the first outcome is the one its book is kept in."""

    market_id: str
    slug: str
    outcomes: tuple[str, ...]


class Bot:
    """A trader who speaks to one lane."""

    def __init__(self, lane: Lane, trader: Trader, exchange: RunningExchange) -> None:
        self.trader = trader
        self.lane = lane
        self._exchange = exchange
        self.client = httpx.Client(base_url=f"{lane.url}/api/v1", headers=trader.headers, timeout=30)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Any request; a body is sent as JSON, bytes as they are."""
        if isinstance(body, bytes):
            options = {"content": body, **options}
        elif body is not None:
            options = {"content": json.dumps(body), **options}
        if body is not None:
            options.setdefault("headers", JSON)
        return self.client.request(method, path, **options)

    def ask(self, method: str, path: str, body: Any = None, *, status: int, **options: Any) -> Any:
        """A request that has to be answered with `status`; its checked document."""
        response = self.send(method, path, body, **options)
        assert response.status_code == status, f"{response.status_code}: {response.text}"
        return document(response)

    def order(self, market: Market | str, *, status: int = 201, **wanted: Any) -> dict[str, Any]:
        """Place an order; what is not said is a GTC buy of 10 of the first outcome at 0.5000."""
        name, outcome = (market, "Yes") if isinstance(market, str) else (market.market_id, market.outcomes[0])
        body = {"outcome": outcome, "side": "buy", "price": "0.5000", "quantity": 10, **wanted}
        body = {field: value for field, value in body.items() if value is not LEFT_OUT}
        answer = self.ask("POST", f"/markets/{name}/orders", body, status=status)
        return checked_order(answer) if status in (200, 201) else answer

    def buy(self, market: Market, price: str, quantity: int, **wanted: Any) -> dict[str, Any]:
        return self.order(market, side="buy", price=price, quantity=quantity, **wanted)

    def sell(self, market: Market, price: str, quantity: int, **wanted: Any) -> dict[str, Any]:
        return self.order(market, side="sell", price=price, quantity=quantity, **wanted)

    def look(self, order_id: str, **options: Any) -> dict[str, Any]:
        return checked_order(self.ask("GET", f"/orders/{order_id}", status=200, **options))

    def cancel(self, order_id: str) -> dict[str, Any]:
        return checked_order(self.ask("DELETE", f"/orders/{order_id}", status=200))

    def amend(self, order_id: str, **change: Any) -> dict[str, Any]:
        return checked_order(self.ask("PATCH", f"/orders/{order_id}", change, status=200))

    def batch(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        """One result for each item, in order."""
        answer = self.ask("POST", "/orders/batch", {"orders": list(items)}, status=200)
        assert answer.keys() == {"results"}
        assert len(answer["results"]) == len(items)
        for result in answer["results"]:
            if "order" in result and result["status"] < 400:
                assert result.keys() == {"status", "order"}
                checked_order(result["order"])
            elif result["status"] >= 400:
                assert {"status", "code", "detail"} <= result.keys()
        return answer["results"]

    def money(self) -> tuple[int, int]:
        """(free, reserved) in pips, from the primary."""
        with httpx.Client(base_url=f"{self._exchange.http}/api/v1", headers=self.trader.headers) as client:
            account = document(client.get("/account"))
        return pips(account["cash"]), pips(account["reserved"])

    def close(self) -> None:
        self.client.close()


LEFT_OUT = ...


def pips(text: str) -> int:
    """An amount of the API in pips."""
    assert MONEY.fullmatch(text), f"{text!r} is not money with four decimals"
    return int(text.replace(".", ""))


def document(response: httpx.Response) -> Any:
    """The JSON of an answer, after a look at all that every answer must have."""
    found = json.loads(response.text, parse_float=_no_float, parse_constant=_no_float)
    assert UUID7.fullmatch(response.headers["x-request-id"]) or response.request.headers.get("x-request-id")
    kind = "application/problem+json" if response.status_code >= 400 else "application/json"
    assert response.headers["content-type"].partition(";")[0] == kind
    assert int(response.headers["content-length"]) == len(response.content)
    if response.status_code >= 400:
        check_problem(found, response)
    return found


def check_problem(found: dict[str, Any], response: httpx.Response) -> None:
    assert found.keys() >= PROBLEM_FIELDS
    assert found.keys() <= PROBLEM_FIELDS | FURTHER_PROBLEM_FIELDS
    assert found["status"] == response.status_code
    assert found["type"].endswith(found["code"])
    assert found["request_id"] == response.headers["x-request-id"]
    assert all(isinstance(found[name], str) and found[name] for name in ("title", "code", "detail"))
    for name, texts in found.get("errors", {}).items():
        assert isinstance(name, str)
        assert texts
        assert all(isinstance(text, str) for text in texts)


def checked_order(order: dict[str, Any]) -> dict[str, Any]:
    """The order, if its fields are the documented ones, of the documented types, and add up."""
    assert order.keys() == ORDER_FIELDS
    assert UUID7.fullmatch(order["order_id"])
    assert UUID7.fullmatch(order["market_id"])
    assert TOKEN.fullmatch(order["as_of"])
    for name in ("created_at", "updated_at"):
        assert MOMENT.fullmatch(order[name]), order[name]
    for name in ("quantity", "filled", "remaining", "seq"):
        assert type(order[name]) is int, name
    for fill in order["fills"]:
        assert fill.keys() == FILL_FIELDS
        assert UUID7.fullmatch(fill["trade_id"])
        assert type(fill["quantity"]) is int
    assert sum(fill["quantity"] for fill in order["fills"]) == order["filled"]
    assert sum(pips(fill["fee"]) for fill in order["fills"]) == pips(order["fees"])
    assert 0 < pips(order["price"]) < 10_000
    cost = sum(pips(fill["price"]) * fill["quantity"] for fill in order["fills"])
    if order["filled"]:
        assert abs(pips(order["average_price"]) * order["filled"] - cost) * 2 <= order["filled"]
    else:
        assert order["average_price"] is None
    working = order["quantity"] - order["filled"] if order["status"] == "open" else 0
    assert order["remaining"] == working
    return order


def fills(order: dict[str, Any]) -> list[tuple[str, int, str]]:
    """(price, quantity, fee) of each fill."""
    return [(fill["price"], fill["quantity"], fill["fee"]) for fill in order["fills"]]


def new_client_id() -> str:
    return f"c-{secrets.token_hex(8)}"


def same_but_as_of(order: dict[str, Any]) -> dict[str, Any]:
    """What two looks at an unchanged order must agree on."""
    return {name: value for name, value in order.items() if name != "as_of"}


def _no_float(literal: str) -> NoReturn:
    raise AssertionError(f"an answer holds the number {literal}: prices and money are strings")
