"""Watches a replica: how far behind it is, as a bound on time, and whether reads may go to it.

Each round notes the time and then how far the primary's log is. A replica that has replayed that far shows
everything that was visible at the noted time, so it is behind by no more than the time since. An idle primary fools
nobody: its log stands still, a replica that has all of it passes each new note at once. The age of a note goes on
growing by itself where a replica or the primary does not answer. Only this process's steady clock is used.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
from django.conf import settings

from trading.connection import ImpatientConnection, own_connection
from trading.metrics import REPLICA_LAG, REPLICA_UP
from trading.outage import OUTAGES

LOOK_EVERY_S = 0.5
# After a failed read the next ones go elsewhere for a moment, even if the watch sees nothing wrong.
SUSPECT_FOR_S = 1.0
# A replica a few milliseconds behind is asked again, so that its lag is not told as half a second.
ASK_TIMES = 5
ASK_AGAIN_S = 0.02
MOST_NOTES = 4096

# A page of the log begins with a header of 24 bytes.
PAGE_BYTES = 8192
HEADER_BYTES = 24

# Where the next record will be inserted, not how far the log is written: what commits without waiting for the disk,
# as read models do, is visible before it is written.
_PRIMARY = """
SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, (SELECT system_identifier FROM pg_control_system())
"""
_REPLICA = """
SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint,
       (SELECT system_identifier FROM pg_control_system())
"""

log = logging.getLogger(__name__)


class _Note(NamedTuple):
    """At this time the primary's log ended here at the latest."""

    at: float
    end: int


class Watch:
    """One replica as this process sees it. `primary` and `replica` open connections for the watch alone."""

    def __init__(
        self, name: str, *, primary: Callable[[], psycopg.Connection], replica: Callable[[], psycopg.Connection],
        max_lag_s: float,
    ) -> None:  # fmt: skip
        self.name = name
        self.max_lag_s = max_lag_s
        self._primary, self._replica = _Line(primary), _Line(replica)
        self._notes: deque[_Note] = deque(maxlen=MOST_NOTES)
        self._shown_at: float | None = None
        self._replayed = 0
        self._fault: str | None = "unknown"
        self._suspect_until = 0.0
        self._told: str | None = "unknown"
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._stopping = False

    # What readers ask ------------------------------------------------------------------------------

    def lag_s(self) -> float | None:
        """The replica shows everything that is older than this; None where that is not known."""
        shown_at = self._shown_at
        return None if shown_at is None else time.monotonic() - shown_at

    def fault(self) -> str | None:
        """Why reads do not go there: unknown, unreachable, not_a_standby, another_cluster, behind or suspect."""
        if self._fault is not None:
            return self._fault
        lag_s = self.lag_s()
        if lag_s is None:
            return "unknown"
        if lag_s > self.max_lag_s:
            return "behind"
        return "suspect" if time.monotonic() < self._suspect_until else None

    def is_fit(self) -> bool:
        """Whether reads may go there now. Starts the watch's thread where this process has none yet."""
        self._ensure_running()
        return self.fault() is None

    def suspect(self) -> None:
        """A read has failed there: it is left out for a moment, and looked at."""
        self._suspect_until = time.monotonic() + SUSPECT_FOR_S
        self._wake.set()

    def wait_for_a_look(self, timeout_s: float) -> None:
        """Returns once there has been a look, or after `timeout_s`."""
        self._ensure_running()
        self._looked.wait(timeout_s)

    # The thread ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends the thread, and waits for it."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._primary.close()
        self._replica.close()

    def _ensure_running(self) -> None:
        # A forked process has the object, and its thread only as one that is not alive.
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=f"watch-{self.name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.look()
            except Exception:  # Without its watch a replica would be left out until the process ends.
                self._fault = "unknown"
                log.exception("the watch of %s failed", self.name)
            self._tell()
            self._looked.set()
            self._wake.wait(LOOK_EVERY_S)
            self._wake.clear()

    def look(self) -> None:
        """One round: note where the primary is, ask the replica whether it is as far."""
        at = time.monotonic()
        try:
            end, cluster = self._primary.ask(_PRIMARY)
            self._note(_Note(at, _end_of_record(end)))
        except OUTAGES as error:
            # Nothing new is known: what is known grows old.
            log.debug("the primary does not tell where it is: %s", error)
            cluster = None
        try:
            self._fault = self._ask_replica(cluster)
        except OUTAGES as error:
            log.debug("%s does not answer its watch: %s", self.name, error)
            self._fault = "unreachable"

    def _ask_replica(self, cluster: int | None) -> str | None:
        """Moves on what the replica is known to show; answers what is wrong with it."""
        for tries_left in reversed(range(ASK_TIMES)):
            is_standby, replayed, its_cluster = self._replica.ask(_REPLICA)
            if not is_standby:
                return "not_a_standby"
            if cluster is not None and its_cluster != cluster:
                return "another_cluster"
            self._pass_notes(replayed)
            if not self._notes or not tries_left:
                break
            time.sleep(ASK_AGAIN_S)
        return None

    def _note(self, note: _Note) -> None:
        if self._notes and note.end < self._notes[-1].end:
            self._forget()  # Another server, or one that was set back, is the primary now.
        self._notes.append(note)

    def _pass_notes(self, replayed: int) -> None:
        if replayed < self._replayed:
            self._shown_at = None  # The replica was made anew from older data.
        self._replayed = replayed
        while self._notes and self._notes[0].end <= replayed:
            self._shown_at = self._notes.popleft().at

    def _forget(self) -> None:
        self._notes.clear()
        self._shown_at = None

    def _tell(self) -> None:
        """Brings the figures up to date, and logs what has changed."""
        lag_s, fault = self.lag_s(), self.fault()
        REPLICA_UP.labels(replica=self.name).set(fault is None)
        if lag_s is not None:
            REPLICA_LAG.labels(replica=self.name).set(lag_s)
        if fault == self._told:
            return
        if fault is not None:
            log.warning("%s is left out of the reads: %s", self.name, fault)
        else:
            log.info("%s serves reads", self.name)
        self._told = fault


class _Line:
    """A connection that is opened when it is needed, and again after it has failed."""

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None

    def ask(self, query: str) -> tuple[Any, ...]:
        try:
            if self._connection is None:
                self._connection = self._connect()
            row = self._connection.execute(query).fetchone()
        except BaseException:
            self.close()
            raise
        assert row is not None
        return row

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _end_of_record(insert: int) -> int:
    """Where the last record ended, as a replica tells it. Between two pages that is before the next one's header."""
    return insert - HEADER_BYTES if insert % PAGE_BYTES == HEADER_BYTES else insert


_watches: dict[str, Watch] = {}
_making = threading.Lock()


def watch_of(alias: str) -> Watch:
    """This process's watch of a replica in DATABASES."""
    known = _watches.get(alias)
    if known is not None:
        return known
    with _making:
        if alias not in _watches:
            _watches[alias] = Watch(
                alias,
                primary=lambda: own_connection("pmarket-watch", kind=ImpatientConnection),
                replica=lambda: own_connection("pmarket-watch", alias=alias, kind=ImpatientConnection),
                max_lag_s=settings.REPLICA_MAX_LAG_S,
            )
        return _watches[alias]
