"""What the `live` process is made of: one gateway, one hub, the fast lane over HTTP and the sockets at /ws/v1."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path, re_path

from accounts.authentication import KeyAuthenticator
from accounts.client_ip import resolve_ip
from markets.live_document import LiveCatalogue
from ops.throttle import throttle
from trading.garbage import collect_rarely
from trading.gateway import Gateway
from trading.live.client_frames import SocketLimits
from trading.live.desk import Desk
from trading.live.ended_market import ended_market
from trading.live.fastlane import FastLane
from trading.live.hub import Hub
from trading.live.market_reads import MarketReads
from trading.live.sockets import FeedSockets, FoundMarket, no_such_path
from trading.market_terms import market_terms

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

NO_LIMITS = SocketLimits(frames_per_second=None)


class Lifespan:
    """Starts what has a background task before the first request, and stops it after the last."""

    def __init__(self, *, gateway: Gateway, hub: Hub) -> None:
        self.gateway = gateway
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        await self.gateway.start()
        self.hub.ensure_started()
        collect_rarely()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self.hub.stop()
        await self.gateway.stop()
        await send({"type": "lifespan.shutdown.complete"})


class OriginCheck:
    """Refuses sockets that a page of a foreign origin opens: scheme, host and port must all be listed.

    Programs send no Origin. They authenticate by key, and no socket ever counts on a cookie.
    """

    def __init__(self, inner: Application, *, allowed: frozenset[str]) -> None:
        self.inner = inner
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if all(origin.decode("latin-1").lower() in self.allowed for origin in origins):
            await self.inner(scope, receive, send)
            return
        await receive()  # websocket.connect
        await send({"type": "websocket.close", "code": 1008})  # Before accept: the client gets a 403.


def client_ip(scope: Scope) -> str | None:
    """The caller's address, as the web process judges it."""
    client = scope.get("client")
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return resolve_ip(client[0] if client else None, b",".join(forwarded).decode("latin-1") or None)


async def find_market(reference: str) -> FoundMarket:
    terms = await database_sync_to_async(market_terms)(reference)
    return FoundMarket(terms.market_id, terms.outcomes)


def build() -> ProtocolTypeRouter:
    """The whole application; one a process."""
    gateway, hub = Gateway(settings.VALKEY_URL), Hub(url=settings.FEED_URL, find_ended=ended_market)
    desk, authenticator = Desk(gateway), KeyAuthenticator()
    order_throttle = throttle() if settings.THROTTLE else None
    sockets = FeedSockets(
        hub=hub,
        desk=desk,
        authenticator=authenticator,
        throttle=throttle(),
        order_throttle=order_throttle,
        find_market=find_market,
        client_ip=client_ip,
        limits=SocketLimits() if settings.THROTTLE else NO_LIMITS,
    )
    return ProtocolTypeRouter(
        {
            "lifespan": Lifespan(gateway=gateway, hub=hub),
            "http": FastLane(
                desk=desk,
                reads=MarketReads(hub=hub, desk=desk, catalogue=LiveCatalogue()),
                authenticator=authenticator,
                throttle=order_throttle,
                client_ip=resolve_ip,
                health=hub.health,
            ),
            "websocket": OriginCheck(
                URLRouter([path("ws/v1", cast(Any, sockets)), re_path("", cast(Any, no_such_path))]),
                allowed=frozenset(settings.ALLOWED_ORIGINS),
            ),
        }
    )
