"""The file that a month of the log is archived in, and its manifest. Knows no database.

`event_2026_01.jsonl.gz` is gzip, JSON lines: a header, then an event a line as `[slot, slot_offset, stream,
version, type, data, metadata, hash, recorded_at]`, by slot and offset. Each slot is a gzip member of its own,
so `zcat` shows all of it and a reader finds one slot at once. `event_2026_01.manifest.json` beside it has the
file's SHA-256, the number of events, and where each slot begins and ends. The same events give the same bytes.
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from trading.durable_files import sync_folder
from trading.eventlog.archived import SlotRange
from trading.eventlog.codec import StoredEvent, canonical_json, decode_json, timestamp_text, timestamp_us

FORMAT = "pmarket event archive/1"
SUFFIX = ".jsonl.gz"
PAGE_EVENTS = 2000


class BadArchive(Exception):
    """An archive that is missing, altered or not whole; says which and why."""


class Month(NamedTuple):
    """A partition: its name, and its bounds as RFC 3339."""

    partition: str
    low: str
    high: str


class SlotPart(NamedTuple):
    """A slot's events in the file, and the byte where its gzip member begins."""

    range: SlotRange
    at: int


class ArchiveFile(NamedTuple):
    """An archive whose bytes are those that its manifest vouches for."""

    path: Path
    month: Month
    events: int
    sha256: str
    parts: dict[int, SlotPart]

    @property
    def ranges(self) -> tuple[SlotRange, ...]:
        return tuple(part.range for part in self.parts.values())


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + ".manifest.json")


def write_archive(
    folder: Path, month: Month, slots: Iterable[tuple[int, Iterable[StoredEvent]]]
) -> ArchiveFile:
    """Writes file and manifest so that each appears whole or not at all. Raises BadArchive for a gap in a slot."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{month.partition}{SUFFIX}"
    parts: dict[int, SlotPart] = {}
    with appearing(path) as file:
        with gzip_member(file) as member:
            member.write(json_line({"format": FORMAT, **month._asdict()}))
        for slot, events in slots:
            at = file.tell()
            with gzip_member(file) as member:
                found = _write_slot(member, slot, events)
            if found is None:
                file.seek(at)
                file.truncate()
                continue
            parts[slot] = SlotPart(found, at)
    manifest = {
        "format": FORMAT, **month._asdict(), "file": path.name, "sha256": sha256_of(path),
        "events": sum(part.range.next_offset - part.range.first_offset for part in parts.values()),
        "slots": [[*part.range, part.at] for part in parts.values()],
    }  # fmt: skip
    with appearing(manifest_path(path)) as file:
        file.write(json_line(manifest))
    return open_archive(path)


def open_archive(path: Path) -> ArchiveFile:
    """The archive at this path, after comparing its bytes with the manifest. Raises BadArchive."""
    try:
        manifest = decode_json(manifest_path(path).read_bytes())
        found = ArchiveFile(
            path, Month(manifest["partition"], manifest["low"], manifest["high"]), manifest["events"],
            manifest["sha256"], {row[0]: SlotPart(SlotRange(*row[:3]), row[3]) for row in manifest["slots"]},
        )  # fmt: skip
        digest = sha256_of(path)
    except OSError as error:
        raise BadArchive(f"{error.filename} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise BadArchive(f"{manifest_path(path)} is not the manifest of an archive") from None
    if manifest["format"] != FORMAT or manifest["file"] != path.name:
        raise BadArchive(f"{manifest_path(path)} is the manifest of something else")
    if digest != found.sha256:
        raise BadArchive(f"{path} was altered: its SHA-256 is not the one in its manifest")
    return found


def read_slot_events(archive: ArchiveFile, slot: int) -> Iterator[StoredEvent]:
    """A slot's events as they were stored, in order. Raises BadArchive where the file says something else."""
    part = archive.parts.get(slot)
    if part is None:
        return
    try:
        with open(archive.path, "rb") as file:
            file.seek(part.at)
            with gzip.GzipFile(fileobj=file) as member:
                for offset in range(part.range.first_offset, part.range.next_offset):
                    event = event_of_row(decode_json(member.readline()))
                    if (event.slot, event.slot_offset) != (slot, offset):
                        raise BadArchive(f"{archive.path} holds {event.event_id} instead of {slot}-{offset}")
                    yield event
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, TypeError, ValueError) as error:
        raise BadArchive(f"{archive.path} cannot be read: {error}") from None


def read_events(archive: ArchiveFile) -> Iterator[StoredEvent]:
    """All events, slot by slot."""
    for slot in archive.parts:
        yield from read_slot_events(archive, slot)


def _write_slot(member: IO[bytes], slot: int, events: Iterable[StoredEvent]) -> SlotRange | None:
    first = beyond = None
    for event in events:
        if beyond is not None and event.slot_offset != beyond:
            raise BadArchive(f"offset {beyond} of slot {slot} is missing; see verify_log")
        first = event.slot_offset if first is None else first
        beyond = event.slot_offset + 1
        member.write(json_line(row_of_event(event)))
    return None if first is None or beyond is None else SlotRange(slot, first, beyond)


def row_of_event(event: StoredEvent) -> list[Any]:
    """An event as its line's JSON has it."""
    return [*event[:7], event.hash.hex(), timestamp_text(event.recorded_us)]


def event_of_row(row: Sequence[Any]) -> StoredEvent:
    """Reverses `row_of_event`. Raises TypeError and ValueError for what is none."""
    slot, slot_offset, stream_id, version, name, data, metadata, digest, recorded_at = row
    return StoredEvent(
        slot, slot_offset, stream_id, version, name, data, metadata, bytes.fromhex(digest),
        timestamp_us(recorded_at),
    )  # fmt: skip


def json_line(value: Any) -> bytes:
    """A value as a line of canonical JSON."""
    return canonical_json(value) + b"\n"


@contextmanager
def gzip_member(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """A gzip member without a name and a time, which would make equal contents different files."""
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as member:
        yield member  # type: ignore[misc]


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is complete and flushed."""
    aside = path.with_name(f"{path.name}.part")
    with open(aside, "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()
