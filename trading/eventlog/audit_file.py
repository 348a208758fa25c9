"""The file by which anybody checks a market's events without the exchange, and its manifest. Knows no database.

`audit_{market}.jsonl.gz` is gzip, JSON lines: a header, the events of the market's stream, then those events of
accounts that settled it. A line is `[number, previous hash, event]`; the event is as in an archive
(`archive_file.py`), the numbers count from 1 through both parts. So the market's events are one chain from its first
to its last, and each event of an account proves itself, though what stands between it and the next one is not here.

`audit_{market}.manifest.json` beside it is signed with the key that signs published heads: the file's SHA-256, how many
events each part has with their first and last hash, and the newest published heads. The same log gives the same file.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trading.eventlog.archive_file import (
    SUFFIX,
    appearing,
    event_of_row,
    gzip_member,
    json_line,
    manifest_path,
    row_of_event,
    sha256_of,
)
from trading.eventlog.codec import (
    GENESIS,
    StoredEvent,
    canonical_json,
    chain_hash,
    decode_json,
    timestamp_text,
)
from trading.eventlog.signing import is_signed_by, public_hex
from trading.eventlog.upcast import stored_names

FORMAT = "pmarket market audit/1"
LONGEST_LINE = 4 * 2**20
"""More bytes than a line ever takes; a file whose lines are longer is none of ours."""

SETTLING_EVENTS = stored_names(
    "position_closed/1", "position_reopened/1", "payout_issued/1", "payout_reversed/2"
)
"""What accounts' streams say of a market's settlement, under every name it was ever stored as."""


_Row = tuple[int, int, str, int, str, dict[str, Any], dict[str, Any], str, str]
_decode_line = msgspec.json.Decoder(tuple[int, str | None, _Row]).decode


class BadAudit(Exception):
    """A file that is not what the exchange wrote; says at which line and event, and what is wrong."""


class Proof(NamedTuple):
    """An event with the hash of its predecessor in its stream; None where that one is archived."""

    event: StoredEvent
    previous: bytes | None


class Part(NamedTuple):
    """What the manifest says of one part. `unproven` events came without their predecessor's hash."""

    events: int
    first_hash: str | None
    last_hash: str | None
    unproven: int


class Manifest(NamedTuple):
    """What is signed; `heads` is the newest line of published heads, if there was one."""

    format: str
    market: str
    file: str
    sha256: str
    made_at: str
    market_events: Part
    account_events: Part
    heads: dict[str, Any] | None


def audit_path(folder: Path, market_id: str) -> Path:
    """Where a market's file is kept; the id is one of the log's, never a text of a user's."""
    return folder / f"audit_{market_id}{SUFFIX}"


# Writing ------------------------------------------------------------------------------------------


class _Tally:
    """Writes one part as it comes, and remembers what its manifest says."""

    def __init__(self, member: IO[bytes], number: int) -> None:
        self._member = member
        self.number = number
        self.events = self.unproven = 0
        self.first_hash: str | None = None
        self.last_hash: str | None = None

    def write(self, proofs: Iterable[Proof]) -> Part:
        for event, previous in proofs:
            self.number += 1
            self.events += 1
            self.unproven += previous is None
            self.last_hash = event.hash.hex()
            self.first_hash = self.first_hash or self.last_hash
            told = None if previous is None else previous.hex()
            self._member.write(json_line([self.number, told, row_of_event(event)]))
        return Part(self.events, self.first_hash, self.last_hash, self.unproven)


