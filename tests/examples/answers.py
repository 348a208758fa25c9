"""A client whose exchange gives the answers that a test has written down, one after the other, without a wait."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from examples.pmarket_client import Client, Journal

Given = httpx.Response | Exception | asyncio.CancelledError


class Script:
    """What is still to be answered, what was asked, and how long the client would have slept."""

    def __init__(self) -> None:
        self.answers: list[Given] = []
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []
        self.now_s = 1000.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        given = self.answers.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    @property
    def paths(self) -> list[str]:
        """Method and path of each request, without the prefix."""
        return [f"{each.method} {each.url.raw_path.decode().removeprefix('/api/v1')}" for each in self.asked]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(each.content) if each.content else None for each in self.asked]


MakeClient = Callable[..., tuple[Client, Script]]


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch) -> MakeClient:
    """A client and its script; `answers` come in turn, an exception is a lost connection."""

    def make(*answers: Given, journal: Journal | None = None, **options: Any) -> tuple[Client, Script]:
        script = Script()
        script.answers = list(answers)
        monkeypatch.setattr("examples.pmarket_client.asyncio.sleep", script.sleep)
        monkeypatch.setattr("examples.pmarket_client.time.monotonic", lambda: script.now_s)
        http = httpx.AsyncClient(transport=httpx.MockTransport(script.answer))
        client = Client(
            "http://exchange", "pm_key", orders_url="http://fast", journal=journal, http=http, **options
        )
        return client, script

    return make


def order(status: str = "open", **fields: Any) -> dict[str, Any]:
    return {"order_id": "o-1", "status": status, "as_of": "3-7", "filled": 0, **fields}


def said(status: int, code: str = "", /, **members: Any) -> httpx.Response:
    """A problem document of that code, or an order."""
    headers = {"Retry-After": str(members.pop("retry_after"))} if "retry_after" in members else {}
    document = {"status": status, "code": code, "detail": code, **members} if code else order(**members)
    return httpx.Response(status, json=document, headers=headers)


UNKNOWN = {"code": "outcome_unknown", "order_id": "o-504"}
