"""The sockets of /ws/v1: what a client may ask, and the answer to each of its frames.

    {"id": 1, "op": "subscribe", "channel": "book", "market_id": "…"}   ->   {"id": 1, "ok": true}
    {"id": 2, "op": "place", …}                 ->   {"id": 2, "ok": true, "status": 201, "body": {order}}
    {"id": 3, "op": "dance"}                    ->   {"id": 3, "ok": false, "error": {problem document}}

A frame that makes no sense is answered, never met with a crash or a close; only frames that are too long (1009), floods
(1008) and sockets that do not read (1013) are closed. Orders are trading.live.order_frames' business. Every 5 s a
heartbeat says the newest `seq` of each subscription, null where the hub cannot vouch for one; `live` false means it
has no feed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from trading import metrics
from trading.cancelling import end_tasks
from trading.dead_man import placer
from trading.errors import (
    PROBLEM_CONTENT_TYPE,
    ExchangeError,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    Refused,
    problem,
)
from trading.ids import new_id
from trading.live.account_feeds import ACCOUNT
from trading.live.channel import Subscription
from trading.live.client_frames import (
    FrameBucket,
    SocketLimits,
    channel_and_market,
    frame_id_of,
    refuse_unknown,
    resume_point,
    text_of,
)
from trading.live.desk import Desk
from trading.live.disconnects import Disconnects
from trading.live.feed_frames import encode, json_bytes, sent_now
from trading.live.hub import Hub
from trading.live.order_frames import BUCKETS, OrderFrames
from trading.live.outbox import Outbox, Send
from trading.live.shared_frames import EXTENSION, Frame, Wire
from trading.outage import unexpected
from trading.principal import READ, TRADE, Authenticator, Principal, Throttle
from trading.strict_json import MAX_BODY_BYTES, decode_object

HEARTBEAT_SECONDS = 5.0
MAX_FRAME_BYTES = 65_536
MAX_SUBSCRIPTIONS = 200
# The flood that ends a socket: so many frames over its rate, none of which was done.
MAX_REFUSED_FRAMES = 1_000
MAX_KNOWN_MARKETS = 5_000

POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
SERVICE_RESTART = 1012

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class FoundMarket(NamedTuple):
    """What a socket needs to know of a market."""

    market_id: str
    outcomes: Sequence[str]


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
    body = json_bytes(problem(NotFound("There is no such path."), new_id()))
    headers = [(b"content-type", PROBLEM_CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class FeedSockets:
    """The ASGI application behind /ws/v1, for Channels to route to.

    `find_market(id_or_slug)` gives the market's id and its outcome names in order, or raises NotFound.
    `throttle` counts failed sign-ins, `order_throttle` order entry.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        desk: Desk,
        authenticator: Authenticator,
        throttle: Throttle,
        order_throttle: Throttle | None,
        find_market: Callable[[str], Awaitable[FoundMarket]],
        client_ip: Callable[[Scope], str | None] = peer_ip,
        limits: SocketLimits | None = None,
    ) -> None:
        self.hub = hub
        self.desk = desk
        self.disconnects = Disconnects(desk)
        self.authenticator = authenticator
        self.throttle = throttle
        self.order_throttle = order_throttle
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
            wire: Wire | None = scope.get("extensions", {}).get(EXTENSION)
            await Socket(self, self.client_ip(scope), Outbox(wire)).run(receive, send)
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

    def __init__(self, door: FeedSockets, ip: str | None, outbox: Outbox) -> None:
        self._door = door
        self._ip = ip
        self._outbox = outbox
        self._principal: Principal | None = None
        self._key: str | None = None
        self._orders = OrderFrames(desk=door.desk, throttle=door.order_throttle, ip=ip, answers=self)
        # Whose orders go with this socket: by placer, the caller and the switch's id.
        self._guarded: dict[str | None, tuple[Principal, str]] = {}
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._bucket, self._unpaid = FrameBucket(door.limits), FrameBucket(door.limits)
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
            if self._outbox.is_stalled():
                self._outbox.abort()
            await end_tasks(tasks)
            # What was asked for is done all the same; only then is it known which orders are left to cancel.
            await self._orders.finish()
            for principal, switch_id in self._guarded.values():
                await self._door.disconnects.gone(principal, switch_id)

    async def _write(self, send: Send) -> None:
        try:
            await self._outbox.write(send)
        except (OSError, RuntimeError):
            # The client is gone; uvicorn raises RuntimeError where it has closed the socket itself.
            return

    async def _beat(self) -> None:
        while not self._outbox.is_stalled():
            await self._judge_caller()
            # While frames are being skipped, numbers would point at frames this socket will not get.
            if not self._outbox.is_lagging and not self._outbox.is_closing:
                self._outbox.put(self._heartbeat())
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _judge_caller(self) -> None:
        """What an account does is for nobody who was shut out meanwhile, or came again with a key that may not read."""
        if not any(channel == ACCOUNT for channel, _ in self._subscriptions):
            return
        try:
            (await self._caller(self._principal, self._key)).require(READ)
        except (NotAuthenticated, PermissionDenied) as error:
            self._outbox.close(POLICY_VIOLATION, error.detail)
        except Exception as error:
            # A database that is away says nothing about a caller; the next beat asks again.
            unexpected(error, "the judgement of a socket's caller")

    def _heartbeat(self) -> Frame:
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
            may_trade = self._principal is not None and TRADE in self._principal.scopes
            most = MAX_BODY_BYTES if may_trade else MAX_FRAME_BYTES
            if len(body) > most:
                self._outbox.close(MESSAGE_TOO_BIG, f"a frame may have {most} bytes")
            if not self._outbox.is_closing:
                await self._answer(body, is_text=text is not None)

    async def _answer(self, body: bytes, *, is_text: bool) -> None:
        """Do what one frame asks; every way it can fail becomes its answer."""
        frame_id, request_id = None, new_id()
        is_paid = self._bucket.take()
        if not is_paid:
            self._count_refused()
        try:
            if not is_text:
                raise InvalidRequest("Frames are JSON text, not binary.")
            request = decode_object(body)
            frame_id = frame_id_of(request)
            if not is_paid:
                raise RateLimited(
                    f"A socket may send {self._door.limits.frames_per_second:g} frames a second."
                )
            await self._do(frame_id, request)
        except ExchangeError as error:
            self.fail(frame_id, error, request_id)
        except Exception as error:
            self.fail(frame_id, unexpected(error, f"the frame {request_id}"), request_id)

    async def _do(self, frame_id: int | str, request: dict[str, Any]) -> None:
        op = request.pop("op", None)
        if type(op) is not str:
            raise InvalidRequest(errors={"op": ["must be a string"]})
        if op in BUCKETS:
            self._bucket.give_back()  # The caller's own buckets pay.
            self._orders.start(frame_id, op, request, self._caller(self._principal, self._key))
            return
        operation = self._ops.get(op)
        if operation is None:
            raise InvalidRequest(errors={"op": ["is not known"]})
        await operation(frame_id, request)

    async def _caller(self, principal: Principal | None, key: str | None) -> Principal:
        """Who sends an order frame, judged each time: a key that is revoked trades no more, nor who was shut out."""
        if principal is None:
            raise NotAuthenticated("Order entry needs auth first.")
        if key is not None:
            return await self._door.authenticator.authenticate_key(key, self._ip)
        return await self._door.authenticator.person(principal.user_id)

    def succeed(self, frame_id: int | str, **members: Any) -> None:
        """Answer a frame."""
        self._outbox.put_or_close(encode({"id": frame_id, "ok": True, **members}))

    def fail(self, frame_id: int | str | None, error: ExchangeError, request_id: str) -> None:
        """Answer a frame with what went wrong, and when to come again if that is known."""
        document = {"id": frame_id, "ok": False, "error": problem(error, request_id)}
        if "Retry-After" in error.headers:
            document["retry_after_s"] = int(error.headers["Retry-After"])
        self._outbox.put_or_close(encode(document))

    def charge(self) -> None:
        """An order frame was turned away, and nobody has paid for it. Leaves the tokens of other frames alone."""
        if not self._unpaid.take():
            self._count_refused()

    def _count_refused(self) -> None:
        self._refused += 1
        if self._refused > MAX_REFUSED_FRAMES:
            self._outbox.close(POLICY_VIOLATION, "too many frames")

    # Ops ----------------------------------------------------------------------------------------

    async def _ping(self, frame_id: int | str, request: dict[str, Any]) -> None:
        refuse_unknown(request)
        self.succeed(frame_id, sent_at=sent_now())

    async def _auth(self, frame_id: int | str, request: dict[str, Any]) -> None:
        key, ticket = request.pop("key", None), request.pop("ticket", None)
        wish = request.pop("cancel_on_disconnect", None)
        if wish is not None and type(wish) is not bool:
            raise InvalidRequest(errors={"cancel_on_disconnect": ["must be true or false"]})
        refuse_unknown(request)
        if (key is None) == (ticket is None):
            raise InvalidRequest("Either key or ticket is needed.", errors={"key": ["or ticket is needed"]})
        principal = await self._authenticate(key, ticket)
        if self._principal is not None and self._principal.account_id != principal.account_id:
            raise InvalidRequest("This socket is another account's; open a new one.")
        if wish is not None:
            await self._guard(principal, wish=wish)
        self._principal, self._key = principal, key
        guarded = placer(principal) in self._guarded
        self.succeed(
            frame_id, account_id=principal.account_id, scopes=sorted(principal.scopes), cancel_on_disconnect=guarded
        )  # fmt: skip

    async def _guard(self, principal: Principal, *, wish: bool) -> None:
        """Whether the orders of this caller are to go with this socket."""
        principal.require(TRADE)
        disconnects, whose = self._door.disconnects, placer(principal)
        if wish and whose not in self._guarded:
            self._guarded[whose] = principal, await disconnects.watch(principal, self._lapsed)
        elif not wish and whose in self._guarded:
            await disconnects.withdraw(self._guarded[whose][1])
            del self._guarded[whose]

    def _lapsed(self) -> None:
        # This process stood still for so long that the engines have cancelled: the client must not believe otherwise.
        self._outbox.close(SERVICE_RESTART, "this server was away, and your orders are cancelled")

    async def _authenticate(self, key: Any, ticket: Any) -> Principal:
        """The caller. Every failure costs a token of the address's sign-in bucket."""
        try:
            if key is not None:
                return await self._door.authenticator.authenticate_key(text_of("key", key), self._ip)
            return await self._door.authenticator.redeem_ticket(text_of("ticket", ticket))
        except NotAuthenticated:
            allowance = await self._door.throttle.take("sign_in", principal=None, ip=self._ip)
            if not allowance.allowed:
                raise RateLimited(retry_after_s=allowance.retry_after_s) from None
            raise

    async def _subscribe(self, frame_id: int | str, request: dict[str, Any]) -> None:
        resume_from = resume_point(request)
        channel, market = channel_and_market(request)
        if channel == ACCOUNT:
            await self._subscribe_account(frame_id, resume_from)
            return
        assert market is not None
        hub = self._door.hub
        market_id, names = await self._door.market(market)
        self._require_room(channel, market_id)
        self._end(channel, market_id)
        # Answer and first frame are queued in one go, so nothing can come in between.
        self.succeed(frame_id, channel=channel, market_id=market_id)
        self._subscriptions[channel, market_id] = hub.join_market(
            self._outbox, channel, market_id, names, resume_from=resume_from
        )

    async def _subscribe_account(self, frame_id: int | str, resume_from: int | None) -> None:
        if self._principal is None:
            raise NotAuthenticated("The account channel needs auth first.")
        self._principal.require(READ)
        account_id = self._principal.account_id
        self._require_room(ACCOUNT, account_id)
        subscription = await self._door.hub.join_account(self._outbox, account_id)
        # Only now, so that no notification falls between the older subscription and this one.
        self._end(ACCOUNT, account_id)
        self._subscriptions[ACCOUNT, account_id] = subscription
        self.succeed(frame_id, channel=ACCOUNT)
        self._door.hub.begin_account(subscription, resume_from=resume_from)

    def _require_room(self, channel: str, topic: str) -> None:
        if (channel, topic) not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Refused("exceeds_limits", f"A socket may have {MAX_SUBSCRIPTIONS} subscriptions.")

    def _end(self, channel: str, topic: str) -> None:
        """End a subscription, if there is one. Subscribing again is how a client that saw a gap starts afresh."""
        older = self._subscriptions.pop((channel, topic), None)
        if older is not None:
            self._door.hub.leave(older)

    async def _unsubscribe(self, frame_id: int | str, request: dict[str, Any]) -> None:
        channel, market = channel_and_market(request)
        if channel != ACCOUNT:
            assert market is not None
            topic = (await self._door.market(market)).market_id
        else:
            topic = self._principal.account_id if self._principal is not None else ""
        self._end(channel, topic)
        self.succeed(frame_id)
