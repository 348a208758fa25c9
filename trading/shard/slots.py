"""Who owns which slot of the log: taking over with a new epoch, heartbeats, handing back what was in flight.

An epoch fences: every statement of an owner names the epoch it took, so an owner that was replaced
can do no harm when it wakes.
"""

import dataclasses
import os
import secrets
import socket
from typing import Any

from trading.ids import MARKET_SLOTS
from trading.shard.give_back import give_back_slots

HEARTBEAT_TIMEOUT_S = 5
MARKET_SLOT_RANGE = range(MARKET_SLOTS)


@dataclasses.dataclass(slots=True)
class OwnedSlot:
    """A slot of this process: its fence, and where log and command stream stand after the last batch matched."""

    slot: int
    epoch: int
    next_offset: int
    command_offset: str
    recorded_us: int


def new_shard_id() -> str:
    """host:pid:chance. A successor on the same host can tell a dead owner at once, and containers that
    share a host name and a pid are told apart."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


def heartbeat(connection: Any, shard_id: str, state: str) -> None:
    """Says that this process is alive."""
    connection.execute(
        "INSERT INTO shard (shard_id, state) VALUES (%s, %s) "
        "ON CONFLICT (shard_id) DO UPDATE SET heartbeat_at = now(), state = excluded.state",
        [shard_id, state],
    )


def sign_off(connection: Any, shard_id: str) -> None:
    """A clean stop: nobody has to wait for this process's heartbeat to grow old."""
    connection.execute("DELETE FROM shard WHERE shard_id = %s", [shard_id])


def living_rival(connection: Any, shard_id: str) -> str | None:
    """Another engine that owns the slots and whose heartbeat is fresh, if there is one."""
    rows = connection.execute(
        "SELECT shard_id FROM shard WHERE state = 'running' AND shard_id <> %s "
        "AND heartbeat_at > now() - make_interval(secs => %s)",
        [shard_id, HEARTBEAT_TIMEOUT_S],
    ).fetchall()
    for (rival,) in rows:
        if not _is_dead_here(rival):
            return str(rival)
    return None


def _is_dead_here(shard_id: str) -> bool:
    """Whether it ran on this machine and its process is gone; False for all that cannot be known from here."""
    host, *rest = shard_id.split(":")
    if host != socket.gethostname() or not rest:
        return False
    try:
        os.kill(int(rest[0]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def take_slots(connection: Any, shard_id: str, slots: list[int]) -> dict[int, OwnedSlot]:
    """Makes this process the owner, one epoch on, and gives back the cash and claims of open batches.

    Waits for a commit in flight of the former owner (its row locks), after ending its connections:
    a frozen owner would hold them for ever. Used at start, at takeover and whenever it is in doubt
    whether a commit happened.
    """
    connection.execute(
        "SELECT pg_terminate_backend(backend_pid) FROM slot JOIN pg_stat_activity a ON a.pid = backend_pid "
        "WHERE slot = ANY(%s) AND owner <> %s AND a.application_name = 'pmarket-engine'",
        [slots, shard_id],
    )
    with connection.transaction():
        connection.execute("SELECT FROM slot WHERE slot = ANY(%s) ORDER BY slot FOR UPDATE", [slots])
        rows = connection.execute(
            "UPDATE slot SET epoch = epoch + 1, owner = %s, backend_pid = pg_backend_pid() WHERE slot = ANY(%s) "
            "RETURNING slot, epoch, next_offset, command_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint",
            [shard_id, slots],
        ).fetchall()
        give_back_slots(connection, slots)
    return {row[0]: OwnedSlot(*row) for row in rows}
