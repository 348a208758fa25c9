"""How the `live` process is put together: who may open a socket, and that both lanes stand behind one address."""

import json
import re
import socket

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.running_exchange import RunningExchange


def ping(exchange: RunningExchange, origin: str | None) -> dict[str, object]:
    with connect(exchange.ws, origin=Origin(origin) if origin else None, open_timeout=20) as opened:
        opened.send(json.dumps({"id": 1, "op": "ping"}))
        while True:
            frame = json.loads(opened.recv(timeout=20))
            if frame.get("id") == 1:
                return dict(frame)


def test_a_program_and_the_exchanges_own_pages_may_open_a_socket(exchange: RunningExchange) -> None:
    for origin in (None, exchange.http, f"http://localhost:{exchange.port}"):
        assert ping(exchange, origin)["ok"] is True


@pytest.mark.parametrize(
    "foreign", ["http://evil.example", "https://localhost:{port}", "http://localhost:1", "null"]
)
def test_a_page_of_another_origin_may_not(exchange: RunningExchange, foreign: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        ping(exchange, foreign.format(port=exchange.port))
    assert refused.value.response.status_code == 403


def test_there_is_one_socket_path(exchange: RunningExchange) -> None:
    with pytest.raises(InvalidStatus), connect(exchange.ws + "/other", open_timeout=20):
        pass


def test_a_claimed_address_is_not_believed(exchange: RunningExchange) -> None:
    """A key bound to an address must not be usable by whoever names that address in a header."""
    trader = exchange.new_trader()
    made = httpx.post(
        f"{exchange.http}/api/v1/keys",
        headers=trader.headers,
        json={"name": "bound", "scopes": ["read", "trade"], "ip_allowlist": ["203.0.113.7"]},
    )
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}", "X-Forwarded-For": "203.0.113.7"}
    for base in (exchange.http, exchange.live_http):
        answer = httpx.get(f"{base}/api/v1/orders/by-client-id/none", headers=headers)
        assert answer.status_code == 401, answer.text


def test_an_error_in_either_lane_carries_the_callers_request_id(exchange: RunningExchange) -> None:
    for base in (exchange.http, exchange.live_http):
        answer = httpx.get(f"{base}/api/v1/orders/by-client-id/none", headers={"X-Request-ID": "mine.7"})
        assert (answer.status_code, answer.json()["request_id"]) == (401, "mine.7")
        assert answer.headers["X-Request-ID"] == "mine.7"


def test_requests_sent_without_waiting_are_answered_in_order(exchange: RunningExchange) -> None:
    """Answers of one connection leave together, whole and in the order asked."""
    paths = ["/ws/health", "/api/v1/nowhere", "/ws/health", "/api/v1/orders"]
    asked = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths[:-1])
    asked += f"GET {paths[-1]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    host, port = exchange.live_http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(asked.encode())
        said = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert re.findall(r"HTTP/1\.1 (\d+)", said) == ["200", "404", "200", "405"]
