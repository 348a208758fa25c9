"""A client of pmarket in one file. Copy it beside your bot: it needs Python 3.11, httpx and websockets.

    Client    orders, cash and reads over HTTP: every intention has its id before it is sent, and happens once
    Journal   what was sent and is not known to have been answered; kept in a file it outlives a crash
    Feed      one WebSocket that connects and subscribes again by itself
    Book      a market's order book out of the feed, which says when it cannot be trusted, and why
    Stream    trades, tickers or an account's notifications out of the feed
    Pace      at most so many requests a second

It is written for asyncio: a bot waits for many things at once (frames, answers, a timer), none of which is work for the
processor, and on one event loop a book can be read and acted upon without a lock. Not for use from several threads.

Money and prices go in and come out as the API has them, as strings such as "0.6500"; a float is a TypeError. `pips` and
`price_text` are for arithmetic: a pip is $0.0001, and a Book counts in whole pips. What can go wrong:

    PmarketError
    ├── Problem          the exchange's no: `status`, `code`, `detail` and the whole `document`
    │   ├── Refused      422: the request was well-formed, and a rule says no; `code` is the rule, e.g. off_tick
    │   └── NotFound     404: not there, or another's; `is_final` if nothing can appear there any more
    ├── Unavailable      it was tried for `patience_s` in vain; nothing was done
    ├── Unsettled        the same, but a write may have been done: `Client.recover` finds out
    └── NotTrusted       the book must not be read now

A 409 (one id for two different commands) is a Problem like a 400: a mistake of the program, never worth a repetition.
It is longer than a module of the exchange may be, because one file is the point of it.
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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
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
# Statuses after which the same request, with the same ids, may get another answer.
AGAIN = frozenset({429, 500, 502, 503, 504})
# Answers that say that nothing was done, so that an id is as good as new.
NOTHING_DONE = frozenset({429, 503})
# Heartbeats come every 5 s: two of them and some time on the way.
MAX_SILENCE_S = 12.0
MAX_FRAME_BYTES = 32 * 1024 * 1024
CHECKED_LEVELS = 10
LONG_AGO = "2000-01-01T00:00:00Z"
# What these answer, they answer before they look at the request.
WHO_ASKS = frozenset({401, 403})
BATCH = "/orders/batch"

_MONEY = re.compile(r"([0-9]{1,15})\.([0-9]{4})", re.ASCII)
_TOKEN = re.compile(r"[0-9]{1,2}-[0-9]{1,18}(\.[0-9]{1,2}-[0-9]{1,18})*", re.ASCII)


def pips(text: str) -> int:
    """Whole pips of an amount as the API writes it: "0.6500" is 6500. Raises ValueError for any other form."""
    match = _MONEY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r:.50} is no amount with four decimals")
    return int(match[1]) * SHARE_PIPS + int(match[2])


def price_text(amount_pips: int) -> str:
    """An amount (not negative) as the API writes it: 6500 is "0.6500"."""
    return f"{amount_pips // SHARE_PIPS}.{amount_pips % SHARE_PIPS:04d}"


# What can go wrong --------------------------------------------------------------------------------


class PmarketError(Exception):
    """Everything that this file raises on purpose, but for TypeErrors and ValueErrors of its caller."""


class Problem(PmarketError):
    """The exchange said no, with a problem document (RFC 9457). Nothing was done."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(document.get("code"))
        self.detail = str(document.get("detail"))
        self.document = document
        super().__init__(f"{status} {self.code}: {self.detail} {document.get('errors') or ''}".rstrip())


class Refused(Problem):
    """422: an ordinary answer, about which a bot decides. `order` is the rejected order, where there is one."""

    @property
    def order(self) -> dict[str, Any] | None:
        return self.document.get("order")


class NotFound(Problem):
    """404."""

    @property
    def is_final(self) -> bool:
        return self.document.get("final") is True


class Unavailable(PmarketError):
    """The exchange could not be asked, or had no time, for as long as the client's patience lasts. Nothing was done."""


class Unsettled(PmarketError):
    """A write may have been done or not; it stays in the journal. `answer`: a batch's results as far as they came."""

    def __init__(self, write: "Write", answer: dict[str, Any] | None = None) -> None:
        self.write = write
        self.answer = answer
        super().__init__(f"{write.method} {write.path} ({write.id}) may have been done: recover() finds out")


class NotTrusted(PmarketError):
    """`Book.why` as an exception."""


def _problem(status: int, document: Mapping[str, Any]) -> Problem:
    return {404: NotFound, 422: Refused}.get(status, Problem)(status, document)


# Patience -----------------------------------------------------------------------------------------


class Backoff:
    """Waits that grow from FIRST_WAIT_S to LONGEST_WAIT_S; with `jitter` each is cut by up to a half, so that a
    thousand bots do not come back in the same moment."""

    def __init__(self) -> None:
        self._next_s = FIRST_WAIT_S

    def wait_s(self) -> float:
        wait_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  (no secret depends on it)
        self._next_s = min(2 * self._next_s, LONGEST_WAIT_S)
        return wait_s


class Pace:
    """At most `per_second` requests a second, with bursts of `burst`: for a bot that stays below the limits."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = time.monotonic()

    async def take(self) -> None:
        """Returns when the next request may go. The token is taken at once, so those who wait queue up."""
        now_s = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_second) - 1
        self._at_s = now_s
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._per_second)


# The journal --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Write:
    """A request that changes something, as it is sent and sent again: by whom, with which id, where, what.

    `is_lost`: some attempt has had no answer, so that it may wait somewhere still. `sent_as`: the order id that the
    last attempt's 504 named. A Write that was read from a file is lost unless the file says otherwise.
    """

    id: str
    who: str
    method: str
    path: str
    body: dict[str, Any] | None
    sent_as: str | None = None
    is_lost: bool = False
    is_unknown: bool = False

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may have been done."""
        return self.is_lost or self.is_unknown


