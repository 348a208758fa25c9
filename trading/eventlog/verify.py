"""Proves that the log is what was written: nothing altered, removed, added or put elsewhere.

A slot's offsets and a stream's versions are dense, each event's hash follows from its content and its
predecessor's hash, time does not run backwards in a slot, a stream stays in its slot, and the head
rows name exactly the last events. A log that was cut, or rewritten from some point on, together with its head
rows contradicts the heads that were published before (heads.py). Months in archive files are walked first,
as one chain with what the table holds. No row of the table is passed over: one before a slot's first offset, behind
its end or in a slot that there is none of is a break, so that a stream has no second event of any version.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from trading.eventlog.append import EMPTY, Head
from trading.eventlog.archive_file import ArchiveFile, read_slot_events
from trading.eventlog.codec import GENESIS, StoredEvent, canonical_json, chain_hash, timestamp_text
from trading.eventlog.heads import SlotHead, digest_of
from trading.eventlog.read import read_slot_as_stored
from trading.ids import MARKET_SLOTS, account_slot, market_slot

PAGE_EVENTS = 2000
BELOW_ALL_SLOTS = -(2**15) - 1
COMPARED_HEADS = 32
"""Published heads of a slot that its walk is compared with, spread over them all. The last one alone would prove as
much, since it follows from all before it; the others tell about where the log was rewritten."""


class Break(NamedTuple):
    """The first event of a slot that is not as it was written, and what is wrong with it."""

    event_id: str
    stream_id: str
    version: int
    what: str

    def __str__(self) -> str:
        return f"event {self.event_id}, stream {self.stream_id}, version {self.version}: {self.what}"


class SlotHeads(NamedTuple):
    """A slot and its streams as they were at one moment."""

    next_offset: int
    recorded_us: int
    streams: dict[str, Head]
    beyond: int | None
    """The first offset of an event that the slot's row does not count, if there is one."""


def verify_slot(
    connection: Any,
    slot: int,
    *,
    since_us: int | None = None,
    progress: Callable[[int], None] = lambda events: None,
    published: Sequence[SlotHead] = (),
    archives: Sequence[ArchiveFile] = (),
    archived_to: int = 0,
) -> Break | None:
    """Walks one slot up to its head as it is now; the exchange may go on meanwhile.

    `published` are the slot's published heads, read before this was called. `archives` are the files with the
    slot's beginning, oldest first; without them the walk starts at `archived_to`, where the table does. With
    `since_us` only events of the table recorded from then on. A walk that does not start at the beginning takes
    its events' predecessors as they are, and compares only the length of the slot with `published`.
    `connection` is psycopg's, autocommit; pages are short statements, so nothing is held open. Raises BadArchive.
    """
    heads = read_heads(connection, slot)
    first = 0 if archives else archived_to
    begin = archives[-1].parts[slot].range.next_offset if archives else first
    if since_us is not None:
        archives, first = (), _first_offset_since(connection, slot, since_us, heads.next_offset)
    progress(first)
    walk = _Walk(connection, slot, first, published)
    for page in _pages(connection, slot, first, heads.next_offset, archives):
        for event in page:
            if (what := walk.check(event)) is not None:
                return Break(event.event_id, event.stream_id, event.version, what)
            if (broken := walk.compare_published()) is not None:
                return broken
        progress(len(page))
    return walk.check_length() or walk.check_heads(heads) or _before(connection, slot, begin)


def verify_slots(connection: Any, slots: Collection[int]) -> list[Break]:
    """The first event of each slot in the table that is none of `slots`. One look into an index for each slot."""
    breaks, last = [], BELOW_ALL_SLOTS
    while (row := _first_after(connection, last)) is not None:
        last, offset, stream_id, version = row
        if last not in slots:
            breaks.append(Break(f"{last}-{offset}", stream_id, version, f"there is no slot {last}"))
    return breaks


