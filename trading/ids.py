"""Identifiers and where they live: UUIDv7 made here, and the slot of each stream of the log.

The mapping from an id to its slot is part of the stored data (table slot_layout): it must never
change under an existing log, so it is written out here and depends on no library.
"""

import datetime as dt
import re
import uuid
from zlib import crc32

from uuid_utils import uuid7

MARKET_SLOTS = 16
ACCOUNT_SLOTS = 16
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
"""Less than any id: where a walk through them begins."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def new_id() -> str:
    """A fresh UUIDv7 in canonical text: time-ordered, so keys append to the right of an index."""
    return str(uuid7())


def is_id(text: str) -> bool:
    """Whether this is a UUID in canonical text, as all ids are written."""
    return _ID.fullmatch(text) is not None


def market_slot(market_id: str) -> int:
    """Slot 0..15 of a market's stream."""
    return crc32(market_id.encode()) % MARKET_SLOTS


def account_slot(account_id: str) -> int:
    """Slot 16..31 of an account's stream."""
    return MARKET_SLOTS + crc32(account_id.encode()) % ACCOUNT_SLOTS


def first_id_at(moment: dt.datetime) -> str:
    """The smallest UUIDv7-shaped value of a moment: the partition bound for tables keyed by id."""
    return str(uuid.UUID(int=int(moment.timestamp() * 1000) << 80))


def first_id_after(moment_us: int) -> str:
    """The smallest UUIDv7-shaped value of the millisecond that follows a moment: ids made until then are smaller."""
    return str(uuid.UUID(int=(moment_us // 1000 + 1) << 80))


def id_time_ms(identifier: str) -> int:
    """Milliseconds since the epoch that a UUIDv7 carries."""
    return uuid.UUID(identifier).int >> 80
