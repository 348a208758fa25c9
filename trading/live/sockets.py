"""The sockets of /ws/v1: what a client may ask, and the answer to each of its frames.

    {"id": 1, "op": "subscribe", "channel": "book", "market_id": "…"}   ->   {"id": 1, "ok": true}
    {"id": 2, "op": "place", …}                 ->   {"id": 2, "ok": false, "error": {problem document}}

A frame that makes no sense is answered, never met with a crash or a close; only frames over 64 KB (1009), floods
(1008) and sockets that do not read (1013) are closed. Order entry is not spoken here yet. Every 5 s a heartbeat says
the newest `seq` of each subscription, null where the hub cannot vouch for one; `live` false means it has no feed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trading import metrics
from trading.errors import (
    PROBLEM_CONTENT_TYPE,
    ExchangeError,
    InternalError,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RateLimited,
    Refused,
    problem,
)
from trading.ids import new_id
from trading.live.channel import Subscription
from trading.live.feed_frames import encode, sent_now
from trading.live.hub import ACCOUNT, Hub
from trading.live.market_feed import MARKET_CHANNELS
from trading.live.outbox import Outbox, Send
from trading.principal import READ, Authenticator, Principal, Throttle
from trading.strict_json import decode_object

HEARTBEAT_SECONDS = 5.0
MAX_FRAME_BYTES = 65_536
MAX_SUBSCRIPTIONS = 200
# The flood that ends a socket: so many frames over its rate, none of which was done.
MAX_REFUSED_FRAMES = 1_000
MAX_KNOWN_MARKETS = 5_000

POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009

KNOWN_LATER = frozenset({"place", "amend", "cancel", "cancel_all", "batch", "heartbeat"})

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]

log = logging.getLogger(__name__)


class FoundMarket(NamedTuple):
    """What a socket needs to know of a market."""

    market_id: str
    outcomes: Sequence[str]


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one socket may send: a token bucket of frames. No rate means no limit."""

    frames_per_second: float | None = 50.0
    burst: int = 100


def peer_ip(scope: Scope) -> str | None:
    """The address of the other end of the connection."""
    client = scope.get("client")
    return client[0] if client else None


