"""A client of pmarket in one file. Copy it beside your bot: it needs Python 3.11, httpx and websockets.

    Client    orders, cash and reads over HTTP: every intention has its id before it is sent, and happens once
    Journal   what was sent and is not known to have been answered; kept in a file it outlives a crash
    Feed      one WebSocket that connects and subscribes again by itself, for Books and Streams
    Book      a market's order book, which says when it cannot be trusted, and why
    Stream    trades, tickers, a market's lifecycle or an account

It is for one asyncio loop, not for several threads: nothing changes a book between looking at it and deciding.

Money and prices go in and come out as the API has them, as strings such as "0.6500"; a float is a TypeError. `pips` and
`price_text` are for arithmetic: a pip is $0.0001, and a Book counts in whole pips.
"""

import asyncio
import collections
import contextlib
import json
import logging
import os
import random
import re
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

log = logging.getLogger(__name__)

SHARE_PIPS = 10_000
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
LONGEST_RETRY_AFTER_S = 60.0
ANSWER_TIMEOUT_S = 10.0
# Statuses after which the same request, with the same ids, may get another answer; after two of them nothing was done.
AGAIN, NOTHING_DONE = (429, 500, 502, 503, 504), (429, 503)
WHO_ASKS = (401, 403)  # These are answered before the request is looked at.
MAX_SILENCE_S = 12.0  # Heartbeats come every 5 s: two of them and some time on the way.
LONG_AGO = "2000-01-01T00:00:00Z"
BATCH = "/orders/batch"

_MONEY = re.compile(r"([0-9]{1,15})\.([0-9]{4})", re.ASCII)
# What takes `min_as_of`, and what the fast lane serves.
_SHOWS_WRITES = re.compile(r"/(markets|portfolio|orders)\b")
_ORDER_ENTRY = re.compile(r"/orders|/markets/[^/?]+/orders")


def pips(text: str) -> int:
    """Whole pips of an amount as the API writes it: "0.6500" is 6500. Raises ValueError for any other form."""
    match = _MONEY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r:.50} is no amount with four decimals")
    return int(match[1]) * SHARE_PIPS + int(match[2])


def price_text(amount_pips: int) -> str:
    """An amount (not negative) as the API writes it: 6500 is "0.6500"."""
    return f"{amount_pips // SHARE_PIPS}.{amount_pips % SHARE_PIPS:04d}"


class PmarketError(Exception):
    """Everything that this file raises on purpose, but for TypeErrors and ValueErrors of its caller."""


class Problem(PmarketError):
    """The exchange said no, with a problem document (RFC 9457). Nothing was done, and repeating it is no use."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status, self.document = status, document
        self.code, self.detail = str(document.get("code")), str(document.get("detail"))
        self.order: dict[str, Any] | None = document.get("order")
        self.is_final = document.get("final") is True
        super().__init__(f"{status} {self.code}: {self.detail} {document.get('errors') or ''}".rstrip())


class Refused(Problem):
    """422: an ordinary answer; `code` is the rule, e.g. off_tick. `order` is the rejected order, where there is one."""


class NotFound(Problem):
    """404: not there, or another's; `is_final` if nothing can appear there any more."""


class Unavailable(PmarketError):
    """It was tried for the client's `patience_s` in vain; nothing was done."""


class Unsettled(PmarketError):
    """The same, but a write may have been done: recover() finds out. `answer`: a batch's results so far."""

    def __init__(self, write: "Write", answer: dict[str, Any] | None = None) -> None:
        self.write, self.answer = write, answer
        super().__init__(f"{write.method} {write.path} ({write.id}) may have been done: recover() finds out")


class NotTrusted(PmarketError):
    """`Book.why` as an exception."""


def _problem(status: int, document: Mapping[str, Any]) -> Problem:
    return {404: NotFound, 422: Refused}.get(status, Problem)(status, document)