class Journal:
    """Writes that were sent and are not known to have been answered. Several clients may share one, by their names.

    With a `path` they are kept in a file of JSON lines: a line is with the operating system before its request leaves,
    so it outlives the process. Only with `fsync` does it outlive a machine that loses power too; that costs some
    milliseconds a write. Without a path all is forgotten with the process. A file is for one process at a time.
    """

    REWRITE_AFTER_LINES = 5_000

    def __init__(self, path: str | Path | None = None, *, fsync: bool = False) -> None:
        self._path = Path(path) if path is not None else None
        self._fsync = fsync
        self._open = _read_journal(self._path) if self._path is not None else {}
        self._lines = 0
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._rewrite(self._path)

    def unsettled(self, who: str) -> list[Write]:
        """What this client sent without learning the answer, oldest first."""
        return [write for write in self._open.values() if write.who == who]

    def begin(self, write: Write) -> None:
        """Must have returned before the write is sent. Raises ValueError for an id that is under way already."""
        if write.id in self._open:
            raise ValueError(f"the id {write.id} is under way already")
        self._open[write.id] = write
        try:
            self._append(_line(write))
        except OSError:
            del self._open[write.id]  # It is not sent.
            raise

    def note(self, write: Write, sent_as: str | None) -> None:
        """The order id of the last attempt's 504; None before the next attempt."""
        if write.sent_as != sent_as:
            write.sent_as = sent_as
            self._append({"id": write.id, "sent_as": sent_as})

    def end(self, write: Write) -> None:
        """Its answer is known, whatever it was."""
        if self._open.pop(write.id, None) is not None:
            self._append({"id": write.id, "end": True})

    def close(self) -> None:
        if self._path is not None:
            self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        if self._path is None:
            return
        self._file.write(json.dumps(line).encode() + b"\n")
        self._flush()
        self._lines += 1
        if self._lines > self.REWRITE_AFTER_LINES:
            self._file.close()
            self._rewrite(self._path)

    def _rewrite(self, path: Path) -> None:
        """Forget what was answered. The new file takes the old one's place whole."""
        fresh = path.with_name(path.name + ".new")
        self._file = fresh.open("wb")
        for write in self._open.values():
            self._file.write(json.dumps(_line(write)).encode() + b"\n")
        self._flush()
        fresh.replace(path)
        self._lines = 0

    def _flush(self) -> None:
        self._file.flush()
        if self._fsync:
            os.fsync(self._file.fileno())


def _line(write: Write) -> dict[str, Any]:
    line = {"id": write.id, "who": write.who, "method": write.method, "path": write.path, "body": write.body}
    return line | ({"sent_as": write.sent_as} if write.sent_as is not None else {})


def _read_journal(path: Path) -> dict[str, Write]:
    """A torn last line was never sent: its writing had not returned."""
    found: dict[str, Write] = {}
    for text in path.read_bytes().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            identity = line["id"]
            if line.get("end"):
                found.pop(identity, None)
            elif "method" in line:
                found[identity] = Write(
                    identity, line["who"], line["method"], line["path"], line["body"], line.get("sent_as")
                )
            elif identity in found:
                found[identity].sent_as = line["sent_as"]
        except (ValueError, TypeError, KeyError):
            log.warning("a line of %s cannot be read: %.80r", path, text)
    for write in found.values():
        write.is_lost, write.is_unknown = write.sent_as is None, True
    return found


# Orders, cash and reads ---------------------------------------------------------------------------


async def register(url: str, username: str, password: str) -> str:
    """Sign up at the exchange with that base address; returns the API key, which is shown this once. Raises Problem."""
    async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S) as http:
        body = {"username": username, "password": password}
        response = await http.post(url.rstrip("/") + "/api/v1/register", json=body)
    if response.status_code != 201:
        raise _problem(response.status_code, _read_answer(response).document)
    return str(response.json()["api_key"])


class Recovered(NamedTuple):
    """What became of a write, for good.

    `outcome` is "done", "refused", "never" (it was not done and cannot be any more), or "archived" (it was answered
    so long ago that the log of it is archived). `answer` is the order, or a batch's `results`; `problem` a no.
    """

    write: Write
    outcome: str
    answer: dict[str, Any] | None = None
    problem: Problem | None = None


