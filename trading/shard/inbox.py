"""The commands waiting for this shard: Valkey streams read from the offsets that commits stored.

No consumer groups and no acknowledgements: what was consumed is known to PostgreSQL alone, and a
stream is trimmed only behind that.
"""

import logging
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import redis

from trading.ids import market_slot
from trading.shard.crash_points import reach
from trading.shard.slots import OwnedSlot
from trading.wire import FRAME_FIELD, Envelope, command_stream, decode_frame

log = logging.getLogger(__name__)

# Enough that a commit costs each order little; more would only make everybody wait longer for it.
MAX_BATCH_COMMANDS = 400
READ_ENTRIES = 200


class Entry(NamedTuple):
    """One stream entry: a gateway's frame."""

    slot: int
    entry_id: str
    gateway_id: str
    envelopes: list[Envelope]


class Inbox:
    """Reads the streams it follows ahead of the commits; `rewind` starts again from what is stored."""

    def __init__(self, valkey: redis.Redis) -> None:
        self._valkey = valkey
        self._cursors: dict[bytes, bytes] = {}
        self._slots: dict[bytes, int] = {}
        self._waiting: deque[Entry] = deque()

    def rewind(self, slots: Iterable[OwnedSlot]) -> None:
        """Forgets all that was read ahead and reads these slots' streams from the consumed offsets."""
        self._waiting.clear()
        self._cursors.clear()
        self._slots.clear()
        self.follow(slots)

    def follow(self, slots: Iterable[OwnedSlot]) -> None:
        """Reads these slots' streams too, from the consumed offsets.

        The no-op entry just above each offset makes a Valkey that came back empty or behind count
        on from there, so that no later command gets an id that was already passed.
        """
        pipeline = self._valkey.pipeline(transaction=False)
        for owned in slots:
            stream = command_stream(owned.slot).encode()
            self._cursors[stream] = owned.command_offset.encode()
            self._slots[stream] = owned.slot
            trim(pipeline, owned.slot, owned.command_offset)
            pipeline.xadd(stream, {b"noop": b""}, id=_after(owned.command_offset))
        for result in pipeline.execute(raise_on_error=False):
            if isinstance(result, redis.ResponseError) and "equal or smaller" in str(result):
                continue
            if isinstance(result, Exception):
                raise result

    def drop(self, slots: Collection[int]) -> None:
        """Reads these slots' streams no more; what was read ahead of them is their next owner's."""
        for slot in slots:
            stream = command_stream(slot).encode()
            self._cursors.pop(stream, None)
            self._slots.pop(stream, None)
        self._waiting = deque(entry for entry in self._waiting if entry.slot not in slots)

    def take(self, wait_ms: int | None, *, at_least: int = 0) -> list[Entry]:
        """What waits, at most about MAX_BATCH_COMMANDS commands. If nothing does, waits `wait_ms`; None: not at all.

        Leaves all of it if there are fewer than `at_least` commands.
        """
        if len(self._waiting) < READ_ENTRIES and self._cursors:
            self._read(None if self._waiting else wait_ms)
        if at_least and sum(len(entry.envelopes) for entry in self._waiting) < at_least:
            return []
        taken: list[Entry] = []
        commands = 0
        while self._waiting and (
            not taken or commands + len(self._waiting[0].envelopes) <= MAX_BATCH_COMMANDS
        ):
            entry = self._waiting.popleft()
            commands += len(entry.envelopes)
            taken.append(entry)
        return taken

    def _read(self, wait_ms: int | None) -> None:
        reach("before_read")
        reply: Any = self._valkey.xread(self._cursors, count=READ_ENTRIES, block=wait_ms)  # type: ignore[arg-type]
        reach("after_read")
        for stream, entries in reply or ():
            slot = self._slots[stream]
            for entry_id, fields in entries:
                self._waiting.append(_entry(slot, entry_id.decode(), fields))
            self._cursors[stream] = entries[-1][0]


def trim(pipeline: Any, slot: int, consumed: str) -> None:
    """Drops what a commit has passed from a slot's stream: what is left is what waits."""
    pipeline.xtrim(command_stream(slot), minid=_after(consumed), approximate=False)


def _after(entry_id: str) -> str:
    """The smallest id above an entry's."""
    milliseconds, sequence = entry_id.split("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def _entry(slot: int, entry_id: str, fields: dict[bytes, bytes]) -> Entry:
    """A stream entry; one that no gateway wrote carries no command and is passed over."""
    if FRAME_FIELD not in fields:
        return Entry(slot, entry_id, "", [])
    try:
        gateway_id, envelopes = decode_frame(fields[FRAME_FIELD])
    except ValueError as error:
        log.error("entry %s of slot %d passed over: %s", entry_id, slot, error)
        return Entry(slot, entry_id, "", [])
    strays = [e for e in envelopes if market_slot(e.command.market_id) != slot]
    if strays:
        log.error(
            "%d commands for other slots in entry %s of slot %d passed over", len(strays), entry_id, slot
        )
        envelopes = [e for e in envelopes if e not in strays]
    return Entry(slot, entry_id, gateway_id, envelopes)
