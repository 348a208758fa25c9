"""The shard's loop: look after its slots, work what waits in their streams, and what to do when that fails.

Everything in memory may be thrown away at any time: after an error the process takes its slots anew with a higher
epoch, gives open batches back, loads its markets and reads again from the stored offsets.
"""

import concurrent.futures
import logging
import time
from collections.abc import Callable

import psycopg
import redis

from trading.shard.faults import SlotLost, is_outage
from trading.shard.inbox import Inbox
from trading.shard.ownership import Ownership
from trading.shard.poison import Poison
from trading.shard.publish import Publisher
from trading.shard.slots import forget_dead_shards, heartbeat, sign_off
from trading.shard.tenure import Tenure
from trading.snapshots.reach import MarketsOutOfReach, refuse_out_of_reach

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
        self._poison = Poison(
            working=self._working, restart=self._restart, inbox=self._inbox, publisher=self._publisher
        )
        self._ownership = Ownership(
            shard_id=shard_id, publisher=self._publisher, clock_us=clock_us, poison=self._poison,
            keep_alive=self._keep_alive,
        )  # fmt: skip
        self._writers = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="writer")
        self._tenure: Tenure | None = None
        self._valkey_run_ids: tuple[str, ...] = ()
        self._last_heartbeat = 0.0
        self._next_look = 0.0
        self._failures = 0
        self._may_begin = False
        self.stopping = False

    # --- Life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Works until `stopping` is set; outages of PostgreSQL or Valkey are waited out.

        Raises MarketsOutOfReach, before it takes a slot, where this release cannot load what it may come to own.
        """
        while not self.stopping:
            self._step()
        self._sign_off()
        self._writers.shutdown()

    def _sign_off(self) -> None:
        """Frees its slots; where that fails, others take them once its heartbeat is old."""
        try:
            if self._tenure is not None:
                sign_off(self._tenure.connection(), self.shard_id)
        except psycopg.Error as error:
            log.warning("stopped without signing off: %s", error)
        self._forget()

    def _step(self) -> None:
        try:
            if self._tenure is None:
                self._start()
            else:
                self._turn(self._tenure)
        except MarketsOutOfReach:
            self._forget()
            raise
        except Exception as error:  # Whatever it was, what was committed is in doubt.
            self._doubt(error)

    def _start(self) -> None:
        """Takes what slots are there for it, also those it had before it was in doubt."""
        tenure = self._tenure = Tenure(
            self._connect, shard_id=self.shard_id, inbox=self._inbox, publisher=self._publisher,
            writers=self._writers, clock_us=self.clock_us, keep_alive=self._keep_alive,
            is_barred=self._poison.is_barred, pause=self._must_rest,
        )  # fmt: skip
        if not self._may_begin:
            refuse_out_of_reach(tenure.connection())
            self._may_begin = True
        # First, since a shard that cannot reach Valkey must not call itself alive: others would wait for it.
        self._valkey_run_ids = self._run_ids()
        self._inbox.rewind(())
        self._say_alive(tenure)
        forget_dead_shards(tenure.connection())
        self._look_around(tenure)
        self._say_alive(tenure)

    def _turn(self, tenure: Tenure) -> None:
        if self._is_look_due():
            self._look_around(tenure)
        if not tenure.slots:
            time.sleep(READ_WAIT_MS / 1000)
            return
        entries = self._inbox.take(None if tenure.markets.has_chores(self.clock_us()) else READ_WAIT_MS)
        now_us = self.clock_us()
        if self._failures >= 2:
            self._poison.one_by_one(entries, now_us)
        elif entries or tenure.markets.has_chores(now_us):
            tenure.work(entries)
        self._failures = 0

    # --- Between batches --------------------------------------------------------------------------

    def _look_around(self, tenure: Tenure) -> None:
        """A heartbeat, and what has changed: Valkey, the shards that are alive, the slots that are ours."""
        self._keep_alive()
        if self._run_ids() != self._valkey_run_ids:
            raise redis.ConnectionError("Valkey was restarted; what it held is written again")
        pause_s = self._ownership.settle(tenure)
        if tenure.slots:
            tenure.markets.ask(tenure.lapses.commands(tenure.connection(), tenure.markets, tenure.slots))
        self._next_look = time.monotonic() + pause_s

    def _must_rest(self) -> bool:
        """Whether the batches under way have to end: to stop, to look around, or as one of them has failed before."""
        return self.stopping or self._failures > 0 or self._is_look_due()

    def _is_look_due(self) -> bool:
        return time.monotonic() >= self._next_look

    def _keep_alive(self) -> None:
        """A heartbeat, if one is due: also while markets are loaded, or another shard would take over."""
        if time.monotonic() - self._last_heartbeat >= HEARTBEAT_EVERY_S:
            self._say_alive(self._working())

    def _say_alive(self, tenure: Tenure) -> None:
        self._last_heartbeat = time.monotonic()
        heartbeat(tenure.connection(), self.shard_id, "running" if tenure.slots else "waiting")

    def _run_ids(self) -> tuple[str, ...]:
        return tuple(str(client.info("server")["run_id"]) for client in (self._bus, self._feed))

    # --- After a failure --------------------------------------------------------------------------

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

    def _restart(self) -> None:
        self._forget()
        self._start()

    def _working(self) -> Tenure:
        """The tenure, which poison may have replaced."""
        if self._tenure is None:
            raise SlotLost("this process has just let go of its slots")
        return self._tenure
