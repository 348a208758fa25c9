"""What was told lately, for sockets that come back: frames by the number they follow on, for a time or up to a size."""

import time
from collections import deque
from collections.abc import Collection

from trading.live.shared_frames import Frame

KEEP_SECONDS = 600.0
# Of one process; past that the oldest frames of all channels go first.
MOST_BYTES = 128 * 2**20
# A frame's numbers and its place in two queues.
OVERHEAD_BYTES = 200


class KeptFrames:
    """One channel's frames, each following on the one before; `shelf` bounds those of all channels."""

    __slots__ = ("_frames", "_shelf")

    def __init__(self, shelf: "Shelf") -> None:
        self._shelf = shelf
        self._frames: deque[tuple[int, Frame]] = deque()

    def add(self, prev_seq: int | None, frame: Frame) -> None:
        """Keeps a frame. One that follows on nothing makes those before it useless, and they count no more."""
        if prev_seq is None:
            self.clear()
            return
        self._frames.append((prev_seq, frame))
        self._shelf.put(self, frame)

    def clear(self) -> None:
        """Keeps none of the frames so far; the shelf finds out as it comes to them."""
        self._frames.clear()

    def since(self, seq: int) -> Collection[Frame] | None:
        """The frames after the first one numbered `seq`, oldest first; None if it is not known what came after it."""
        if not self._frames or self._frames[0][0] > seq:
            return None
        # Numbers never fall, so the walk is as long as what was missed, and ends there for one that is not known.
        found: deque[Frame] = deque()
        oldest = None
        for prev_seq, frame in reversed(self._frames):
            if prev_seq < seq:
                break
            found.appendleft(frame)
            oldest = prev_seq
        return found if oldest == seq else None

    def drop(self, frame: Frame) -> None:
        """The shelf has no room for this frame any more; it is the oldest here, or gone already."""
        if self._frames and self._frames[0][1] is frame:
            self._frames.popleft()


class Shelf:
    """All kept frames of a process, oldest first."""

    def __init__(self) -> None:
        self._order: deque[tuple[float, KeptFrames, Frame]] = deque()
        self._bytes = 0

    def put(self, owner: KeptFrames, frame: Frame) -> None:
        now = time.monotonic()
        self._order.append((now, owner, frame))
        self._bytes += len(frame.wire) + OVERHEAD_BYTES
        while self._bytes > MOST_BYTES or self._order[0][0] < now - KEEP_SECONDS:
            _, oldest_owner, oldest = self._order.popleft()
            self._bytes -= len(oldest.wire) + OVERHEAD_BYTES
            oldest_owner.drop(oldest)
