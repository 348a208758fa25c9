"""What a stored event looks like, its canonical bytes and its place in the hash chain.

hash = SHA-256(previous hash + sorted-key JSON of data, metadata, recorded_at, stream, type, version).
Only str, int, bool, None, list and dict occur in an event: no float, so the JSON is canonical.
"""

import datetime as dt
import functools
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

GENESIS = bytes(32)

_encoder = msgspec.json.Encoder(order="sorted")
canonical_json = _encoder.encode
decode_json = msgspec.json.Decoder().decode


class StoredEvent(NamedTuple):
    """One row of the log. `recorded_us` is microseconds since the epoch."""

    slot: int
    slot_offset: int
    stream_id: str
    version: int
    type: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    hash: bytes
    recorded_us: int

    @property
    def event_id(self) -> str:
        return f"{self.slot}-{self.slot_offset}"


class LoggedEvent(NamedTuple):
    """The same as read models need it. `begins_command`: the first event of a command's, which carries its metadata."""

    slot: int
    slot_offset: int
    stream_id: str
    version: int
    type: str
    data: dict[str, Any]
    begins_command: bool
    recorded_us: int

    @property
    def event_id(self) -> str:
        return f"{self.slot}-{self.slot_offset}"


def timestamp_text(at_us: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC, always with six decimals."""
    seconds, micros = divmod(at_us, 1_000_000)
    return f"{_second_text(seconds)}.{micros:06d}Z"


def timestamp_us(text: str) -> int:
    """Reverses `timestamp_text`. Raises ValueError."""
    return to_us(dt.datetime.fromisoformat(text))


@functools.lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def to_us(moment: dt.datetime) -> int:
    """The exact microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def chain_hash(
    previous: bytes, stream_id: str, version: int, type: str, data: bytes, metadata: bytes, recorded_at: str
) -> bytes:
    """The hash of an event whose `data` and `metadata` are already canonical JSON."""
    return sha256(
        b'%b{"data":%b,"metadata":%b,%b'
        % (
            previous, data, metadata,
            f'"recorded_at":"{recorded_at}","stream":"{stream_id}","type":"{type}","version":{version}}}'.encode(),
        )
    ).digest()  # fmt: skip
