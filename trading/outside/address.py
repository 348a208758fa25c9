"""Which URLs may be called: public ones. Others would show whoever names a URL the operator's own network.

A name is resolved once, every address it has is judged, and the call goes to an address of that answer: a name
that means something else a moment later leads nowhere else. settings.OUTSIDE_ALLOW names networks that are
allowed all the same, for tests and private installations.
"""

import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache

import httpx
from django.conf import settings

MAX_URL = 500
MAX_ADDRESSES = 4
"""Of a name that has more, the first are tried."""

_PORTS = {"http": 80, "https": 443}
LEAST_HIGH_PORT = 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA registries of special-purpose addresses, written out: what Python calls global differs by release.
_NOT_PUBLIC_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
# Global unicast is all that counts in IPv6: mapped IPv4 and NAT64 lie outside of it, 6to4 and Teredo within.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)


class UrlRefused(Exception):
    """This URL is not called; the text says why, to whoever named it."""


class NoSuchHost(Exception):
    """The name has no address now; it may have one later."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called by its looks, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def service(self) -> str:
        """Host and port, as a circuit breaker names them."""
        return f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str) -> Target:
    """What a URL names. UrlRefused for other schemes than http and https, credentials, and ports that are not for this.

    Ports are 80, 443 and those from 1024 on: mail servers and the like stand below.
    """
    if len(url) > MAX_URL:
        raise UrlRefused(f"A URL has at most {MAX_URL} characters.")
    try:
        parts = httpx.URL(url)
        host = parts.raw_host.decode("ascii").strip("[]").rstrip(".").lower()
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise UrlRefused("This is not a URL.") from None
    if parts.scheme not in _PORTS or not host:
        raise UrlRefused("A URL begins with http:// or https:// and names a host.")
    if parts.userinfo:
        raise UrlRefused("A URL carries no user name and no password.")
    if "%" in host:
        raise UrlRefused("A host is a name or an address without a zone.")
    port = parts.port or _PORTS[parts.scheme]
    if port not in _PORTS.values() and not LEAST_HIGH_PORT <= port <= 65_535:
        raise UrlRefused(f"The port is 80, 443 or at least {LEAST_HIGH_PORT}.")
    return Target(parts.scheme, host, port, parts.raw_path.decode("ascii"))


def checked_addresses(target: Target) -> list[str]:
    """The addresses of a target's host, all of them allowed, in the system's order of preference.

    UrlRefused if any of them is not: a name that is half inside is not called at all. NoSuchHost if it has none.
    Waits for the system's resolver, whose own limits are seconds.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoSuchHost(f"The host {target.host} was not found: {error}.") from None
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if not is_allowed(address):
            raise UrlRefused("The host is not on the public internet.")
    return addresses[:MAX_ADDRESSES]


def is_allowed(text: str) -> bool:
    """Whether an address is public, or within settings.OUTSIDE_ALLOW."""
    if "%" in text:
        return False
    address = ipaddress.ip_address(text)
    if any(address in network for network in _allowed(tuple(settings.OUTSIDE_ALLOW))):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


@lru_cache(maxsize=8)
def _allowed(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