def _first_after(connection: Any, slot: int) -> tuple[int, int, str, int] | None:
    row: tuple[int, int, str, int] | None = connection.execute(
        "SELECT slot, slot_offset, stream_id::text, version FROM event WHERE slot > %s "
        "ORDER BY slot, slot_offset LIMIT 1",
        [slot],
    ).fetchone()
    return row


def _before(connection: Any, slot: int, begin: int) -> Break | None:
    """An event of the table that stands before those that are walked.

    Not in a month whose archive has been noted: until it is dropped it holds what its file does.
    """
    row = connection.execute(
        "SELECT slot_offset, stream_id::text, version FROM event WHERE slot = %s AND slot_offset < %s "
        "AND tableoid::regclass::text NOT IN (SELECT partition FROM event_archive) ORDER BY slot_offset LIMIT 1",
        [slot, begin],
    ).fetchone()
    if row is None:
        return None
    offset, stream_id, version = row
    return Break(f"{slot}-{offset}", stream_id, version, f"the table's part of its slot begins at {begin}")


def read_heads(connection: Any, slot: int) -> SlotHeads:
    """The slot's row, its streams' heads and a look behind the end, from one snapshot."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(
            "SELECT next_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM slot WHERE slot = %s",
            [slot],
        )
        next_offset, recorded_us = cursor.fetchone()
        cursor.execute("SELECT id::text, version, hash FROM stream WHERE slot = %s", [slot])
        streams = {stream: Head(version, bytes(digest)) for stream, version, digest in cursor.fetchall()}
        cursor.execute(
            "SELECT slot_offset FROM event WHERE slot = %s AND slot_offset >= %s ORDER BY slot_offset LIMIT 1",
            [slot, next_offset],
        )
        row = cursor.fetchone()
    return SlotHeads(next_offset, recorded_us, streams, None if row is None else row[0])


class _Walk:
    """What the events so far have led to: the next offset, the last time, and each stream's head."""

    def __init__(self, connection: Any, slot: int, first: int, published: Sequence[SlotHead] = ()) -> None:
        self._connection = connection
        self._slot = slot
        self._offset = first
        self._from_the_start = first == 0
        self._recorded_us = 0
        self._heads: dict[str, Head] = {}
        self._longest = max(published, key=lambda head: head.next_offset, default=None)
        # Nearest first, taken from the end.
        self._to_compare = _spread(published)[::-1] if self._from_the_start else []
        self._agreed = 0

    def check(self, event: StoredEvent) -> str | None:
        """What is wrong with the next event, or None."""
        if event.slot_offset != self._offset:
            return f"offset {self._offset} of slot {self._slot} was to come"
        if event.recorded_us < self._recorded_us:
            return f"recorded before its predecessor in the slot ({timestamp_text(self._recorded_us)})"
        if not self._belongs_here(event.stream_id):
            return f"its stream does not belong to slot {self._slot}"
        head = self._heads.get(event.stream_id) or self._head_before(event)
        if head is not None and event.version != head.version + 1:
            return f"version {head.version + 1} of its stream was to come"
        if head is not None and event.hash != _expected_hash(event, head):
            return "its content or its predecessor's hash was changed"
        self._offset += 1
        self._recorded_us = event.recorded_us
        self._heads[event.stream_id] = Head(event.version, event.hash)
        return None

    def compare_published(self) -> Break | None:
        """The log up to here against what was published when it ended here."""
        while self._to_compare and self._to_compare[-1].next_offset == self._offset:
            head = self._to_compare.pop()
            if digest_of(self._heads) != head.digest:
                return Break(
                    f"{self._slot}-{self._agreed}", "-", 0,
                    f"between here and offset {head.next_offset} the log is not the one whose heads were published "
                    f"at {head.published_at}",
                )  # fmt: skip
            self._agreed = self._offset
        return None

    def check_length(self) -> Break | None:
        """Whether all events are there that were there when heads were published."""
        if self._longest is None or self._longest.next_offset <= self._offset:
            return None
        return Break(
            f"{self._slot}-{self._offset}", "-", 0,
            f"the log ends here, and had {self._longest.next_offset} events when its heads were published at "
            f"{self._longest.published_at}",
        )  # fmt: skip

    def check_heads(self, heads: SlotHeads) -> Break | None:
        """The head rows against where the events have led."""
        if self._offset != heads.next_offset or heads.beyond is not None:
            place = f"{self._slot}-{heads.beyond if heads.beyond is not None else self._offset}"
            counted = f"the slot's head counts {heads.next_offset} events, the log has {self._offset}"
            return Break(
                place, "-", 0, counted if heads.beyond is None else "the slot's head does not count it"
            )
        if self._recorded_us > heads.recorded_us:
            return Break(
                f"{self._slot}-{self._offset - 1}", "-", 0, "recorded after the time of the slot's head"
            )
        for stream, head in sorted(heads.streams.items()):
            reached = self._heads.get(stream)
            if reached is None and not self._from_the_start:
                continue
            if reached != head:
                what = f"the stream's head is version {head.version}, the log ends with {(reached or EMPTY).version}"
                return Break(f"{self._slot}-{self._offset}", stream, head.version, what)
        headless = sorted(self._heads.keys() - heads.streams.keys())
        if headless:
            version = self._heads[headless[0]].version
            return Break(f"{self._slot}-{self._offset}", headless[0], version, "the stream has no head")
        return None

    def _belongs_here(self, stream_id: str) -> bool:
        home = market_slot(stream_id) if self._slot < MARKET_SLOTS else account_slot(stream_id)
        return home == self._slot

    def _head_before(self, event: StoredEvent) -> Head | None:
        """Nothing, for a walk from the start; else the predecessor as the log has it, None if that is archived."""
        if self._from_the_start or event.version == 1:
            return EMPTY
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT version, hash FROM event WHERE stream_id = %s AND version = %s",
                [event.stream_id, event.version - 1],
            )
            row = cursor.fetchone()
            if row is None:
                cursor.execute("SELECT EXISTS (SELECT FROM event_archive)")
                return None if cursor.fetchone()[0] else EMPTY
        return Head(row[0], bytes(row[1]))


