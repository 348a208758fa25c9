"""What waits to be sent to one socket: nothing while its connection takes frames at once, else a bounded queue.

A socket that reads too slowly fills it. Then frames that a later one replaces are skipped (their subscription asks
for a snapshot once the queue is empty again); for any other frame the socket is closed with 1013, never thinned out.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from trading.live.shared_frames import Frame, Wire

# One message of the feed can bring as many frames as a socket has subscriptions, 200.
MAX_FRAMES = 1_000
MAX_BYTES = 1_000_000
# What a socket may have missed elsewhere and still be told frame by frame.
MAX_MISSED_BYTES = 4_000_000
# A frame that a socket has not taken in that time means nobody reads there.
STALL_SECONDS = 30.0
CLOSE_SECONDS = 5.0

TRY_AGAIN_LATER = 1013

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Lagging(Protocol):
    """A subscription that has skipped frames."""

    @property
    def is_wanted(self) -> bool:
        """Whether what was skipped still has to be made good."""

    @property
    def is_current(self) -> bool:
        """Whether it is known how."""

    def catch_up(self) -> Frame | None:
        """A frame that replaces what was skipped.

        None while there is none; the outbox is woken when there may be one.
        """


class Outbox:
    """Frames for one socket, in order, straight to its `wire` where it has one. For one event loop alone."""

    __slots__ = (
        "_bytes",
        "_close",
        "_extra_bytes",
        "_extra_frames",
        "_frames",
        "_lagging",
        "_send_began",
        "_waiter",
        "_wire",
    )

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        # Room beyond the usual for what a socket has missed elsewhere, until the queue is empty again.
        self._extra_frames = self._extra_bytes = 0
        self._lagging: list[Lagging] = []
        self._close: tuple[int, str] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._send_began: float | None = None

    @property
    def is_closing(self) -> bool:
        return self._close is not None

    @property
    def is_lagging(self) -> bool:
        """Whether some subscription has skipped frames and is to catch up when the queue is empty."""
        return any(subscription.is_wanted and subscription.is_current for subscription in self._lagging)

    def put(self, frame: Frame) -> bool:
        """Send or queue a frame; False if there is no room for it. An empty queue takes a frame of any size."""
        frames = self._frames
        # What waits goes first, and a socket that has skipped frames gets a snapshot before anything else of theirs.
        if (
            not frames
            and self._send_began is None
            and self._wire is not None
            and self._close is None
            and self._wire.write(frame)
        ):
            return True
        size = len(frame.wire)
        if frames and (
            len(frames) >= MAX_FRAMES + self._extra_frames
            or self._bytes + size > MAX_BYTES + self._extra_bytes
        ):
            return False
        frames.append(frame)
        self._bytes += size
        self.wake()
        return True

    def put_missed(self, missed: Collection[Frame]) -> bool:
        """Queue frames that were told before. They are kept anyway, so that there is room for more of them than usual.

        False, and nothing queued, if there are too many, with those that wait already.
        """
        size = sum(len(frame.wire) for frame in missed)
        if self._extra_bytes + size > MAX_MISSED_BYTES:
            return False
        self._frames.extend(missed)
        self._bytes += size
        self._extra_frames += len(missed)
        self._extra_bytes += size
        self.wake()
        return True

    def put_or_close(self, frame: Frame) -> None:
        """Send or queue a frame that must not be lost."""
        if not self.put(frame):
            self.close(TRY_AGAIN_LATER, "this socket reads too slowly")

    def lag(self, subscription: Lagging) -> None:
        """Ask that subscription for a frame as soon as everything queued is sent."""
        self._lagging.append(subscription)

    def close(self, code: int, reason: str) -> None:
        """Drop what waits and close; the first call's code counts."""
        if self._close is None:
            self._close = code, reason
            self._frames.clear()
            self._lagging.clear()
            self.wake()

    def is_stalled(self) -> bool:
        """Whether the socket has left one frame untaken for STALL_SECONDS, or a close for CLOSE_SECONDS."""
        if self._send_began is None:
            return False
        limit = CLOSE_SECONDS if self.is_closing else STALL_SECONDS
        return time.monotonic() - self._send_began > limit

    def abort(self) -> None:
        """Drop the connection with all that it has not taken: a close would wait for whoever does not read."""
        if self._wire is not None:
            self._wire.abort()

    def wake(self) -> None:
        """Let the writer look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def write(self, send: Send) -> None:
        """Send what is queued until the socket closes or is to be closed."""
        while self._close is None:
            if not self._frames:
                self._catch_up()
            if not self._frames:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
                continue
            frame = self._frames.popleft()
            self._bytes -= len(frame.wire)
            await self._timed(send, {"type": "websocket.send", "text": frame.text})
        code, reason = self._close
        await self._timed(send, {"type": "websocket.close", "code": code, "reason": reason})

    async def _timed(self, send: Send, message: dict[str, Any]) -> None:
        # The server's send waits while the connection's own buffer is full: that is where slowness shows.
        self._send_began = time.monotonic()
        await send(message)
        self._send_began = None

    def _catch_up(self) -> None:
        self._extra_frames = self._extra_bytes = 0
        lagging, self._lagging = self._lagging, []
        for subscription in lagging:
            if not subscription.is_wanted:
                continue
            frame = subscription.catch_up()
            if frame is None:
                self._lagging.append(subscription)
            else:
                self._frames.append(frame)
                self._bytes += len(frame.wire)
