"""Both lanes ask the throttle in the right class before they read a body, and say what is left of the bucket."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.test import APIRequestFactory, force_authenticate

from trading.api.orders import BatchView
from trading.errors import NotAuthenticated
from trading.ids import new_id
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


class Bucket:
    """A Throttle with so many tokens left; remembers what was asked of it, and that a known caller pays himself."""

    def __init__(self, tokens: int = 0) -> None:
        self.asked: list[tuple[str, int]] = []
        self._tokens = tokens

    async def take(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        payer = "caller" if principal == CALLER else ip
        self.asked.append((class_name, cost) if payer == "caller" else (f"{class_name} of {payer}", cost))
        allowed = cost <= self._tokens
        self._tokens -= cost if allowed else 0
        return Allowance(allowed, self._tokens, limit=10, retry_after_s=0 if allowed else 3)


class NoGateway:
    """Nothing may get this far."""

    async def send(self, envelopes: list[Envelope]) -> list[Any]:
        raise AssertionError("a throttled request was sent")


class NoReads:
    """Nor this far."""

    async def read(self, kind: str, reference: str, given: Any) -> Any:
        raise AssertionError("a throttled request was answered")


async def ask(
    throttle: Bucket, method: str, path: str, body: Any = None, key: str | None = "pm_good"
) -> tuple[int, dict[str, str], Any]:
    """One request to the application itself: status, headers, document."""
    application = FastLane(
        authenticator=OneKey(), throttle=throttle, desk=Desk(NoGateway()),  # type: ignore[arg-type]
        reads=NoReads(),  # type: ignore[arg-type]
        client_ip=lambda peer, forwarded: peer, health=dict,
    )  # fmt: skip
    headers = [(b"content-type", b"application/json")]
    if key is not None:
        headers.append((b"authorization", f"Bearer {key}".encode()))
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
        ("POST", "/orders/batch", {"orders": [{}] * 500}, ("order", 1)),
        ("POST", "/orders/batch", {"orders": "all"}, ("order", 1)),
        ("POST", "/account/heartbeat", {"timeout_s": 5}, ("cancel", 1)),
    ],
)
async def test_empty_bucket_is_429_with_its_headers(
    method: str, path: str, body: Any, asked: tuple[str, int]
) -> None:
    throttle = Bucket()
    status, headers, problem = await ask(throttle, method, path, body)
    assert (status, problem["code"], throttle.asked) == (429, "rate_limited", [asked])
    assert {name: headers[name] for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "retry-after")} == {
        "x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "retry-after": "3",
    }  # fmt: skip


async def test_batch_is_read_for_one_token_and_takes_the_others_then() -> None:
    for items, tokens, asked in ((50, 1, [1]), (51, 2, [1, 1]), (500, 10, [1, 9])):
        throttle = Bucket(tokens)
        status, headers, _ = await ask(throttle, "POST", "/orders/batch", {"orders": [{}] * items})
        assert (status, headers["x-ratelimit-remaining"]) == (200, "0")
        assert throttle.asked == [("order", cost) for cost in asked]
    throttle = Bucket(9)
    assert (await ask(throttle, "POST", "/orders/batch", {"orders": [{}] * 500}))[0] == 429
    status, headers, _ = await ask(throttle, "POST", "/orders/batch", {"orders": "all"})
    assert (status, headers["x-ratelimit-remaining"]) == (400, "7")


async def test_address_pays_for_a_wrong_key_until_it_cannot() -> None:
    throttle = Bucket(2)
    answers = [await ask(throttle, "DELETE", "/orders", key="pm_bad") for _ in range(3)]
    assert [problem["code"] for _, _, problem in answers] == ["not_authenticated"] * 2 + ["rate_limited"]
    assert [headers["x-ratelimit-remaining"] for _, headers, _ in answers] == ["1", "0", "0"]
    assert throttle.asked == [("general of 127.0.0.1", 1)] * 3


async def test_address_pays_for_a_request_without_a_key_before_it_is_read() -> None:
    throttle = Bucket(1)
    answers = [await ask(throttle, "POST", "/orders/batch", "nonsense", key=None) for _ in range(2)]
    assert [status for status, _, _ in answers] == [401, 429]
    assert throttle.asked == [("order of 127.0.0.1", 1)] * 2


# The DRF lane ---------------------------------------------------------------------------------------


def batch_through_drf(body: bytes, *, principal: Principal | None, ip: str) -> tuple[int, Allowance]:
    """One batch to the view itself: the status, and what its throttle said last."""
    request = APIRequestFactory().post(
        "/api/v1/orders/batch", body, content_type="application/json", REMOTE_ADDR=ip
    )
    if principal is not None:
        force_authenticate(request, user=AnonymousUser(), token=principal)
    response = BatchView.as_view()(request)
    return response.status_code, request.rate_limit


def test_batch_in_the_drf_lane_is_read_for_one_token_too(settings: Any) -> None:
    settings.THROTTLE = True
    caller = replace(CALLER, key_id=new_id())
    status, allowance = batch_through_drf(b'{"orders": "all"}', principal=caller, ip="127.0.0.1")
    assert (status, allowance.remaining) == (400, 9)
    items = json.dumps({"orders": [{}] * 151}).encode()
    status, allowance = batch_through_drf(items, principal=caller, ip="127.0.0.1")
    assert (status, allowance.allowed) == (200, True)
    assert allowance.remaining in (5, 6)  # The bucket fills meanwhile.
    status, allowance = batch_through_drf(
        json.dumps({"orders": [{}] * 500}).encode(), principal=caller, ip="127.0.0.1"
    )
    assert (status, allowance.allowed) == (429, False)


def test_malformed_batches_of_nobody_run_dry_in_the_drf_lane_too(settings: Any) -> None:
    settings.THROTTLE = True
    site = f"2001:db8:{new_id()[-4:]}:{new_id()[-4:]}::1"
    statuses = [batch_through_drf(b"{", principal=None, ip=site)[0] for _ in range(30)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
