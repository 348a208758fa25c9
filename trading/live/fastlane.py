"""The fast lane: order entry by API key and market data on bare ASGI, at DRF's paths and with its contract.

It shares decoder, authentication, throttle, gateway and answers with the other lane and adds only
what a framework would: reading a request, finding its handler, writing a response.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from trading import mass_cancel, orders
from trading.errors import (
    PROBLEM_CONTENT_TYPE,
    BodyTooLarge,
    ExchangeError,
    InvalidRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    RateLimited,
    UnsupportedMediaType,
    problem,
)
from trading.ids import new_id
from trading.live.blocking import in_thread
from trading.live.desk import Desk
from trading.live.market_reads import MarketReads
from trading.market_terms import MarketTerms
from trading.order_request import (
    client_reference,
    cost_of_batch,
    order_reference,
    parse_batch,
    refuse_unknown_parameters,
)
from trading.orders import Answer, Caller
from trading.outage import unexpected
from trading.principal import READ, TRADE, Allowance, Authenticator, Principal, Throttle, require_principal
from trading.rates import PAST_COST
from trading.strict_json import MAX_BODY_BYTES, decode

PREFIX = "/api/v1/"
# A CDN may answer many with what it has just got; who asks it again finds out whether that still counts.
CACHE_CONTROL = "public, max-age=1"
_GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """What a handler needs of an HTTP request."""

    method: str
    segments: list[str]
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    ip: str | None
    request_id: str


class PublicAnswer(NamedTuple):
    """An answer for everybody, encoded already."""

    status: int
    body: bytes
    headers: dict[str, str]


Handler = Callable[[Request, list[Allowance]], Awaitable[Answer | PublicAnswer]]


class FastLane:
    """An ASGI application over the process's desk.

    `client_ip` turns (peer, X-Forwarded-For) into the caller's address.
    """

    def __init__(
        self, *, authenticator: Authenticator, throttle: Throttle | None, desk: Desk,
        reads: MarketReads, client_ip: Callable[[str | None, str | None], str | None],
        health: Callable[[], dict[str, Any]],
    ) -> None:  # fmt: skip
        self._authenticator = authenticator
        self._throttle = throttle
        self._desk = desk
        self._reads = reads
        self._client_ip = client_ip
        self._health = health

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id()
        allowances = list[Allowance]()
        try:
            request = await self._read(scope, receive, headers, request_id)
            answer = await self._route(request)(request, allowances)
            status, body, kind = answer.status, answer.body, "application/json"
            extra = answer.headers if isinstance(answer, PublicAnswer) else {}
        except Exception as error:
            failure = error if isinstance(error, ExchangeError) else unexpected(error, "the fast lane")
            status, body = failure.status, problem(failure, request_id)
            kind, extra = PROBLEM_CONTENT_TYPE, failure.headers
        if allowances:
            extra = {**allowances[-1].headers, **extra}
        payload = body if type(body) is bytes else _encode(body)
        answer_headers = [
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(payload)),
            (b"x-request-id", request_id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in extra.items()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": answer_headers})
        await send({"type": "http.response.body", "body": payload})

    # --- Reading ----------------------------------------------------------------------------------

    async def _read(
        self, scope: Any, receive: Any, headers: Mapping[bytes, bytes], request_id: str
    ) -> Request:
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = headers.get(b"x-forwarded-for")
        path, query = scope["path"], scope["query_string"]
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("The connection ended before the body did.")
            body = body + message["body"] if body else message["body"]
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
            if not message.get("more_body"):
                break
        return Request(
            scope["method"],
            # ASGI's path is decoded already; a second time would make %2541 another name.
            path.removeprefix(PREFIX).split("/") if path.startswith(PREFIX) else [path],
            # An empty value is a value: `?side=` must not mean both sides.
            dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
            headers,
            body,
            self._client_ip(peer, forwarded.decode("latin-1") if forwarded is not None else None),
            request_id,
        )

    def _route(self, request: Request) -> Handler:
        """The handler of a path. Raises NotFound or MethodNotAllowed."""
        known: dict[str, Handler]
        match request.segments:
            case [*_, ""]:
                raise NotFound("There is no such path in the fast lane.")
            case ["/ws/health"]:
                known = {"GET": self._ws_health}
            case ["orders"]:
                known = {"DELETE": self._cancel_everywhere}
            case ["orders", "batch"]:
                known = {"POST": self._batch}
            case ["account", "heartbeat"]:
                known = {"POST": self._heartbeat}
            case ["markets", _]:
                known = {"GET": self._market_data}
            case ["markets", _, "orderbook" | "trades"]:
                known = {"GET": self._market_data}
            case ["markets", _, "orders"]:
                known = {"POST": self._place, "DELETE": self._cancel_all}
            case ["orders", _] | ["orders", "by-client-id", _]:
                known = {"GET": self._get, "PATCH": self._amend, "DELETE": self._cancel}
            case ["markets", _, "orders", _] | ["markets", _, "orders", "by-client-id", _]:
                known = {"GET": self._get, "PATCH": self._amend, "DELETE": self._cancel}
            case _:
                raise NotFound("There is no such path in the fast lane.")
        if request.method not in known:
            raise MethodNotAllowed(allowed=sorted(known))
        return known[request.method]

    async def _admit(
        self, request: Request, allowances: list[Allowance], scope: str, class_name: str, *parameters: str
    ) -> Caller:
        """The caller, who may do this and has paid a token, or whose address has if he is nobody.

        All query parameters but those named are refused.
        """
        principal = await self._principal(request, allowances)
        await self._take(class_name, principal, request, allowances)
        caller = Caller(require_principal(principal), request.request_id)
        caller.principal.require(scope)
        if request.query:
            refuse_unknown_parameters(request.query, parameters)
        return caller

    async def _take(
        self,
        name: str,
        principal: Principal | None,
        request: Request,
        allowances: list[Allowance],
        cost: int = 1,
    ) -> None:
        """One call to the throttle; without a principal the address pays. Raises RateLimited."""
        if self._throttle is None:
            return
        allowance = await self._throttle.take(name, principal=principal, ip=request.ip, cost=cost)
        allowances.append(allowance)
        if not allowance.allowed:
            raise RateLimited(retry_after_s=allowance.retry_after_s)

    @staticmethod
    def _json(request: Request) -> Any:
        kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise UnsupportedMediaType()
        return decode(request.body)

    @staticmethod
    def _named(request: Request) -> dict[str, str | None]:
        """The order that the path names."""
        *before, name = request.segments
        if before[-1] == "by-client-id":
            return {"order_id": None, "client_order_id": client_reference(name)}
        return {"order_id": order_reference(name), "client_order_id": None}

    async def _principal(self, request: Request, allowances: list[Allowance]) -> Principal | None:
        """Whose key the request names, None if it names none; a wrong one is paid for by its address."""
        authorization = request.headers.get(b"authorization")
        try:
            return await self._authenticator.authenticate(authorization, request.ip)
        except NotAuthenticated:
            await self._take("general", None, request, allowances)
            raise

    # --- Handlers ---------------------------------------------------------------------------------

    async def _place(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "order")
        body = self._json(request)
        terms = await self._desk.terms(request.segments[1])
        return await self._desk.perform(orders.place(caller, terms, body), terms)

    async def _cancel_all(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "cancel", *mass_cancel.CHOSEN_BY)
        terms = await self._desk.terms(request.segments[1])
        envelope = mass_cancel.cancel_all(caller, terms, **mass_cancel.chosen_by(request.query))
        return await self._desk.perform(envelope, terms)

    async def _cancel_everywhere(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "cancel", *mass_cancel.CHOSEN_BY)
        chosen = mass_cancel.chosen_by(request.query)
        return await self._desk.cancel_many(
            await self._desk.cancels_everywhere(caller, **chosen, fence=new_id())
        )

    async def _get(self, request: Request, allowances: list[Allowance]) -> Answer:
        by_client_id = request.segments[-2] == "by-client-id"
        known = orders.FIND_BY_CLIENT_ID if by_client_id else orders.FIND_BY_ID
        caller = await self._admit(request, allowances, READ, "data", *known)
        named = self._named(request)
        in_market = request.segments[0] == "markets"
        market_id = (await self._desk.terms(request.segments[1])).market_id if in_market else None
        sent_as, min_as_of = request.query.get("order_id"), request.query.get("min_as_of")
        return await in_thread(
            lambda: orders.find(caller, **named, sent_as=sent_as, min_as_of=min_as_of, market_id=market_id)
        )

    async def _amend(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "order")
        body, named = self._json(request), self._named(request)
        terms = await self._home(request, caller, named)
        return await self._desk.perform(orders.amend(caller, terms.market_id, body, **named), terms)

    async def _cancel(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "cancel")
        named = self._named(request)
        terms = await self._home(request, caller, named)
        return await self._desk.perform(orders.cancel(caller, terms.market_id, **named), terms)

    async def _home(self, request: Request, caller: Caller, named: dict[str, str | None]) -> MarketTerms:
        if request.segments[0] == "markets":
            return await self._desk.terms(request.segments[1])
        return self._desk.known_home(named["order_id"]) or await self._desk.home(caller, named)

    async def _batch(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "order")
        body = self._json(request)
        if tokens_due := cost_of_batch(body) - 1:
            await self._take("order", caller.principal, request, allowances, tokens_due)
        items = parse_batch(body)
        find = await self._desk.markets_of(items)
        return await self._desk.batch(orders.prepare_batch(caller, items, find))

    async def _heartbeat(self, request: Request, allowances: list[Allowance]) -> Answer:
        caller = await self._admit(request, allowances, TRADE, "cancel")
        return await self._desk.heartbeat(caller, self._json(request))

    async def _market_data(self, request: Request, allowances: list[Allowance]) -> PublicAnswer:
        principal = await self._principal(request, allowances)
        await self._take("data", principal, request, allowances, PAST_COST if "at" in request.query else 1)
        _, reference, *rest = request.segments
        found = await self._reads.read(rest[0] if rest else "market", reference, request.query)
        headers = {"ETag": found.etag, "Cache-Control": CACHE_CONTROL}
        if found.etag.encode() in request.headers.get(b"if-none-match", b""):
            return PublicAnswer(304, b"", headers)
        return PublicAnswer(200, found.body, headers)

    async def _ws_health(self, request: Request, allowances: list[Allowance]) -> Answer:
        report = self._health()
        return Answer(200 if report.get("status") == "ok" else 503, report)
