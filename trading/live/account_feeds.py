"""The account channels of a hub: all of an account as its first frame, then what changes, as its rows have it.

The projector says which rows to look at again (trading.account_news); all accounts with news are read together, and
what comes in meanwhile is read next, so that a busy account has fewer and larger frames. Frames hold rows as they are,
never differences: told twice they do no harm. Fills are told once each, by the trades that the news name.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from django.db import DatabaseError

from trading import as_of as as_of_token
from trading.account_news import CHANNEL_PREFIX, Changes
from trading.errors import ExchangeError, Overloaded
from trading.live.account_state import State, Wanted
from trading.live.channel import Channel, Subscription

ACCOUNT = "account"
CONFIRM_SECONDS = 2.0
# Rows that are not there yet are looked for again after that; a database that fails after the longer one.
AGAIN_SECONDS = 0.01
RETRY_SECONDS = 0.5
# An account that nobody follows any more is followed on for a moment, for whoever comes back.
LINGER_SECONDS = 30.0
# News can be lost with a projector that dies: an account whose own number is ahead for so long has missed some.
CHECK_SECONDS = 2.0

ReadAccounts = Callable[[list[Wanted]], Awaitable[dict[str, State]]]
ReadNumbers = Callable[[list[str]], Awaitable[dict[str, int]]]

log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Changes).decode


Make = Callable[[dict[str, str], str, Callable[[], Any]], Channel]


class AccountFeed:
    """One account: its channel, what is known to have changed, and what its sockets wait for."""

    def __init__(self, account_id: str, make: Make) -> None:
        self.account_id = account_id
        self.channel = make({"channel": ACCOUNT}, account_id, lambda: self.state)
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joining = 0
        self.changes: Changes | None = None
        self.wants_everything = False
        # Something was missed that no snapshot makes good: fills are not in it.
        self.has_hole = True
        self.heard_seq: int | None = None
        self.behind_since: int | None = None
        self.state: dict[str, Any] = {}

    def hear(self, news: Changes) -> None:
        """Changes to be told; a number that does not follow on the last one shows that some were missed."""
        if self.heard_seq is not None and news.prev > self.heard_seq:
            self.lose()
        self.heard_seq = max(news.seq, self.heard_seq or 0)
        self.changes = news if self.changes is None else joined(self.changes, news)

    def lose(self) -> None:
        """Whatever came in between is unknown."""
        self.has_hole = self.wants_everything = True

    @property
    def is_heard(self) -> bool:
        """Whether nothing that is published now can be missed."""
        return self.confirmed.done()

    @property
    def has_work(self) -> bool:
        return self.is_heard and (self.wants_everything or self.changes is not None)

    def take(self) -> "Taken":
        """What is to be read now; what comes in meanwhile is another matter."""
        wanted = Wanted(self.account_id, self.changes, self.wants_everything)
        taken = Taken(self, wanted, self.has_hole)
        self.changes = None
        if self.wants_everything:
            self.wants_everything = self.has_hole = False
        return taken

    def put_back(self, taken: "Taken") -> None:
        """It could not be read yet."""
        changes = taken.wanted.changes
        self.wants_everything |= taken.wanted.everything
        self.has_hole |= taken.has_hole
        if changes is not None:
            self.changes = changes if self.changes is None else joined(changes, self.changes)

    def tell(self, state: State, taken: "Taken") -> None:
        """Frames of what was read for `taken`. Nothing of it is news where nobody listens at the moment."""
        if not self.is_heard:
            return
        changes = taken.wanted.changes
        if changes is not None and state.update is not None and self.channel.is_current:
            self.channel.publish(max(changes.seq, self.channel.seq or 0), state.update)
        if state.snapshot is not None:
            self.state = state.snapshot
            self.heard_seq = max(state.seq, self.heard_seq or 0)
            self.channel.restart(max(state.seq, self.channel.seq or 0), is_lossless=not taken.has_hole)


class Taken(NamedTuple):
    """What is being read for a feed, and whether something before it was missed."""

    feed: AccountFeed
    wanted: Wanted
    has_hole: bool


class AccountFeeds:
    """Those of one hub. `follow` and `unfollow` subscribe to a Valkey channel, `make` makes a feed's frames."""

    def __init__(
        self,
        *,
        read: ReadAccounts,
        numbers: ReadNumbers,
        follow: Callable[[bytes], None],
        unfollow: Callable[[bytes], None],
        make: Make,
    ) -> None:
        self._read = read
        self._numbers = numbers
        self._follow = follow
        self._unfollow = unfollow
        self._make = make
        self._feeds: dict[str, AccountFeed] = {}
        self._work = asyncio.Event()

    def channels(self) -> list[Channel]:
        return [feed.channel for feed in self._feeds.values()]

    async def join(self, account_id: str) -> Channel:
        """The account's channel, once nothing of it can be missed any more. Overloaded while Valkey is away."""
        feed = self._feeds.get(account_id)
        if feed is None:
            feed = self._open(account_id)
        feed.joining += 1
        try:
            await asyncio.wait_for(asyncio.shield(feed.confirmed), CONFIRM_SECONDS)
        except TimeoutError:
            raise Overloaded("The account cannot be followed right now.") from None
        finally:
            feed.joining -= 1
            self._drop_if_idle(feed)
        return feed.channel

    def begin(self, subscription: Subscription, *, resume_from: int | None) -> None:
        """Let a socket in, right after `join`: it gets the frames that it has missed, or all of the account soon."""
        channel = subscription.channel
        channel.admit(subscription)
        feed = self._feeds.get(channel.topic)
        if feed is not None and not channel.resume(subscription, resume_from):
            feed.wants_everything = True
            self._work.set()

    def leave(self, subscription: Subscription) -> None:
        subscription.channel.subscribers.discard(subscription)
        feed = self._feeds.get(subscription.channel.topic)
        if feed is not None:
            self._drop_if_idle(feed)

    def _drop_if_idle(self, feed: AccountFeed) -> None:
        if not feed.channel.subscribers and not feed.joining and self._feeds.get(feed.account_id) is feed:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop, feed)

    def _drop(self, feed: AccountFeed) -> None:
        if not feed.channel.subscribers and not feed.joining and self._feeds.get(feed.account_id) is feed:
            del self._feeds[feed.account_id]
            feed.confirmed.cancel()
            self._unfollow(_name(feed.account_id))

    # Valkey -------------------------------------------------------------------------------------

    def confirmed(self, name: bytes) -> None:
        """From now on nothing published for the account is missed."""
        feed = self._feeds.get(_account_of(name))
        if feed is not None:
            if not feed.is_heard:
                feed.confirmed.set_result(None)
            # Whatever was read while nobody listened, what came before now may have been missed.
            feed.has_hole = True
            feed.wants_everything = bool(feed.channel.subscribers)
            self._work.set()

    def down(self) -> None:
        """What is published from now on is missed, until it is confirmed again."""
        for feed in self._feeds.values():
            feed.lose()
            feed.channel.is_current = False
            if feed.is_heard:
                feed.confirmed = asyncio.get_running_loop().create_future()

    def take(self, name: bytes, message: bytes) -> None:
        """News of the projector, or a notification as it is."""
        feed = self._feeds.get(_account_of(name))
        if feed is None:
            return
        document = msgspec.json.decode(message)
        if document.get("type") != "changes":
            if feed.channel.is_current:
                feed.channel.publish(feed.channel.seq or 0, {**document, "type": "notification"})
            return
        feed.hear(_decode(message))
        self._work.set()

    # Reading ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Reads what is to be told, until cancelled."""
        checked_at = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._work.wait()
            self._work.clear()
            try:
                is_done = await self._read_and_tell()
                if time.monotonic() - checked_at >= CHECK_SECONDS:
                    checked_at = time.monotonic()
                    await self._check()
            except Exception as error:
                # Whatever it was: without this task no account would be told anything any more.
                outage = isinstance(error, DatabaseError | ExchangeError | OSError)
                log.warning("accounts cannot be read yet: %s", error, exc_info=not outage)
                await asyncio.sleep(RETRY_SECONDS)
                is_done = False
            if not is_done:
                await asyncio.sleep(AGAIN_SECONDS)
                self._work.set()

    async def _read_and_tell(self) -> bool:
        """Whether everything wanted was there."""
        taken = {feed.account_id: feed.take() for feed in self._feeds.values() if feed.has_work}
        try:
            if taken:
                for account_id, state in (await self._read([each.wanted for each in taken.values()])).items():
                    each = taken.pop(account_id)
                    try:
                        each.feed.tell(state, each)
                    except BaseException:
                        each.feed.lose()
                        raise
        finally:
            for each in taken.values():
                each.feed.put_back(each)
        return not taken

    async def _check(self) -> None:
        """Accounts whose number is ahead of what was heard, now and at the last check too, have missed news."""
        followed = [feed for feed in self._feeds.values() if feed.is_heard and feed.heard_seq is not None]
        if not followed:
            return
        numbers = await self._numbers([feed.account_id for feed in followed])
        for feed in followed:
            heard, was_behind = feed.heard_seq or 0, feed.behind_since
            feed.behind_since = heard if numbers[feed.account_id] > heard else None
            if was_behind is not None and feed.behind_since == was_behind:
                feed.lose()
                self._work.set()

    def _open(self, account_id: str) -> AccountFeed:
        feed = self._feeds[account_id] = AccountFeed(account_id, self._make)
        self._follow(_name(account_id))
        return feed


def joined(older: Changes, newer: Changes) -> Changes:
    """Both at once."""

    def both(name: str) -> list[str]:
        return list(dict.fromkeys([*getattr(older, name), *getattr(newer, name)]))

    as_of = as_of_token.join(older.as_of, newer.as_of)
    return Changes(newer.seq, older.prev, as_of, both("orders"), both("markets"), both("trades"))


def _name(account_id: str) -> bytes:
    return (CHANNEL_PREFIX + account_id).encode()


def _account_of(name: bytes) -> str:
    return name.decode().removeprefix(CHANNEL_PREFIX)
