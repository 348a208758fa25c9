"""Who owns which slot, how far each has come and what waits there: for probes and operators. Reads only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from trading.shard.slots import HEARTBEAT_TIMEOUT_S
from trading.wire import FRAME_FIELD, command_stream, decode_frame

# A backlog beyond this many frames is told as "at least".
FRAMES_COUNTED = 1000


class SlotState(NamedTuple):
    """A market slot: its owner and fence, its next offset, and the command that the last commit consumed."""

    slot: int
    owner: str | None
    epoch: int
    next_offset: int
    command_offset: str
    heartbeat_age_s: float | None

    @property
    def is_owned(self) -> bool:
        """Whether its owner is alive: nobody else would take it."""
        return self.owner is not None and _is_fresh(self.heartbeat_age_s)


class ShardState(NamedTuple):
    """An engine process that is alive, and how many slots are its own."""

    shard_id: str
    heartbeat_age_s: float
    slots: int


def slot_states(cursor: Any) -> list[SlotState]:
    """All market slots in order."""
    cursor.execute(
        "SELECT slot.slot, slot.owner, slot.epoch, slot.next_offset, slot.command_offset, "
        "extract(epoch FROM clock_timestamp() - shard.heartbeat_at)::float8 "
        "FROM slot LEFT JOIN shard ON shard.shard_id = slot.owner WHERE kind = 'market' ORDER BY slot.slot"
    )
    return [SlotState(*row) for row in cursor.fetchall()]


def live_shards(cursor: Any) -> list[ShardState]:
    """The engine processes that are alive, oldest first."""
    cursor.execute(
        "SELECT shard_id, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8, "
        "(SELECT count(*) FROM slot WHERE owner = shard_id) FROM shard ORDER BY started_at, shard_id"
    )
    return [state for row in cursor.fetchall() if _is_fresh((state := ShardState(*row)).heartbeat_age_s)]


def trading_markets(cursor: Any) -> dict[int, int]:
    """How many markets that have not ended each slot has, as far as the read side knows."""
    cursor.execute(
        "SELECT slot, count(*) FROM market WHERE status NOT IN ('resolved', 'voided') GROUP BY slot"
    )
    return dict(cursor.fetchall())


def waiting_commands(valkey: redis.Redis, states: Sequence[SlotState]) -> dict[int, int]:
    """Commands in each slot's stream behind the offset that the last commit stored."""
    pipe = valkey.pipeline(transaction=False)
    for state in states:
        pipe.xrange(command_stream(state.slot), min=f"({state.command_offset}", max="+", count=FRAMES_COUNTED)
    return {
        state.slot: sum(_commands_in(entry) for _id, entry in entries)
        for state, entries in zip(states, pipe.execute(), strict=True)
    }


def _is_fresh(heartbeat_age_s: float | None) -> bool:
    return heartbeat_age_s is not None and heartbeat_age_s < HEARTBEAT_TIMEOUT_S


def _commands_in(entry: dict[bytes, bytes]) -> int:
    frame = entry.get(FRAME_FIELD)
    if frame is None:
        return 0
    try:
        return len(decode_frame(frame)[1])
    except ValueError:
        return 1
