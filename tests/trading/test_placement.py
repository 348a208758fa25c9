"""Which shard shall own which slot: evenly, with few moves, and the same wherever it is computed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.shard.placement import placement

SLOTS = range(16)
shard_ids = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=24, unique=True)


@given(shard_ids)
def test_every_slot_has_a_shard_and_loads_differ_by_one_at_most(ids: list[str]) -> None:
    placed = placement(SLOTS, ids)
    assert sorted(placed) == list(SLOTS)
    loads = Counter(placed.values())
    assert set(loads) <= set(ids)
    assert max(loads.values()) - min(loads[shard_id] for shard_id in ids) <= 1


@given(shard_ids)
def test_the_order_in_which_shards_and_slots_are_named_does_not_matter(ids: list[str]) -> None:
    placed = placement(SLOTS, ids)
    assert placement(list(reversed(SLOTS)), frozenset(ids)) == placed
    assert placement(SLOTS, sorted(ids)) == placement(SLOTS, sorted(ids, reverse=True)) == placed


@given(st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=2, unique=True))
def test_second_shard_gets_half_and_its_end_moves_only_what_it_had(ids: list[str]) -> None:
    first, second = ids
    alone, both = placement(SLOTS, [first]), placement(SLOTS, ids)
    moved = [slot for slot in SLOTS if alone[slot] != both[slot]]
    assert len(moved) == 8
    assert {both[slot] for slot in moved} == {second}


@pytest.mark.parametrize("number", range(2, 12))
def test_shard_that_joins_or_leaves_moves_few_slots_but_its_own(number: int) -> None:
    moves = 0
    for course in range(50):
        ids = [f"host{course}:{n}:a" for n in range(number + 1)]
        before, after = placement(SLOTS, ids[:-1]), placement(SLOTS, ids)
        moves += sum(before[slot] != after[slot] for slot in SLOTS)
    # At least what the new one gets has to move; to move nothing else would take a memory that all shards share.
    assert 50 * (16 // (number + 1)) <= moves <= 50 * (16 // (number + 1) + 3)


def test_no_shard_owns_nothing() -> None:
    assert placement(SLOTS, []) == {}


def test_placement_is_the_same_for_ever() -> None:
    """Hosts that run different versions for a while must agree."""
    placed = placement(SLOTS, ["a:1:x", "b:2:y", "c:3:z"])
    assert "".join(placed[slot][0] for slot in SLOTS) == "abaaccbacbaccbab"
