"""The shard's loop: read, RESERVE, MATCH, COMMIT, PUBLISH, and what to do when that fails.

Everything in memory may be thrown away at any time: after an error the process raises its slots'
epochs, gives open batches back, drops the touched markets and reads again from the stored offsets.
"""

import logging
import time
from collections.abc import Callable, Collection

import psycopg
import redis

from trading.engine.commands import Command, PlaceOrder, SuspendMarket, SweepOrders
from trading.engine.decide import needs_sweep
from trading.engine.fees import worst_cost_pips
from trading.engine.market import Market
from trading.eventlog.append import Head
from trading.ids import market_slot, new_id
from trading.shard import measure
from trading.shard.batch import Batch
from trading.shard.commit import commit
from trading.shard.dead_letter import bury, recent_letters
from trading.shard.faults import TooLate, is_outage
from trading.shard.inbox import Entry, Inbox
from trading.shard.load import live_market_ids, load_market
from trading.shard.publish import Publisher
from trading.shard.reserve import Claim, Reservation, reserve
from trading.shard.slots import (
    MARKET_SLOT_RANGE,
    OwnedSlot,
    heartbeat,
    living_rival,
    sign_off,
    take_slots,
)
from trading.wire import GRACE_US, Envelope, Outcome

log = logging.getLogger(__name__)

READ_WAIT_MS = 100
HEARTBEAT_EVERY_S = 1.0
HIGHEST_FEE_E4 = 10_000
NEVER_US = 2**62