def _expected_hash(event: StoredEvent, head: Head) -> bytes:
    assert head.version or head.hash == GENESIS, "a stream begins with the hash of nothing"
    return chain_hash(
        head.hash,
        stream_id=event.stream_id,
        version=event.version,
        type=event.type,
        data=canonical_json(event.data),
        metadata=canonical_json(event.metadata),
        recorded_at=timestamp_text(event.recorded_us),
    )


def _pages(
    connection: Any, slot: int, first: int, end: int, archives: Sequence[ArchiveFile]
) -> Iterator[list[StoredEvent]]:
    """The slot's events up to `end`, by offset: a missing one leaves its page short, not the others."""
    for archive in archives:
        events = read_slot_events(archive, slot)
        while page := list(islice(events, PAGE_EVENTS)):
            yield page
            first = page[-1].slot_offset + 1
    for start in range(first, end, PAGE_EVENTS):
        with connection.cursor() as cursor:
            limit = min(PAGE_EVENTS, end - start)
            # No bound by time: an event that was put into another partition must be seen.
            page = read_slot_as_stored(cursor, slot=slot, from_offset=start, limit=limit)
        yield page


def _spread(published: Sequence[SlotHead]) -> list[SlotHead]:
    """Some of the published heads, one an offset, the last among them. Two that differ at one offset both stay."""
    told = sorted({(head.next_offset, head.digest): head for head in published if head.next_offset}.values())
    step = max(1, len(told) // COMPARED_HEADS)
    return told[::-1][::step][::-1]


def _first_offset_since(connection: Any, slot: int, since_us: int, end: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot_offset FROM event WHERE slot = %s AND recorded_at >= to_timestamp(%s / 1000000.0) "
            "ORDER BY slot_offset LIMIT 1",
            [slot, since_us],
        )
        row = cursor.fetchone()
    return end if row is None else int(row[0])
