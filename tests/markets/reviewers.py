"""The persons of a resolution that takes four eyes, on an exchange of their own, and what each of them can ask."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.running_exchange import RunningExchange

DEADLINE_S = 30


class Person:
    """Somebody with a key: `post` and `get` answer (status, body)."""

    def __init__(self, exchange: RunningExchange, name: str, headers: dict[str, str]) -> None:
        self.name = name
        self._client = httpx.Client(base_url=f"{exchange.http}/api/v1", headers=headers, timeout=30)

    def post(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        answer = self._client.post(path, json=body or {})
        return answer.status_code, answer.json()

    def get(self, path: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
        answer = self._client.get(path, params=parameters)
        return answer.status_code, answer.json()

    def cash(self) -> tuple[str, str]:
        """(cash, debt)"""
        account = self.get("/account")[1]
        return account["cash"], account["debt"]

    def refused(self, path: str, body: dict[str, Any] | None = None) -> str:
        """The code of a request that must be refused."""
        status, document = self.post(path, body)
        assert 400 <= status < 500, document
        return f"{status} {document['code']}"


def member_of_staff(exchange: RunningExchange, name: str) -> Person:
    """A colleague with every right, and a key."""
    username = exchange.new_colleague(name, secrets.token_urlsafe(12))
    key = exchange.manage("create_api_key", username, "--scopes", "read,trade,admin").stdout.strip()
    return Person(exchange, username, {"Authorization": f"Bearer {key}"})


def trader(exchange: RunningExchange, cash: str) -> Person:
    made = exchange.new_trader(cash)
    return Person(exchange, made.username, made.headers)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
