"""What a resolver may read of the world: one JSON document, of a public place, in bounds; all else is refused."""

import datetime as dt
import time
from typing import Any

import pytest

from markets.resolvers import reading
from markets.resolvers.plugin import NotYet
from markets.resolvers.reading import BadAnswer, Reading, read_json
from trading.jobs import GiveUp

NOW = dt.datetime(2027, 1, 31, 12, tzinfo=dt.UTC)


def test_a_document_is_read_with_its_bytes_and_the_moment(source: Any) -> None:
    source.sends(b'{"price": 1.50}')
    found = read_json(source.url, NOW)
    assert isinstance(found, Reading)
    assert (found.document, found.body) == ({"price": "1.50"}, b'{"price": 1.50}')
    assert NOW <= found.read_at < NOW + dt.timedelta(seconds=5)
    (asked,) = source.server.asked
    assert (asked.method, asked.headers["accept"]) == ("GET", "application/json")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": 1} {"a": 2}', "not valid JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": ' + b"9" * 30 + b"}", "64 bits"),
        (b'{"a": 0.' + b"1" * 50 + b"}", "40 characters"),
        (b"[" * 40 + b"]" * 40, "nested"),
        (b"[" * 30_000 + b"]" * 30_000, "nested"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'"' + b"x" * 70_000 + b'"', "65536 bytes"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_is_no_document_in_bounds_is_a_failed_try(source: Any, body: bytes, said: str) -> None:
    source.sends(body)
    with pytest.raises(BadAnswer, match=said):
        read_json(source.url, NOW)


@pytest.mark.parametrize(
    "kind", ["text/html", "", "text/plain; charset=utf-8", "image/json", "application/jsonx"]
)
def test_a_document_of_another_content_type_is_a_failed_try(source: Any, kind: str) -> None:
    source.sends(b"{}", kind=kind)
    with pytest.raises(BadAnswer, match="content type"):
        read_json(source.url, NOW)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/geo+json"]
)
def test_kinds_of_json_are_taken(source: Any, kind: str) -> None:
    source.sends(b"{}", kind=kind)
    assert isinstance(read_json(source.url, NOW), Reading)


def test_a_packed_body_is_not_unpacked(source: Any) -> None:
    import gzip

    source.sends(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    with pytest.raises(BadAnswer):
        read_json(source.url, NOW)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_ends_the_asking(source: Any, status: int) -> None:
    source.sends(b"{}", status=status, Location=f"{source.server.url}/inside")
    with pytest.raises(GiveUp, match="redirects are not followed"):
        read_json(source.url, NOW)
    assert [asked.path for asked in source.server.asked] == ["/answer"]


@pytest.mark.parametrize("status", [400, 401, 403, 410])
def test_a_refusal_ends_the_asking(source: Any, status: int) -> None:
    source.sends(b"{}", status=status)
    with pytest.raises(GiveUp, match=str(status)):
        read_json(source.url, NOW)


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503])
def test_what_may_be_there_later_is_asked_for_again(source: Any, status: int) -> None:
    source.sends(b"{}", status=status)
    found = read_json(source.url, NOW)
    assert isinstance(found, NotYet)
    assert str(status) in found.reason


def test_a_server_that_drips_is_left_at_the_deadline(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TIMEOUT_S", 0.3)

    def drip(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        try:
            while True:
                request.wfile.write(b" ")
                request.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass  # It was hung up on.

    source.server.answer = drip
    started = time.monotonic()
    found = read_json(source.url, NOW)
    assert isinstance(found, NotYet)
    assert "0.3 s" in found.reason
    assert time.monotonic() - started < 2


def test_a_host_that_keeps_failing_is_left_alone_for_a_while(free_port: int, source: Any) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    found = [read_json(url, NOW) for _ in range(6)]
    assert all(isinstance(each, NotYet) for each in found)
    assert "left alone" in found[5].reason  # type: ignore[union-attr]
    assert found[5].retry_in_s <= 30  # type: ignore[union-attr]
    source.says({})
    assert isinstance(read_json(source.url, NOW), Reading)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://10.1.2.3/", "http://169.254.169.254/latest/meta-data",
        "http://localhost/", "http://[::ffff:127.0.0.1]/", "http://2130706433/", "ftp://a.example/",
        "http://user:word@a.example/", "http://a.example:25/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_places_inside_are_not_called_and_end_the_asking(source: Any, settings: Any, url: str) -> None:
    settings.OUTSIDE_ALLOW = []
    with pytest.raises(GiveUp, match="may not be called"):
        read_json(url, NOW)


def test_a_name_that_turns_to_a_place_inside_is_not_called(source: Any, settings: Any, names: Any) -> None:
    """DNS rebinding: the address that was judged is the one that is called, and each call is judged anew."""
    settings.OUTSIDE_ALLOW = ["127.0.0.1/32"]
    source.says({"a": 1})
    asked = names("rebind.example", "127.0.0.1", "127.0.0.2")
    url = f"http://rebind.example:{source.server.port}/"
    assert isinstance(read_json(url, NOW), Reading)
    assert asked.count("rebind.example") == 1
    with pytest.raises(GiveUp, match="not on the public internet"):
        read_json(url, NOW)
    assert len(source.server.asked) == 1
