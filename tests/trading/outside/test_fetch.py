"""One request to a service outside: to the checked address, no redirects, bounded in time and size."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.trading.outside.local_server import LocalServer, local_server
from trading.outside.address import UrlRefused
from trading.outside.fetch import MAX_BODY_BYTES, FetchFailed, get, post


@pytest.fixture
def server(settings: Any) -> Iterator[LocalServer]:
    settings.OUTSIDE_ALLOW = ["127.0.0.0/8"]
    with local_server() as running:
        yield running


def test_a_body_is_posted_and_the_answer_comes_back(server: LocalServer) -> None:
    server.status = 202
    answer = post(f"{server.url}/in?x=1", b'{"a": 1}', headers={"X-Mark": "7"})
    assert (answer.status, answer.body, answer.is_whole) == (202, b"", True)
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body, asked.headers["x-mark"]) == (
        "POST", "/in?x=1", b'{"a": 1}', "7",
    )  # fmt: skip


def test_without_leave_nothing_inside_is_asked(server: LocalServer, settings: Any) -> None:
    settings.OUTSIDE_ALLOW = []
    with pytest.raises(UrlRefused):
        get(server.url)
    assert server.asked == []


def test_a_redirect_is_an_answer_and_is_not_followed(server: LocalServer) -> None:
    def redirect(request: Any) -> None:
        request.send_response(302)
        request.send_header("Location", f"{server.url}/inside")
        request.send_header("Content-Length", "0")
        request.end_headers()

    server.answer = redirect
    assert get(f"{server.url}/out").status == 302
    assert [asked.path for asked in server.asked] == ["/out"]


def test_of_a_long_body_only_the_beginning_is_read(server: LocalServer) -> None:
    def endless(request: Any) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 10_000)
        except OSError:
            pass  # The caller has heard enough, which is what the test is about.

    server.answer = endless
    answer = get(server.url)
    assert (len(answer.body), answer.is_whole) == (MAX_BODY_BYTES, False)


def test_a_server_that_drips_is_given_up_at_the_deadline(server: LocalServer) -> None:
    def drip(request: Any) -> None:
        try:
            while True:
                request.wfile.write(b"H")
                request.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass  # It was hung up on.

    server.answer = drip
    started = time.monotonic()
    with pytest.raises(FetchFailed, match=r"0\.3 s"):
        get(server.url, timeout_s=0.3)
    assert time.monotonic() - started < 2


def test_a_closed_port_is_a_failure_with_its_reason(server: LocalServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FetchFailed, match="Connect"):
        get(f"http://127.0.0.1:{port}/")


def test_a_name_that_changes_its_mind_is_called_where_it_was_checked(
    server: LocalServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer may be called, each later one is another place inside."""
    settings.OUTSIDE_ALLOW = ["127.0.0.1/32"]
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *given: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        address = next(answers) if name == "rebind.example" else name
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert get(f"http://rebind.example:{server.port}/x").status == 200
    assert asked.count("rebind.example") == 1
    assert server.asked[0].headers["host"] == f"rebind.example:{server.port}"
    with pytest.raises(UrlRefused):
        get(f"http://rebind.example:{server.port}/x")
    assert len(server.asked) == 1


def test_proxies_of_the_environment_are_not_used(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert get(server.url).status == 200
