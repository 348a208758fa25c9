"""Form: headers, ids of requests, methods, scopes, the OpenAPI document and the probe of what the exchange is."""

import json
from typing import Any

import httpx
import pytest
from drf_spectacular.validation import validate_schema

from tests.api.bot import MOMENT, Bot, Lane, Market, document
from tests.running_exchange import RunningExchange


def test_request_id_of_the_caller_comes_back(alice: Bot, market: Market) -> None:
    path = f"/markets/{market.market_id}/orders"
    for body, status in (
        ({}, 400),
        ({"outcome": "Yes", "side": "buy", "price": "0.1000", "quantity": 1}, 201),
    ):
        headers = {"Content-Type": "application/json", "X-Request-ID": "my.request:1_2-3"}
        response = alice.send("POST", path, body, headers=headers)
        assert (response.status_code, response.headers["x-request-id"]) == (status, "my.request:1_2-3")
        document(response)


def test_request_id_that_could_do_harm_is_replaced(alice: Bot) -> None:
    for given in ("x" * 65, "<script>", "a b"):
        response = alice.send("GET", "/orders/nonsense", headers={"X-Request-ID": given})
        assert response.headers["x-request-id"] != given
        assert document(response)["code"] == "invalid_request"


def test_every_wrong_field_is_named_at_once(alice: Bot, market: Market) -> None:
    body = {"outcome": "Maybe", "side": "hold", "price": 2, "quantity": 1.5, "colour": "red"}
    problem = alice.ask("POST", f"/markets/{market.market_id}/orders", body, status=400)
    assert problem["code"] == "invalid_request"
    assert problem["errors"].keys() == {"outcome", "side", "price", "quantity", "colour"}


def test_missing_fields_are_named(alice: Bot, market: Market) -> None:
    problem = alice.ask("POST", f"/markets/{market.market_id}/orders", {}, status=400)
    assert problem["errors"].keys() == {"outcome", "side", "price", "quantity"}


