"""One numbered stream of frames and the sockets that get it.

A frame's `seq` is the next frame's `prev_seq` for every subscriber alike, so that each frame is made once. Who joins
gets a first frame whose `seq` is the channel's present one, or the frames it has missed. Knows nothing of markets.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from trading.live.feed_frames import frame, json_bytes
from trading.live.kept_frames import KeptFrames, Shelf
from trading.live.outbox import Outbox
from trading.live.pace import Pace
from trading.live.shared_frames import Frame


class Channel:
    """Frames with common `labels` (channel, market_id); `topic` is the market or account they are about.

    `snapshot` gives the data that stands for everything up to `seq`, `changes` what is new since the last frame. With
    `may_skip` a snapshot can replace frames that a slow socket had no room for; without, such a socket is closed.
    `count` is told how many frames went out. `is_followed` once it has had a subscriber: until then nothing is made.
    """

    __slots__ = (
        "_at_turn", "_changes", "_count", "_is_waiting", "_kept", "_pace", "_snapshot", "_snapshot_json", "_untold_seq",
        "is_current", "is_followed", "labels", "may_skip", "seq", "subscribers", "topic",
    )  # fmt: skip

    def __init__(
        self,
        labels: dict[str, str],
        *,
        topic: str,
        may_skip: bool,
        snapshot: Callable[[], Any],
        changes: Callable[[], Any],
        pace: Pace,
        shelf: Shelf,
        count: Callable[[str, int], None],
    ) -> None:
        self.labels = labels
        self.topic = topic
        self.may_skip = may_skip
        self.seq: int | None = None
        self.is_current = False
        self.is_followed = False
        self.subscribers: set[Subscription] = set()
        self._snapshot = snapshot
        self._changes = changes
        self._pace = pace
        self._kept = KeptFrames(shelf)
        self._snapshot_json: msgspec.Raw | None = None
        self._untold_seq: int | None = None
        self._is_waiting = False
        # Who is to get a snapshot, but not before the others are told what it holds.
        self._at_turn: set[Subscription] = set()
        self._count = count

    @property
    def name(self) -> str:
        return self.labels["channel"]

    # Telling ------------------------------------------------------------------------------------

    def tell(self, seq: int) -> None:
        """There are changes up to `seq`: everyone gets them, as soon as the pace allows."""
        if not self.is_followed:
            self.seq = seq
            return
        self._untold_seq = seq
        if not self._is_waiting:
            self._is_waiting = True
            self._pace.run(len(self.subscribers), self._take_turn)

    def tell_now(self) -> None:
        """Whatever waits for its turn is told."""
        if self._untold_seq is not None:
            seq, self._untold_seq = self._untold_seq, None
            self.publish(seq, self._changes())
            at_turn, self._at_turn = self._at_turn, set()
            for subscription in at_turn & self.subscribers:
                if subscription.started:
                    subscription.outbox.wake()
                else:
                    self.start(subscription)

    def waits_for_turn(self, subscription: "Subscription") -> bool:
        """Whether changes wait to be told. Then it gets its snapshot once they are: told at once, for whoever joins,
        they would cost what the pace saves.
        """
        if self._untold_seq is None:
            return False
        self._at_turn.add(subscription)
        return True

    def forget_untold(self) -> None:
        """What waits for its turn will come with a snapshot."""
        self._untold_seq = None
        self._at_turn.clear()

    def publish(self, seq: int, data: Any) -> None:
        """Send `data` as the next frame to everyone who has had a first one."""
        prev_seq, self.seq = self.seq, seq
        self._snapshot_json = None
        made = self._frame(prev_seq, data)
        if prev_seq is not None:
            self._kept.add(prev_seq, made)
        for subscription in self.subscribers:
            subscription.offer(made, prev_seq)
        self._count(self.name, len(self.subscribers))

    def restart(self, seq: int, *, is_lossless: bool) -> None:
        """Go on from a snapshot at `seq`: everyone gets it.

        Who has had frames before sees it linked to them if it is lossless, that is if the snapshot replaces whatever
        was missed; else it starts afresh with `prev_seq` None.
        """
        prev_seq, self.seq = self.seq, seq
        self.is_current = True
        self.forget_untold()
        self._snapshot_json = None
        if self.is_followed:
            linked = self.first_frame(prev_seq if is_lossless else None)
            if not is_lossless:
                # Who has this number has it from this frame, unless it is no new one.
                self._kept.forget_up_to(seq if prev_seq == seq else seq - 1)
            elif prev_seq is not None and prev_seq < seq:  # Else it is no news for whoever comes back.
                self._kept.add(prev_seq, linked)
            self._send_to_started(linked, prev_seq)
        self.start_waiting()

    def _take_turn(self) -> None:
        self._is_waiting = False
        self.tell_now()

    def _send_to_started(self, made: Frame, prev_seq: int | None) -> None:
        for subscription in self.subscribers:
            if subscription.started:
                subscription.offer(made, prev_seq)
                subscription.outbox.wake()
        self._count(self.name, len(self.subscribers))

    # Joining ------------------------------------------------------------------------------------

    def join(self, subscription: "Subscription", *, resume_from: int | None = None) -> None:
        """Let a subscription in: it gets its first frame now, or as soon as the channel is current and told.

        Where it can go on from the frame `resume_from` it gets all that came after it, and no snapshot.
        """
        self.admit(subscription)
        if self.is_current and not (
            self.resume(subscription, resume_from) or self.waits_for_turn(subscription)
        ):
            self.start(subscription)

    def admit(self, subscription: "Subscription") -> None:
        """Let a subscription in, which is yet to get its first frame."""
        self.is_followed = True
        self.subscribers.add(subscription)

    def resume(self, subscription: "Subscription", seq: int | None) -> bool:
        """Let it go on from the frame `seq`; False where it cannot."""
        if seq is None or not self.is_current:
            return False
        missed = self._kept.since(seq, newest=self.seq)
        return missed is not None and subscription.resume(missed)

    def start_waiting(self) -> None:
        """Give a first frame to everyone who has had none."""
        for subscription in self.subscribers:
            if not subscription.started:
                self.start(subscription)

    def start(self, subscription: "Subscription") -> None:
        """Give a subscriber its first frame; the next one published follows on it."""
        subscription.started = True
        subscription.offer(self.first_frame(None), None)

    def first_frame(self, prev_seq: int | None) -> Frame:
        """The snapshot as a frame. What it holds is encoded once, however many join."""
        if self._snapshot_json is None:
            self._snapshot_json = msgspec.Raw(json_bytes(self._snapshot()))
        return self._frame(prev_seq, self._snapshot_json)

    def _frame(self, prev_seq: int | None, data: Any) -> Frame:
        return frame(labels=self.labels, seq=self.seq, prev_seq=prev_seq, data=data)


class Subscription:
    """One socket's part in a channel. `started` once it has had a first frame."""

    __slots__ = ("_behind_seq", "_is_behind", "_is_put_off", "channel", "outbox", "started")

    def __init__(self, outbox: Outbox, channel: Channel) -> None:
        self.outbox = outbox
        self.channel = channel
        self.started = False
        self._is_behind = False
        self._behind_seq: int | None = None
        self._is_put_off = False

    @property
    def known_seq(self) -> int | None:
        """The newest number of the channel, if the hub can vouch for it at the moment."""
        return self.channel.seq if self.started and self.channel.is_current else None

    def offer(self, made: Frame, prev_seq: int | None) -> None:
        """Send or queue a frame that follows on `prev_seq`, or skip it, or close: see the module of the outbox."""
        if not self.started or self._is_behind or self.outbox.put(made):
            return
        if self.channel.may_skip:
            self._is_behind, self._behind_seq = True, prev_seq
            self.outbox.lag(self)
        else:
            self.outbox.put_or_close(made)

    def resume(self, missed: Collection[Frame]) -> bool:
        """Send what came after the frame that the client has; False if it has no room for that."""
        self.started = self.outbox.put_missed(missed)
        return self.started

    @property
    def is_wanted(self) -> bool:
        """Whether the socket is still subscribed."""
        return self in self.channel.subscribers

    @property
    def is_current(self) -> bool:
        """Whether it is known what to tell."""
        return self.channel.is_current

    def catch_up(self) -> Frame | None:
        """The channel's snapshot, linked to the last frame this socket was sent."""
        if not self.channel.is_current:
            return None
        if self._is_put_off:
            # On a busy channel changes wait again before it has its chance.
            self.channel.tell_now()
        elif self.channel.waits_for_turn(self):
            self._is_put_off = True
            return None
        self._is_behind = self._is_put_off = False
        return self.channel.first_frame(self._behind_seq)
