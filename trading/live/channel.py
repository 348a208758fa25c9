"""One numbered stream of frames and the sockets that get it.

A frame's `seq` is the next frame's `prev_seq` for every subscriber alike, so that each frame is encoded once. Who
joins gets a first frame whose `seq` is the channel's present one. Knows nothing of markets.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from trading.live.feed_frames import encode, frame
from trading.live.outbox import Outbox


class Channel:
    """Frames with common `labels` (channel, market_id); `topic` is the market or account they are about.

    `snapshot` gives the data that stands for everything up to `seq`. With `may_skip` it can replace frames that a slow
    socket had no room for; without, such a socket is closed. `count` is told how many frames went out.
    """

    __slots__ = (
        "_count",
        "_snapshot",
        "_snapshot_json",
        "is_current",
        "labels",
        "may_skip",
        "seq",
        "subscribers",
        "topic",
    )

    def __init__(
        self,
        labels: dict[str, str],
        *,
        topic: str,
        may_skip: bool,
        snapshot: Callable[[], Any],
        count: Callable[[str, int], None],
    ) -> None:
        self.labels = labels
        self.topic = topic
        self.may_skip = may_skip
        self.seq: int | None = None
        self.is_current = False
        self.subscribers: set[Subscription] = set()
        self._snapshot = snapshot
        self._snapshot_json: msgspec.Raw | None = None
        self._count = count

    @property
    def name(self) -> str:
        return self.labels["channel"]

    def publish(self, seq: int, data: Any) -> None:
        """Send `data` as the next frame to everyone who has had a first one."""
        prev_seq, self.seq = self.seq, seq
        self._snapshot_json = None
        if not self.subscribers:
            return
        text = self._frame(prev_seq, data)
        for subscription in self.subscribers:
            subscription.offer(text, prev_seq)
        self._count(self.name, len(self.subscribers))

    def restart(self, seq: int, *, is_lossless: bool) -> None:
        """Go on from a snapshot at `seq`: everyone gets it.

        Who has had frames before sees it linked to them if it is lossless, that is if the snapshot replaces whatever
        was missed; else it starts afresh with `prev_seq` None.
        """
        prev_seq, self.seq = self.seq, seq
        self.is_current = True
        self._snapshot_json = None
        linked = self.first_frame(prev_seq if is_lossless else None) if self.subscribers else ""
        for subscription in self.subscribers:
            if subscription.started:
                subscription.offer(linked, prev_seq)
                subscription.outbox.wake()
        self._count(self.name, len(self.subscribers))
        self.start_waiting()

    def start_waiting(self) -> None:
        """Give a first frame to everyone who has had none."""
        for subscription in self.subscribers:
            if not subscription.started:
                self.start(subscription)

    def start(self, subscription: "Subscription") -> None:
        """Give a subscriber its first frame; the next one published follows on it."""
        subscription.started = True
        subscription.offer(self.first_frame(None), None)

    def first_frame(self, prev_seq: int | None) -> str:
        """The snapshot as a frame. What it holds is encoded once, however many join."""
        if self._snapshot_json is None:
            self._snapshot_json = msgspec.Raw(encode(self._snapshot()).encode())
        return self._frame(prev_seq, self._snapshot_json)

    def _frame(self, prev_seq: int | None, data: Any) -> str:
        return frame(labels=self.labels, seq=self.seq, prev_seq=prev_seq, data=data)


class Subscription:
    """One socket's part in a channel. `started` once it has had a first frame."""

    __slots__ = ("_behind_seq", "_is_behind", "channel", "outbox", "started")

    def __init__(self, outbox: Outbox, channel: Channel) -> None:
        self.outbox = outbox
        self.channel = channel
        self.started = False
        self._is_behind = False
        self._behind_seq: int | None = None

    @property
    def known_seq(self) -> int | None:
        """The newest number of the channel, if the hub can vouch for it at the moment."""
        return self.channel.seq if self.started and self.channel.is_current else None

    def offer(self, text: str, prev_seq: int | None) -> None:
        """Queue a frame that follows on `prev_seq`, or skip it, or close: see the module of the outbox."""
        if not self.started or self._is_behind or self.outbox.put(text):
            return
        if self.channel.may_skip:
            self._is_behind, self._behind_seq = True, prev_seq
            self.outbox.lag(self)
        else:
            self.outbox.put_or_close(text)

    def catch_up(self) -> str | None:
        """The channel's snapshot, linked to the last frame this socket was sent."""
        if self not in self.channel.subscribers:
            return ""
        if not self.channel.is_current:
            return None
        self._is_behind = False
        return self.channel.first_frame(self._behind_seq)