class Shard:
    """One engine process. `connect` makes its database connection, `clock_us` tells the time."""

    def __init__(
        self, *, shard_id: str, connect: Callable[[], psycopg.Connection], bus: redis.Redis, feed: redis.Redis,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:  # fmt: skip
        self.shard_id = shard_id
        self.clock_us = clock_us
        self._connect = connect
        self._bus = bus
        self._feed = feed
        self._inbox = Inbox(bus)
        self._publisher = Publisher(bus=bus, feed=feed)
        self._connection: psycopg.Connection | None = None
        self._slots: dict[int, OwnedSlot] = {}
        self._markets: dict[str, Market] = {}
        self._heads: dict[str, Head] = {}
        self._sweeping: set[str] = set()
        self._halted: set[str] = set()  # markets whose log cannot be applied: nobody's commands reach them
        self._buried: set[str] = set()  # commands set aside, of which copies may still be in the streams
        self._valkey_run_ids: tuple[str, ...] = ()
        self._last_heartbeat = 0.0
        self._failures = 0
        self.stopping = False

    # --- Life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Works until `stopping` is set; outages of PostgreSQL or Valkey are waited out."""
        while not self.stopping:
            try:
                if self._connection is None:
                    self._start()
                self._turn()
            except Exception as error:  # Whatever it was, what was committed is in doubt.
                self._doubt(error)
        if self._connection is not None and not self._connection.closed:
            sign_off(self._connection, self.shard_id)
            self._connection.close()

    def _start(self) -> None:
        """Takes the slots, loads their markets and writes every book afresh."""
        connection = self._connect()
        self._connection = connection
        # Its statements differ in nothing but the lengths of arrays: planning each time would gain nothing.
        connection.execute("SET plan_cache_mode = force_generic_plan")
        heartbeat(connection, self.shard_id, "waiting")
        while (rival := living_rival(connection, self.shard_id)) and not self.stopping:
            log.info("standing by: %s owns the slots", rival)
            heartbeat(connection, self.shard_id, "waiting")
            time.sleep(HEARTBEAT_EVERY_S)
        if self.stopping:
            return
        self._slots = take_slots(connection, self.shard_id, list(MARKET_SLOT_RANGE))
        heartbeat(connection, self.shard_id, "running")
        self._valkey_run_ids = self._run_ids()
        self._buried = recent_letters(connection)
        for market_id in live_market_ids(connection, list(self._slots)):
            if market_id not in self._halted:
                self._load_or_halt(market_id)
        self._inbox.rewind(self._slots.values())
        for market in self._markets.values():
            self._publisher.rewrite(market, self.clock_us())
            self._keep_alive()
        self._publisher.announce()
        log.info("shard %s owns %d slots and %d markets", self.shard_id, len(self._slots), len(self._markets))

    def _turn(self) -> None:
        self._beat()
        entries = self._inbox.take(None if self._sweeping else READ_WAIT_MS)
        if self._failures >= 2:
            self._one_by_one(entries)
        elif entries or self._sweeping:
            self._batch(entries)
        self._failures = 0

    def _keep_alive(self) -> bool:
        """A heartbeat, if one is due: also while markets are loaded, or a second engine would take over."""
        now = time.monotonic()
        if now - self._last_heartbeat < HEARTBEAT_EVERY_S:
            return False
        self._last_heartbeat = now
        assert self._connection is not None
        heartbeat(self._connection, self.shard_id, "running")
        return True

    def _beat(self) -> None:
        if not self._keep_alive():
            return
        if self._run_ids() != self._valkey_run_ids:
            raise redis.ConnectionError("Valkey was restarted; what it held is written again")
        self._inbox.trim(self._slots.values())

    def _run_ids(self) -> tuple[str, ...]:
        return tuple(str(client.info("server")["run_id"]) for client in (self._bus, self._feed))

    def _doubt(self, error: Exception) -> None:
        """It is unknown what was committed: forget, take the slots anew and read the log again."""
        self._failures += 1
        log.error(
            "in doubt after %s: %s", type(error).__name__, error, exc_info=None if is_outage(error) else error
        )
        self._forget()
        time.sleep(min(0.05 * 2 ** min(self._failures, 6), 2.0))

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._markets.clear()
        self._heads.clear()
        self._sweeping.clear()

    # --- One batch --------------------------------------------------------------------------------

    def _batch(self, entries: list[Entry], sweeping: Collection[str] | None = None) -> None:
        """One reserve, match, commit, publish. `sweeping` are the markets to sweep, all that need it if left out."""
        started = time.perf_counter()
        connection = self._connection
        assert connection is not None
        now_us = self.clock_us()
        sweeping = self._sweeping if sweeping is None else sweeping
        work = [
            (entry.slot, entry.gateway_id, envelope)
            for entry in entries
            for envelope in entry.envelopes
            if envelope.deadline_us > now_us
        ]
        barred = [each for each in work if self._is_barred(each[2])] if self._buried or self._halted else []
        if barred:
            work = [each for each in work if not self._is_barred(each[2])]
        touched = {entry.slot for entry in entries} | {market_slot(market_id) for market_id in sweeping}
        slots = {slot: self._slots[slot] for slot in sorted(touched)}
        claims = [_claim(envelope) for _, _, envelope in work if envelope.key]
        reservation = Reservation("", {}, set())
        if claims:
            reservation = reserve(
                connection, slots=list(slots.values()), claims=claims, needs=self._needs(work)
            )
            self._refuse_late(work)
        reserved = time.perf_counter()

        batch = Batch(slots=slots, granted=reservation.granted, now_us=now_us)
        unclaimed = set(reservation.claimed)
        for slot, gateway_id, envelope in work:
            claim = (envelope.account_id, envelope.key)
            if claim in unclaimed or not envelope.key:
                unclaimed.discard(claim)
                self._run(batch, slot, gateway_id, envelope)
            else:
                self._repeat(batch, slot, gateway_id, envelope)
        for slot, gateway_id, envelope in barred:
            batch.answer(gateway_id, _failed(envelope, slot))
        for market_id in sorted(sweeping):
            self._run(batch, market_slot(market_id), "", _internal(SweepOrders(market_id)))
        for entry in entries:
            batch.command_offsets[entry.slot] = entry.entry_id
        matched = time.perf_counter()

        commit(connection, batch.plan(reservation.batch_id or None))
        for slot, owned in slots.items():
            owned.next_offset = batch.offsets[slot]
            owned.command_offset = batch.command_offsets[slot]
            owned.recorded_us = batch.now_us
        committed = time.perf_counter()

        self._note_sweeps(batch)
        self._publisher.publish(batch, batch.replies())
        measure.batch(
            batch, commands=len(work), reserve=reserved - started, match=matched - reserved,
            commit=committed - matched, publish=time.perf_counter() - committed,
        )  # fmt: skip

    def _refuse_late(self, work: list[tuple[int, str, Envelope]]) -> None:
        """Gives a batch back whose reserving took so long that a sender may have been told its deadline has passed.

        Until now nobody could see that its commands were being worked on; from now on the batch row shows it.
        """
        earliest_us = min(envelope.deadline_us for _, _, envelope in work)
        if self.clock_us() > earliest_us + GRACE_US // 2:
            raise TooLate("reserving took longer than a command's deadline")

    def _needs(self, work: list[tuple[int, str, Envelope]]) -> dict[str, int]:
        """The most cash that the batch's orders can cost each account."""
        needs: dict[str, int] = {}
        for _, _, envelope in work:
            command = envelope.command
            if isinstance(command, PlaceOrder):
                market = self._market(command.market_id)
                rate_e4 = market.highest_fee_e4 if market.seq else HIGHEST_FEE_E4
                cost = worst_cost_pips(command, rate_e4)
                needs[envelope.account_id] = needs.get(envelope.account_id, 0) + cost
        return needs

    def _run(self, batch: Batch, slot: int, gateway_id: str, envelope: Envelope) -> None:
        market_id = envelope.command.market_id
        market = self._market(market_id)
        self._heads[market_id] = batch.run(
            slot=slot, gateway_id=gateway_id, envelope=envelope, market=market, head=self._heads[market_id]
        )

    def _repeat(self, batch: Batch, slot: int, gateway_id: str, envelope: Envelope) -> None:
        """A key that was claimed before: answered from what is stored, never executed again."""
        assert self._connection is not None
        row = self._connection.execute(
            "SELECT order_id::text, market_id::text, command_hash = %s, refusal FROM client_order "
            "WHERE account_id = %s AND key = %s",
            [envelope.command_hash, envelope.account_id, envelope.key],
        ).fetchone()
        assert row is not None, "a key that cannot be claimed must be there"
        order_id, market_id, is_same, refusal = row
        # What this very batch has refused is not stored yet.
        refusal = refusal or batch.refused_keys.get((envelope.account_id, envelope.key))
        payload = [order_id, market_id, is_same, refusal]
        offset = batch.offsets[slot] - 1
        batch.answer(gateway_id, Outcome(envelope.command_id, "repeat", slot, offset, payload))

    def _note_sweeps(self, batch: Batch) -> None:
        for market_id, market in batch.markets.items():
            if needs_sweep(market):
                self._sweeping.add(market_id)
            else:
                self._sweeping.discard(market_id)

    # --- Markets ----------------------------------------------------------------------------------

    def _market(self, market_id: str) -> Market:
        market = self._markets.get(market_id)
        return market if market is not None else self._load(market_id)

    def _load_or_halt(self, market_id: str) -> None:
        """A market whose log makes no sense must not keep the others from trading."""
        try:
            self._load(market_id)
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, its log cannot be applied", market_id, exc_info=error)
            self._halted.add(market_id)

    def _is_barred(self, envelope: Envelope) -> bool:
        return envelope.command_id in self._buried or envelope.command.market_id in self._halted

    def _load(self, market_id: str) -> Market:
        assert self._connection is not None
        market, head = load_market(self._connection, market_id, keep_alive=self._keep_alive)
        self._markets[market_id], self._heads[market_id] = market, head
        if needs_sweep(market):
            self._sweeping.add(market_id)
        return market

    # --- Poison -----------------------------------------------------------------------------------

    def _one_by_one(self, entries: list[Entry]) -> None:
        """After two failures: each command and each sweep on its own, so that only the failing one is set aside."""
        for entry in entries:
            offset_before = self._slots[entry.slot].command_offset
            for envelope in entry.envelopes[:-1]:
                self._alone(entry._replace(entry_id=offset_before, envelopes=[envelope]))
            self._alone(entry._replace(envelopes=entry.envelopes[-1:]))
        for market_id in sorted(self._sweeping):
            self._sweep_alone(market_id)
        # Whoever was set aside has had the streams read again from where they stood then.
        self._inbox.rewind(self._slots.values())

    def _alone(self, single: Entry) -> None:
        try:
            self._batch([single], sweeping=())
        except Exception as error:
            if is_outage(error):
                raise
            self._set_aside(single, error)

    def _set_aside(self, single: Entry, error: Exception) -> None:
        """Writes a dead letter, suspends the market in the command's place, and tells the sender."""
        log.critical("command set aside: %s", error, exc_info=error)
        if not single.envelopes:
            raise error
        envelope = single.envelopes[0]
        self._restart()
        self._bury(envelope, error)
        suspend = _internal(SuspendMarket(envelope.command.market_id, "internal error"))
        try:
            self._batch([single._replace(gateway_id="", envelopes=[suspend])], sweeping=())
        except Exception as second:
            if is_outage(second):
                raise
            # Not even that is possible, as for a market that cannot be loaded: the command is passed over.
            log.critical("market %s not suspended", envelope.command.market_id, exc_info=second)
            self._restart()
            self._batch([single._replace(envelopes=[])], sweeping=())
        self._publisher.answer(single.gateway_id, [_failed(envelope, single.slot)])

    def _sweep_alone(self, market_id: str) -> None:
        try:
            self._batch([], sweeping={market_id})
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, it cannot be swept", market_id, exc_info=error)
            self._halted.add(market_id)
            self._restart()
            self._bury(_internal(SweepOrders(market_id)), error)

    def _restart(self) -> None:
        self._forget()
        self._start()

    def _bury(self, envelope: Envelope, error: Exception) -> None:
        assert self._connection is not None
        bury(self._connection, envelope, error)
        self._buried.add(envelope.command_id)


def _claim(envelope: Envelope) -> Claim:
    command = envelope.command
    order_id = command.order_id if isinstance(command, PlaceOrder) else None
    return Claim(envelope.account_id, envelope.key, envelope.command_hash, order_id, command.market_id)


def _internal(command: Command) -> Envelope:
    """A command that the state itself asks for: it claims no key and is never late."""
    return Envelope(new_id(), "", "", b"", NEVER_US, "engine", "", command)


def _failed(envelope: Envelope, slot: int) -> Outcome:
    return Outcome(envelope.command_id, "failed", slot, 0, None)
