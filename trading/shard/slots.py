"""Who owns which slot of the log: heartbeats, taking over with a new epoch, letting go.

An epoch fences: every statement of an owner names the epoch it took, so an owner that was replaced
can do no harm when it wakes. Ownership is what the slot's row says, decided while that row is locked.
"""

import dataclasses
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from trading.ids import MARKET_SLOTS
from trading.shard.crash_points import reach
from trading.shard.give_back import give_back_slots

HEARTBEAT_TIMEOUT_S = 5
MARKET_SLOT_RANGE = range(MARKET_SLOTS)
# PostgreSQL cuts application names after 63 bytes; the end of a shard's id is what tells it from others.
_NAME_BYTES = 48


@dataclasses.dataclass(slots=True)
class OwnedSlot:
    """A slot of this process: its fence, and where log and command stream stand after the last batch matched."""

    slot: int
    epoch: int
    next_offset: int
    command_offset: str
    recorded_us: int


class Holder(NamedTuple):
    """What a slot's row says of its ownership."""

    owner: str | None
    epoch: int


class Roster(NamedTuple):
    """Who is alive and who holds what, seen in one statement."""

    live: frozenset[str]
    holders: dict[int, Holder]


class Taken(NamedTuple):
    """Slots that have become this process's own; `in_doubt` if any of them was not let go by its owner."""

    slots: dict[int, OwnedSlot]
    in_doubt: bool


# --- Shards ---------------------------------------------------------------------------------------


def _this_host() -> str:
    """The host's name and, where there are such, its boot and PID namespace: machines may share a name, containers
    of one machine a boot, and neither a process."""
    namespace, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
    if not (namespace.exists() and boot.exists()):
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot.read_text().strip()[:8]}/{namespace.stat().st_ino}"


THIS_HOST = _this_host()


def new_shard_id() -> str:
    """host:pid:chance. A successor on the same host can tell a dead owner at once."""
    return f"{THIS_HOST}:{os.getpid()}:{secrets.token_hex(3)}"


def prepare_connection(connection: Any, shard_id: str) -> None:
    """Makes a connection known as this shard's, so that a successor can end it."""
    connection.execute("SELECT set_config('application_name', %s, false)", [_connection_name(shard_id)])
    # Its statements differ in nothing but the lengths of arrays: planning each time would gain nothing.
    connection.execute("SET plan_cache_mode = force_generic_plan")


def heartbeat(connection: Any, shard_id: str, state: str) -> None:
    """Says that this process is alive."""
    reach("before_heartbeat")
    connection.execute(
        "INSERT INTO shard (shard_id, state) VALUES (%s, %s) "
        "ON CONFLICT (shard_id) DO UPDATE SET heartbeat_at = now(), state = excluded.state",
        [shard_id, state],
    )
    reach("after_heartbeat")


def sign_off(connection: Any, shard_id: str) -> None:
    """A clean stop, at rest: its slots are free, and nobody waits for its heartbeat to grow old."""
    reach("before_sign_off")
    with connection.transaction():
        connection.execute(_FREE.format(which="SELECT slot FROM slot WHERE owner = %s"), [shard_id])
        reach("between_freeing_and_forgetting")
        connection.execute("DELETE FROM shard WHERE shard_id = %s", [shard_id])
    reach("after_sign_off")


def forget_dead_shards(connection: Any) -> None:
    """Drops the rows of shards that have been silent for long and own nothing."""
    connection.execute(
        "DELETE FROM shard WHERE heartbeat_at < now() - interval '1 hour' "
        "AND NOT EXISTS (SELECT FROM slot WHERE owner = shard_id)"
    )


