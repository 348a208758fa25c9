"""Whose address a request comes from, when proxies stand in between.

X-Forwarded-For is believed only as far as it was written by the proxies of settings.TRUSTED_PROXIES
(networks, none by default): anyone may send that header, and rate limits and IP allowlists hang on the
answer.
"""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST_ADDRESS = 64  # more of a header's text is not looked at, nor kept in memory


def client_ip(request: HttpRequest) -> str | None:
    """The caller's address; None where there is none, as on a UNIX socket."""
    return resolve_ip(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR"))


def resolve_ip(peer: str | None, forwarded_for: str | None) -> str | None:
    """The nearest address, from the peer outwards, that is not a trusted proxy. For both lanes."""
    trusted = _trusted_proxies(tuple(getattr(settings, "TRUSTED_PROXIES", ())))
    if not (forwarded_for and trusted):
        return _canonical(peer)
    address = parse_address(peer)
    hops = forwarded_for.split(",")
    while hops and address is not None and is_within(address, trusted):
        before = parse_address(hops.pop().strip()[:LONGEST_ADDRESS])
        if before is None:
            break
        address = before
    return str(address) if address is not None else None


@lru_cache(maxsize=4096)
def _canonical(peer: str | None) -> str | None:
    address = parse_address(peer)
    return str(address) if address is not None else None


@lru_cache(maxsize=4096)
def parse_address(text: str | None) -> Address | None:
    """An address, with IPv4 that is mapped into IPv6 unwrapped; None if it is none."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


@lru_cache(maxsize=8)
def _trusted_proxies(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
