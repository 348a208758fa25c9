"""What PostgreSQL holds of the shard's tables, in memory, and who has locked what."""

import dataclasses
from collections.abc import Callable
from typing import Any

import psycopg

from trading.ids import ACCOUNT_SLOTS, MARKET_SLOTS

Key = tuple[Any, ...]  # of a row that can be locked


@dataclasses.dataclass(slots=True)
class SlotRow:
    owner: str | None = None
    epoch: int = 0
    next_offset: int = 0
    command_offset: str = "0-0"
    recorded_us: int = 0


@dataclasses.dataclass(slots=True)
class CashRow:
    cash_pips: int = 0
    reserved_pips: int = 0
    fees_paid_pips: int = 0
    fence: str | None = None


@dataclasses.dataclass(slots=True)
class BatchRow:
    slots: list[int]
    epochs: list[int]
    accounts: list[str]
    amounts: list[int]
    claims: list[tuple[str, str]]


@dataclasses.dataclass(slots=True)
class ClaimRow:
    command_hash: bytes
    order_id: str | None
    market_id: str
    refusal: str | None = None


@dataclasses.dataclass(slots=True, frozen=True)
class EventRecord:
    """A row of the log; `data` and `metadata` are JSON."""

    slot: int
    slot_offset: int
    stream_id: str
    version: int
    type: str
    data: str
    metadata: str
    hash: bytes
    recorded_us: int


class Conflict(psycopg.errors.RaiseException):
    """What commit_batch raises where a row is not as its owner left it."""

    sqlstate = "PM001"


class Tables:
    """The rows. `clock_us` is the server's clock; `on_commit(session, events)` is called after each transaction."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self.clock_us = clock_us
        self.slots = [SlotRow() for _ in range(MARKET_SLOTS + ACCOUNT_SLOTS)]
        self.streams: dict[str, tuple[int, int, bytes]] = {}  # (slot, version, hash)
        self.events: dict[str, list[EventRecord]] = {}
        self.shards: dict[str, tuple[int, str]] = {}  # (heartbeat, state)
        self.cash: dict[str, CashRow] = {}
        self.batches: dict[str, BatchRow] = {}
        self.claims: dict[tuple[str, str], ClaimRow] = {}
        self.letters: list[tuple[str, int]] = []  # (command id, created)
        self.snapshots: dict[str, list[tuple[Any, ...]]] = {}
        self.locks: dict[Key, Any] = {}
        self.sessions: list[Any] = []
        # How these tables judge an owner; a test of the invariants takes it away.
        self.checks_epochs = True

    def live_shards(self, timeout_s: float) -> list[str]:
        since = self.clock_us() - timeout_s * 1e6
        return [shard_id for shard_id, (at_us, _) in self.shards.items() if at_us > since]

    def holds(self, session: Any, keys: list[Key]) -> bool:
        """Whether nobody else has locked any of these."""
        locks = self.locks
        return all(locks.get(key, session) is session for key in keys)
