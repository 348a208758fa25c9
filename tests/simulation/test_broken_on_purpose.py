"""Every invariant is broken on purpose: bugs planted in the real code, each of which the simulation has to catch."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.simulation import statements
from tests.simulation.world import World
from trading.engine.market import Market
from trading.eventlog.append import EMPTY
from trading.gateway import Gateway
from trading.shard import batch, commit, inbox, slots, tenure
from trading.shard import publish as publish_module
from trading.shard.batch import Batch
from trading.shard.inbox import Inbox
from trading.shard.markets import Markets
from trading.shard.ownership import Ownership
from trading.shard.publish import Publisher
from trading.shard.tenure import Tenure
from trading.snapshots import store
from trading.wire import command_stream

COMMANDS = 1000
MOST_SEEDS = 40

Patch = pytest.MonkeyPatch


def no_epoch_is_checked(patch: Patch, world: World) -> None:
    world.server.tables.checks_epochs = False


def credits_are_given_twice(patch: Patch, world: World) -> None:
    real = commit._arguments

    def arguments(plan: Any, rows: Any) -> Any:
        answer = real(plan, rows)
        answer[23] = commit.array_of(2 * change.credit for change in plan.cash.values())
        return answer

    patch.setattr(commit, "_arguments", arguments)


def what_is_left_of_the_taken_is_kept(patch: Patch, world: World) -> None:
    real = Batch.plan

    def plan(self: Batch, batch_id: Any) -> Any:
        self.available = dict.fromkeys(self.available, 0)
        return real(self, batch_id)

    patch.setattr(Batch, "plan", plan)


def reserves_are_not_counted(patch: Patch, world: World) -> None:
    real = Batch._add_cash
    patch.setattr(
        Batch, "_add_cash", lambda self, account, cash, reserved, fee: real(self, account, cash, 0, fee)
    )


def published_before_the_commit(patch: Patch, world: World) -> None:
    real = Tenure._commit

    def early(self: Tenure, matched: Any) -> None:
        self._publisher.publish(matched.publication)
        real(self, matched)

    patch.setattr(Tenure, "_commit", early)


def outcomes_are_told_before_the_commit(patch: Patch, world: World) -> None:
    real = Tenure._commit

    def early(self: Tenure, matched: Any) -> None:
        for gateway_id, outcomes in matched.publication.replies.items():
            self._publisher._bus.publish(f"outcomes:{gateway_id}", outcomes)
        real(self, matched)

    patch.setattr(Tenure, "_commit", early)


def outcomes_of_a_failed_commit_are_told(patch: Patch, world: World) -> None:
    def tell(self: Tenure) -> None:
        for each in list(self._untold):
            self._publish(each)

    patch.setattr(Tenure, "_tell_committed", tell)


def claims_are_ignored(patch: Patch, world: World) -> None:
    real = tenure.reserve

    def reserve(connection: Any, *, slots: Any, claims: Any, needs: Any) -> Any:
        reservation = real(connection, slots=slots, claims=claims, needs=needs)
        return reservation._replace(claimed={(claim.account_id, claim.key) for claim in claims})

    patch.setattr(tenure, "reserve", reserve)


def what_is_sent_again_claims_nothing(patch: Patch, world: World) -> None:
    def send_again(self: Gateway) -> None:
        self._outbox.extend(structs.replace(envelope, key="") for envelope, _ in self._pending.values())
        self._wake.set()

    patch.setattr(Gateway, "_send_again", send_again)


def open_batches_are_given_back_twice(patch: Patch, world: World) -> None:
    real = statements._give_back

    def twice(tables: Any, batch_ids: list[str]) -> Any:
        owed = [dict(zip(b.accounts, b.amounts, strict=True)) for b in map(tables.batches.get, batch_ids)]
        rows, change = real(tables, batch_ids)

        def apply() -> None:
            change()
            for amounts in owed:
                for account, amount in amounts.items():
                    tables.cash[account].cash_pips += amount

        return rows, apply

    patch.setattr(statements, "_give_back", twice)


def open_batches_are_not_given_back(patch: Patch, world: World) -> None:
    patch.setattr(slots, "give_back_slots", lambda connection, numbers: None)


def late_commands_are_executed(patch: Patch, world: World) -> None:
    real = inbox._entry

    def entry(slot: int, entry_id: str, fields: Any) -> Any:
        found = real(slot, entry_id, fields)
        return found._replace(
            envelopes=[structs.replace(e, deadline_us=e.deadline_us + 60_000_000) for e in found.envelopes]
        )

    patch.setattr(inbox, "_entry", entry)


def consumed_offset_is_not_stored(patch: Patch, world: World) -> None:
    real = commit._arguments

    def arguments(plan: Any, rows: Any) -> Any:
        answer = real(plan, rows)
        answer[6] = commit.array_of(slot.command_offset for slot in plan.slots)
        return answer

    patch.setattr(commit, "_arguments", arguments)


def streams_are_not_trimmed(patch: Patch, world: World) -> None:
    patch.setattr(publish_module, "trim", lambda pipeline, slot, consumed: None)
    patch.setattr(inbox, "trim", lambda pipeline, slot, consumed: None)


def streams_of_taken_slots_are_not_read(patch: Patch, world: World) -> None:
    real = Inbox.follow

    def follow(self: Inbox, owned: Any) -> None:
        taken = list(owned)
        real(self, taken)
        for slot in taken:
            if slot.epoch > 1:
                self._cursors[command_stream(slot.slot).encode()] = b"9999999999999-0"

    patch.setattr(Inbox, "follow", follow)


def first_event_of_a_batch_has_no_predecessor(patch: Patch, world: World) -> None:
    real = batch.encode_row

    def encode(slot: int, offset: int, stream: str, head: Any, *rest: Any) -> Any:
        wrong = structs.replace(head, hash=EMPTY.hash) if head.version == 7 else head
        return real(slot, offset, stream, wrong, *rest)

    patch.setattr(batch, "encode_row", encode)


def log_has_a_hole(patch: Patch, world: World) -> None:
    real = Batch._append

    def append(self: Batch, slot: int, market: Market, *rest: Any) -> Any:
        if market.seq == 20:
            self.offsets[slot] += 1
        return real(self, slot, market, *rest)

    patch.setattr(Batch, "_append", append)


def time_is_the_shards_own(patch: Patch, world: World) -> None:
    world.skew_us = 1_000_000
    real = Batch.__init__

    def init(self: Batch, *, slots: Any, granted: Any, now_us: int) -> None:
        real(self, slots=slots, granted=granted, now_us=now_us)
        self.now_us, self.recorded_at = now_us, batch.timestamp_text(now_us)

    patch.setattr(Batch, "__init__", init)


def memory_is_kept_after_a_failure(patch: Patch, world: World) -> None:
    real = Tenure.__init__
    kept: dict[str, Markets] = {}

    def init(self: Tenure, connect: Any, *, shard_id: str, **rest: Any) -> None:
        real(self, connect, shard_id=shard_id, **rest)
        if (before := kept.get(shard_id)) is not None:
            self.markets.loaded, self.markets.heads = before.loaded, before.heads
        kept[shard_id] = self.markets

    patch.setattr(Tenure, "__init__", init)


def books_are_not_written_afresh(patch: Patch, world: World) -> None:
    patch.setattr(Publisher, "rewrite", lambda self, market, owned, at_us: None)


def a_changed_level_is_not_told(patch: Patch, world: World) -> None:
    real = publish_module._changed_levels

    def changed(market: Market) -> Any:
        levels, kept, gone = real(market)
        return levels[1:], kept, gone

    patch.setattr(publish_module, "_changed_levels", changed)


def emptied_levels_stay_in_the_book(patch: Patch, world: World) -> None:
    real = publish_module._changed_levels

    def changed(market: Market) -> Any:
        levels, kept, _ = real(market)
        return levels, kept, []

    patch.setattr(publish_module, "_changed_levels", changed)


def orders_are_told_without_their_fills(patch: Patch, world: World) -> None:
    real = batch.order_view
    patch.setattr(
        batch, "order_view", lambda order, market_id: structs.replace(real(order, market_id), fills=[])
    )


def snapshots_forget_cancel_alls(patch: Patch, world: World) -> None:
    real = store.decode_state

    def decode(payload: bytes) -> Market:
        market = real(payload)
        market.fences.clear()
        return market

    patch.setattr(store, "decode_state", decode)


def no_slot_is_taken_from_the_dead(patch: Patch, world: World) -> None:
    real = Ownership._take

    def take(self: Ownership, own: Tenure, numbers: Any) -> None:
        held = world.server.tables.slots
        if free := [slot for slot in numbers if held[slot].owner is None]:
            real(self, own, free)

    patch.setattr(Ownership, "_take", take)


ITS_OWN_FAULT = {"CheckViolation", "AssertionError"}  # what a shard itself, or the database, noticed

BUGS: dict[Callable[[Patch, World], None], set[str]] = {
    no_epoch_is_checked: {"only the owner commits", "dense log", "hash chain", "money"},
    credits_are_given_twice: {"money"},
    what_is_left_of_the_taken_is_kept: {"money"},
    reserves_are_not_counted: {"money", "reserves", "CheckViolation"},
    published_before_the_commit: {"published after commit"},
    outcomes_are_told_before_the_commit: {"acknowledged is durable", "as in the log"},
    outcomes_of_a_failed_commit_are_told: {"acknowledged is durable", "published after commit", "as in the log"},
    claims_are_ignored: {"once"},
    what_is_sent_again_claims_nothing: {"once", "claimed"},
    open_batches_are_given_back_twice: {"money"},
    open_batches_are_not_given_back: {"no batch left"},
    late_commands_are_executed: {"504 is final"},
    consumed_offset_is_not_stored: {"consumed"},
    streams_are_not_trimmed: {"consumed"},
    streams_of_taken_slots_are_not_read: {"answers again", "comes to an end"},
    first_event_of_a_batch_has_no_predecessor: {"hash chain"},
    log_has_a_hole: {"dense log"},
    time_is_the_shards_own: {"time never runs backwards"},
    memory_is_kept_after_a_failure: {"memory is a replay", "hash chain", *ITS_OWN_FAULT},
    books_are_not_written_afresh: {"published books", "feed"},
    a_changed_level_is_not_told: {"feed"},
    emptied_levels_stay_in_the_book: {"published books", "feed"},
    orders_are_told_without_their_fills: {"as in the log"},
    snapshots_forget_cancel_alls: {"memory is a replay"},
    no_slot_is_taken_from_the_dead: {"answers again", "comes to an end"},
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_bug_is_caught(bug: Callable[[Patch, World], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    for seed in range(1, MOST_SEEDS + 1):
        with pytest.MonkeyPatch.context() as patch:
            report = World(seed, COMMANDS, change=lambda world, patch=patch: bug(patch, world)).run()
        if report.failure:
            assert report.invariant in BUGS[bug], report.failure
            return
    pytest.fail(f"{MOST_SEEDS} seeds have not caught it")
