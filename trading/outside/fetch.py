"""One HTTP request to a service outside: to a checked address, without redirects, in bounded time and memory.

The certificate is judged by the URL's host name, though the connection goes to the address that was checked. Proxies
of the environment are not used, since a proxy would resolve the name again.
"""

import asyncio
import functools
import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple

import httpx

from trading.outside.address import Target, UrlRefused, checked_addresses, read_url

TIMEOUT_S = 10.0
MAX_BODY_BYTES = 65_536

__all__ = ["Answer", "FetchFailed", "UrlRefused", "get", "post"]


class FetchFailed(Exception):
    """No answer: unreachable, too slow, or not HTTP. Whether the service took the request is not known."""


class Answer(NamedTuple):
    """What came back; of a longer body its first MAX_BODY_BYTES, and `is_whole` says so."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool
    duration_ms: int


def get(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> Answer:
    """Read a URL. A redirect is an answer like any other. Raises UrlRefused, NoSuchHost, FetchFailed.

    `timeout_s` bounds connecting, sending and reading together; looking the name up comes on top.
    """
    return _fetch("GET", url, None, headers or {}, timeout_s)


def post(
    url: str, body: bytes, *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Answer:
    """Send a body. Errors and limits as `get`."""
    return _fetch("POST", url, body, headers or {}, timeout_s)


def _fetch(method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
    target = read_url(url)
    addresses = checked_addresses(target)
    # A loop of its own, because only there one deadline bounds all of it, a server that drips included.
    return asyncio.run(_within(timeout_s, method, target, addresses, body, headers))


async def _within(
    timeout_s: float, method: str, target: Target, addresses: list[str], body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:  # fmt: skip
    started = time.monotonic()
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=timeout_s) as client,
        ):
            response = await _sent(client, method, target, addresses, body, headers)
            try:
                read, is_whole = await _read(response)
            finally:
                await response.aclose()
    except TimeoutError:
        raise FetchFailed(f"No whole answer within {timeout_s:g} s.") from None
    except httpx.HTTPError as error:
        raise FetchFailed(f"{type(error).__name__}: {error}"[:200]) from None
    return Answer(response.status_code, response.headers, read, is_whole, _ms_since(started))


async def _sent(
    client: httpx.AsyncClient, method: str, target: Target, addresses: list[str], body: bytes | None,
    headers: Mapping[str, str],
) -> httpx.Response:  # fmt: skip
    """The response's head, from the first of the addresses that takes the connection."""
    for index, address in enumerate(addresses):
        place = f"[{address}]" if ":" in address else address
        request = client.build_request(
            method,
            f"{target.scheme}://{place}:{target.port}{target.path}",
            content=body,
            headers={"Accept-Encoding": "identity", **headers, "Host": target.authority},
            extensions={"sni_hostname": target.host},
        )
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if index == len(addresses) - 1:
                raise
    raise AssertionError("a host that was found has an address")


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """The body as it was sent, whatever its encoding claims: a small one that unpacks to much is not unpacked."""
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) > MAX_BODY_BYTES:
            return bytes(read[:MAX_BODY_BYTES]), False
    return bytes(read), True


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the authorities' certificates takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