def test_refusal_of_credentials_says_which_are_wanted(lane: Lane) -> None:
    response = httpx.delete(f"{lane.url}/api/v1/orders")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert document(response)["code"] == "not_authenticated"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/orders"),
        ("GET", "/orders/batch"),
        ("PUT", "/markets/x/orders"),
        ("POST", "/orders/by-client-id/x"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_known(alice: Bot, method: str, path: str) -> None:
    response = alice.send(method, path)
    assert (response.status_code, document(response)["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"]


def test_unknown_path_is_a_problem_document(alice: Bot) -> None:
    for path in ("/orders/", "/nowhere", "/markets/x/orders/y/z", "/orders/by-client-id/"):
        assert alice.ask("GET", path, status=404)["code"] == "not_found"


def test_path_is_decoded_once(alice: Bot, market: Market) -> None:
    alice.order(market, client_order_id=f"A-{market.market_id}")
    problem = alice.ask("GET", f"/orders/by-client-id/%2541-{market.market_id}", status=400)
    assert problem["code"] == "invalid_request"


def test_key_without_the_scope_may_not_trade(exchange: RunningExchange, alice: Bot, market: Market) -> None:
    made = httpx.post(
        f"{exchange.http}/api/v1/keys",
        json={"name": "reader", "scopes": ["read"]},
        headers=alice.trader.headers,
    )
    order = alice.order(market)
    reader = {"Authorization": f"Bearer {made.json()['key']}", "Content-Type": "application/json"}
    assert alice.send("GET", f"/orders/{order['order_id']}", headers=reader).status_code == 200
    for method, path in (
        ("POST", f"/markets/{market.market_id}/orders"), ("POST", "/orders/batch"), ("DELETE", "/orders"),
        ("DELETE", f"/orders/{order['order_id']}"), ("PATCH", f"/orders/{order['order_id']}"),
        ("DELETE", f"/markets/{market.market_id}/orders"),
    ):  # fmt: skip
        response = alice.send(method, path, {}, headers=reader)
        assert (response.status_code, document(response)["code"]) == (403, "permission_denied")
    assert alice.look(order["order_id"])["status"] == "open"


def test_body_names_at_most_some_of_its_unknown_fields(alice: Bot, market: Market) -> None:
    body = json.dumps({f"field{n}" * 3: n for n in range(20_000)}).encode()
    response = alice.send("POST", f"/markets/{market.market_id}/orders", body)
    assert response.status_code == 400
    assert len(response.content) < 10_000


def test_status_says_what_a_client_should_know(exchange: RunningExchange) -> None:
    status = document(httpx.get(f"{exchange.http}/api/v1/status"))
    assert status.keys() == {"time", "exchange", "limits", "tiers", "fees", "versions"}
    assert MOMENT.fullmatch(status["time"])
    assert status["exchange"] == "open"
    assert status["limits"]["batch_items"] == 500


def test_schema_is_valid_and_names_the_order_paths(exchange: RunningExchange) -> None:
    response = httpx.get(f"{exchange.http}/api/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    described: dict[str, Any] = json.loads(response.text)
    validate_schema(described)
    assert described["openapi"].startswith("3.")
    for path, methods in {
        "/api/v1/markets/{market}/orders": {"post", "delete"},
        "/api/v1/markets/{market}/orders/{order_id}": {"get", "patch", "delete"},
        "/api/v1/markets/{market}/orders/by-client-id/{client_order_id}": {"get", "patch", "delete"},
        "/api/v1/orders": {"delete"},
        "/api/v1/account/heartbeat": {"post"},
        "/api/v1/orders/batch": {"post"},
        "/api/v1/orders/{order_id}": {"get", "patch", "delete"},
        "/api/v1/orders/by-client-id/{client_order_id}": {"get", "patch", "delete"},
        "/api/v1/status": {"get"},
        "/api/v1/markets/{market}/candles": {"get"},
        "/api/v1/markets/{market}/analytics": {"get"},
        "/api/v1/analytics/activity": {"get"},
    }.items():
        assert described["paths"][path].keys() >= methods, path
    order = described["components"]["schemas"]["Order"]["properties"]
    assert {"order_id", "fills", "as_of", "average_price", "expires_at"} <= order.keys()
    assert described["components"]["schemas"]["HeartbeatSchemaRequest"]["required"] == ["timeout_s"]


def test_schema_has_a_page(exchange: RunningExchange) -> None:
    assert httpx.get(f"{exchange.http}/api/docs/").status_code == 200


def test_unknown_parameter_is_refused_and_nothing_is_done(alice: Bot, market: Market) -> None:
    order = alice.order(market, quantity=3)
    everywhere, one = f"/markets/{market.market_id}/orders", f"/orders/{order['order_id']}"
    placing = {"outcome": "Yes", "side": "buy", "price": "0.1000", "quantity": 1}
    for method, path, body, parameter in (
        ("DELETE", "/orders", None, "market_id"), ("DELETE", "/orders", None, "sid"), ("DELETE", "/orders", None, ""),
        ("DELETE", everywhere, None, "outcomes"), ("DELETE", everywhere, None, "min_as_of"),
        ("DELETE", one, None, "side"), ("PATCH", one, {"quantity": 1}, "reduce_by"), ("GET", one, None, "as_of"),
        ("POST", everywhere, placing, "side"), ("POST", "/account/heartbeat", {"timeout_s": 0}, "timeout_s"),
        ("POST", "/orders/batch", {"orders": [{**placing, "market_id": market.market_id}]}, "dry_run"),
    ):  # fmt: skip
        problem = alice.ask(method, path, body, status=400, params={parameter: "buy"})
        assert (problem["code"], problem["errors"].keys()) == ("invalid_request", {parameter})
    assert alice.look(order["order_id"])["remaining"] == 3
    assert alice.ask("DELETE", everywhere, status=200, params={"side": "buy"})["cancelled"] == 1
