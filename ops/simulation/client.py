"""The HTTP API as simulated users use it: a pace for each key, limits obeyed, restarts waited out.

A write is journalled, then sent until it is answered, always with the same ids. What a client may not
repeat (400, 401, 403, 404, 409, 422) is an answer too.
"""

import asyncio
import itertools
import logging
import time
from typing import Any, NamedTuple

import httpx
import msgspec

from ops.simulation.journal import Journal, Write
from trading.ids import new_id

log = logging.getLogger(__name__)

logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell of each request.

AGAIN = frozenset({429, 500, 502, 503, 504})
TIMEOUT_S = 10.0
LONGEST_WAIT_S = 5.0


class Answer(NamedTuple):
    """A response's status and JSON."""

    status: int
    body: Any

    @property
    def is_good(self) -> bool:
        return self.status < 400

    @property
    def code(self) -> str | None:
        """The problem's code, if this is one."""
        return self.body.get("code") if isinstance(self.body, dict) and not self.is_good else None


class Pace:
    """At most so many requests a second of one user, with a small burst: below the exchange's own limits."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = time.monotonic()

    async def take(self) -> None:
        """Return when the next request may go. The token is taken at once, so those who wait queue up."""
        now_s = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_second) - 1
        self._at_s = now_s
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._per_second)


class Caller:
    """Someone with a key."""

    def __init__(self, username: str, key: str, *, per_second: float, burst: int) -> None:
        self.username = username
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.pace = Pace(per_second, burst)


class Client:
    """Reads go to `url`; orders to `orders_url`, the fast lane."""

    def __init__(self, url: str, orders_url: str, journal: Journal) -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._orders_url = orders_url.rstrip("/") + "/api/v1"
        self._journal = journal
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        self._prefix = new_id().replace("-", "")[:20]
        self._numbers = itertools.count(1)

    async def close(self) -> None:
        await self._http.aclose()

    def new_client_id(self) -> str:
        """An id that no process has used before."""
        return f"sim-{self._prefix}-{next(self._numbers)}"

    async def get(self, path: str, caller: Caller | None = None, **parameters: str | int) -> Answer:
        """A GET, repeated until the exchange answers."""
        return await self._ask("GET", self._url + path, caller, None, parameters)

    async def order(self, caller: Caller, path: str, body: dict[str, Any]) -> Answer:
        """A POST of orders, journalled; its ids must be in the body."""
        return await self._write(caller, Write(self.new_client_id(), caller.username, "orders:" + path, body))

    async def pay_in(self, caller: Caller, amount: str) -> Answer:
        """A deposit, journalled."""
        number = self.new_client_id()
        body = {"amount": amount, "client_id": number}
        return await self._write(caller, Write(number, caller.username, "/account/deposit", body))

    async def send_again(self, caller: Caller, write: Write) -> Answer:
        """What an earlier process left over."""
        return await self._write(caller, write)

    async def _write(self, caller: Caller, write: Write) -> Answer:
        self._journal.begin(write)
        base, path = (
            (self._orders_url, write.path.removeprefix("orders:"))
            if write.path.startswith("orders:")
            else (self._url, write.path)
        )
        answer = await self._ask("POST", base + path, caller, msgspec.json.encode(write.body), {})
        self._journal.end(write)
        return answer

    async def _ask(
        self,
        method: str,
        address: str,
        caller: Caller | None,
        content: bytes | None,
        parameters: dict[str, Any],
    ) -> Answer:
        headers = caller.headers if caller is not None else {}
        wait_s = 0.25
        while True:
            if caller is not None:
                await caller.pace.take()
            try:
                response = await self._http.request(
                    method, address, headers=headers, content=content, params=parameters
                )
                if response.status_code not in AGAIN:
                    return Answer(response.status_code, _decoded(response))
                wait_s = max(wait_s, _retry_after_s(response))
                log.info("%s answers %s, again in %.1f s", address, response.status_code, wait_s)
            except httpx.TransportError as error:
                log.info("%s is away (%s), again in %.1f s", address, type(error).__name__, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _decoded(response: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
