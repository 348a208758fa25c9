"""Publishes the heads of all slots, signed, once a minute: in files that belong outside the database, and as rows.

A line is `{"public_key", "signature", "signed": {"published_at", "heads": [{slot, next_offset, recorded_at,
digest}]}}`; the signature is over `signed` as JSON with sorted keys and no spaces. The digest is SHA-256 over
(id, version, hash) of every stream of the slot as of that offset, 16 + 8 + 32 bytes each, sorted by id: a walk
of the log up to the offset gives the same, and any other log another. So neither a tail can be cut off nor
history be rewritten, head rows and all, without the published lines contradicting it.
"""

import datetime as dt
import fcntl
import gzip
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction

from trading.durable_files import sync_folder
from trading.eventlog.append import Head
from trading.eventlog.codec import canonical_json, decode_json, timestamp_text
from trading.eventlog.signing import is_signed_by, public_hex

MINUTE_US = 60_000_000
ROWS_KEPT = "7 days"
"""The files have all; the rows only have to span the time that a folder may be out of reach."""

LONGEST_LINE = 65_536
"""More bytes than a line of published heads ever takes; 32 slots take 5,000."""

_ONE_AT_A_TIME = "pmarket published heads"

_HEADS = """
SELECT s.slot, s.next_offset, (extract(epoch FROM s.recorded_at) * 1000000)::bigint,
       encode(sha256(coalesce(string_agg(uuid_send(h.id) || int8send(h.version) || h.hash, ''::bytea ORDER BY h.id),
                              ''::bytea)), 'hex')
FROM slot s LEFT JOIN stream h ON h.slot = s.slot
GROUP BY s.slot ORDER BY s.slot
"""


class SlotHead(NamedTuple):
    """A slot's head as it was published."""

    slot: int
    next_offset: int
    digest: str
    published_at: str


class BadHeads(Exception):
    """Published heads that cannot be believed; says which line of which file, and why."""


def digest_of(streams: Mapping[str, Head]) -> str:
    """The digest of a slot whose streams have these heads."""
    return sha256(
        b"".join(
            uuid.UUID(stream).bytes + head.version.to_bytes(8) + head.hash
            for stream, head in sorted(streams.items())
        )
    ).hexdigest()


# Publishing ---------------------------------------------------------------------------------------


def publish(key: Ed25519PrivateKey, folder: Path, *, now_us: int) -> bool:
    """Publishes the heads of this minute, unless that was done; answers whether it was this call that did.

    One short statement looks at all slots. Lines that a folder lacks, because a process died or the folder was
    out of reach, are written with the next ones. Raises OSError, after which they are due still.
    """
    new = _publish_row(key, now_us - now_us % MINUTE_US)
    _write_missing(folder)
    return new


def newest_line() -> dict[str, Any] | None:
    """The newest published line, or None before the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT line FROM published_head ORDER BY published_at DESC LIMIT 1")
        row = cursor.fetchone()
    return None if row is None else decode_json(row[0])


def _publish_row(key: Ed25519PrivateKey, minute_us: int) -> bool:
    minute = timestamp_text(minute_us)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [_ONE_AT_A_TIME])
        cursor.execute("SELECT EXISTS (SELECT FROM published_head WHERE published_at >= %s)", [minute])
        if cursor.fetchone()[0]:
            return False
        cursor.execute(_HEADS)
        line = _signed_line(key, minute, cursor.fetchall())
        cursor.execute("INSERT INTO published_head (published_at, line) VALUES (%s, %s)", [minute, line])
        cursor.execute(
            "DELETE FROM published_head WHERE published_at < %s::timestamptz - %s::interval",
            [minute, ROWS_KEPT],
        )
    return True


def _signed_line(key: Ed25519PrivateKey, minute: str, heads: Iterable[Sequence[Any]]) -> str:
    rows = [
        {"slot": slot, "next_offset": offset, "recorded_at": timestamp_text(recorded_us), "digest": digest}
        for slot, offset, recorded_us, digest in heads
    ]
    signed = {"published_at": minute, "heads": rows}
    line = {
        "public_key": public_hex(key),
        "signature": key.sign(canonical_json(signed)).hex(),
        "signed": signed,
    }
    return canonical_json(line).decode()


def _write_missing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with _one_writer(folder):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT published_at, line FROM published_head WHERE published_at > %s ORDER BY published_at",
                [_last_written(folder)],
            )
            missing = cursor.fetchall()
        by_month: dict[str, list[str]] = {}
        for published_at, line in missing:
            by_month.setdefault(f"heads-{published_at.astimezone(dt.UTC):%Y-%m}.jsonl", []).append(line)
        for name, lines in by_month.items():
            _append(folder / name, lines)


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _last_written(folder: Path) -> str:
    """When the last line of the newest file was published. A line torn by a crash is taken back: it is due again."""
    files = sorted(folder.glob("heads-*.jsonl"), reverse=True)
    for file in files:
        with open(file, "r+b") as stream:
            start = max(0, stream.seek(0, os.SEEK_END) - 4 * LONGEST_LINE)
            stream.seek(start)
            text = stream.read()
            whole = text[: text.rfind(b"\n") + 1]
            stream.truncate(start + len(whole))
        if whole:
            last = decode_json(whole[whole.rfind(b"\n", 0, -1) + 1 :])
            return str(last["signed"]["published_at"])
    return timestamp_text(0)


def _append(file: Path, lines: Sequence[str]) -> None:
    with open(file, "ab") as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode())
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(file.parent)


# Checking -----------------------------------------------------------------------------------------


def read_published(path: Path, trusted: frozenset[str]) -> dict[int, list[SlotHead]]:
    """Every slot's published heads by offset, from a file or a folder of them (also gzipped).

    Raises BadHeads for a line that is not whole, not signed, or signed by a key that is not trusted: a key that
    a line brings along itself proves nothing.
    """
    files = [path] if path.is_file() else sorted(path.glob("heads-*.jsonl*"))
    found: dict[int, list[SlotHead]] = {}
    for file in files:
        for number, line in enumerate(_lines(file), start=1):
            try:
                heads = _checked(line, trusted)
            except BadHeads as error:
                raise BadHeads(f"{file}, line {number}: {error}") from None
            for head in heads:
                found.setdefault(head.slot, []).append(head)
    for heads_of_slot in found.values():
        heads_of_slot.sort(key=lambda head: (head.next_offset, head.published_at))
    return found


def _lines(file: Path) -> list[bytes]:
    try:
        raw = file.read_bytes()
        return (gzip.decompress(raw) if file.suffix == ".gz" else raw).splitlines()
    except (OSError, EOFError) as error:
        raise BadHeads(f"{file} cannot be read: {error}") from None


def _checked(line: bytes, trusted: frozenset[str]) -> list[SlotHead]:
    try:
        document = decode_json(line)
        signed, public_key = document["signed"], document["public_key"]
        heads = [
            SlotHead(row["slot"], row["next_offset"], row["digest"], signed["published_at"])
            for row in signed["heads"]
        ]
        good = is_signed_by(public_key, document["signature"], canonical_json(signed))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise BadHeads("it is not a line of published heads") from None
    if public_key not in trusted:
        raise BadHeads(f"it is signed with the key {public_key}, which is not one to trust")
    if not good:
        raise BadHeads("its signature does not fit: it was altered")
    return heads
