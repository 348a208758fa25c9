"""The time between two failures of a process: its slots, each under one epoch, its connections, markets and batches.

A batch is reserved, matched, committed and published, each in turn. While a long queue waits, two threads
do PostgreSQL's part for its neighbours: as one batch is matched, the one before it commits and the one
after it reserves. After an error the whole tenure is thrown away.
"""

import concurrent.futures
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Sequence

import psycopg
import redis

from trading.engine.commands import FENCE_ONLY_US, AmendOrder, CancelOrders, Command, PlaceOrder
from trading.engine.fees import worst_cost_pips
from trading.ids import market_slot, new_id
from trading.shard import measure
from trading.shard.batch import Batch
from trading.shard.commit import CommitPlan, commit
from trading.shard.crash_points import reach
from trading.shard.faults import SlotLost, TooLate
from trading.shard.give_back import give_back_batch
from trading.shard.inbox import Entry, Inbox
from trading.shard.lapses import Lapses
from trading.shard.markets import Markets
from trading.shard.publish import Publication, Publisher
from trading.shard.reserve import Claim, Reservation, claim_of, is_contended, reserve, stored_claim
from trading.shard.slots import OwnedSlot, prepare_connection
from trading.wire import GRACE_US, Envelope, Outcome

log = logging.getLogger(__name__)

# Batches smaller than this are not overlapped: they would only become smaller still.
LONG_QUEUE = 125
HIGHEST_FEE_E4 = 10_000
NEVER_US = 2**62
# As long as another shard's batch holds cash that an account here lacks, but not for ever.
CONTENDED_S = 0.25
CONTENDED_PAUSE_S = 0.003
NOTHING_RESERVED = Reservation("", {}, set(), {})

Work = tuple[int, str, Envelope]  # (slot, gateway id, command in its envelope)


@dataclasses.dataclass(slots=True)
class Intake:
    """What goes into a batch, and what T1 took for it."""

    entries: list[Entry]
    slots: list[OwnedSlot]
    work: list[Work]
    barred: list[Work]
    chores: list[Command]
    claims: list[Claim]
    needs: dict[str, int]
    reservation: Reservation = NOTHING_RESERVED
    is_late: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  # how long each step took

    def lacking(self) -> set[str]:
        """The accounts that had less cash than their orders may cost."""
        granted = self.reservation.granted
        return {account_id for account_id, need in self.needs.items() if granted.get(account_id, 0) < need}


@dataclasses.dataclass(slots=True, eq=False)
class Matched:
    """A batch in memory, with all that is to be written and told of it."""

    intake: Intake
    batch: Batch
    plan: CommitPlan
    publication: Publication
    is_committed: bool = False


