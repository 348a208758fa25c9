"""The projector process: woken by a hint or by the clock, it gives new events to every projection.

A projection that fails stops, says so, and is tried again from where it stood, while the others go on.
A lost database or Valkey is waited for. It never spins: after a round it rests, and with nothing to do it
sleeps until a hint or POLL_S.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import redis

from trading import metrics
from trading.connection import own_connection
from trading.eventlog.read import slot_heads
from trading.projections.checkpoints import Checkpoint, count_swaps, ensure_checkpoints, read_checkpoints
from trading.projections.follower import Follower, Overtaken, Step, prepare_connection
from trading.projections.projection import NotReady, Projection
from trading.wake import CHANNEL

log = logging.getLogger(__name__)

ROUND_EVENTS = 2000
LEAST_ROUND_EVENTS = 50
MIN_ROUND_S = 0.005
# It rests after a round: shortly after a short one, up to twice as long as a long one took. On a machine that is full a
# round takes longer, so the rests grow, the rounds gather more and cost less an event: a reader may wait, an order may
# not. A full round is not rested from.
FULL_MACHINE_ROUND_S = 0.03
MOST_REST_ROUNDS = 2
LONGEST_REST_S = 0.1
POLL_S = 0.1
RETRY_S = 1.0
HALTED_RETRY_S = 5.0
REFRESH_S = 1.0


def note_staleness(name: str, step: Step) -> None:
    """How old the events of a step were as they became visible, and where the time went."""
    oldest_us = min(step.recorded_us, default=step.visible_us)
    metrics.PROJECTION_LAG_SECONDS.labels(name).set(max(0, step.visible_us - oldest_us) / 1e6)
    way, work, whole = (metrics.STALENESS_SECONDS.labels(name, part) for part in ("way", "work", "whole"))
    work_s = (step.visible_us - step.read_us) / 1e6
    for recorded_us in step.recorded_us:
        # Two hosts' clocks may differ by more than an event takes.
        way_s = max(0, step.read_us - recorded_us) / 1e6
        way.observe(way_s)
        work.observe(work_s)
        whole.observe(way_s + work_s)


def rest_s(worked_s: float) -> float:
    """How long to rest after a round that took so long."""
    rounds = min(MOST_REST_ROUNDS, worked_s / FULL_MACHINE_ROUND_S)
    return max(min(rounds * worked_s, LONGEST_REST_S), MIN_ROUND_S - worked_s)


class WakeHint:
    """Sleeps until the log may have grown. Without Valkey it is a plain clock."""

    def __init__(self, valkey_url: str) -> None:
        # The library's types leave pubsub() out.
        self._client: Any = redis.Redis.from_url(valkey_url, socket_connect_timeout=0.5, socket_timeout=2)
        self._subscription: Any = None
        self._retry_at = 0.0

    def wait(self, timeout_s: float) -> None:
        """Until a hint comes or the time is up; hints that have piled up count as one."""
        subscription = self._subscribed()
        if subscription is None:
            time.sleep(timeout_s)
            return
        try:
            deadline = time.monotonic() + timeout_s
            while (left := deadline - time.monotonic()) > 0:
                if subscription.get_message(ignore_subscribe_messages=True, timeout=left) is not None:
                    break
            while subscription.get_message(timeout=0) is not None:
                pass
        except (redis.RedisError, OSError) as error:
            self._lose(error)

    def _subscribed(self) -> Any:
        if self._subscription is None and time.monotonic() >= self._retry_at:
            try:
                self._subscription = self._client.pubsub()
                self._subscription.subscribe(CHANNEL)
            except (redis.RedisError, OSError) as error:
                self._lose(error)
        return self._subscription

    def _lose(self, error: Exception) -> None:
        log.warning("no wake hints, looking every %s s: %s", POLL_S, error)
        self.close()
        self._retry_at = time.monotonic() + RETRY_S

    def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()


class Projector:
    """All projections of one process, over one connection.

    Those that stand at the same place go on together, in one transaction a round; one that fails or has to wait
    goes alone until it stands where others do.
    """

    def __init__(self, projections: Sequence[Projection]) -> None:
        self._projections = projections
        self._connection: psycopg.Connection[Any] | None = None
        self._followers: list[Follower] = []
        self._halted_until: dict[str, float] = {}
        self._limit = ROUND_EVENTS
        self._refresh_at = 0.0
        self._is_far_behind = False
        self._apart_until = 0.0
        # Set by a signal's handler. A threading.Event would not do: a second signal that interrupts the first one's
        # handler while that holds the event's lock waits for it for ever.
        self.stopping = False

    def run(self, hint: WakeHint) -> None:
        """Follows the log until `stopping` is set. A batch that has begun is finished."""
        try:
            while not self.stopping:
                started = time.monotonic()
                try:
                    busy = self.round()
                except psycopg.Error as error:
                    log.warning("the database failed, trying again in %s s: %s", RETRY_S, error)
                    self._reconnect_later()
                    time.sleep(RETRY_S)
                    continue
                if not busy:
                    hint.wait(POLL_S)
                elif not self._is_far_behind:
                    worked_s = time.monotonic() - started
                    time.sleep(rest_s(worked_s))
        finally:
            hint.close()
            self.close()

    def round(self) -> bool:
        """One round over all projections; whether any of them applied something."""
        connection = self._connected()
        with connection.cursor() as cursor:
            if time.monotonic() >= self._refresh_at:
                self._refresh_at = time.monotonic() + REFRESH_S
                ensure_checkpoints(cursor, self._names)
                # First, so that a swap in between shows at the next commit.
                swaps = count_swaps(cursor, self._names)
                self._group(connection, read_checkpoints(cursor, self._names), swaps)
            heads = slot_heads(cursor)
        busy = self._is_far_behind = False
        for follower in list(self._followers):
            if not self._is_halted(follower.names[0]):
                busy |= self._advance(follower, heads)
        self._limit = min(ROUND_EVENTS, self._limit * 2)
        return busy

    def close(self) -> None:
        connection, self._connection, self._followers = self._connection, None, []
        if connection is not None:
            connection.close()

    @property
    def _names(self) -> list[str]:
        return [projection.name for projection in self._projections]

    def _group(
        self, connection: Any, stored: dict[str, dict[int, Checkpoint]], swaps: dict[str, int]
    ) -> None:
        """Puts those together that stand at the same place and do not rest after a failure.

        A rival, a rebuild or a restored database may have moved some: what those remember is forgotten. For a while
        after the database has failed all go alone, since it may have been a lock or a limit that one of them met.
        """
        known = {
            name: (follower.checkpoints, follower.swaps[name])
            for follower in self._followers
            for name in follower.names
        }
        groups: list[list[Projection]] = []
        for projection in self._projections:
            place = stored[projection.name]
            if (place, swaps[projection.name]) != known.get(projection.name):
                projection.forget()
            fitting = [
                group
                for group in groups
                if stored[group[0].name] == place
                and time.monotonic() >= self._apart_until
                and not (self._is_halted(group[0].name) or self._is_halted(projection.name))
            ]
            if fitting:
                fitting[0].append(projection)
            else:
                groups.append([projection])
        self._followers = [
            Follower(connection, group, stored[group[0].name], swaps=swaps) for group in groups
        ]

    def _is_halted(self, name: str) -> bool:
        return time.monotonic() < self._halted_until.get(name, 0.0)

    def _advance(self, follower: Follower, heads: dict[int, int]) -> bool:
        try:
            step = follower.step(heads, limit=self._limit)
        except Overtaken:
            self._refresh_at = 0.0
            return True
        except Exception as error:
            if isinstance(error, psycopg.OperationalError) or self._connected().closed:
                if len(follower.projections) == 1:
                    # It may be its own tables that are locked: the others go first.
                    self._note_failure(follower, heads, error)
                raise
            if len(follower.projections) > 1:
                return self._one_by_one(follower, heads)
            self._note_failure(follower, heads, error)
            return False
        self._is_far_behind |= step.events > 0 and follower.behind(heads) > 0
        for name in follower.names:
            metrics.PROJECTION_HALTED.labels(name).set(0)
            metrics.PROJECTION_LAG_EVENTS.labels(name).set(follower.behind(heads))
            metrics.PROJECTED_EVENTS.labels(name).inc(step.events)
            note_staleness(name, step)
        return step.events > 0

    def _one_by_one(self, follower: Follower, heads: dict[int, int]) -> bool:
        """One of them has failed, and nothing was written: each on its own, so that only that one stops."""
        alone = [
            Follower(self._connection, [projection], follower.checkpoints, swaps=follower.swaps)
            for projection in follower.projections
        ]
        at = self._followers.index(follower)
        self._followers[at : at + 1] = alone
        return sum(self._advance(each, heads) for each in alone) > 0

    def _note_failure(self, follower: Follower, heads: dict[int, int], error: Exception) -> None:
        """Applying the next events without these would make the rows wrong, so the projection waits."""
        (name,) = follower.names
        waiting = follower.behind(heads)
        metrics.PROJECTION_LAG_EVENTS.labels(name).set(waiting)
        if isinstance(error, NotReady):
            return
        self._halted_until[name] = time.monotonic() + HALTED_RETRY_S
        metrics.PROJECTION_HALTED.labels(name).set(1)
        log.error("the projection %s has stopped with %s events to apply", name, waiting, exc_info=error)

    def _connected(self) -> "psycopg.Connection[Any]":
        if self._connection is None:
            self._connection = own_connection("pmarket-projector")
            prepare_connection(self._connection)
            self._refresh_at = 0.0
        return self._connection

    def _reconnect_later(self) -> None:
        """A smaller batch next time: the failure may have been the limit on a transaction's time."""
        self._limit = max(LEAST_ROUND_EVENTS, self._limit // 4)
        self._apart_until = time.monotonic() + HALTED_RETRY_S
        for projection in self._projections:
            projection.forget()
        self.close()
