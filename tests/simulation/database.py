"""PostgreSQL as the shard sees it: connections, transactions, round trips that take time and may fail."""

import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import psycopg

from tests.simulation.clock import Process, VirtualLoop
from tests.simulation.statements import Rows, append_events, copied_events, meaning_of
from tests.simulation.tables import EventRecord, Key, Tables
from trading.eventlog.append import COPY_EVENTS

ROUND_TRIP_US = (60, 400)
FLUSH_US = (300, 2500)


class Faults(Protocol):
    """What goes wrong, and how often; asked once a round trip."""

    def of_statement(self) -> str | None: ...


class Server:
    """One PostgreSQL. `on_commit(session, events)` hears of every transaction."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, faults: Faults) -> None:
        self.loop = loop
        self.tables = Tables(lambda: loop.now_us)
        self.is_down = False
        self.on_commit: Callable[[Session, list[EventRecord]], object] = lambda session, events: None
        self._rng = rng
        self.faults = faults
        self._waiting: list[Callable[[], None]] = []

    def connect(self, process: Process) -> "Session":
        process.pause(self._rng.randint(*ROUND_TRIP_US))
        if self.is_down:
            raise psycopg.OperationalError("connection refused")
        session = Session(self, process)
        self.tables.sessions.append(session)
        process.on_end.append(session.abandon)
        return session

    def stop(self) -> None:
        """An immediate stop: what is committed stays, all connections are gone."""
        self.is_down = True
        for session in list(self.tables.sessions):
            session.lose()

    def trip_us(self) -> int:
        return self._rng.randint(*ROUND_TRIP_US)

    def flush_us(self) -> int:
        if self._rng.random() < 0.01:
            return self._rng.randint(20_000, 400_000)
        return self._rng.randint(*FLUSH_US)

    def kill_delay_us(self) -> int:
        """A backend ends at its next look at its signals, which may be late: then only the epoch fences."""
        return self._rng.choice((0, 200, 20_000, 8_000_000, 8_000_000))

    def wait_for_locks(self, attempt: Callable[[], None]) -> None:
        self._waiting.append(attempt)

    def released(self) -> None:
        waiting, self._waiting = self._waiting, []
        for attempt in waiting:
            attempt()


class Session:
    """A connection, from either side. Outside a transaction every statement commits itself."""

    def __init__(self, server: Server, process: Process) -> None:
        self._server = server
        self._tables = server.tables
        self.process = process
        self.name = ""
        self.is_lost = False
        self._is_busy = False  # the server is working on a statement of it
        self._is_flushing = False
        self._in_transaction = False
        self._changes: list[Callable[[], object]] = []
        self._held: list[Key] = []
        self.committed_events: list[EventRecord] = []
        self.committed_slots: dict[int, int] = {}
        self.recorded_us = 0

    # --- What psycopg offers ------------------------------------------------------------------------

    def execute(self, sql: str, args: Any = ()) -> "Answer":
        try:
            meaning = meaning_of(sql)
        except KeyError:
            raise NotImplementedError(f"the simulation does not know this statement: {sql}") from None
        locks, run = meaning.locks, meaning.run
        return Answer(
            self._call(
                lambda: locks(self._tables, args),
                lambda: run(self._tables, self, args),
                is_durable=meaning.is_durable,
            )
        )

    def transaction(self) -> "Transaction":
        return Transaction(self)

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def close(self) -> None:
        self.lose()

    # --- Transactions -------------------------------------------------------------------------------

    def begin(self) -> None:
        assert not self._in_transaction, "the simulation has no savepoints"
        self._in_transaction = True

    def commit(self) -> None:
        self._call(list, lambda: ([], None), is_durable=True, ends=True)

    def rollback(self) -> None:
        self._in_transaction = False
        self._changes = []
        self._release()

    def copy(self, payload: bytes) -> None:
        def run() -> tuple[Rows, Callable[[], object]]:
            events = copied_events(payload)
            return [], lambda: append_events(self._tables, self, events)

        self._call(list, run)

    # --- A round trip -------------------------------------------------------------------------------

    def _call(
        self, locks: Callable[[], list[Key]], run: Callable[[], tuple[Rows, Any]], *, is_durable: bool = False,
        ends: bool = False,
    ) -> Rows:  # fmt: skip
        if self.process.is_dead:
            self.process.kill()
            self.process.block()
        if self.is_lost or self._server.is_down:
            raise psycopg.OperationalError("the connection is lost")
        fault = self._server.faults.of_statement()
        wake = self.process.waiter()
        loop = self._server.loop
        if fault == "lost before":
            loop.after(self._server.trip_us(), wake, None)
            self.process.block()
            self.lose()
            raise psycopg.OperationalError("the connection was lost")
        self._is_busy = True

        def answer(result: Any) -> None:
            self._is_busy = False
            if self.process.is_dead and self._in_transaction:
                self.rollback()
            if fault == "lost after":
                self.lose()
                result = psycopg.OperationalError("the connection was lost, and with it the answer")
            loop.after(self._server.trip_us(), wake, result)

        def attempt() -> None:
            if self.is_lost:
                self.rollback()
                answer(psycopg.errors.AdminShutdown("terminating connection"))
                return
            keys = locks()
            if not self._tables.holds(self, keys):
                self._server.wait_for_locks(attempt)
                return
            try:
                rows, change = run()
            except psycopg.Error as error:
                answer(error)
                return
            if change is not None:
                self._changes.append(change)
            if self._in_transaction and not ends:
                self._hold(keys)
                answer(rows)
            elif is_durable:
                self._hold(keys)
                self._is_flushing = True
                loop.after(self._server.flush_us(), finish, rows)
            else:
                finish(rows)

        def finish(rows: Rows) -> None:
            # Once it is being flushed nothing can stop it but the server's own end.
            self._is_flushing = False
            if self._server.is_down:
                self.rollback()
                answer(psycopg.OperationalError("the server is gone"))
                return
            self._apply()
            answer(rows)

        loop.after(self._server.trip_us(), attempt)
        result = self.process.block()
        if isinstance(result, Exception):
            raise result
        rows: Rows = result
        return rows

    def _apply(self) -> None:
        changes, self._changes = self._changes, []
        self._in_transaction = False
        for change in changes:
            change()
        events, self.committed_events = self.committed_events, []
        if changes:
            self._server.on_commit(self, events)
        self.committed_slots = {}
        self._release()

    def _hold(self, keys: list[Key]) -> None:
        for key in keys:
            self._tables.locks[key] = self
        self._held += keys

    def _release(self) -> None:
        if self._held:
            for key in self._held:
                self._tables.locks.pop(key, None)
            self._held = []
            self._server.released()

    # --- Its end ------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """As pg_terminate_backend, which does not wait for the backend to notice."""
        self._server.loop.after(self._server.kill_delay_us(), self.lose)

    def lose(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self in self._tables.sessions:
            self._tables.sessions.remove(self)
        if not self._is_flushing and (not self._is_busy or self._held):
            self.rollback()
        if self._is_busy:
            self._server.released()  # it may be waiting for a lock

    def abandon(self) -> None:
        """The process is gone: what it has sent is still done, an open transaction is not."""
        if not self._is_busy:
            self.lose()
        elif self in self._tables.sessions:
            # The server notices once it answers.
            self._server.loop.after(1_000_000, self.lose)


class Transaction:
    """`with connection.transaction():`"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._session.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._session.commit()
            except psycopg.Error:
                self._session.rollback()
                raise
        elif not self._session.process.is_dead:
            self._session.rollback()


class Answer:
    """The rows of a statement."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> Rows:
        return self._rows


class Cursor:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._answer = Answer([])
        self.rowcount = 0  # nobody in here asks how many rows a statement has changed

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def execute(self, sql: str, args: Any = ()) -> None:
        self._answer = self._session.execute(sql, args)

    def fetchone(self) -> Any:
        return self._answer.fetchone()

    def fetchall(self) -> Rows:
        return self._answer.fetchall()

    def copy(self, sql: str) -> "Copy":
        if sql.replace('"', "") != COPY_EVENTS:
            raise NotImplementedError(f"the simulation does not know this COPY: {sql}")
        return Copy(self._session)


class Copy:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._payload = b""

    def __enter__(self) -> "Copy":
        return self

    def write(self, payload: bytes) -> None:
        self._payload += payload

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._session.copy(self._payload)
