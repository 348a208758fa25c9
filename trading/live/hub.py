"""The hub: one a process, between Valkey's feed and this process's sockets.

It follows the whole feed over one connection, keeps a MarketFeed for each market somebody here subscribes to, and
sends each frame, encoded once, to all its sockets. It subscribes first and reads the snapshot second, so nothing is
missed and nothing told twice. A hub without Valkey says nothing but heartbeats that name no number.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import redis.asyncio as redis
from django.db import DatabaseError
from redis.exceptions import RedisError

from trading import metrics
from trading.cancelling import end_tasks
from trading.live.account_feeds import ACCOUNT, AccountFeeds, ReadAccounts, ReadNumbers
from trading.live.account_state import accounts_now, numbers_now
from trading.live.book_mirror import BookMirror, FeedTicker, FeedUpdate, decode_ticker, decode_updates
from trading.live.channel import Channel, Subscription
from trading.live.kept_frames import KEEP_SECONDS, Shelf
from trading.live.market_feed import MarketFeed, RecentTrades
from trading.live.outbox import Outbox
from trading.live.pace import SharedPace
from trading.subscriber import Subscriber

FEED = b"feed"

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 1.0
SNAPSHOTS_AT_ONCE = 8
# How long a market that nobody follows is kept up, for whoever comes back; and how many markets are.
LINGER_SECONDS = KEEP_SECONDS
MAX_MARKETS = 5_000
# Markets of which recent trades are kept; past that the oldest known are forgotten.
MAX_REMEMBERED_MARKETS = 5_000

FindEnded = Callable[[str, Sequence[str]], Awaitable[tuple[BookMirror, FeedTicker] | None]]

log = logging.getLogger(__name__)


class Hub:
    """Channels of markets and accounts for the sockets of one event loop; `url` is the feed's Valkey.

    `find_ended(market_id, names)` is asked about markets that Valkey does not know.
    """

    def __init__(
        self,
        *,
        url: str,
        find_ended: FindEnded | None = None,
        read_accounts: ReadAccounts = accounts_now,
        read_numbers: ReadNumbers = numbers_now,
    ) -> None:
        self._url = url
        self._find_ended = find_ended
        self._recent: dict[str, RecentTrades] = {}
        self._markets: dict[str, MarketFeed] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._pace = SharedPace()
        self._shelf = Shelf()
        self._accounts = AccountFeeds(
            read=read_accounts,
            numbers=read_numbers,
            follow=lambda name: self._source.subscribe(name),
            unfollow=lambda name: self._source.unsubscribe(name),
            make=self._account_channel,
        )
        self._listener: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._frames: Counter[str] = Counter()
        self._heard_at: float | None = None
        self.is_live = False
        self.sockets = 0

    # Life ---------------------------------------------------------------------------------------

    def ensure_started(self) -> None:
        """Begin to listen, in the running event loop; harmless if it has begun."""
        if self._listener is not None and not self._listener.done():
            return
        self._snapshots = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)
        self._valkey = redis.Redis.from_url(self._url, socket_timeout=2.0, socket_connect_timeout=2.0)
        self._source = Subscriber(
            self._url, on_message=self._take, on_subscribed=self._subscribed, on_down=self._down
        )
        self._source.subscribe(FEED)
        self._listener = asyncio.create_task(self._source.run(), name="hub")
        self._reader = asyncio.create_task(self._accounts.run(), name="accounts")

    async def stop(self) -> None:
        """Stop listening; the sockets are their server's business."""
        await end_tasks(
            task for task in (self._listener, self._reader, *self._reading.values()) if task is not None
        )
        if self._listener is not None:
            await self._valkey.aclose()
            self._listener = None

    def health(self) -> dict[str, Any]:
        """What /ws/health tells of this process; no I/O."""
        feeds = self._markets.values()
        channels = [channel for feed in feeds for channel in feed.channels.values()]
        waiting = sum(not feed.is_current for feed in feeds)
        return {
            "status": "ok" if self.is_live else "degraded",
            "feed_connected": self.is_live,
            "last_message_age_s": None
            if self._heard_at is None
            else round(time.monotonic() - self._heard_at, 3),
            "sockets": self.sockets,
            "markets": len(self._markets),
            "markets_waiting": waiting,
            "subscriptions": sum(len(c.subscribers) for c in [*channels, *self._accounts.channels()]),
            "frames_sent": dict(self._frames),
        }

    # Sockets ------------------------------------------------------------------------------------

    def join_market(
        self,
        outbox: Outbox,
        channel: str,
        market_id: str,
        names: Sequence[str],
        *,
        resume_from: int | None = None,
    ) -> Subscription:
        """Subscribe a socket: its first frame, or those after `resume_from`, are queued now or once they are known."""
        subscription = Subscription(outbox, self.feed(market_id, names).channels[channel])
        subscription.channel.join(subscription, resume_from=resume_from)
        return subscription

    def feed(self, market_id: str, names: Sequence[str]) -> MarketFeed:
        """A market's feed, kept up from now on until nobody has wanted it for a while."""
        feed = self._markets.get(market_id)
        if feed is None:
            return self._open(market_id, names)
        feed.wanted_at = time.monotonic()
        return feed

    async def join_account(self, outbox: Outbox, account_id: str) -> Subscription:
        """A socket's part in its account's channel; Overloaded while Valkey is away. Its frames come after `begin`."""
        return Subscription(outbox, await self._accounts.join(account_id))

    def begin_account(self, subscription: Subscription, *, resume_from: int | None) -> None:
        """Its frames are to come from now on: all of the account first, or what came after `resume_from`."""
        self._accounts.begin(subscription, resume_from=resume_from)

    def leave(self, subscription: Subscription) -> None:
        """End a subscription; what nobody here follows any more is dropped, markets after LINGER_SECONDS."""
        channel = subscription.channel
        if channel.name == ACCOUNT:
            self._accounts.leave(subscription)
            return
        channel.subscribers.discard(subscription)
        if not channel.subscribers:
            self._leave_market(channel.topic)

    def _leave_market(self, market_id: str) -> None:
        """Who comes back soon finds what it has missed, so the feed stays for a while."""
        feed = self._markets.get(market_id)
        if feed is not None and not feed.has_subscribers:
            feed.wanted_at = time.monotonic()
            self._look_again(feed)

    def _look_again(self, feed: MarketFeed) -> None:
        left_s = feed.wanted_at + LINGER_SECONDS - time.monotonic()
        if left_s > 0:
            if not feed.is_leaving:
                feed.is_leaving = True
                asyncio.get_running_loop().call_later(left_s, self._drop_if_idle, feed)
        elif self._markets.get(feed.market_id) is feed:
            self._drop_market(feed.market_id)

    def _drop_if_idle(self, feed: MarketFeed) -> None:
        feed.is_leaving = False
        if not feed.has_subscribers:
            self._look_again(feed)

    def _drop_market(self, market_id: str) -> None:
        del self._markets[market_id]
        reading = self._reading.pop(market_id, None)
        if reading is not None:
            reading.cancel()

    # Valkey -------------------------------------------------------------------------------------

    def _subscribed(self, name: bytes) -> None:
        if name == FEED:
            self.is_live = True
            for feed in self._markets.values():
                self._read(feed)
            return
        self._accounts.confirmed(name)

    def _down(self) -> None:
        """Whatever is published from now on is missed, until the feed is subscribed again."""
        self.is_live = False
        self._recent.clear()
        for task in self._reading.values():
            task.cancel()
        self._reading.clear()
        for feed in self._markets.values():
            feed.lose()
            feed.recent_trades = self._recent.setdefault(feed.market_id, RecentTrades())
        self._accounts.down()

    def _take(self, name: bytes, message: bytes) -> None:
        self._heard_at = time.monotonic()
        try:
            if name == FEED:
                for update in decode_updates(message):
                    self._take_update(update)
            else:
                self._accounts.take(name, message)
        except (msgspec.MsgspecError, ValueError):
            log.exception("a message on %r cannot be read", name)
            if name == FEED:
                self._reread_all()

    def _take_update(self, update: FeedUpdate) -> None:
        feed = self._markets.get(update.m)
        if feed is None:
            self._recent_trades(update.m).take(update)
            return
        feed.recent_trades.take(update)
        try:
            feed.take(update)
        except Exception:
            # One market's foul update must not take the feed of all others down.
            log.exception("an update of market %s cannot be told", update.m)
            feed.lose()
            self._read(feed)

    def _reread_all(self) -> None:
        for feed in self._markets.values():
            feed.lose()
            self._read(feed)

    # Snapshots ----------------------------------------------------------------------------------

    def _open(self, market_id: str, names: Sequence[str]) -> MarketFeed:
        feed = MarketFeed(
            market_id=market_id,
            names=names,
            recent_trades=self._recent_trades(market_id),
            read_again=self._read,
            pace=self._pace,
            shelf=self._shelf,
            count=self._count,
        )
        feed.wanted_at = time.monotonic()
        self._make_room()
        self._markets[market_id] = feed
        self._look_again(feed)
        if self.is_live:
            self._read(feed)
        return feed

    def _make_room(self) -> None:
        """For one more market: of those that nobody follows the one that was wanted least lately goes."""
        if len(self._markets) >= MAX_MARKETS:
            idle = [feed for feed in self._markets.values() if not feed.has_subscribers]
            if idle:
                self._drop_market(min(idle, key=lambda feed: feed.wanted_at).market_id)

    def _read(self, feed: MarketFeed) -> None:
        """See to it that the feed's snapshot is read, from a moment after now."""
        running = self._reading.pop(feed.market_id, None)
        if running is not None and running is not asyncio.current_task():
            running.cancel()
        task = asyncio.create_task(self._read_until_current(feed), name=f"snapshot {feed.market_id}")
        self._reading[feed.market_id] = task

    async def _read_until_current(self, feed: MarketFeed) -> None:
        def is_wanted() -> bool:
            # A cancellation may be lost (trading.cancelling); what was read before a later loss must not be shown.
            return self._reading.get(feed.market_id) is asyncio.current_task()

        pause_s = FIRST_RETRY_SECONDS
        while is_wanted():
            try:
                async with self._snapshots:
                    found = await self._read_snapshot(feed)
                if found is not None and is_wanted() and feed.restore(*found):
                    break
            except (
                RedisError,
                DatabaseError,
                OSError,
                TimeoutError,
                msgspec.MsgspecError,
                ValueError,
            ) as error:
                log.warning("snapshot of market %s: %s", feed.market_id, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_SECONDS)
        # restore() may have met a gap among the updates kept meanwhile, and ordered another reading.
        if is_wanted():
            del self._reading[feed.market_id]

    async def _read_snapshot(self, feed: MarketFeed) -> tuple[BookMirror, FeedTicker | None] | None:
        """Book and ticker as of one moment; None if Valkey does not know the market's book."""
        async with self._valkey.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"book:{feed.market_id}")
            pipe.get(f"ticker:{feed.market_id}")
            book, ticker = await pipe.execute()
        mirror = BookMirror.from_hash(feed.names, book)
        if mirror is None:
            return (
                await self._find_ended(feed.market_id, feed.names) if self._find_ended is not None else None
            )
        return mirror, decode_ticker(ticker) if ticker is not None else None

    # Small things -------------------------------------------------------------------------------

    def _account_channel(
        self, labels: dict[str, str], account_id: str, snapshot: Callable[[], Any]
    ) -> Channel:
        return Channel(
            labels, topic=account_id, may_skip=False, snapshot=snapshot, changes=dict, pace=self._pace,
            shelf=self._shelf, count=self._count,
        )  # fmt: skip

    def _recent_trades(self, market_id: str) -> RecentTrades:
        recent = self._recent.get(market_id)
        if recent is None:
            if len(self._recent) >= MAX_REMEMBERED_MARKETS:
                del self._recent[next(iter(self._recent))]
            recent = self._recent[market_id] = RecentTrades()
        return recent

    def _count(self, channel: str, frames: int) -> None:
        self._frames[channel] += frames
        metrics.FRAMES.inc(frames)
