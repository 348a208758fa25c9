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

    __slots__ = ("_forgotten_seq", "_frames", "_shelf")

    def __init__(self, shelf: "Shelf") -> None:
        self._shelf = shelf
        self._frames: deque[tuple[int, Frame]] = deque()
        # Something that follows on this number is here no more.
        self._forgotten_seq = -1

    def add(self, prev_seq: int, frame: Frame) -> None:
        """Keeps a frame that follows on that number."""
        self._frames.append((prev_seq, frame))
        self._shelf.put(self, frame)

    def forget_up_to(self, seq: int) -> None:
        """What came up to this number is not all known: the frames so far are useless. The shelf finds out in time."""
        self._frames.clear()
        self._forgotten_seq = seq

    def since(self, seq: int, *, newest: int | None) -> Collection[Frame] | None:
        """The frames after the first one numbered `seq`, oldest first; None if it is not known what came after it.

        Some raise no number, so that whoever has one numbered `seq` may lack another. `newest` is the channel's.
        """
        if seq <= self._forgotten_seq:
            return None
        # Numbers never fall, so the walk is as long as what was missed, and ends there for one that is not known.
        found: deque[Frame] = deque()
        oldest = None
        for prev_seq, frame in reversed(self._frames):
            if prev_seq < seq:
                break
            found.appendleft(frame)
            oldest = prev_seq
        return found if oldest == seq or (not found and seq == newest) else None

    def drop(self, frame: Frame) -> None:
        """The shelf has no room for this frame any more; it is the oldest here, or gone already."""
        if self._frames and self._frames[0][1] is frame:
            self._forgotten_seq = self._frames.popleft()[0]


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
