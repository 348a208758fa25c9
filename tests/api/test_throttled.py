"""The fast lane asks the throttle once a request, in the right class, and says what is left of the bucket."""

import json
from typing import Any

import pytest

from trading.errors import NotAuthenticated
from trading.live.desk import Desk
from trading.live.fastlane import FastLane
from trading.principal import READ, TRADE, Allowance, Principal
from trading.wire import Envelope

ORDER_ID = "016f5e66-e800-7000-8000-000000000001"
CALLER = Principal(ORDER_ID, 1, "k", frozenset({READ, TRADE}), is_staff=False)


class OneKey:
    """An Authenticator that knows one caller."""

    async def authenticate(self, authorization: bytes | None, ip: str | None) -> Principal | None:
        if authorization is None:
            return None
        if authorization != b"Bearer pm_good":
            raise NotAuthenticated()
        return CALLER


class Empty:
    """A Throttle without a token left; remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def take(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        assert principal == CALLER
        self.asked.append((class_name, cost))
        return Allowance(allowed=False, remaining=0, limit=10, retry_after_s=3)


class NoGateway:
    """Nothing may get this far."""

    async def send(self, envelopes: list[Envelope]) -> list[Any]:
        raise AssertionError("a throttled request was sent")


async def ask(
    throttle: Empty, method: str, path: str, body: Any = None, key: str = "pm_good"
) -> tuple[int, dict[str, str], Any]:
    """One request to the application itself: status, headers, document."""
    application = FastLane(
        authenticator=OneKey(), throttle=throttle, desk=Desk(NoGateway()),  # type: ignore[arg-type]
        client_ip=lambda peer, forwarded: peer, health=dict,
    )  # fmt: skip
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {key}".encode())]
    scope = {
        "type": "http", "method": method, "path": f"/api/v1{path}", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    start, content = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], found, json.loads(content["body"])


@pytest.mark.parametrize(
    ("method", "path", "body", "asked"),
    [
        ("POST", "/markets/m/orders", {}, ("order", 1)),
        ("PATCH", f"/orders/{ORDER_ID}", {}, ("order", 1)),
        ("DELETE", f"/orders/{ORDER_ID}", None, ("cancel", 1)),
        ("DELETE", "/markets/m/orders", None, ("cancel", 1)),
        ("DELETE", "/orders", None, ("cancel", 1)),
        ("GET", f"/orders/{ORDER_ID}", None, ("data", 1)),
        ("POST", "/orders/batch", {"orders": [{}] * 50}, ("order", 1)),
        ("POST", "/orders/batch", {"orders": [{}] * 51}, ("order", 2)),
        ("POST", "/orders/batch", {"orders": [{}] * 500}, ("order", 10)),
        ("POST", "/orders/batch", {"orders": "all"}, ("order", 1)),
        ("POST", "/account/heartbeat", {"timeout_s": 5}, ("cancel", 1)),
    ],
)
async def test_empty_bucket_is_429_with_its_headers(
    method: str, path: str, body: Any, asked: tuple[str, int]
) -> None:
    throttle = Empty()
    status, headers, problem = await ask(throttle, method, path, body)
    assert (status, problem["code"], throttle.asked) == (429, "rate_limited", [asked])
    assert {name: headers[name] for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "retry-after")} == {
        "x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "retry-after": "3",
    }  # fmt: skip


async def test_caller_who_is_nobody_takes_no_token() -> None:
    throttle = Empty()
    status, _, problem = await ask(throttle, "DELETE", "/orders", key="pm_bad")
    assert (status, problem["code"], throttle.asked) == (401, "not_authenticated", [])