async def no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application behind every other path: a handshake there is answered with 404 (403 by an old server)."""
    await receive()  # websocket.connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = encode(problem(NotFound("There is no such path."), new_id())).encode()
    headers = [(b"content-type", PROBLEM_CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class FeedSockets:
    """The ASGI application behind /ws/v1, for Channels to route to.

    `find_market(id_or_slug)` gives the market's id and its outcome names in order, or raises NotFound.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        authenticator: Authenticator,
        throttle: Throttle,
        find_market: Callable[[str], Awaitable[FoundMarket]],
        client_ip: Callable[[Scope], str | None] = peer_ip,
        limits: SocketLimits | None = None,
    ) -> None:
        self.hub = hub
        self.authenticator = authenticator
        self.throttle = throttle
        self._find_market = find_market
        self.client_ip = client_ip
        self.limits = limits or SocketLimits()
        self._known: dict[str, FoundMarket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        self.hub.ensure_started()
        await send({"type": "websocket.accept"})
        self.hub.sockets += 1
        metrics.SOCKETS.inc()
        try:
            await Socket(self, self.client_ip(scope)).run(receive, send)
        finally:
            self.hub.sockets -= 1
            metrics.SOCKETS.dec()

    async def market(self, id_or_slug: str) -> FoundMarket:
        """A market by what a client calls it; ids, slugs and outcome names never change, so each is read once."""
        found = self._known.get(id_or_slug)
        if found is None:
            found = await self._find_market(id_or_slug)
            if len(self._known) >= MAX_KNOWN_MARKETS:
                del self._known[next(iter(self._known))]
            self._known[id_or_slug] = found
        return found


class Socket:
    """One connection: its caller, its subscriptions and what waits to be sent to it."""

    def __init__(self, door: FeedSockets, ip: str | None) -> None:
        self._door = door
        self._ip = ip
        self._outbox = Outbox()
        self._principal: Principal | None = None
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._tokens = float(door.limits.burst)
        self._refilled_at = time.monotonic()
        self._refused = 0
        self._ops: dict[str, Callable[[Any, dict[str, Any]], Awaitable[None]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
            "auth": self._auth,
        }

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve until either side closes."""
        tasks = [
            asyncio.ensure_future(work) for work in (self._read(receive), self._write(send), self._beat())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for subscription in self._subscriptions.values():
                self._door.hub.leave(subscription)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        try:
            await self._outbox.write(send)
        except (OSError, RuntimeError):
            # The client is gone; uvicorn raises RuntimeError where it has closed the socket itself.
            return

    async def _beat(self) -> None:
        while not self._outbox.is_stalled():
            # While frames are being skipped, numbers would point at frames this socket will not get.
            if not self._outbox.is_lagging and not self._outbox.is_closing:
                self._outbox.put(self._heartbeat())
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _heartbeat(self) -> str:
        numbers = [
            {**subscription.channel.labels, "seq": subscription.known_seq}
            for subscription in self._subscriptions.values()
        ]
        data = {"live": self._door.hub.is_live, "subscriptions": numbers}
        return encode({"channel": "heartbeat", "sent_at": sent_now(), "data": data})

    # Frames from the client ---------------------------------------------------------------------

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            body = text.encode() if text is not None else message.get("bytes") or b""
            if len(body) > MAX_FRAME_BYTES:
                self._outbox.close(MESSAGE_TOO_BIG, f"a frame may have {MAX_FRAME_BYTES} bytes")
            if not self._outbox.is_closing:
                await self._answer(body, is_text=text is not None)

    async def _answer(self, body: bytes, *, is_text: bool) -> None:
        """Do what one frame asks; every way it can fail becomes its answer."""
        frame_id = None
        try:
            self._spend_token()
            if not is_text:
                raise InvalidRequest("Frames are JSON text, not binary.")
            request = decode_object(body)
            frame_id = _frame_id(request)
            await self._do(frame_id, request)
        except ExchangeError as error:
            self._fail(frame_id, error)
        except Exception:
            request_id = self._fail(frame_id, InternalError())
            log.exception("a frame failed", extra={"request_id": request_id})

    async def _do(self, frame_id: int | str, request: dict[str, Any]) -> None:
        op = request.pop("op", None)
        if type(op) is not str:
            raise InvalidRequest(errors={"op": ["must be a string"]})
        operation = self._ops.get(op)
        if operation is not None:
            await operation(frame_id, request)
        elif op in KNOWN_LATER:
            raise Refused("not_supported", f"The op {op} is not spoken on this socket yet; use the HTTP API.")
        else:
            raise InvalidRequest(errors={"op": ["is not known"]})

    def _succeed(self, frame_id: int | str, **members: Any) -> None:
        self._outbox.put_or_close(encode({"id": frame_id, "ok": True, **members}))

    def _fail(self, frame_id: int | str | None, error: ExchangeError) -> str:
        request_id = new_id()
        document = {"id": frame_id, "ok": False, "error": problem(error, request_id)}
        self._outbox.put_or_close(encode(document))
        return request_id

    def _spend_token(self) -> None:
        limits = self._door.limits
        if limits.frames_per_second is None:
            return
        now = time.monotonic()
        refill = (now - self._refilled_at) * limits.frames_per_second
        self._tokens, self._refilled_at = min(limits.burst, self._tokens + refill), now
        if self._tokens >= 1:
            self._tokens -= 1
            return
        self._refused += 1
        if self._refused > MAX_REFUSED_FRAMES:
            self._outbox.close(POLICY_VIOLATION, "too many frames")
        raise RateLimited(f"A socket may send {limits.frames_per_second:g} frames a second.")

    # Ops ----------------------------------------------------------------------------------------

    async def _ping(self, frame_id: int | str, request: dict[str, Any]) -> None:
        _refuse_unknown(request)
        self._succeed(frame_id, sent_at=sent_now())

    async def _auth(self, frame_id: int | str, request: dict[str, Any]) -> None:
        key, ticket = request.pop("key", None), request.pop("ticket", None)
        if request.pop("cancel_on_disconnect", False) is not False:
            raise Refused("not_supported", "cancel_on_disconnect is not supported yet.")
        _refuse_unknown(request)
        if (key is None) == (ticket is None):
            raise InvalidRequest("Either key or ticket is needed.", errors={"key": ["or ticket is needed"]})
        principal = await self._authenticate(key, ticket)
        if self._principal is not None and self._principal.account_id != principal.account_id:
            raise InvalidRequest("This socket is another account's; open a new one.")
        self._principal = principal
        self._succeed(frame_id, account_id=principal.account_id, scopes=sorted(principal.scopes))

    async def _authenticate(self, key: Any, ticket: Any) -> Principal:
        """The caller. Every failure costs a token of the address's sign-in bucket."""
        try:
            if key is not None:
                return await self._door.authenticator.authenticate_key(_text("key", key), self._ip)
            return await self._door.authenticator.redeem_ticket(_text("ticket", ticket))
        except NotAuthenticated:
            allowance = await self._door.throttle.take("sign_in", principal=None, ip=self._ip)
            if not allowance.allowed:
                raise RateLimited(retry_after_s=allowance.retry_after_s) from None
            raise

    async def _subscribe(self, frame_id: int | str, request: dict[str, Any]) -> None:
        channel, market = _channel_and_market(request)
        if channel == ACCOUNT:
            await self._subscribe_account(frame_id)
            return
        assert market is not None
        hub = self._door.hub
        market_id, names = await self._door.market(market)
        self._require_room(channel, market_id)
        self._end(channel, market_id)
        # Answer and first frame are queued in one go, so nothing can come in between.
        self._succeed(frame_id, channel=channel, market_id=market_id)
        self._subscriptions[channel, market_id] = hub.join_market(self._outbox, channel, market_id, names)

    async def _subscribe_account(self, frame_id: int | str) -> None:
        if self._principal is None:
            raise NotAuthenticated("The account channel needs auth first.")
        self._principal.require(READ)
        account_id = self._principal.account_id
        self._require_room(ACCOUNT, account_id)
        subscription = await self._door.hub.join_account(self._outbox, account_id)
        # Only now, so that no notification falls between the older subscription and this one.
        self._end(ACCOUNT, account_id)
        self._subscriptions[ACCOUNT, account_id] = subscription
        self._succeed(frame_id, channel=ACCOUNT, seq=subscription.channel.seq)

    def _require_room(self, channel: str, topic: str) -> None:
        if (channel, topic) not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Refused("exceeds_limits", f"A socket may have {MAX_SUBSCRIPTIONS} subscriptions.")

    def _end(self, channel: str, topic: str) -> None:
        """End a subscription, if there is one. Subscribing again is how a client that saw a gap starts afresh."""
        older = self._subscriptions.pop((channel, topic), None)
        if older is not None:
            self._door.hub.leave(older)

    async def _unsubscribe(self, frame_id: int | str, request: dict[str, Any]) -> None:
        channel, market = _channel_and_market(request)
        if channel != ACCOUNT:
            assert market is not None
            topic = (await self._door.market(market)).market_id
        else:
            topic = self._principal.account_id if self._principal is not None else ""
        self._end(channel, topic)
        self._succeed(frame_id)


def _frame_id(request: dict[str, Any]) -> int | str:
    """The frame's id, taken out of it: a number or a short string."""
    frame_id = request.pop("id", None)
    if type(frame_id) is int or (type(frame_id) is str and len(frame_id) <= 64):
        return frame_id
    raise InvalidRequest(errors={"id": ["must be an integer or a string of at most 64 characters"]})


def _channel_and_market(request: dict[str, Any]) -> tuple[str, str | None]:
    """What a subscribe or unsubscribe is about; market is None for the account channel."""
    channel = _text("channel", request.pop("channel", None))
    market = request.pop("market_id", None)
    if request.pop("resume_from", None) is not None:
        raise Refused("not_supported", "resume_from is not supported yet: subscribe for a new snapshot.")
    _refuse_unknown(request)
    if channel == ACCOUNT:
        if market is not None:
            raise InvalidRequest(errors={"market_id": ["does not go with the account channel"]})
        return channel, None
    if channel == "lifecycle":
        raise Refused("not_supported", "The channel lifecycle is not supported yet.")
    if channel not in MARKET_CHANNELS:
        raise InvalidRequest(errors={"channel": ["is not known"]})
    return channel, _text("market_id", market)


def _text(field: str, value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= 200:
        raise InvalidRequest(errors={field: ["must be a string of 1 to 200 characters"]})
    return value


def _refuse_unknown(request: dict[str, Any]) -> None:
    if request:
        raise InvalidRequest(errors={field[:64]: ["is not a known field"] for field in list(request)[:20]})
