"""A source of answers on this machine, and what a resolver makes of them."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings

from tests.trading.outside.local_server import LocalServer, local_server


class Source:
    """A real HTTP server that answers one thing until it is told another."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return f"{self.server.url}/answer"

    def says(self, document: Any) -> None:
        self.sends(json.dumps(document).encode())

    def sends(
        self, body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        def answer(request: Any) -> None:
            request.send_response(status)
            request.send_header("Content-Type", kind)
            request.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)

        self.server.answer = answer


def _forget_breakers() -> None:
    with redis.Redis.from_url(django_settings.VALKEY_URL) as valkey:
        for key in valkey.scan_iter("breaker*"):
            valkey.delete(key)


@pytest.fixture
def source(settings: Any) -> Iterator[Source]:
    settings.OUTSIDE_ALLOW = ["127.0.0.0/8"]
    _forget_breakers()
    with local_server() as running:
        yield Source(running)
    _forget_breakers()


@pytest.fixture
def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`names("rebind.example", "127.0.0.1", "10.0.0.1")`: what a name means, look-up by look-up; answers who asked."""

    def mean(name: str, *addresses: str) -> list[str]:
        answers, asked = iter(addresses), []

        def getaddrinfo(host: Any, port: Any, *given: Any, **more: Any) -> list[Any]:
            text = host.decode() if isinstance(host, bytes) else host
            asked.append(text)
            address = next(answers) if text == name else text
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return mean
