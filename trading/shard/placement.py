"""Which shard shall own which slot: rendezvous hashing with bounded loads, the same on every host. Pure.

A plan and no more than that: who owns a slot is what the slot's row says.
"""

import hashlib
from collections.abc import Collection, Sequence


def placement(slots: Collection[int], shard_ids: Collection[str]) -> dict[int, str]:
    """The shard for each slot; every shard gets slots ÷ shards of them, rounded down or up.

    Each pair of slot and shard has a fixed score; the highest takes its slot unless the shard is full. So a shard
    that joins or leaves moves few slots but its own, and nobody has to agree on anything but who is alive.
    (Thaler and Ravishankar, Using name-based mappings to increase hit rates, 1998; the bound is that of Mirrokni,
    Thorup and Zadimoghaddam, Consistent hashing with bounded loads, 2016.) O(slots × shards) scores, sorted.
    """
    if not shard_ids:
        return {}
    least, extra = divmod(len(slots), len(shard_ids))
    loads = dict.fromkeys(shard_ids, 0)
    placed: dict[int, str] = {}
    for _, slot, shard_id in sorted(((_score(s, i), s, i) for s in slots for i in loads), reverse=True):
        if slot in placed or loads[shard_id] > least:
            continue
        if loads[shard_id] == least:
            if not extra:
                continue
            extra -= 1
        placed[slot] = shard_id
        loads[shard_id] += 1
    return placed


def cast_of(live: Sequence[str], number: int) -> list[str]:
    """`number` shards: those that live (oldest first), of which the youngest go, or new ones beside them."""
    return [*live[:number], *(f"new-{n}" for n in range(1, number - len(live) + 1))]


def _score(slot: int, shard_id: str) -> bytes:
    return hashlib.blake2b(f"{slot} {shard_id}".encode(), digest_size=8).digest()
