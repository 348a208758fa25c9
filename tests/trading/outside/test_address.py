"""Which URLs may be called: public ones, however they are written, and at the addresses that were checked."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from trading.outside.address import NoSuchHost, UrlRefused, checked_addresses, is_allowed, read_url


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`names("93.184.216.34", …)`: what every name means from now on; answers the list of look-ups."""

    def mean(*addresses: str) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, **more: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return mean


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/",
        "http://0/", "http://localhost:8000/", "http://LOCALHOST./", "http://10.1.2.3/", "http://172.31.0.1/",
        "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://224.0.0.1/",
        "http://255.255.255.255/", "http://198.18.0.1/", "http://192.0.2.1/", "http://[::1]/", "http://[::]/",
        "http://[fe80::1]/", "http://[fc00::1]/", "http://[ff02::1]/", "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:8.8.8.8]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::1]/", "http://[2002:7f00:1::1]/",
        "http://[2001:0:7f00:1::1]/", "http://[2001:db8::1]/", "http://[::127.0.0.1]/", "http://[fec0::1]/",
        "https://127.0.0.1:8443/",
    ],
)  # fmt: skip
def test_a_url_that_leads_inside_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises((UrlRefused, NoSuchHost)):
        checked_addresses(read_url(url))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "http"), ("file:///etc/passwd", "http"), ("gopher://example.org/", "http"),
        ("//example.org/", "http"), ("example.org", "http"), ("", "http"), ("http://", "http"), ("http:///x", "http"),
        ("http://user:pass@example.org/", "password"), ("http://user@example.org/", "password"),
        ("http://example.org:22/", "port"), ("http://example.org:25/", "port"), ("http://example.org:1023/", "port"),
        ("http://example.org:99999/", "port"), ("http://example.org:x/", "URL"), ("http://[::1", "URL"),
        ("http://example.org/\r\nX: y", "URL"), ("http://exa mple.org/", "zone|URL"), ("http://a/" + "x" * 500, "500"),
        ("http://[fe80::1%25eth0]/", "zone"),
    ],
)  # fmt: skip
def test_a_url_that_is_not_one_to_call_is_refused_with_its_reason(url: str, why: str) -> None:
    with pytest.raises(UrlRefused, match=why):
        read_url(url)


@pytest.mark.parametrize("port", [80, 443, 1024, 8443, 65_535])
def test_public_names_may_be_called_at_web_ports_and_high_ones(names: Any, port: int) -> None:
    names("93.184.216.34", "2606:2800:220:1::1")
    target = read_url(f"https://hooks.example.org:{port}/in?x=1")
    assert checked_addresses(target) == ["93.184.216.34", "2606:2800:220:1::1"]
    assert (target.host, target.path) == ("hooks.example.org", "/in?x=1")


def test_a_name_that_is_half_inside_is_not_called_at_all(names: Any) -> None:
    names("93.184.216.34", "10.0.0.1")
    with pytest.raises(UrlRefused):
        checked_addresses(read_url("http://hooks.example.org/"))


def test_the_operator_may_allow_a_network(settings: Any) -> None:
    assert not is_allowed("127.0.0.1")
    settings.OUTSIDE_ALLOW = ["127.0.0.0/8"]
    assert is_allowed("127.0.0.1")
    assert not is_allowed("10.0.0.1")


def test_a_name_without_an_address_is_told_apart_from_one_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*given: Any, **more: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(NoSuchHost, match="not found"):
        checked_addresses(read_url("http://hooks.example.org/"))
