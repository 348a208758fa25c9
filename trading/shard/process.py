"""The shard's loop: take slots, work what waits in their streams, and what to do when that fails.

Everything in memory may be thrown away at any time: after an error the process raises its slots'
epochs, gives open batches back, drops its markets and reads again from the stored offsets.
"""

import concurrent.futures
import logging
import time
from collections.abc import Callable

import psycopg
import redis

from trading.engine.commands import SuspendMarket, SweepOrders
from trading.shard.dead_letter import bury, recent_letters
from trading.shard.faults import SlotLost, is_outage
from trading.shard.inbox import Entry, Inbox
from trading.shard.markets import live_market_ids
from trading.shard.publish import Publisher
from trading.shard.slots import MARKET_SLOT_RANGE, heartbeat, living_rival, sign_off, take_slots
from trading.shard.tenure import Tenure, failed, internal
from trading.wire import Envelope

log = logging.getLogger(__name__)

READ_WAIT_MS = 100
HEARTBEAT_EVERY_S = 1.0


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
        self._writers = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="writer")
        self._tenure: Tenure | None = None
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
            self._step()
        if self._tenure is not None:
            sign_off(self._tenure.connection(), self.shard_id)
            self._forget()
        self._writers.shutdown()

    def _step(self) -> None:
        try:
            if self._tenure is None:
                self._start()
            else:
                self._turn(self._tenure)
        except Exception as error:  # Whatever it was, what was committed is in doubt.
            self._doubt(error)

    def _start(self) -> None:
        """Takes the slots, loads their markets and writes every book afresh."""
        tenure = self._tenure = Tenure(
            self._connect, inbox=self._inbox, publisher=self._publisher, writers=self._writers, clock_us=self.clock_us,
            keep_alive=self._keep_alive, is_barred=self._is_barred, pause=self._must_rest,
        )  # fmt: skip
        connection = tenure.connection()
        heartbeat(connection, self.shard_id, "waiting")
        while (rival := living_rival(connection, self.shard_id)) and not self.stopping:
            log.info("standing by: %s owns the slots", rival)
            heartbeat(connection, self.shard_id, "waiting")
            time.sleep(HEARTBEAT_EVERY_S)
        if self.stopping:
            return
        tenure.slots = take_slots(connection, self.shard_id, list(MARKET_SLOT_RANGE))
        heartbeat(connection, self.shard_id, "running")
        self._valkey_run_ids = self._run_ids()
        self._buried = recent_letters(connection)
        for market_id in live_market_ids(connection, list(tenure.slots)):
            if market_id not in self._halted:
                self._load_or_halt(tenure, market_id)
        self._inbox.rewind(tenure.slots.values())
        for market in tenure.markets.loaded.values():
            self._publisher.rewrite(market, self.clock_us())
            self._keep_alive()
        self._publisher.announce()
        log.info(
            "shard %s owns %d slots and %d markets",
            self.shard_id,
            len(tenure.slots),
            len(tenure.markets.loaded),
        )

    def _turn(self, tenure: Tenure) -> None:
        self._beat(tenure)
        entries = self._inbox.take(None if tenure.markets.sweeping else READ_WAIT_MS)
        if self._failures >= 2:
            self._one_by_one(entries)
        elif entries or tenure.markets.sweeping:
            tenure.work(entries)
        self._failures = 0

    def _must_rest(self) -> bool:
        """Whether the batches under way have to end: to stop, for a heartbeat, or as one of them has failed before."""
        return self.stopping or self._failures > 0 or self._is_beat_due()

    def _is_beat_due(self) -> bool:
        return time.monotonic() - self._last_heartbeat >= HEARTBEAT_EVERY_S

    def _keep_alive(self) -> bool:
        """A heartbeat, if one is due: also while markets are loaded, or a second engine would take over."""
        if not self._is_beat_due():
            return False
        self._last_heartbeat = time.monotonic()
        heartbeat(self._working().connection(), self.shard_id, "running")
        return True

    def _beat(self, tenure: Tenure) -> None:
        if not self._keep_alive():
            return
        if self._run_ids() != self._valkey_run_ids:
            raise redis.ConnectionError("Valkey was restarted; what it held is written again")
        self._inbox.trim(tenure.slots.values())

    def _run_ids(self) -> tuple[str, ...]:
        return tuple(str(client.info("server")["run_id"]) for client in (self._bus, self._feed))

    def _working(self) -> Tenure:
        """The tenure, which poison may have replaced."""
        assert self._tenure is not None
        return self._tenure

    def _load_or_halt(self, tenure: Tenure, market_id: str) -> None:
        """A market whose log makes no sense must not keep the others from trading."""
        try:
            tenure.markets.get(market_id)
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, its log cannot be applied", market_id, exc_info=error)
            self._halted.add(market_id)

    def _is_barred(self, envelope: Envelope) -> bool:
        return envelope.command_id in self._buried or envelope.command.market_id in self._halted

    def _doubt(self, error: Exception) -> None:
        """It is unknown what was committed: forget, take the slots anew and read the log again."""
        self._failures += 1
        log.error(
            "in doubt after %s: %s", type(error).__name__, error, exc_info=None if is_outage(error) else error
        )
        self._forget()
        time.sleep(min(0.05 * 2 ** min(self._failures, 6), 2.0))

    def _forget(self) -> None:
        if self._tenure is not None:
            self._tenure.close()
            self._tenure = None

    # --- Poison -----------------------------------------------------------------------------------

    def _one_by_one(self, entries: list[Entry]) -> None:
        """After two failures: each command and each sweep on its own, so that only the failing one is set aside."""
        for entry in entries:
            offset_before = self._working().slots[entry.slot].command_offset
            for envelope in entry.envelopes[:-1]:
                self._alone(entry._replace(entry_id=offset_before, envelopes=[envelope]))
            self._alone(entry._replace(envelopes=entry.envelopes[-1:]))
        for market_id in sorted(self._working().markets.sweeping):
            self._sweep_alone(market_id)
        # Whoever was set aside has had the streams read again from where they stood then.
        self._inbox.rewind(self._working().slots.values())

    def _alone(self, single: Entry) -> None:
        try:
            self._working().work([single], sweeping=())
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
        suspend = internal(SuspendMarket(envelope.command.market_id, "internal error"))
        try:
            self._working().work([single._replace(gateway_id="", envelopes=[suspend])], sweeping=())
        except Exception as second:
            if is_outage(second):
                raise
            # Not even that is possible, as for a market that cannot be loaded: the command is passed over.
            log.critical("market %s not suspended", envelope.command.market_id, exc_info=second)
            self._restart()
            self._working().work([single._replace(envelopes=[])], sweeping=())
        self._publisher.answer(single.gateway_id, [failed(envelope, single.slot)])

    def _sweep_alone(self, market_id: str) -> None:
        try:
            self._working().work([], sweeping={market_id})
        except Exception as error:
            if is_outage(error):
                raise
            log.critical("market %s is halted, it cannot be swept", market_id, exc_info=error)
            self._halted.add(market_id)
            self._restart()
            self._bury(internal(SweepOrders(market_id)), error)

    def _restart(self) -> None:
        self._forget()
        self._start()
        if not self._working().slots:
            raise SlotLost("asked to stop while another engine owns the slots")

    def _bury(self, envelope: Envelope, error: Exception) -> None:
        bury(self._working().connection(), envelope, error)
        self._buried.add(envelope.command_id)