class Client:
    """One API key's view of an exchange, for use on one event loop; `async with` closes it.

    `url` is the base address (http://host:8000), `orders_url` the fast lane's (http://host:8001), which takes order
    entry at the same paths. `journal` is a Journal or a file's path; `name` tells the clients of one journal apart,
    and must stay the same when the key is replaced. `patience_s` is how long one call is tried before it raises
    Unavailable or Unsettled; None tries for ever. With `read_own_writes` reads wait until they show what this client
    wrote. `pace` is asked before each request. A given `http` is shared, and closed by its owner.

    Every method raises Problem (Refused, NotFound), Unavailable, and if it writes, Unsettled. 429 and 503 are waited
    out (`Retry-After`); a lost connection, 500, 502 and 504 are met with the same request under the same id.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        orders_url: str | None = None,
        journal: Journal | str | Path | None = None,
        name: str = "bot",
        patience_s: float | None = 30.0,
        read_own_writes: bool = False,
        pace: Pace | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.name = name
        self.as_of = ""
        """What the reads have to reach to show all that this client wrote: an `as_of`, for `min_as_of`."""
        self.journal = journal if isinstance(journal, Journal) else Journal(journal)
        self._owns_journal = journal is not self.journal
        self._url = url.rstrip("/") + "/api/v1"
        self._orders_url = orders_url.rstrip("/") + "/api/v1" if orders_url else self._url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._patience_s = patience_s
        self._reads_own_writes = read_own_writes
        self._pace = pace
        self._http = http or httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S)
        self._owns_http = http is None
        self._prefix = secrets.token_hex(8)
        self._number = 0
        self._in_flight: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """What is in flight stays in the journal."""
        if self._owns_http:
            await self._http.aclose()
        if self._owns_journal:
            self.journal.close()

    def new_id(self) -> str:
        """A client id that no process has used before."""
        self._number += 1
        return f"{self._prefix}-{self._number}"

    # Writes ---------------------------------------------------------------------------------------

    async def place(
        self,
        market_id: str,
        *,
        outcome: str,
        side: str,
        price: str | None = None,
        quantity: int | None = None,
        client_order_id: str | None = None,
        **terms: Any,
    ) -> dict[str, Any]:
        """Place an order and return it as the commit left it, fills included.

        `price` is "0.0001" to "0.9999" on the market's tick, `quantity` in shares. `terms` are further fields:
        `type`, `time_in_force`, `expires_at`, `post_only`, `reduce_only`, `self_trade_prevention`, `max_cost`,
        `valid_until`, `on_suspend`. The id is made if none is given. Raises Refused with the rule as `code`.
        """
        body = {
            "outcome": outcome,
            "side": side,
            "price": price,
            "quantity": quantity,
            **terms,
            "client_order_id": client_order_id or self.new_id(),
        }
        return await self._write(
            "POST", f"/markets/{_quoted(market_id)}/orders", body, body["client_order_id"]
        )

    async def amend(
        self,
        order_id: str | None = None,
        *,
        client_order_id: str | None = None,
        price: str | None = None,
        quantity: int | None = None,
        reduce_by: int | None = None,
        client_id: str | None = None,
    ) -> dict[str, Any]:
        """Change an order that is named by one of its two ids; returns it.

        `quantity` is the new total in shares, its filled part included; `reduce_by` takes shares off it. `client_id` is
        the change's own id, made if none is given. Raises Refused (`order_not_open` once it has ended), NotFound.
        """
        change = {"price": price, "quantity": quantity, "reduce_by": reduce_by}
        client_id = client_id or self.new_id()
        return await self._write(
            "PATCH", _order_path(order_id, client_order_id), change | {"client_id": client_id}, client_id
        )

    async def cancel(
        self, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> dict[str, Any]:
        """Cancel an order that is named by one of its two ids; returns its final state, also if it had already ended.

        Repeating it does no harm, so it carries no id. Raises NotFound.
        """
        return await self._write("DELETE", _order_path(order_id, client_order_id), None, self.new_id())

    async def cancel_all(
        self, market_id: str | None = None, *, outcome: str | None = None, side: str | None = None
    ) -> int:
        """Cancel all open orders, of one market, outcome or side if given; returns how many they were.

        Without an outcome and a side it stops those too that are still on their way.
        Sent again after a lost answer it means the orders of that moment, and counts those only.
        """
        chosen = urlencode({k: v for k, v in {"outcome": outcome, "side": side}.items() if v is not None})
        path = ("/orders" if market_id is None else f"/markets/{_quoted(market_id)}/orders") + "?" * bool(
            chosen
        )
        answer = await self._write("DELETE", path + chosen, None, self.new_id())
        return int(answer["cancelled"])

    async def batch(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Up to 500 places, amends and cancels in one request, as the API's `/orders/batch` has them; one result each.

        A result is `{"status", "order"}` or `{"status", "code", "detail"}`, with the status that the single call would
        have: a refusal is a result here, no exception. Places and amends get ids where they have none. While the
        outcome of an item is not known (429, 5xx) the whole batch is sent again: what is done is not done twice.
        """
        own = {"place": "client_order_id", "amend": "client_id"}
        orders = []
        for item in items:
            name = own.get(item.get("op", "place"))
            orders.append({**item, name: item.get(name) or self.new_id()} if name else dict(item))
        answer = await self._write("POST", "/orders/batch", {"orders": orders}, self.new_id())
        return list(answer["results"])

    async def deposit(self, amount: str, *, client_id: str | None = None) -> dict[str, Any]:
        """Pay play money in: `amount` such as "1000.0000". Returns `{cash}`, in dollars. Raises Refused."""
        return await self._move("deposit", amount, client_id)

    async def withdraw(self, amount: str, *, client_id: str | None = None) -> dict[str, Any]:
        """Take play money out. Raises Refused (`exceeds_available_cash`)."""
        return await self._move("withdraw", amount, client_id)

    async def heartbeat(self, timeout_s: int) -> dict[str, Any]:
        """The dead-man switch: unless the next one comes within 5 to 300 s all orders of this key end; 0 stops it.

        It is a promise and no order: it is not kept in the journal, and recover() does not repeat it.
        """
        return await self._ask("POST", "/account/heartbeat", body={"timeout_s": timeout_s})

    async def _move(self, op: str, amount: str, client_id: str | None) -> dict[str, Any]:
        client_id = client_id or self.new_id()
        return await self._write(
            "POST", f"/account/{op}", {"amount": amount, "client_id": client_id}, client_id
        )

    # After a crash --------------------------------------------------------------------------------

    async def recover(self, *, trade_late: bool = False) -> list[Recovered]:
        """Find out what became of every write whose answer is not known, oldest first. Call it before you trade.

        An order is looked up by its client id. If it is not there and nobody can say for sure that it never will be,
        then with `trade_late` the very same order is sent again, which cannot trade twice. Without, its id is used up:
        an order with the same id that had to arrive in the year 2000 is sent. Either that is refused, and the id is
        its own for ever, or the first was faster, and is found. Everything else (cancels, amendments, cash) is sent
        again as it was; a cancel_all then means the orders of that moment. Raises as every call; what is not settled
        stays in the journal.
        """
        left = [write for write in self.journal.unsettled(self.name) if write.id not in self._in_flight]
        return [await self._recover(write, trade_late) for write in left]

    async def _recover(self, write: Write, trade_late: bool) -> Recovered:
        could_trade = _is_place(write) or write.path == BATCH
        try:
            found = await self._looked_up(write) if _is_place(write) else None
            if found is None and could_trade and not trade_late:
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
        # With the id that the last 504 named a "no" is final for all that was taken in by then: for every attempt.
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
        late = [{**item, "valid_until": LONG_AGO} if _is_place_item(item) else item for item in items]
        body = {"orders": late} if write.path == BATCH else late[0]
        try:
            answer = await self._send(Write(write.id, write.who, "POST", write.path, body, is_lost=True))
        except Refused as problem:
            return Recovered(write, "never", None, problem)
        except Problem as problem:
            found = await self._looked_up(write) if problem.status == 409 and _is_place(write) else None
            if found is None:
                raise
            return found
        results = answer.get("results", [])
        for place, (item, result) in enumerate(zip(items, results, strict=False)):
            if result["status"] == 409 and _is_place_item(item):
                # Where the id is no order's but an amendment's, the 409 is all that there is to say.
                with contextlib.suppress(NotFound):
                    order = await self.order(client_order_id=item["client_order_id"])
                    results[place] = {"status": 200, "order": order}
        return Recovered(write, "done", answer)

    # Reads ----------------------------------------------------------------------------------------

    async def get(
        self, path: str, parameters: Mapping[str, str | int | None] | None = None
    ) -> dict[str, Any]:
        """Any read: `get("/status")`. Parameters that are None are left out."""
        return await self._ask("GET", path, parameters=parameters)

    async def pages(self, path: str, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """The rows of any list, page after page: `async for entry in client.pages("/account/ledger")`.

        A page begins where the one before ended, so no row that was there comes twice or is left out.
        """
        while True:
            page = await self._ask("GET", path, parameters=parameters)
            for row in page["results"]:
                yield row
            if page.get("next") is None:
                return
            parameters["cursor"] = page["next"]

    async def account(self) -> dict[str, Any]:
        """Cash, reserved, equity …, in dollars, as the primary has them now."""
        return await self.get("/account")

    async def market(self, market_id: str) -> dict[str, Any]:
        """A market by its id or slug."""
        return await self.get(f"/markets/{_quoted(market_id)}", self._own_writes({}))

    async def orderbook(self, market_id: str, **parameters: str | int | None) -> dict[str, Any]:
        """An outcome's book; `outcome`, `depth`, and `at` for a past moment. A Book of a Feed is cheaper to keep."""
        return await self.get(f"/markets/{_quoted(market_id)}/orderbook", self._own_writes(parameters))

    async def order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, sent_as: str | None = None
    ) -> dict[str, Any]:
        """An order by one of its two ids, as it now stands. Raises NotFound.

        `sent_as` is the order id that the last 504 for this client id named: with it a NotFound can be final.
        """
        parameters = self._own_writes({"order_id": sent_as})
        return await self.get(_order_path(order_id, client_order_id), parameters)

    def markets(self, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """`status`, `category`, `q`, `ordering`."""
        return self.pages("/markets", **self._own_writes(parameters))

    def trades(self, market_id: str, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """A market's trades, newest first; `outcome`."""
        return self.pages(f"/markets/{_quoted(market_id)}/trades", **self._own_writes(parameters))

    def orders(self, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """Orders of the account, newest first; `market_id`, `status` ("open" if left out, or "all")."""
        return self.pages("/portfolio/orders", **self._own_writes(parameters))

    def fills(self, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """Fills of the account, newest first, in its own terms; `market_id`."""
        return self.pages("/portfolio/fills", **self._own_writes(parameters))

    def positions(self, **parameters: str | int | None) -> AsyncIterator[dict[str, Any]]:
        """Shares held; `market_id`, `status`."""
        return self.pages("/portfolio/positions", **self._own_writes(parameters))

    def _own_writes(self, parameters: dict[str, str | int | None]) -> dict[str, str | int | None]:
        wanted = {"min_as_of": self.as_of or None} if self._reads_own_writes else {}
        return wanted | parameters

    # One request ----------------------------------------------------------------------------------

    async def _write(self, method: str, path: str, body: dict[str, Any] | None, name: str) -> dict[str, Any]:
        """Note it down, send it until it is answered, and cross it out."""
        if body is not None:
            body = {field: value for field, value in body.items() if value is not None}
            _refuse_floats(body)
        write = Write(name, self.name, method, path, body)
        self.journal.begin(write)
        try:
            answer = await self._send(write)
        except Unavailable:
            self.journal.end(write)
            raise
        except Problem as problem:
            # Whether an earlier attempt got through is not for a "who are you?" to say.
            if not (problem.status in WHO_ASKS and write.is_in_doubt):
                self.journal.end(write)
            raise
        self.journal.end(write)
        return answer

    async def _send(self, write: Write) -> dict[str, Any]:
        self._in_flight.add(write.id)
        try:
            answer = await self._ask(write.method, write.path, body=write.body, write=write)
        except Refused as refusal:
            self._remember(refusal.document)
            raise
        finally:
            self._in_flight.discard(write.id)
        self._remember(answer)
        return answer

    def _remember(self, answer: Mapping[str, Any]) -> None:
        """How far the reads have to be to show what was just written."""
        for part in (answer, *(answer.get("results") or ())):
            order = part.get("order", part) if isinstance(part, dict) else None
            if isinstance(order, dict) and isinstance(order.get("as_of"), str):
                self.as_of = _later(self.as_of, order["as_of"])

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        parameters: Mapping[str, str | int | None] | None = None,
        write: Write | None = None,
    ) -> dict[str, Any]:
        """Send one request until the exchange has answered it. Raises Problem, Unavailable, Unsettled."""
        address = (self._orders_url if _is_order_entry(path) else self._url) + path
        content = None if body is None else json.dumps(body).encode()
        query = {k: v for k, v in parameters.items() if v is not None} if parameters else None
        backoff, started_s = Backoff(), time.monotonic()
        while True:
            if self._pace is not None:
                await self._pace.take()
            if write is not None:
                self.journal.note(write, None)
            answer = await self._attempt(method, address, content, query)
            if answer.is_final:
                if answer.status >= 400:
                    raise _problem(answer.status, answer.document)
                return answer.document
            if write is not None:
                self._doubt(write, answer)
            wait_s = max(backoff.wait_s(), answer.retry_after_s)
            log.info("%s %s: %s; again in %.1f s", method, address, answer.trouble, wait_s)
            if self._patience_s is not None and time.monotonic() + wait_s - started_s > self._patience_s:
                if write is not None and write.is_in_doubt:
                    raise Unsettled(write, answer.document or None)
                raise Unavailable(f"{method} {address}: {answer.trouble}")
            await asyncio.sleep(wait_s)

    async def _attempt(
        self, method: str, address: str, content: bytes | None, query: Mapping[str, str | int] | None
    ) -> "_Answer":
        try:
            response = await self._http.request(
                method, address, headers=self._headers, content=content, params=query
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _Answer(0, {}, trouble=type(error).__name__)  # It has never left.
        except httpx.RequestError as error:
            return _Answer(0, {}, trouble=type(error).__name__, is_lost=True)
        return _read_answer(response)

    def _doubt(self, write: Write, answer: "_Answer") -> None:
        """After an attempt that was not the last: may it have been done, and can that be looked up?"""
        if answer.is_lost:
            write.is_lost = True
        elif answer.status == 504:
            write.is_unknown = True
            named = answer.document.get("order_id")
            if isinstance(named, str) and not write.is_lost and _is_place(write):
                self.journal.note(write, named)


class _Answer(NamedTuple):
    """What came of one attempt. It is final, or there was `trouble`: then the same request is worth sending again."""

    status: int
    document: dict[str, Any]
    trouble: str = ""
    retry_after_s: float = 0.0
    is_lost: bool = False
    """Nobody has said what became of it; it may even wait somewhere on its way."""

    @property
    def is_final(self) -> bool:
        return not self.trouble


def _read_answer(response: httpx.Response) -> _Answer:
    """An answer that is not in the exchange's form is a proxy's, and says nothing about the request."""
    status = response.status_code
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not 200 <= status < 600 or 300 <= status < 400:
        return _Answer(status, {}, f"{status} in a form that is not the exchange's", is_lost=True)
    wait_s = _retry_after_s(response.headers.get("Retry-After"))
    if status in AGAIN:
        trouble = f"{status} {document.get('code')}"
        return _Answer(status, document, trouble, wait_s, is_lost=status not in (*NOTHING_DONE, 504))
    if status >= 400 and "code" not in document:
        return _Answer(status, {}, f"{status} without a code", is_lost=True)
    results = document.get("results")
    if status == 200 and isinstance(results, list):
        # Of a batch: an item that nobody knows about yet. Rows of lists have a word as their status.
        open_items = [item for item in results if isinstance(item, dict) and _is_again(item.get("status"))]
        if open_items:
            return _Answer(504, document, f"{len(open_items)} items are not settled", 1.0)
    return _Answer(status, document)


def _is_again(status: object) -> bool:
    return type(status) is int and status in AGAIN


def _retry_after_s(text: str | None) -> float:
    """Seconds; 0 where it does not say so. Nobody is believed who wants to be left alone for hours."""
    return min(float(text), LONGEST_RETRY_AFTER_S) if text and re.fullmatch(r"[0-9]{1,9}", text) else 0.0


def _later(known: str, new: str) -> str:
    """The token that reaches what both do. A token of a form that is not known here replaces the other."""
    if not known or not (_TOKEN.fullmatch(known) and _TOKEN.fullmatch(new)):
        return new
    offsets: dict[str, int] = {}
    for part in (known + "." + new).split("."):
        slot, _, offset = part.partition("-")
        offsets[slot] = max(int(offset), offsets.get(slot, 0))
    return ".".join(f"{slot}-{offset}" for slot, offset in offsets.items())


def _is_order_entry(path: str) -> bool:
    """Whether the fast lane serves it."""
    return path.startswith("/orders") or (
        path.startswith("/markets/") and "/orders" in path[9:].partition("?")[0]
    )


def _is_place(write: Write) -> bool:
    return write.method == "POST" and _is_order_entry(write.path) and write.path != BATCH


def _is_place_item(item: Mapping[str, Any]) -> bool:
    return item.get("op", "place") == "place"


def _order_path(order_id: str | None, client_order_id: str | None) -> str:
    if (order_id is None) == (client_order_id is None):
        raise ValueError("name the order by order_id or by client_order_id")
    return f"/orders/{_quoted(order_id)}" if order_id else f"/orders/by-client-id/{_quoted(client_order_id)}"


def _quoted(text: str | None) -> str:
    return quote(str(text), safe="")


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError(f"{value!r}: prices and money are strings such as '0.6500', never floats")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_floats(part)


# The feed -----------------------------------------------------------------------------------------


class Book:
    """A market's resting orders, added up by price, as the feed tells; it knows when that is not to be trusted.

    `why` is empty, or says why the book must not be used now: "no snapshot yet", "gap", "checksum", "malformed frame",
    "disconnected", "server not live", "silent for 12 s", "refused: …", "left". Reading it then raises NotTrusted. Its
    Feed brings it back. Each frame's `prev_seq` and checksum are verified; it does nothing but that, and has no I/O.

    A binary market has one book, its first outcome's: a bid for it at 6500 is an ask for the second at 3500.
    """

    channel = "book"
    _BROKEN = frozenset({"gap", "checksum", "malformed frame"})

    def __init__(self, market_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.market_id: str | None = market_id
        self.seq: int | None = None
        """The market's version that the levels stand at; None until the next snapshot."""
        self.version = 0
        """Goes up with every change of the levels or of the trust in them; see `newer`."""
        self._clock = clock
        self._vouched_s = clock()
        self._why = "no snapshot yet"
        self._sides: dict[tuple[str, str], dict[int, int]] = {}
        # The checksum's lines of each outcome, None where they have to be written again.
        self._lines: dict[str, str | None] = {}
        self._changed = asyncio.Event()

    @property
    def why(self) -> str:
        """Why it cannot be trusted; empty if it can."""
        if self._why or self.age_s <= MAX_SILENCE_S:
            return self._why
        return f"silent for {self.age_s:.0f} s"

    @property
    def trusted(self) -> bool:
        return not self.why

    @property
    def age_s(self) -> float:
        """Seconds since the server last vouched for these levels, by a frame or a heartbeat."""
        return self._clock() - self._vouched_s

    @property
    def outcomes(self) -> list[str]:
        """Those that have a book, in order."""
        return list(self._lines)

    def bids(self, outcome: str) -> list[tuple[int, int]]:
        """(price in pips, shares), best first. Raises NotTrusted, and KeyError for an outcome without a book."""
        return self._levels(outcome, "bid")

    def asks(self, outcome: str) -> list[tuple[int, int]]:
        """(price in pips, shares), best first. Raises NotTrusted, and KeyError for an outcome without a book."""
        return self._levels(outcome, "ask")

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

    def _levels(self, outcome: str, side: str) -> list[tuple[int, int]]:
        if self.why:
            raise NotTrusted(self.why)
        return self._sorted(outcome, side)

    def _sorted(self, outcome: str, side: str) -> list[tuple[int, int]]:
        return sorted(self._sides[outcome, side].items(), reverse=side == "bid")

    # What the feed tells ----------------------------------------------------------------------------

    @property
    def needs_new_start(self) -> bool:
        return self._why in self._BROKEN

    def start(self, answer: Mapping[str, Any]) -> None:
        """A snapshot follows, or deltas on the `seq` that was resumed from."""

    def take(self, frame: Mapping[str, Any]) -> None:
        try:
            why = self._apply(frame, frame["data"])
        except (KeyError, TypeError, ValueError, AttributeError):
            why = "malformed frame"
        if why in ("checksum", "malformed frame"):
            self.seq = None  # The levels are worth nothing: no delta can follow on them.
        self._conclude(why, has_changed=True)

    def hear(self, *, is_live: bool, seq: int | None) -> None:
        if self.seq is None or self.needs_new_start:
            return
        if not is_live or seq is None:
            self._conclude("server not live")
        else:
            self._conclude("" if seq == self.seq else "gap")

    def lose(self, why: str) -> None:
        self._conclude(why)

    def refuse(self, problem: Problem) -> None:
        self._conclude(f"refused: {problem.code}")

    def _conclude(self, why: str, *, has_changed: bool = False) -> None:
        has_changed = has_changed or self.why != why
        self._why = why
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
            self._replace(data)
        elif data["type"] != "delta":
            return "malformed frame"
        elif prev_seq is None or prev_seq != self.seq or seq <= prev_seq:
            return self._why if self.seq is None and self._why else "gap"
        else:
            for outcome, side, price, quantity in data["changes"]:
                self._set(outcome, side, price, quantity)
        self.seq = seq
        return "" if self.checksum() == data["checksum"] else "checksum"

    def _replace(self, data: Mapping[str, Any]) -> None:
        outcomes = list(data["bids"])
        if outcomes != list(data["asks"]):
            raise ValueError("bids and asks name different outcomes")
        self._lines = dict.fromkeys(outcomes)
        self._sides = {(outcome, side): {} for outcome in outcomes for side in ("bid", "ask")}
        for side, books in (("bid", data["bids"]), ("ask", data["asks"])):
            for outcome, levels in books.items():
                for price, quantity in levels:
                    self._set(outcome, side, price, quantity)

    def _set(self, outcome: str, side: str, price: str, quantity: int) -> None:
        levels, price_pips = self._sides[outcome, side], pips(price)
        if not 0 < price_pips < SHARE_PIPS:
            raise ValueError("a price is above 0 and below $1")
        if _number(quantity):
            levels[price_pips] = quantity
        else:
            levels.pop(price_pips, None)
        self._lines[outcome] = None

    def checksum(self) -> int:
        """CRC-32 of the ten best levels a side, as the feed's documentation has it."""
        for outcome, lines in self._lines.items():
            if lines is None:
                self._lines[outcome] = "\n".join(
                    f"{outcome}|{side}|{price_text(price)}|{quantity}"
                    for side in ("bid", "ask")
                    for price, quantity in self._sorted(outcome, side)[:CHECKED_LEVELS]
                )
        return zlib.crc32("\n".join(lines for lines in self._lines.values() if lines).encode())


class Update(NamedTuple):
    """A frame of a Stream. `complete` is False where something before it may be missing: at first, after a gap that the
    server could not fill, and after updates that nobody fetched in time."""

    seq: int
    data: Any
    complete: bool


class Stream:
    """Updates of one channel, to be read with `async for`; it goes on through gaps and lost connections.

    `trades`: `data` is a list of trades, oldest first, each of them once. `ticker`: always whole. `account`: all of the
    account, then updates and notifications, told apart by `type`. Fields and channels that this file does not know pass
    through as they are. Raises Problem if the server refuses the channel.
    """

    LONGEST_QUEUE = 10_000

    def __init__(self, channel: str, market_id: str | None) -> None:
        self.channel = channel
        self.market_id = market_id
        self.seq: int | None = None
        self._is_broken = False
        self._problem: Problem | None = None
        self._updates: collections.deque[Update] = collections.deque()
        self._arrived = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while not self._updates:
            if self._problem is not None:
                raise self._problem
            self._arrived.clear()
            await self._arrived.wait()
        return self._updates.popleft()

    @property
    def needs_new_start(self) -> bool:
        return self._is_broken

    def start(self, answer: Mapping[str, Any]) -> None:
        self._is_broken = False

    def take(self, frame: Mapping[str, Any]) -> None:
        if self._is_broken:
            return  # Of the old subscription; the new one brings it again, or says that it cannot.
        try:
            self._add(_number(frame["seq"]), frame["prev_seq"], frame["data"])
        except (KeyError, TypeError, ValueError, AttributeError):
            self._is_broken = True

    def hear(self, *, is_live: bool, seq: int | None) -> None:
        if is_live and seq is not None and self.seq is not None and seq != self.seq:
            self._is_broken = True

    def lose(self, why: str) -> None:
        """Whether something is missed meanwhile, the next connection's first frame tells."""

    def refuse(self, problem: Problem) -> None:
        self._problem = problem
        self._arrived.set()

    def _add(self, seq: int, prev_seq: int | None, data: Any) -> None:
        if prev_seq is not None and prev_seq != self.seq:
            self._is_broken = True
            return
        is_linked = prev_seq is not None or seq == self.seq
        if self.channel == "trades":
            known = self.seq if self.seq is not None and self.seq <= seq else None
            rows, data = data, [row for row in reversed(data) if known is None or _number(row["seq"]) > known]
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
    """One WebSocket, for market data and for an account: `async with Feed(...) as feed`.

    `url` is ws://host:8001/ws/v1; market data needs no `key`. What is asked of it is subscribed to in the background,
    and again whenever the connection was lost or a listener has lost the thread. It reconnects for ever,
    after waits that grow to 5 s, each cut at random; also when nothing was heard for MAX_SILENCE_S.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self._url = url
        self._key = key
        self._listeners: dict[tuple[str, str | None], Listener] = {}
        self._line: _Line | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="feed")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "it was entered"
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def book(self, market_id: str) -> Book:
        """The market's book, which this feed keeps from now on. `market_id` is the id: frames know no slugs."""
        known = self._listeners.get(("book", market_id))
        return known if isinstance(known, Book) else self._join(Book(market_id))

    def stream(self, channel: str, market_id: str | None = None) -> Stream:
        """Updates of "trades" or "ticker" of a market, or of "account", which needs the `key`. For one reader."""
        if channel == "book":
            raise ValueError("book() keeps books")
        known = self._listeners.get((channel, market_id))
        return known if isinstance(known, Stream) else self._join(Stream(channel, market_id))

    def leave(self, listener: Listener) -> None:
        """End a subscription; a Book says "left" from now on."""
        if self._listeners.pop((listener.channel, listener.market_id), None) is not None:
            listener.lose("left")
            if self._line is not None:
                self._line.wish("unsubscribe", listener)

    def _join(self, listener: AnyListener) -> AnyListener:
        self._listeners[listener.channel, listener.market_id] = listener
        if self._line is not None:
            self._line.wish("subscribe", listener)
        return listener

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            why = "disconnected"
            try:
                async with connect(
                    self._url,
                    open_timeout=ANSWER_TIMEOUT_S,
                    close_timeout=1,
                    ping_interval=None,
                    compression=None,
                    max_size=MAX_FRAME_BYTES,
                ) as socket:
                    self._line = _Line(socket, self._key, self._listeners)
                    await self._line.serve()
            except (OSError, WebSocketException, UnreadableFrame) as error:
                if isinstance(error, TimeoutError) and self._line is not None:
                    why = f"silent for {MAX_SILENCE_S:.0f} s"
                log.info("the feed at %s is lost: %s %s", self._url, why, error)
            finally:
                backoff = Backoff() if self._line is not None and self._line.was_well else backoff
                self._line = None
                for listener in self._listeners.values():
                    listener.lose(why)
            await asyncio.sleep(backoff.wait_s())


class UnreadableFrame(PmarketError):
    """The server sent something that is no JSON object; nothing else it says can be believed."""


class _Line:
    """One connection: what was asked on it, and the frames that come."""

    def __init__(
        self, socket: ClientConnection, key: str | None, listeners: dict[tuple[str, str | None], Listener]
    ) -> None:
        self.was_well = False
        """Whether a heartbeat has come."""
        self._socket = socket
        self._key = key
        self._listeners = listeners
        self._wishes: asyncio.Queue[tuple[str, Listener, bool]] = asyncio.Queue()
        self._waits: dict[Listener, Backoff] = {}
        self._mending: set[Listener] = set()
        self._active: set[Listener] = set()
        self._asked: tuple[int, Listener | None, asyncio.Future[dict[str, Any]]] | None = None
        self._number = 0
        self._can_resume = True

    def wish(self, op: str, listener: Listener, may_resume: bool = False) -> None:
        """`subscribe` or `unsubscribe`, as soon as it is its turn."""
        self._wishes.put_nowait((op, listener, may_resume))

    async def serve(self) -> None:
        """Until the connection ends. Raises OSError, WebSocketException, TimeoutError, UnreadableFrame."""
        for listener in self._listeners.values():
            self.wish("subscribe", listener, may_resume=True)
        asking = asyncio.create_task(self._ask_for_all(), name="feed's questions")
        try:
            while True:
                async with asyncio.timeout(MAX_SILENCE_S):
                    message = await self._socket.recv()
                self._take(_frame_of(message))
                if asking.done():
                    asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    # What the client says ---------------------------------------------------------------------------

    async def _ask_for_all(self) -> None:
        refusal = await self._sign_in()
        while True:
            op, listener, may_resume = await self._wishes.get()
            is_wanted = self._listeners.get((listener.channel, listener.market_id)) is listener
            if is_wanted != (op == "subscribe"):
                continue
            if refusal is not None and listener.channel == "account":
                listener.refuse(refusal)
            else:
                await self._subscribe(op, listener, may_resume)

    async def _sign_in(self) -> Problem | None:
        if self._key is None:
            return None
        answer = await self._ask("auth", None, key=self._key)
        return None if answer.get("ok") is True else _problem_of(answer)

    async def _subscribe(self, op: str, listener: Listener, may_resume: bool) -> None:
        fields: dict[str, Any] = {"channel": listener.channel}
        if listener.market_id is not None:
            fields["market_id"] = listener.market_id
        answer: dict[str, Any] = {}
        if may_resume and self._can_resume and listener.seq is not None:
            answer = await self._ask(op, listener, **fields, resume_from=listener.seq)
            self._can_resume = answer.get("ok") is True
        if answer.get("ok") is not True:
            answer = await self._ask(op, listener, **fields)
        self._mending.discard(listener)
        if op == "subscribe" and answer.get("ok") is not True:
            listener.refuse(_problem_of(answer))

    async def _ask(self, op: str, listener: Listener | None, **fields: Any) -> dict[str, Any]:
        """Send one frame and return its answer; one that says "later" is waited out."""
        backoff = Backoff()
        while True:
            self._number += 1
            answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._asked = self._number, listener if op == "subscribe" else None, answered
            await self._socket.send(json.dumps({"id": self._number, "op": op, **fields}))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await answered
            if answer.get("ok") is True or not _is_again(_problem_of(answer).status):
                return answer
            wait_s = answer.get("retry_after_s")
            named_s = min(wait_s, LONGEST_RETRY_AFTER_S) if type(wait_s) is int else 0
            await asyncio.sleep(max(backoff.wait_s(), named_s))

    # What the server says ---------------------------------------------------------------------------

    def _take(self, frame: dict[str, Any]) -> None:
        if "ok" in frame:
            self._take_answer(frame)
        elif frame.get("channel") == "heartbeat":
            self._take_heartbeat(frame.get("data"))
        else:
            listener = self._find(frame)
            if listener is not None:
                listener.take(frame)
                self._mend(listener)

    def _take_answer(self, answer: dict[str, Any]) -> None:
        if self._asked is None or self._asked[0] != answer.get("id"):
            return
        _, listener, answered = self._asked
        if listener is not None and answer["ok"] is True:
            # At once: the first frame may be the very next.
            self._active.add(listener)
            listener.start(answer)
        if not answered.done():
            answered.set_result(answer)

    def _take_heartbeat(self, data: Any) -> None:
        self.was_well = True
        try:
            is_live = data["live"] is True
            named = {_key_of(each): each["seq"] for each in data["subscriptions"]}
        except (KeyError, TypeError):
            raise UnreadableFrame("a heartbeat in another form") from None
        for key, listener in list(self._listeners.items()):
            if listener not in self._active:
                continue
            # One that the server does not name it does not know of: that is as bad as a gap.
            seq = named.get(key, -1)
            listener.hear(is_live=is_live, seq=seq if seq is None or type(seq) is int else -1)
            if not listener.needs_new_start:
                self._waits.pop(listener, None)
            self._mend(listener)

    def _find(self, frame: dict[str, Any]) -> Listener | None:
        try:
            return self._listeners.get(_key_of(frame))
        except (KeyError, TypeError):
            return None

    def _mend(self, listener: Listener) -> None:
        """Subscribe again if only that helps: at once, and if that did not last, after growing waits."""
        if not listener.needs_new_start or listener in self._mending:
            return
        self._mending.add(listener)
        waits = self._waits.get(listener)
        if waits is None:
            self._waits[listener] = Backoff()
        wait_s = 0.0 if waits is None else waits.wait_s()
        log.info("subscribing to %s of %s again in %.1f s", listener.channel, listener.market_id, wait_s)
        asyncio.get_running_loop().call_later(wait_s, self.wish, "subscribe", listener, waits is None)


def _frame_of(message: str | bytes) -> dict[str, Any]:
    try:
        frame = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        raise UnreadableFrame(f"no JSON object: {message!r:.80}")
    return frame


def _key_of(labels: Mapping[str, Any]) -> tuple[str, str | None]:
    return labels["channel"], labels.get("market_id")


def _problem_of(answer: Mapping[str, Any]) -> Problem:
    """What an answer on the socket has against the question."""
    document = answer.get("error")
    document = document if isinstance(document, dict) else {}
    status = document.get("status")
    return _problem(status if type(status) is int else 0, document)