def write_audit(
    path: Path,
    *,
    market_id: str,
    market_events: Iterable[Proof],
    account_events: Iterable[Proof],
    made_us: int,
    key: Ed25519PrivateKey,
    heads: dict[str, Any] | None,
) -> Manifest:
    """Writes file and manifest, each whole or not at all; holds one event at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as file:
        with gzip_member(file) as member:
            member.write(_header(market_id))
        with gzip_member(file) as member:
            tally = _Tally(member, 0)
            of_market = tally.write(market_events)
        with gzip_member(file) as member:
            of_accounts = _Tally(member, tally.number).write(account_events)
    made_at = timestamp_text(made_us)
    manifest = Manifest(FORMAT, market_id, path.name, sha256_of(path), made_at, of_market, of_accounts, heads)
    signed = _document(manifest)
    document = {
        "public_key": public_hex(key),
        "signature": key.sign(canonical_json(signed)).hex(),
        "signed": signed,
    }
    with appearing(manifest_path(path)) as file:
        file.write(json_line(document))
    return manifest


def _header(market_id: str) -> bytes:
    return json_line({"format": FORMAT, "market": market_id})


def _document(manifest: Manifest) -> dict[str, Any]:
    parts = {name: getattr(manifest, name)._asdict() for name in ("market_events", "account_events")}
    return {**manifest._asdict(), **parts}


# Checking -----------------------------------------------------------------------------------------


def read_manifest(path: Path, *, trusted: frozenset[str] | None) -> Manifest:
    """The manifest of the file at this path. Raises BadAudit unless its signature is good and its key trusted.

    With `trusted` None the key is whoever's: what the manifest says is then only what it says.
    """
    where = manifest_path(path)
    try:
        raw = where.read_bytes()
        document = decode_json(raw)
        signed = document["signed"]
        parts = {name: Part(**signed[name]) for name in ("market_events", "account_events")}
        manifest = Manifest(**{**signed, **parts})
        key = document["public_key"]
        good = is_signed_by(key, document["signature"], canonical_json(signed))
    except OSError as error:
        raise BadAudit(f"{where} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise BadAudit(f"{where} is not the manifest of a market's audit file") from None
    if raw != json_line(document) or manifest.format != FORMAT:
        raise BadAudit(f"{where} is not a manifest as the exchange writes it")
    if not good:
        raise BadAudit(f"{where} was altered: its signature does not fit")
    if trusted is not None and key not in trusted:
        raise BadAudit(f"{where} is signed with the key {key}, which is not one to trust")
    return manifest


def verify_audit(path: Path, *, trusted: frozenset[str]) -> Manifest:
    """Proves a file by itself and its manifest. Raises BadAudit with the place of what is wrong first.

    Reads a line at a time. A change that fits all hashes is told by the file's own SHA-256 at the end.
    """
    manifest = read_manifest(path, trusted=trusted)
    walk = _Walk(manifest)
    try:
        with gzip.open(path, "rb") as lines:
            if lines.readline(LONGEST_LINE) != _header(manifest.market):
                raise BadAudit("line 1: it is not the header of this market's file")
            for line in iter(lambda: lines.readline(LONGEST_LINE), b""):
                walk.take(line)
        walk.end()
        digest = sha256_of(path)
    except (OSError, EOFError, zlib.error) as error:
        raise BadAudit(f"{walk.place}: what follows cannot be read: {error}") from None
    if digest != manifest.sha256 or path.name != manifest.file:
        raise BadAudit(
            f"{walk.place}: every event up to this last one proves itself, but the file is not the one that was "
            "signed: its SHA-256 or its name differs"
        )
    return manifest


class _Walk:
    """What the lines so far have led to."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._goals = (manifest.market_events, manifest.account_events)
        self._number = 0
        self._market_hash = GENESIS
        self._market_offset = -1
        self._market_us = 0
        self._account = ("", 0)
        self._account_hash = b""
        self._found: list[list[Any]] = [[0, None, None, 0], [0, None, None, 0]]
        self.place = "line 1"

    def take(self, line: bytes) -> None:
        """Judges the next line. Raises BadAudit."""
        number = self._number + 1
        where = f"line {number + 1}"
        try:
            told, previous, row = _decode_line(line)
            event = event_of_row(row)
            before = None if previous is None else bytes.fromhex(previous)
            same = line == json_line([told, previous, row_of_event(event)])
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError):
            raise BadAudit(f"{where} (after {self.place}): it is not an event") from None
        where = f"{where}, event {event.event_id}, stream {event.stream_id}, version {event.version}"
        is_market = number <= self._goals[0].events
        what = self._number_wrong(told, number) or (
            self._market_wrong(event, before) if is_market else self._account_wrong(event, before)
        )
        if what is None and not same:
            what = "it is not written as the exchange writes it"
        if what is not None:
            raise BadAudit(f"{where}: {what}")
        self._number, self.place = number, where
        part = self._found[0 if is_market else 1]
        part[0] += 1
        part[1] = part[1] or event.hash.hex()
        part[2] = event.hash.hex()
        part[3] += before is None

    def end(self) -> None:
        """Whether all is there that the manifest counts."""
        for found, goal, name in zip(self._found, self._goals, ("market", "accounts"), strict=True):
            if Part(*found) != goal:
                raise BadAudit(
                    f"{self.place}: the events of the {name} end after {found[0]} of {goal.events}, or not with the "
                    "hash that the manifest names"
                )

    def _number_wrong(self, told: Any, number: int) -> str | None:
        return None if told == number else f"event number {number} was to come, not {told}"

    def _market_wrong(self, event: StoredEvent, previous: bytes | None) -> str | None:
        version = self._number + 1
        if event.stream_id != self._manifest.market or event.version != version:
            return f"version {version} of the market was to come"
        if previous != self._market_hash or _hash_after(previous, event) != event.hash:
            return "its content or its predecessor's hash was changed"
        if event.slot_offset <= self._market_offset or event.recorded_us < self._market_us:
            return "it stands before its predecessor in the log"
        self._market_hash, self._market_offset, self._market_us = (
            event.hash,
            event.slot_offset,
            event.recorded_us,
        )
        return None

    def _account_wrong(self, event: StoredEvent, previous: bytes | None) -> str | None:
        if event.type not in SETTLING_EVENTS or event.data.get("market") != self._manifest.market:
            return "it does not concern the settlement of this market"
        place = (event.stream_id, event.version)
        if place <= self._account:
            return "it stands before its predecessor in the file"
        follows = self._account == (event.stream_id, event.version - 1)
        if follows and previous not in (None, self._account_hash):
            return "its predecessor's hash was changed"
        if previous is not None and _hash_after(previous, event) != event.hash:
            return "its content or its predecessor's hash was changed"
        self._account, self._account_hash = place, event.hash
        return None


def _hash_after(previous: bytes | None, event: StoredEvent) -> bytes:
    return chain_hash(
        previous or GENESIS, event.stream_id, event.version, event.type, canonical_json(event.data),
        canonical_json(event.metadata), timestamp_text(event.recorded_us),
    )  # fmt: skip


def proofs_of_chain(events: Iterable[StoredEvent]) -> Iterator[Proof]:
    """A whole stream's events, each with its predecessor's hash."""
    previous = GENESIS
    for event in events:
        yield Proof(event, previous)
        previous = event.hash