def _waits() -> Iterator[float]:
    """Seconds that grow, each cut at random, so that a thousand bots do not come back in the same moment."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311  (no secret depends on it)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


@dataclass(slots=True)
class Write:
    """A request that changes something, as it is sent and sent again.

    `is_lost`: some attempt may have got through, or wait somewhere still. `sent_as`: the last 504's name of the order.
    """

    id: str
    who: str
    method: str
    path: str
    body: dict[str, Any] | None
    is_lost: bool = False
    sent_as: str | None = None

    @property
    def is_in_doubt(self) -> bool:
        return self.is_lost or self.sent_as is not None

    @property
    def is_place(self) -> bool:
        return self.method == "POST" and self.path.endswith("/orders")


class Journal:
    """Writes that were sent and are not known to have been answered. Several clients may share one, by their names.

    With a `path` it is a file for one process at a time: what was sent outlives the process; with `fsync` a power cut.
    """

    REWRITE_AFTER_LINES = 5_000

    def __init__(self, path: str | Path | None = None, *, fsync: bool = False) -> None:
        self._path, self._fsync = Path(path) if path is not None else None, fsync
        self._open: dict[str, Write] = {}
        self._file: FileIO | None = None
        self._lines = 0
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = _read_journal(self._path)
            self._rewrite(self._path)

    def unsettled(self, who: str) -> list[Write]:
        """What this client sent without learning the answer, oldest first."""
        return [write for write in self._open.values() if write.who == who]

    def begin(self, write: Write) -> None:
        """Before it is sent. Raises ValueError for an id that is under way already."""
        if write.id in self._open:
            raise ValueError(f"the id {write.id} is under way already")
        self._open[write.id] = write
        try:
            self._append(asdict(write))
        except BaseException:
            del self._open[write.id]  # It is not sent.
            raise

    def end(self, write: Write) -> None:
        """Its answer counts for more than a full disk: at worst it is settled again."""
        if self._open.pop(write.id, None) is not None:
            try:
                self._append({"id": write.id, "end": True})
            except OSError as error:
                log.warning("%s is settled, which the journal could not note: %s", write.id, error)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        if self._path is None:
            return
        try:
            if self._lines >= self.REWRITE_AFTER_LINES:
                self._rewrite(self._path)
            assert self._file is not None, "it was written at first"
            self._put(self._file, [line])
            self._lines += 1
        except OSError:
            self._lines = self.REWRITE_AFTER_LINES  # Half a line may be there: a rewrite comes next.
            raise

    def _rewrite(self, path: Path) -> None:
        """Forget what was answered. The new file takes the old one's place whole."""
        fresh, older = path.with_name(path.name + ".new"), self._file
        file = fresh.open("wb", buffering=0)
        self._put(file, map(asdict, self._open.values()))
        fresh.replace(path)
        self._file, self._lines = file, 0
        if older is not None:
            older.close()
        if self._fsync and os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)  # Else a power cut could bring the older file back.
            os.close(folder)

    def _put(self, file: FileIO, lines: Iterable[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        if file.write(data) != len(data):
            raise OSError("no room for the journal")
        if self._fsync:
            os.fsync(file.fileno())


def _read_journal(path: Path) -> dict[str, Write]:
    """A torn last line was never sent: its writing had not returned."""
    found: dict[str, Write] = {}
    for text in path.read_bytes().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            if line.get("end"):
                found.pop(line["id"], None)
            else:
                found[line["id"]] = Write(**{**line, "is_lost": True, "sent_as": None})
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("a line of %s cannot be read: %.80r", path, text)
    return found


async def register(url: str, username: str, password: str) -> str:
    """Sign up at the exchange with that base address; returns the API key, which is shown this once. Raises Problem."""
    async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S) as http:
        body = {"username": username, "password": password}
        response = await http.post(url.rstrip("/") + "/api/v1/register", json=body)
    if response.status_code != 201:
        raise _problem(response.status_code, _read_answer(response).document)
    return str(response.json()["api_key"])


class Recovered(NamedTuple):
    """What became of a write, for good: "done", "refused", "never" (nor will it be), "archived" (done or refused)."""

    write: Write
    outcome: str
    answer: dict[str, Any] | None = None
    problem: Problem | None = None


class Client:
    """One API key's view of an exchange; `async with` closes it.

    `url` is the base address (http://host:8000), `orders_url` the fast lane's (http://host:8001). `journal` is a
    Journal or a file's path; `name` tells the clients of one journal apart. One call is tried for `patience_s`, None
    is for ever. With `read_own_writes` reads wait until they show what this client wrote. A given `http` is shared;
    `pace` is waited for before each request.

    Every method raises Problem (Refused, NotFound), Unavailable, and if it writes, Unsettled. 429 and 503 are waited
    out (`Retry-After`); a lost connection, 500, 502 and 504 are met with the same request under the same id.
    """

    def __init__(
        self, url: str, key: str, *, orders_url: str | None = None, journal: Journal | str | Path | None = None,
        name: str = "bot", patience_s: float | None = 30.0, read_own_writes: bool = False,
        pace: Callable[[], Awaitable[None]] | None = None, http: httpx.AsyncClient | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.journal = journal if isinstance(journal, Journal) else Journal(journal)
        self._owns_journal = journal is not self.journal
        self._url = url.rstrip("/") + "/api/v1"
        self._orders_url = orders_url.rstrip("/") + "/api/v1" if orders_url else self._url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._patience_s, self._reads_own_writes, self._pace = patience_s, read_own_writes, pace
        self._http = http or httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S)
        self._owns_http = http is None
        self._prefix, self._number = secrets.token_hex(8), 0
        self._in_flight: set[str] = set()
        self._reached: dict[str, str] = {}
        self.as_of = ""  # What the reads have to reach to show all that this client wrote, for `min_as_of`.
        self._recovered: list[Recovered] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owns_http:
            await self._http.aclose()
        if self._owns_journal:
            self.journal.close()

    def new_id(self) -> str:
        """A client id that no process has used before."""
        self._number += 1
        return f"{self._prefix}-{self._number}"

    async def place(
        self, market_id: str, *, outcome: str, side: str, price: str | None = None, quantity: int | None = None,
        client_order_id: str | None = None, **terms: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Place an order and return it as the commit left it, fills included. `price` is "0.0001" to "0.9999".

        `terms` are further fields: `type`, `time_in_force`, `expires_at`, `post_only`, `reduce_only`,
        `self_trade_prevention`, `max_cost`, `valid_until`, `on_suspend`.
        """
        name = client_order_id or self.new_id()
        body = {"outcome": outcome, "side": side, "price": price, "quantity": quantity, **terms}
        path = f"/markets/{quote(str(market_id), safe='')}/orders"
        return await self._write("POST", path, {**body, "client_order_id": name}, name)

    async def amend(
        self, order_id: str | None = None, *, client_order_id: str | None = None, price: str | None = None,
        quantity: int | None = None, reduce_by: int | None = None, client_id: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Change an order, named by one of its two ids; `quantity` is the new total, `reduce_by` comes off it."""
        name = client_id or self.new_id()
        body = {"price": price, "quantity": quantity, "reduce_by": reduce_by, "client_id": name}
        return await self._write("PATCH", _order_path(order_id, client_order_id), body, name)

    async def cancel(
        self, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> dict[str, Any]:
        """Cancel an order, named by one of its two ids; returns its final state, also if it had already ended."""
        return await self._write("DELETE", _order_path(order_id, client_order_id), None, self.new_id())

    async def cancel_all(
        self, market_id: str | None = None, *, outcome: str | None = None, side: str | None = None
    ) -> int:
        """Cancel all open orders, and if no outcome or side is named those on their way; returns how many were open."""
        chosen = urlencode({k: v for k, v in {"outcome": outcome, "side": side}.items() if v is not None})
        path = "/orders" if market_id is None else f"/markets/{quote(str(market_id), safe='')}/orders"
        answer = await self._write("DELETE", f"{path}?{chosen}" if chosen else path, None, self.new_id())
        return int(answer["cancelled"])

    async def batch(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Up to 500 places, amends and cancels, as `/orders/batch` has them. A refusal is a result here, no exception.

        While an item's outcome is not known (429, 5xx) the whole is sent again: what is done is not done twice.
        """
        own = {"place": "client_order_id", "amend": "client_id"}
        orders = []
        for item in items:
            name = own.get(item.get("op", "place"))
            orders.append({**item, name: item.get(name) or self.new_id()} if name else dict(item))
        answer = await self._write("POST", BATCH, {"orders": orders}, self.new_id())
        return list(answer["results"])

    async def deposit(self, amount: str, *, client_id: str | None = None) -> dict[str, Any]:
        """Pay play money in: `amount` such as "1000.0000". Returns `{cash}`, in dollars. Raises Refused."""
        return await self._move("deposit", amount, client_id or self.new_id())

    async def withdraw(self, amount: str, *, client_id: str | None = None) -> dict[str, Any]:
        return await self._move("withdraw", amount, client_id or self.new_id())

    async def _move(self, way: str, amount: str, name: str) -> dict[str, Any]:
        return await self._write("POST", f"/account/{way}", {"amount": amount, "client_id": name}, name)

    async def heartbeat(self, timeout_s: int) -> dict[str, Any]:
        """The dead-man switch: unless the next one comes within 5 to 300 s all orders of this key end; 0 stops it."""
        return await self._ask("POST", "/account/heartbeat", {"timeout_s": timeout_s})

    async def recover(self, *, trade_late: bool = False) -> list[Recovered]:
        """Find out what became of every write whose answer is not known, oldest first. Call it before you trade.

        An order is looked up by its client id. Where it may still come, its id is used up: an order with the same id
        that had to arrive in the year 2000 is sent. Either that is refused, and the first can never trade, or the first
        was faster, and is found. With `trade_late` the very same order is sent instead. All else (cancels, amendments,
        cash) is sent again as it was. Raises as every call; what is settled by then is in the next call's answer.
        """
        for write in self.journal.unsettled(self.name):
            if write.id not in self._in_flight:
                self._recovered.append(await self._recover(write, trade_late))
        found, self._recovered = self._recovered, []
        return found

    async def _recover(self, write: Write, trade_late: bool) -> Recovered:
        try:
            found = await self._looked_up(write) if write.is_place else None
            if found is None and not trade_late and (write.is_place or write.path == BATCH):
                found = await self._use_up(write)
            elif found is None:
                found = Recovered(write, "done", await self._send(write))
        except Problem as problem:
            if problem.status in WHO_ASKS:
                raise
            found = Recovered(write, "archived" if problem.status == 410 else "refused", None, problem)
        self.journal.end(write)
        return found

    async def _looked_up(self, write: Write) -> Recovered | None:
        """What the exchange knows of an order; None where its "no" is not the last word."""
        assert write.body is not None, "an order has a body"
        # With the id that the last 504 named a "no" is final for every attempt, unless one is lost.
        sent_as = None if write.is_lost else write.sent_as
        try:
            order = await self.order(client_order_id=write.body["client_order_id"], sent_as=sent_as)
        except NotFound as problem:
            return Recovered(write, "never", None, problem) if problem.is_final else None
        return Recovered(write, "refused" if order["status"] == "rejected" else "done", order)

    async def _use_up(self, write: Write) -> Recovered:
        """See to it that what has not traded yet never will; find what has."""
        assert write.body is not None, "orders have a body"
        items = write.body.get("orders", [write.body])
        late = [{**item, "valid_until": LONG_AGO} if _is_place(item) else item for item in items]
        body = {"orders": late} if write.path == BATCH else late[0]
        try:
            answer = await self._send(Write(write.id, write.who, "POST", write.path, body, is_lost=True))
        except Refused as problem:
            return Recovered(write, "never", None, problem)
        except Problem as problem:
            found = await self._looked_up(write) if problem.status == 409 and write.is_place else None
            if found is None:
                raise
            return found
        results = answer.get("results", [])
        for place, (item, result) in enumerate(zip(items, results, strict=False)):
            if result["status"] == 409 and _is_place(item):
                # Where the id is no order's but an amendment's, the 409 is all that there is to say.
                with contextlib.suppress(NotFound):
                    order = await self.order(client_order_id=item["client_order_id"])
                    results[place] = {"status": 200, "order": order}
        return Recovered(write, "done", answer)

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Any read: `get(f"/markets/{market_id}/orderbook", outcome="Yes")`. Parameters that are None are left out."""
        return await self._ask("GET", path, query=parameters)

    async def pages(self, path: str, **parameters: Any) -> AsyncIterator[dict[str, Any]]:
        """The rows of any list, page after page: `async for fill in client.pages("/portfolio/fills")`."""
        while True:
            page = await self.get(path, **parameters)
            for row in page["results"]:
                yield row
            if page.get("next") is None:
                return
            parameters["cursor"] = page["next"]

    async def order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, sent_as: str | None = None
    ) -> dict[str, Any]:
        """An order by one of its two ids. With `sent_as`, the last 504's `order_id`, a NotFound can be final."""
        return await self.get(_order_path(order_id, client_order_id), order_id=sent_as)

    async def _write(self, method: str, path: str, body: dict[str, Any] | None, name: str) -> dict[str, Any]:
        """Note it down, send it until it is answered, and cross it out."""
        if body is not None:
            body = {field: value for field, value in body.items() if value is not None}
            _refuse_floats(body)
        write = Write(name, self.name, method, path, body)
        self.journal.begin(write)
        try:
            answer = await self._send(write)
        except (Problem, Unavailable) as error:
            # Whether an earlier attempt got through is not for a "who are you?" to say.
            if not (write.is_in_doubt and isinstance(error, Problem) and error.status in WHO_ASKS):
                self.journal.end(write)
            raise
        self.journal.end(write)
        return answer

    async def _send(self, write: Write) -> dict[str, Any]:
        self._in_flight.add(write.id)
        try:
            answer = await self._ask(write.method, write.path, write.body, write=write)
        except Refused as refusal:
            self._remember(refusal.document)
            raise
        finally:
            self._in_flight.discard(write.id)
        self._remember(answer)
        return answer

    def _remember(self, answer: Mapping[str, Any]) -> None:
        """How far the reads have to be, slot by slot, to show what was just written."""
        for part in (answer, *(answer.get("results") or ())):
            order = part.get("order") or part if isinstance(part, dict) else {}
            for position in filter(None, str(order.get("as_of") or "").split(".")):
                slot = position.partition("-")[0]
                known = self._reached.get(slot, "")
                self._reached[slot] = max(known, position, key=lambda text: (len(text), text))
        self.as_of = ".".join(self._reached.values())

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *,
        query: Mapping[str, Any] | None = None, write: Write | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Send one request until the exchange has answered it. Raises Problem, Unavailable, Unsettled."""
        address = (self._orders_url if _ORDER_ENTRY.match(path) else self._url) + path
        content = None if body is None else json.dumps(body).encode()
        asked = {k: v for k, v in (query or {}).items() if v is not None}
        if method == "GET" and self._reads_own_writes and self.as_of and _SHOWS_WRITES.match(path):
            asked.setdefault("min_as_of", self.as_of)
        waits, started_s = _waits(), time.monotonic()
        while True:
            if self._pace is not None:
                await self._pace()
            was_lost = write is None or write.is_lost
            if write is not None:
                write.is_lost = True  # Until it is answered, also where this task is cancelled.
            try:
                request = self._http.request(
                    method, address, headers=self._headers, content=content, params=asked or None
                )
                answer = _read_answer(await request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                answer = _Answer(0, {}, type(error).__name__)  # It has never left.
            except httpx.RequestError as error:
                answer = _Answer(0, {}, type(error).__name__, is_lost=True)
            if write is not None:
                named = answer.document.get("order_id") if answer.status == 504 and write.is_place else None
                write.sent_as = named if isinstance(named, str) else write.sent_as
                write.is_lost = was_lost or (answer.is_lost and not isinstance(named, str))
            if not answer.trouble:
                if answer.status >= 400:
                    raise _problem(answer.status, answer.document)
                return answer.document
            wait_s = max(next(waits), answer.retry_after_s)
            log.info("%s %s: %s; again in %.1f s", method, address, answer.trouble, wait_s)
            if self._patience_s is not None and time.monotonic() + wait_s - started_s > self._patience_s:
                if write is not None and write.is_in_doubt:
                    raise Unsettled(write, answer.document or None)
                raise Unavailable(f"{method} {address}: {answer.trouble}")
            await asyncio.sleep(wait_s)


class _Answer(NamedTuple):
    """What came of one attempt. Where there was `trouble` it is worth another; `is_lost`: it may have been done."""

    status: int
    document: dict[str, Any]
    trouble: str = ""
    retry_after_s: float = 0.0
    is_lost: bool = False


def _read_answer(response: httpx.Response) -> _Answer:
    """An answer that is not in the exchange's form is a proxy's, and says nothing about the request."""
    status = response.status_code
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not (200 <= status < 300 or (status >= 400 and "code" in document)):
        return _Answer(status, {}, f"{status} in a form that is not the exchange's", is_lost=True)
    if status in AGAIN:
        text = response.headers.get("Retry-After", "")
        wait_s = min(float(text), LONGEST_RETRY_AFTER_S) if re.fullmatch("[0-9]{1,9}", text) else 0.0
        return _Answer(status, document, f"{status} {document['code']}", wait_s, status not in NOTHING_DONE)
    results = document.get("results")
    if status == 200 and isinstance(results, list):
        # Of a batch: an item that nobody knows about yet. Rows of lists have a word as their status.
        count = sum(isinstance(item, dict) and item.get("status") in AGAIN for item in results)
        if count:
            return _Answer(status, document, f"{count} items are not settled", 1.0, is_lost=True)
    return _Answer(status, document)


def _is_place(item: Mapping[str, Any]) -> bool:
    return item.get("op", "place") == "place"


def _order_path(order_id: str | None, client_order_id: str | None) -> str:
    if (order_id is None) == (client_order_id is None):
        raise ValueError("name the order by order_id or by client_order_id")
    kind, name = ("", order_id) if order_id else ("by-client-id/", client_order_id)
    return f"/orders/{kind}{quote(str(name), safe='')}"


def _refuse_floats(value: Any) -> None:
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _refuse_floats(part)
    elif value is not None and not isinstance(value, str | int):
        raise TypeError(f"{value!r}: prices and money are strings such as '0.6500', never floats or Decimals")


class Book:
    """A market's resting orders, added up by price, as the feed tells; it knows when that is not to be trusted.

    `why` is empty, or says why the book must not be used now: "no snapshot yet", "gap", "checksum", "malformed frame",
    "disconnected", "server not live", "silent for 12 s", "refused: …", "left". Reading it then raises NotTrusted. Its
    Feed brings it back. A binary market has one book: a bid at 6500 is an ask for the second outcome at 3500.
    """

    def __init__(self, market_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.key, self.market_id = ("book", market_id), market_id
        self.seq: int | None = None
        self.restarts, self.needs_new_start, self._why = 0, False, "no snapshot yet"
        self.version = 0  # Goes up with every change of the levels or of the trust in them; see `newer`.
        self._clock, self._vouched_s = clock, clock()
        self._levels: dict[str, dict[str, dict[int, int]]] = {}
        self._changed = asyncio.Event()

    @property
    def why(self) -> str:
        """Why it cannot be trusted; empty if it can."""
        return self._why or (f"silent for {self.age_s:.0f} s" if self.age_s > MAX_SILENCE_S else "")

    @property
    def trusted(self) -> bool:
        return not self.why

    @property
    def age_s(self) -> float:
        """Seconds since a frame or a heartbeat vouched for these levels."""
        return self._clock() - self._vouched_s

    @property
    def outcomes(self) -> list[str]:
        return list(self._levels)

    def bids(self, outcome: str) -> list[tuple[int, int]]:
        """(price in pips, shares), best first. Raises NotTrusted, and KeyError for an outcome without a book."""
        return self._sorted(outcome, "bid", self.why)

    def asks(self, outcome: str) -> list[tuple[int, int]]:
        return self._sorted(outcome, "ask", self.why)

    def best(self, outcome: str) -> tuple[int | None, int | None]:
        """The best bid's and the best ask's price in pips, None for an empty side. Raises as `bids`."""
        bids, asks = self.bids(outcome), self.asks(outcome)
        return bids[0][0] if bids else None, asks[0][0] if asks else None

    async def newer(self, version: int) -> int:
        """Wait until the book is newer than that `version`; returns what it is now."""
        while self.version <= version:
            self._changed.clear()
            await self._changed.wait()
        return self.version

    def checksum(self) -> int:
        """CRC-32 of the ten best levels a side, as the feed's documentation has it."""
        lines = [
            f"{outcome}|{side}|{price_text(price)}|{quantity}"
            for outcome in self._levels
            for side in ("bid", "ask")
            for price, quantity in self._sorted(outcome, side)[:10]
        ]
        return zlib.crc32("\n".join(lines).encode())

    def _sorted(self, outcome: str, side: str, why: str = "") -> list[tuple[int, int]]:
        if why:
            raise NotTrusted(why)
        return sorted(self._levels[outcome][side].items(), reverse=side == "bid")

    def take(self, frame: Mapping[str, Any]) -> None:
        try:
            why = self._apply(frame, frame["data"])
        except (KeyError, TypeError, ValueError, AttributeError):
            why = "malformed frame"
        if why in ("checksum", "malformed frame"):
            self.seq = None  # The levels are worth nothing: no delta can follow on them.
        self._conclude(why, has_changed=True)

    def hear(self, *, is_live: bool, seq: int | None) -> None:
        if self.seq is not None and not self.needs_new_start:
            why = "" if seq == self.seq else "gap"
            self._conclude(why if is_live and seq is not None else "server not live")

    def lose(self, why: str) -> None:
        self._conclude(why)

    def refuse(self, problem: Problem) -> None:
        self._conclude(f"refused: {problem.code}")

    def _conclude(self, why: str, *, has_changed: bool = False) -> None:
        has_changed = has_changed or self.why != why
        self._why, self.needs_new_start = why, why in ("gap", "checksum", "malformed frame")
        if not why:
            self._vouched_s = self._clock()
        if has_changed:
            self.version += 1
            self._changed.set()

    def _apply(self, frame: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        """Take a frame in; what is wrong with it, or nothing."""
        seq, prev_seq = _number(frame["seq"]), frame["prev_seq"]
        if data["type"] == "snapshot":
            if prev_seq is not None and self.seq is not None and seq < self.seq:
                return "gap"
            self._replace(data["bids"], data["asks"])
        elif data["type"] != "delta":
            return "malformed frame"
        elif prev_seq is None or prev_seq != self.seq or seq <= prev_seq:
            return self._why if self.seq is None and self._why else "gap"
        else:
            for change in data["changes"]:
                self._set(*change)
        self.seq = seq
        return "" if self.checksum() == data["checksum"] else "checksum"

    def _replace(self, bids: Mapping[str, Any], asks: Mapping[str, Any]) -> None:
        if list(bids) != list(asks):
            raise ValueError("bids and asks name different outcomes")
        self._levels = {outcome: {"bid": {}, "ask": {}} for outcome in bids}
        for side, books in (("bid", bids), ("ask", asks)):
            for outcome, levels in books.items():
                for price, quantity in levels:
                    self._set(outcome, side, price, quantity)

    def _set(self, outcome: str, side: str, price: str, quantity: int) -> None:
        levels, price_pips = self._levels[outcome][side], pips(price)
        if not 0 < price_pips < SHARE_PIPS:
            raise ValueError("a price is above 0 and below $1")
        if _number(quantity):
            levels[price_pips] = quantity
        else:
            levels.pop(price_pips, None)


class Update(NamedTuple):
    """A frame of a Stream; `complete` is False where something before it may be missing, and at first."""

    seq: int
    data: Any
    complete: bool


class Stream:
    """Updates of one channel, to be read with `async for`; it goes on through gaps and lost connections.

    `trades`: `data` is a list of trades, oldest first, each of them once. Else it is as it comes, in channels that this
    file does not know too. Raises Problem if the server refuses the channel; ends once it is left.
    """

    LONGEST_QUEUE = 10_000

    def __init__(self, channel: str, market_id: str | None) -> None:
        self.channel, self.key = channel, (channel, market_id)
        self.seq: int | None = None
        self.restarts, self.needs_new_start = 0, False
        self._end: Exception | None = None
        self._updates: collections.deque[Update] = collections.deque()
        self._arrived = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while not self._updates:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        return self._updates.popleft()

    def take(self, frame: Mapping[str, Any]) -> None:
        if self.needs_new_start:
            return  # Of the old subscription; the new one brings it again, or says that it cannot.
        try:
            self._add(_number(frame["seq"]), frame["prev_seq"], frame["data"])
        except (KeyError, TypeError, ValueError, AttributeError):
            self.needs_new_start = True

    def hear(self, *, is_live: bool, seq: int | None) -> None:
        if is_live and seq is not None and self.seq is not None and seq != self.seq:
            self.needs_new_start = True

    def lose(self, why: str) -> None:
        # It is asked for again, unless it is left; the first frame then tells whether something was missed.
        self._end = StopAsyncIteration() if why == "left" else None
        self._arrived.set()

    def refuse(self, problem: Exception) -> None:
        self._end = problem
        self._arrived.set()

    def _add(self, seq: int, prev_seq: int | None, data: Any) -> None:
        if prev_seq is not None and prev_seq != self.seq:
            self.needs_new_start = True
            return
        is_linked = prev_seq is not None or seq == self.seq
        if self.channel == "trades":
            known = self.seq if self.seq is not None and self.seq <= seq else -1
            rows, data = data, [row for row in reversed(data) if _number(row["seq"]) > known]
            # The rows have no hole between them: if some were told before, none is missing.
            is_linked = is_linked or len(data) < len(rows)
        self.seq = seq
        if self.channel == "trades" and not data and is_linked:
            return
        if len(self._updates) >= self.LONGEST_QUEUE:
            self._updates.popleft()
            self._updates[0] = self._updates[0]._replace(complete=False)
        self._updates.append(Update(seq, data, is_linked))
        self._arrived.set()


def _number(value: Any) -> int:
    """A whole number that is not negative. Raises ValueError."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.50} is no whole number")
    return value


Listener = Book | Stream
AnyListener = TypeVar("AnyListener", Book, Stream)


class Feed:
    """One WebSocket, for market data and, with a `key`, for an account: `async with Feed("ws://host:8001/ws/v1")`.

    What is asked of it is subscribed to in the background, and again whenever the connection was lost or a listener has
    lost the thread. It reconnects for ever, also when nothing was heard for MAX_SILENCE_S.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self._url, self._key = url, key
        self._listeners: dict[tuple[str, str | None], Listener] = {}
        self._task: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        """Forget all that is true of one connection only."""
        self._is_well, self._number = False, 0
        self._asked: tuple[Listener | None, asyncio.Future[dict[str, Any]]] | None = None
        # Who is to be subscribed to, or left if nobody listens there any more; and whose subscription stands.
        self._wishes: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()
        self._active: set[tuple[str, str | None]] = set()
        for key, listener in self._listeners.items():
            listener.restarts = 0
            self._wishes.put_nowait(key)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="feed")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "it was entered"
        for listener in list(self._listeners.values()):
            self.leave(listener)
        self._task.cancel()
        await asyncio.wait([self._task])

    def book(self, market_id: str) -> Book:
        """The market's book, which this feed keeps from now on. `market_id` is the id: frames know no slugs."""
        book = self._listeners.get(("book", market_id))
        return book if isinstance(book, Book) else self._join(Book(market_id))

    def stream(self, channel: str, market_id: str | None = None) -> Stream:
        """A market's "trades", "ticker" or "lifecycle", or the "account", which needs the `key`. For one reader."""
        if channel == "book":
            raise ValueError("book() keeps books")
        stream = self._listeners.get((channel, market_id))
        return stream if isinstance(stream, Stream) else self._join(Stream(channel, market_id))

    def leave(self, listener: Listener) -> None:
        """End a subscription; a Book says "left" from now on, a Stream ends."""
        if self._listeners.get(listener.key) is listener:
            del self._listeners[listener.key]
            self._active.discard(listener.key)
            self._wishes.put_nowait(listener.key)
            listener.lose("left")

    def _join(self, listener: AnyListener) -> AnyListener:
        self._listeners[listener.key] = listener
        self._wishes.put_nowait(listener.key)
        return listener

    async def _run(self) -> None:
        waits = _waits()
        while True:
            why = "disconnected"
            try:
                async with connect(
                    self._url, open_timeout=ANSWER_TIMEOUT_S, close_timeout=1, ping_interval=None, compression=None,
                    max_size=2**25,
                ) as socket:  # fmt: skip
                    self._begin()
                    await self._serve(socket)
            except (OSError, WebSocketException, PmarketError) as error:
                why = f"silent for {MAX_SILENCE_S:.0f} s" if isinstance(error, TimeoutError) else why
                log.info("the feed at %s is lost: %s %s", self._url, why, error)
            finally:
                for listener in self._listeners.values():
                    listener.lose(why)
            waits = _waits() if self._is_well else waits
            self._is_well = False
            await asyncio.sleep(next(waits))

    async def _serve(self, socket: ClientConnection) -> None:
        """Until the connection ends. Raises OSError, WebSocketException, TimeoutError, PmarketError."""
        asking = asyncio.create_task(self._ask_for_all(socket), name="feed's questions")
        try:
            while True:
                async with asyncio.timeout(MAX_SILENCE_S):
                    message = await socket.recv()
                self._take(message)
                if asking.done():
                    asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask_for_all(self, socket: ClientConnection) -> None:
        """One question after the other, since the server works them side by side."""
        refusal = await self._ask(socket, "auth", None, key=self._key) if self._key is not None else None
        while True:
            channel, market_id = key = await self._wishes.get()
            listener = self._listeners.get(key)
            fields: dict[str, Any] = {"channel": channel, "market_id": market_id}
            if listener is None:
                await self._ask(socket, "unsubscribe", None, **fields)
            elif refusal is not None and channel == "account":
                listener.refuse(refusal)
            else:
                # If going on from there has not helped once, it begins afresh.
                fields["resume_from"] = listener.seq if listener.restarts < 2 else None
                problem = await self._ask(socket, "subscribe", listener, **fields)
                if problem is not None and self._listeners.get(key) is listener:
                    listener.refuse(problem)

    async def _ask(
        self, socket: ClientConnection, op: str, listener: Listener | None, **fields: Any
    ) -> Problem | None:
        """Send one frame; what its answer has against it. An answer that says "later" is waited out."""
        waits = _waits()
        while True:
            self._number += 1
            answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._asked = listener, answered
            frame = {"id": self._number, "op": op, **{k: v for k, v in fields.items() if v is not None}}
            await socket.send(json.dumps(frame))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await answered
            if answer["ok"] is True:
                return None
            document = answer["error"] if isinstance(answer.get("error"), dict) else {}
            status, named_s = document.get("status"), answer.get("retry_after_s")
            if type(status) is not int or status not in AGAIN:
                return _problem(status if type(status) is int else 0, document)
            named_s = min(named_s, LONGEST_RETRY_AFTER_S) if type(named_s) is int else 0
            await asyncio.sleep(max(next(waits), named_s))

    def _take(self, message: str | bytes) -> None:
        try:
            frame = json.loads(message) if isinstance(message, str) else None
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict):
            raise PmarketError(f"no JSON object: {message!r:.80}")
        if "ok" in frame:
            self._take_answer(frame)
        elif frame.get("channel") == "heartbeat":
            self._take_heartbeat(frame.get("data"))
        else:
            with contextlib.suppress(TypeError):  # A channel or market that is no text is nobody's.
                listener = self._listeners.get((frame.get("channel", ""), frame.get("market_id")))
                if listener is not None:
                    listener.take(frame)
                    self._mend(listener)

    def _take_answer(self, answer: dict[str, Any]) -> None:
        if self._asked is None or answer.get("id") != self._number:
            return
        listener, answered = self._asked
        if listener is not None and answer["ok"] is True and self._listeners.get(listener.key) is listener:
            # At once: the first frame may be the very next.
            self._active.add(listener.key)
            if isinstance(listener, Stream):
                listener.needs_new_start = False
        if not answered.done():
            answered.set_result(answer)

    def _take_heartbeat(self, data: Any) -> None:
        try:
            is_live = data["live"] is True
            named = {(each["channel"], each.get("market_id")): each["seq"] for each in data["subscriptions"]}
        except (KeyError, TypeError, AttributeError):
            raise PmarketError("a heartbeat in another form") from None
        self._is_well = True
        for key in list(self._active):
            # One that the server does not name it does not know of: that is as bad as a gap.
            listener, seq = self._listeners[key], named.get(key, -1)
            listener.hear(is_live=is_live, seq=seq if seq is None or type(seq) is int else -1)
            if not listener.needs_new_start:
                listener.restarts = 0
            self._mend(listener)

    def _mend(self, listener: Listener) -> None:
        """Subscribe again if only that helps: at once, and where that did not last, after growing waits."""
        if listener.key in self._active and listener.needs_new_start:
            self._active.discard(listener.key)
            longest_s = min(FIRST_WAIT_S * 2.0 ** min(listener.restarts, 9), LONGEST_WAIT_S)
            wait_s = longest_s * random.uniform(0.5, 1.0) if listener.restarts else 0.0  # noqa: S311
            listener.restarts += 1
            log.info("subscribing to %s again in %.1f s", listener.key, wait_s)
            asyncio.get_running_loop().call_later(wait_s, self._wishes.put_nowait, listener.key)
