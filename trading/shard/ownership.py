"""Which slots come to this process and which go: one look at who is alive and who owns what, then what follows.

A shard lets go of slots that the plan gives to another living one, and takes those that the plan gives to it once
they are free or their owner is dead. Nobody takes a slot from the living, whatever the plan says: two shards may
see different ones alive for a moment.
"""

import logging
from collections.abc import Callable, Collection

from trading.ids import market_slot
from trading.shard.markets import live_market_ids
from trading.shard.placement import placement
from trading.shard.poison import Poison
from trading.shard.publish import Publisher
from trading.shard.slots import MARKET_SLOT_RANGE, Roster, let_go, roster, take_slots
from trading.shard.tenure import Tenure

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# While a slot of ours is on its way, so that nobody waits for it longer than needed.
LOOK_AGAIN_S = 0.1


class Ownership:
    """One process's part in the sharing out of slots.

    `keep_alive` is called between two markets.
    """

    def __init__(
        self, *, shard_id: str, publisher: Publisher, clock_us: Callable[[], int],
        poison: Poison, keep_alive: Callable[[], object],
    ) -> None:  # fmt: skip
        self._shard_id = shard_id
        self._publisher = publisher
        self._clock_us = clock_us
        self._poison = poison
        self._keep_alive = keep_alive

    def settle(self, tenure: Tenure) -> float:
        """Drops what was lost, hands over what is another's, takes what is ours; call while no batch is under way.

        Answers after how many seconds to look again. A shard that has slots takes one at a time: those it has do not
        wait until the markets of all are loaded.
        """
        seen = roster(tenure.connection())
        plan = placement(MARKET_SLOT_RANGE, seen.live | {self._shard_id})
        self._drop_lost(tenure, seen)
        due = [slot for slot in seen.holders if slot not in tenure.slots and self._is_due(slot, seen, plan)]
        self._hand_over(tenure, [slot for slot in tenure.slots if plan[slot] != self._shard_id])
        ready = [slot for slot in due if seen.holders[slot].owner not in seen.live - {self._shard_id}]
        now = ready[:1] if tenure.slots else ready
        if now:
            self._take(tenure, now)
        if len(ready) > len(now):
            return 0.0
        return LOOK_EVERY_S if len(due) == len(now) else LOOK_AGAIN_S

    def _is_due(self, slot: int, seen: Roster, plan: dict[int, str]) -> bool:
        """Whether the plan gives it to us, or it is ours by its row: then its batches have to be given back first."""
        return self._shard_id in (plan[slot], seen.holders[slot].owner)

    def _drop_lost(self, tenure: Tenure, seen: Roster) -> None:
        lost = [
            slot for slot, own in tenure.slots.items() if seen.holders[slot] != (self._shard_id, own.epoch)
        ]
        if lost:
            log.warning("shard %s was replaced in slots %s", self._shard_id, lost)
            tenure.dismiss(lost)

    def _hand_over(self, tenure: Tenure, slots: Collection[int]) -> None:
        if slots:
            log.info("shard %s hands over slots %s", self._shard_id, slots)
            let_go(tenure.connection(), self._shard_id, [tenure.slots[slot] for slot in slots])
            tenure.dismiss(slots)

    def _take(self, tenure: Tenure, slots: Collection[int]) -> None:
        """Makes slots ours, loads their markets, writes their books afresh and reads their streams."""
        taken = take_slots(tenure.connection(), self._shard_id, slots)
        if not taken.slots:
            return
        owned = list(taken.slots.values())
        self._poison.recall(tenure.connection())
        self._publisher.begin(owned)
        markets = tenure.markets
        for market_id in live_market_ids(tenure.connection(), list(taken.slots)):
            self._poison.load_or_halt(markets, market_id)
        for market_id, market in markets.loaded.items():
            if (own := taken.slots.get(market_slot(market_id))) is not None:
                self._publisher.rewrite(market, own, self._clock_us())
                self._keep_alive()
        tenure.admit(taken.slots)
        self._publisher.announce(owned, resend=taken.in_doubt)
        log.info(
            "shard %s owns slots %s and %d markets", self._shard_id, sorted(tenure.slots), len(markets.loaded)
        )