class Tenure:
    """Slots that come and go, their markets, and the connections they are written through: one for T1,
    one for everything else.

    `writers` is a pool of two threads; `is_barred` names commands that must not run; `pause` says
    whether to come to rest before the next batch.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection], *, shard_id: str, inbox: Inbox, publisher: Publisher,
        writers: concurrent.futures.Executor, clock_us: Callable[[], int], keep_alive: Callable[[], object],
        is_barred: Callable[[Envelope], bool], pause: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.slots: dict[int, OwnedSlot] = {}
        self.markets = Markets(connection=self.connection, keep_alive=keep_alive)
        self.lapses = Lapses()
        self._connection = connect()
        self._reserving = connect()
        for each in (self._connection, self._reserving):
            prepare_connection(each, shard_id)
        self._inbox = inbox
        self._publisher = publisher
        self._clock_us = clock_us
        self._is_barred = is_barred
        self._pause = pause
        self._writers = writers
        self._jobs: list[concurrent.futures.Future[None]] = []
        self._untold: list[Matched] = []  # matched and not yet published, oldest first

    def connection(self) -> psycopg.Connection:
        """The connection, once what was started on it has ended; never to be called by a writer itself."""
        concurrent.futures.wait(self._jobs)
        return self._connection

    def owned(self, slot: int) -> OwnedSlot:
        """Raises SlotLost for a slot that is not ours (any more)."""
        owned = self.slots.get(slot)
        if owned is None:
            raise SlotLost(f"slot {slot} has another owner")
        return owned

    def admit(self, slots: dict[int, OwnedSlot]) -> None:
        """Slots that were taken and whose markets are loaded: their commands are read from now on."""
        self.slots |= slots
        self._inbox.follow(slots.values())

    def dismiss(self, slots: Collection[int]) -> None:
        """Forgets slots that are another's now, and all that belongs to them; call while no batch is under way."""
        for slot in slots:
            del self.slots[slot]
        self.markets.drop(slots)
        self._inbox.drop(slots)

    def close(self) -> None:
        concurrent.futures.wait(self._jobs)
        self._connection.close()
        self._reserving.close()

    # --- Batches ----------------------------------------------------------------------------------

    def work(self, entries: list[Entry], chores: Sequence[Command] | None = None) -> None:
        """Works these entries and, while a long queue waits, those that follow; all of it is published at return.

        `chores` are commands that the markets' state asks for, all of them if left out. After an error, what was
        committed before it is told all the same; of the rest nothing is known.
        """
        try:
            self._work(
                self._take_in(entries, self.markets.chores(self._clock_us()) if chores is None else chores)
            )
        except Exception:
            self._tell_committed()
            raise
        self.markets.drop_ended()

    def _work(self, first: Intake) -> None:
        self._reserve(first)
        current: Intake | None = first
        following = self._read_on(first)
        matched: Matched | None = None
        committed: Matched | None = None
        while current is not None:
            self._start_writing(matched, following)
            if committed is not None:
                self._publish(committed)
            committed, matched = matched, self._match(current)
            current, following = following, self._read_on(following)
            self._end_writing()
            if current is not None and (current.is_late or _frees((committed, matched), current.lacking())):
                # The batches before have to end first.
                self._end(committed, matched)
                committed = matched = None
                give_back_batch(self._connection, current.reservation.batch_id)
                current = self._take_in(current.entries)
                self._reserve(current)
        self._end(committed, matched)

    def _tell_committed(self) -> None:
        """Publishes what has been committed by now: its senders need not wait until they are told to ask."""
        for job in self._jobs:
            if (error := job.exception()) is not None:
                log.error("a writer has failed as well: %s: %s", type(error).__name__, error)
        with contextlib.suppress(redis.RedisError):
            for each in list(self._untold):
                if each.is_committed:
                    self._publish(each)

    def _take_in(self, entries: list[Entry], chores: Sequence[Command] = ()) -> Intake:
        now_us = self._clock_us()
        work: list[Work] = []
        barred: list[Work] = []
        for entry in entries:
            for envelope in entry.envelopes:
                if envelope.deadline_us > now_us:
                    (barred if self._is_barred(envelope) else work).append(
                        (entry.slot, entry.gateway_id, envelope)
                    )
        touched = {entry.slot for entry in entries} | {market_slot(chore.market_id) for chore in chores}
        return Intake(
            entries, [self.owned(slot) for slot in sorted(touched)], work, barred, list(chores),
            [claim_of(envelope) for _, _, envelope in work if envelope.key], self._needs(work),
        )  # fmt: skip

    def _needs(self, work: list[Work]) -> dict[str, int]:
        """The most cash that the orders can cost each account."""
        needs: dict[str, int] = {}
        for _, _, envelope in work:
            command = envelope.command
            if isinstance(command, PlaceOrder | AmendOrder):
                market = self.markets.get(command.market_id)
                rate_e4 = market.highest_fee_e4 if market.seq else HIGHEST_FEE_E4
                cost = worst_cost_pips(command, rate_e4)
                needs[envelope.account_id] = needs.get(envelope.account_id, 0) + cost
        return needs

    def _read_on(self, before: Intake | None) -> Intake | None:
        """What follows a batch, if it was large, as much waits, and nothing else has to happen in between."""
        if (
            before is None
            or len(before.work) < LONG_QUEUE
            or self.markets.has_chores(self._clock_us())
            or self._pause()
        ):
            return None
        entries = self._inbox.take(None, at_least=LONG_QUEUE)
        return self._take_in(entries) if entries else None

    def _end(self, committed: Matched | None, matched: Matched | None) -> None:
        if committed is not None:
            self._publish(committed)
        if matched is not None:
            self._commit(matched)
            self._publish(matched)

    # --- The steps --------------------------------------------------------------------------------

    def _reserve(self, intake: Intake) -> None:
        """T1. Raises TooLate if it took so long that a sender may have been told that his deadline has passed.

        Until it was done nobody could see that these commands were being worked on; from then on the batch row
        shows it.
        """
        self._take(intake)
        if intake.is_late:
            raise TooLate("reserving took longer than a command's deadline")

    def _take(self, intake: Intake) -> None:
        if not intake.claims:
            return
        started = time.perf_counter()
        while True:
            intake.reservation = reserve(
                self._reserving, slots=intake.slots, claims=intake.claims, needs=intake.needs
            )
            lacking = intake.lacking()
            if not lacking or time.perf_counter() - started > CONTENDED_S:
                break
            if not is_contended(self._reserving, lacking, own_slots=self.slots):
                break
            # Too little here proves nothing while another shard holds the rest.
            give_back_batch(self._reserving, intake.reservation.batch_id)
            time.sleep(CONTENDED_PAUSE_S)
        earliest_us = min(envelope.deadline_us for _, _, envelope in intake.work)
        intake.is_late = self._clock_us() > earliest_us + GRACE_US // 2
        intake.seconds["reserve"] = time.perf_counter() - started

    def _match(self, intake: Intake) -> Matched:
        reach("before_match")
        started = time.perf_counter()
        batch = Batch(slots=intake.slots, granted=intake.reservation.granted, now_us=self._clock_us())
        unclaimed = set(intake.reservation.claimed)
        for slot, gateway_id, envelope in intake.work:
            claim = (envelope.account_id, envelope.key)
            if claim in unclaimed or not envelope.key:
                unclaimed.discard(claim)
                self._mind_fences(batch, slot, envelope, intake.reservation.fences)
                self._run(batch, slot, gateway_id, envelope)
            else:
                self._repeat(batch, slot, gateway_id, envelope)
        for slot, gateway_id, envelope in intake.barred:
            batch.answer(gateway_id, failed(envelope, slot))
        for chore in intake.chores:
            self._run(batch, market_slot(chore.market_id), "", internal(chore))
        for entry in intake.entries:
            batch.command_offsets[entry.slot] = entry.entry_id
        for market in batch.markets.values():
            self.markets.note(market)
        # Told as they are now: before this is committed, the next batch may change the same books and orders.
        matched = Matched(
            intake, batch, batch.plan(intake.reservation.batch_id or None), self._publisher.prepare(batch)
        )
        # Where the next batch begins; the log itself is there once this one is committed, as all are between turns.
        for owned in intake.slots:
            owned.next_offset = batch.offsets[owned.slot]
            owned.command_offset = batch.command_offsets[owned.slot]
            owned.recorded_us = batch.now_us
        self._untold.append(matched)
        reach("after_match")
        intake.seconds["match"] = time.perf_counter() - started
        return matched

    def _run(self, batch: Batch, slot: int, gateway_id: str, envelope: Envelope) -> None:
        market_id = envelope.command.market_id
        market, heads = self.markets.get(market_id), self.markets.heads
        heads[market_id] = batch.run(
            slot=slot, gateway_id=gateway_id, envelope=envelope, market=market, head=heads[market_id]
        )

    def _mind_fences(self, batch: Batch, slot: int, envelope: Envelope, fences: dict[str, str]) -> None:
        """Tells the market of the account's cancel-all, or of its client's lapse, if that came after the order was
        sent, which is then refused. Told once, it stands for whatever else comes late."""
        command = envelope.command
        if not isinstance(command, PlaceOrder):
            return
        told = self.lapses.fences(command)
        fence = fences.get(envelope.account_id)
        if fence is not None and command.order_id < fence:
            told.append(
                CancelOrders(
                    command.market_id,
                    command.account_id,
                    None,
                    None,
                    fence=fence,
                    placed_until_us=FENCE_ONLY_US,
                )
            )
        if told and not self.markets.get(command.market_id).is_fenced(command):
            for each in told:
                self._run(batch, slot, "", internal(each))

    def _repeat(self, batch: Batch, slot: int, gateway_id: str, envelope: Envelope) -> None:
        """A key that was claimed before: answered from what is stored, never executed again."""
        stored = stored_claim(self.connection(), claim_of(envelope))
        # What this very batch has refused is not stored yet.
        refusal = stored.refusal or batch.refused_keys.get((envelope.account_id, envelope.key))
        payload = [stored.order_id, stored.market_id, stored.is_same, refusal]
        offset = batch.offsets[slot] - 1
        batch.answer(gateway_id, Outcome(envelope.command_id, "repeat", slot, offset, payload))

    def _commit(self, matched: Matched) -> None:
        started = time.perf_counter()
        commit(self._connection, matched.plan)
        matched.is_committed = True
        matched.intake.seconds["commit"] = time.perf_counter() - started

    def _publish(self, committed: Matched) -> None:
        started = time.perf_counter()
        self._untold.remove(committed)
        self._publisher.publish(committed.publication)
        intake = committed.intake
        intake.seconds["publish"] = time.perf_counter() - started
        measure.batch(committed.batch, commands=len(intake.work), seconds=intake.seconds)

    # --- The writers' threads ---------------------------------------------------------------------

    def _start_writing(self, matched: Matched | None, following: Intake | None) -> None:
        self._jobs = []
        if matched is not None:
            self._jobs.append(self._writers.submit(self._commit, matched))
        if following is not None:
            self._jobs.append(self._writers.submit(self._take, following))

    def _end_writing(self) -> None:
        concurrent.futures.wait(self._jobs)
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.result()


def _frees(batches: tuple[Matched | None, ...], account_ids: set[str]) -> bool:
    """Whether one of these accounts gets cash back once the batches are committed."""
    return any(
        account_id in each.plan.cash and each.plan.cash[account_id].credit
        for each in batches
        if each is not None
        for account_id in account_ids
    )


def internal(command: Command) -> Envelope:
    """A command that the state itself asks for: it claims no key and is never late."""
    return Envelope(new_id(), "", "", b"", NEVER_US, "engine", "", command)


def failed(envelope: Envelope, slot: int) -> Outcome:
    """What a sender is told of a command that could not be processed."""
    return Outcome(envelope.command_id, "failed", slot, 0, None)
