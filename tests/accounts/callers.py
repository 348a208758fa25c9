"""Clients of the account API: callers with a key or without, and what to expect of a problem document."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.test import Client

PASSWORD = "correct horse battery"


@dataclass
class Caller:
    """An API client with a key (or none)."""

    key: str | None = None
    user: Any = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """`body` is sent as JSON, or as it is if it is bytes."""
        if self.key is not None:
            headers.setdefault("authorization", f"Bearer {self.key}")
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        return Client(raise_request_exception=False).generic(
            method, f"/api/v1{path}", content, content_type="application/json", headers=headers
        )

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.send("POST", path, body, **headers)

    def delete(self, path: str) -> HttpResponse:
        return self.send("DELETE", path)


def code_of(response: HttpResponse) -> tuple[int, str]:
    """Status and problem code, after checking that it is a problem document."""
    assert response["Content-Type"] == "application/problem+json", response.content
    document = response.json()
    assert document["status"] == response.status_code
    assert {"type", "title", "detail", "request_id"} <= document.keys()
    return response.status_code, document["code"]