def roster(connection: Any) -> Roster:
    """Who is alive now, and the owner of each market slot."""
    rows = connection.execute(
        "SELECT slot.slot, slot.owner, slot.epoch, "
        "(SELECT array_agg(shard_id) FROM shard WHERE heartbeat_at > now() - make_interval(secs => %s)) "
        "FROM slot WHERE kind = 'market'",
        [HEARTBEAT_TIMEOUT_S],
    ).fetchall()
    live = (rows[0][3] or ()) if rows else ()
    return Roster(
        frozenset(shard_id for shard_id in live if not _is_dead_here(shard_id)),
        {slot: Holder(owner, epoch) for slot, owner, epoch, _ in rows},
    )


def _is_dead_here(shard_id: str) -> bool:
    """Whether it ran on this machine and its process is gone; False for all that cannot be known from here."""
    host, *rest = shard_id.split(":")
    if host != THIS_HOST or not rest:
        return False
    try:
        os.kill(int(rest[0]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _connection_name(shard_id: str) -> str:
    return f"pmarket-engine {shard_id.encode()[-_NAME_BYTES:].decode(errors='replace')}"


# --- Slots ----------------------------------------------------------------------------------------


def take_slots(connection: Any, shard_id: str, slots: Iterable[int]) -> Taken:
    """Makes this process the owner, one epoch on, of those slots that are free, whose owner is dead, or that
    are its own already; gives back the cash and claims of their open batches.

    Waits for a commit in flight of the former owner (its row locks), after ending that one's connections:
    a frozen owner would hold them for ever. Used for slots that were let go, at takeover, and whenever this
    process is in doubt whether a commit happened.
    """
    reach("before_take_slots")
    wanted = sorted(slots)
    seen = roster(connection)
    dead = {holder.owner for slot in wanted if (holder := seen.holders[slot]).owner} - seen.live - {shard_id}
    _end_connections(connection, [owner for owner in dead if owner])
    with connection.transaction():
        connection.execute("SELECT FROM slot WHERE slot = ANY(%s) ORDER BY slot FOR UPDATE", [wanted])
        # A statement of its own: it sees what was committed while the one before waited for its locks.
        now = roster(connection)
        owners = {slot: now.holders[slot].owner for slot in wanted}
        open_to_us = [s for s, owner in owners.items() if owner == shard_id or owner not in now.live]
        rows = connection.execute(
            "UPDATE slot SET epoch = epoch + 1, owner = %s WHERE slot = ANY(%s) "
            "RETURNING slot, epoch, next_offset, command_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint",
            [shard_id, open_to_us],
        ).fetchall()
        reach("between_taking_and_giving_back")
        give_back_slots(connection, open_to_us)
    reach("after_take_slots")
    in_doubt = any(owners[slot] is not None for slot in open_to_us)
    return Taken({row[0]: OwnedSlot(*row) for row in rows}, in_doubt)


def let_go(connection: Any, shard_id: str, slots: Iterable[OwnedSlot]) -> None:
    """Frees slots for whoever the plan gives them to; call while no batch is under way. Lost ones stay as they are."""
    reach("before_let_go")
    owned = list(slots)
    connection.execute(
        _FREE.format(
            which="SELECT slot.slot FROM slot JOIN unnest(%s::smallint[], %s::bigint[]) AS m(slot, epoch) "
            "ON slot.slot = m.slot AND slot.epoch = m.epoch WHERE slot.owner = %s"
        ),
        [[s.slot for s in owned], [s.epoch for s in owned], shard_id],
    )
    reach("after_let_go")


# Locked in order, as everybody locks slots who wants several.
_FREE = """
WITH mine AS MATERIALIZED ({which} ORDER BY slot.slot FOR UPDATE OF slot)
UPDATE slot SET owner = NULL FROM mine WHERE slot.slot = mine.slot
"""


def _end_connections(connection: Any, shard_ids: list[str]) -> None:
    """Ends both connections of each of these shards, and with them whatever they have under way."""
    if shard_ids:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = ANY(%s) AND datname = current_database() AND pid <> pg_backend_pid()",
            [[_connection_name(shard_id) for shard_id in shard_ids]],
        )
