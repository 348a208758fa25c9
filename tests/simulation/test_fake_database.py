"""The tables in memory against PostgreSQL: the same course of statements on both has to leave the same rows."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import connection as django_connection

from tests.simulation.database import Server
from tests.simulation.tables import CashRow
from tests.trading.projections.emptied import empty_exchange
from trading.connection import own_connection
from trading.eventlog.append import EMPTY, Head, encode_row
from trading.eventlog.codec import timestamp_text
from trading.ids import market_slot, new_id
from trading.shard.commit import CashChange, CommitPlan, commit
from trading.shard.dead_letter import bury, recent_letters
from trading.shard.faults import SlotLost
from trading.shard.give_back import give_back_batch
from trading.shard.markets import live_market_ids
from trading.shard.reserve import Claim, is_contended, reserve, stored_claim
from trading.shard.slots import (
    forget_dead_shards,
    heartbeat,
    let_go,
    prepare_connection,
    roster,
    sign_off,
    take_slots,
)
from trading.snapshots.replay import current_state
from trading.wire import Envelope

STEPS = 400
NOW_US = 1_800_000_000_000_000
SHARDS = ("far:1:a", "far:2:b")


class Directly:
    """In a process's place: nothing takes time and nobody else is there."""

    def __init__(self) -> None:
        self.name, self.is_dead, self.on_end = "", False, []
        self._queue: list[Any] = []
        self._value: Any = None

    def pause(self, delay_us: int) -> None: ...

    def waiter(self) -> Any:
        return lambda value=None: setattr(self, "_value", value)

    def block(self) -> Any:
        while self._queue:
            callback, arguments = self._queue.pop(0)
            callback(*arguments)
        return self._value

    @property
    def now_us(self) -> int:
        return NOW_US

    def after(self, delay_us: int, callback: Any, *arguments: Any) -> None:
        self._queue.append((callback, arguments))


class Both:
    """The real and the simulated database; a call is made on both, and has to answer the same."""

    def __init__(self, real: Any) -> None:
        process: Any = Directly()
        self.server = Server(process, random.Random(1), SimpleNamespace(of_statement=lambda: None))
        self.pair = (real, self.server.connect(process))

    def call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        answers = [_tried(function, each, *arguments, **named) for each in self.pair]
        assert answers[0] == answers[1], function.__name__
        return answers[0]

    def rows(self) -> tuple[Any, Any]:
        """What both hold, in the same form."""
        return _real_rows(self.pair[0]), _simulated_rows(self.server.tables)


@pytest.fixture
def both(transactional_db: None) -> Iterator[Both]:
    empty_exchange()
    with own_connection("pmarket-tests") as real, django_connection.cursor() as cursor:
        cursor.execute("DELETE FROM shard")
        pair = Both(real)
        yield pair
        cursor.execute("DELETE FROM shard")
    empty_exchange()


@pytest.mark.parametrize("seed", range(6))
def test_same_course_leaves_the_same_rows(both: Both, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(both, random.Random(seed), monkeypatch)
    for _ in range(STEPS):
        course.step()
        real, simulated = both.rows()
        assert simulated == real
    # It was worth comparing: batches were committed, copied and refused, taken slots were lost.
    assert course.commits["answer"] > 3
    assert course.commits["error"] > 3
    assert len(real["event"]) > 130


class Course:
    """Random statements of two shards, stale epochs and repeated keys among them."""

    def __init__(self, both: Both, rng: random.Random, patch: pytest.MonkeyPatch) -> None:
        self.both, self.rng, self.patch = both, rng, patch
        self.accounts, self.markets = (
            [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(4)] for _ in range(2)
        )
        self.slots = sorted({market_slot(each) for each in self.markets})
        self.owned: dict[str, dict[int, Any]] = {shard_id: {} for shard_id in SHARDS}
        self.reserved: list[tuple[str, Any, list[Any]]] = []
        self.heads = dict.fromkeys(self.markets, EMPTY)
        self.clock_us = NOW_US
        self.commits: Counter[str] = Counter()
        for account in self.accounts[:3]:  # the fourth has no cash row
            both.pair[0].execute(
                "INSERT INTO cash_account (account_id, cash_pips) VALUES (%s, 100000)", [account]
            )
            both.server.tables.cash[account] = CashRow(100_000)
        for shard_id in SHARDS:
            both.call(prepare_connection, shard_id)

    def step(self) -> None:
        often = (self.reserve,) * 6 + (self.commit,) * 5
        kinds = (
            self.heartbeat,
            self.take,
            self.let_go,
            self.give_back,
            self.look,
            self.sign_off,
            self.bury,
            *often,
        )
        self.rng.choice(kinds)()

    def heartbeat(self) -> None:
        self.both.call(heartbeat, self.rng.choice(SHARDS), self.rng.choice(("running", "waiting")))

    def take(self) -> None:
        shard_id = self.rng.choice(SHARDS)
        wanted = self.rng.sample(self.slots, self.rng.randint(1, len(self.slots)))
        kind, taken = self.both.call(take_slots, shard_id, wanted)
        assert kind == "answer"
        self.owned[shard_id] |= taken.slots

    def let_go(self) -> None:
        shard_id = self.rng.choice(SHARDS)
        if owned := list(self.owned[shard_id].values()):
            self.both.call(let_go, shard_id, self.rng.sample(owned, self.rng.randint(1, len(owned))))

    def sign_off(self) -> None:
        if self.rng.random() < 0.3:
            self.both.call(sign_off, self.rng.choice(SHARDS))

    def reserve(self) -> None:
        shard_id = self.rng.choice(SHARDS)
        if not (owned := list(self.owned[shard_id].values())):
            return
        mine = self.rng.sample(owned, self.rng.randint(1, len(owned)))
        batch_id = new_id()
        self.patch.setattr("trading.shard.reserve.new_id", lambda: batch_id)
        claims = [
            Claim(
                self.rng.choice(self.accounts), f"k{self.rng.randint(1, 40)}", self.rng.choice((b"", b"\1" * 32)),
                self.rng.choice((None, new_id())), self.rng.choice(self.markets),
            )
            for _ in range(self.rng.randint(1, 5))
        ]  # fmt: skip
        needs = {account: self.rng.randint(0, 60_000) for account in self.rng.sample(self.accounts, 2)}
        kind, answer = self.both.call(reserve, slots=mine, claims=claims, needs=needs)
        self.both.call(is_contended, set(needs), own_slots=self.rng.sample(self.slots, 1))
        for claim in claims:
            if kind == "answer":
                self.both.call(stored_claim, claim)
        if kind == "answer":
            self.reserved.append((shard_id, answer, mine))

    def commit(self) -> None:
        if not self.reserved:
            return
        _, reservation, mine = self.reserved.pop(self.rng.randrange(len(self.reserved)))
        self.clock_us += self.rng.randint(0, 1_000_000)
        recorded_at = timestamp_text(self.clock_us)
        offsets = {owned.slot: owned.next_offset for owned in mine}
        heads, rows = dict(self.heads), []
        for _ in range(self.rng.choice((0, 1, 3, 130))):  # the last goes through COPY
            market = self.rng.choice(self.markets)
            slot = market_slot(market)
            if slot in offsets:
                data = b'{"text":"a \\"quoted\\" \\\\ one"}'
                row, heads[market] = encode_row(
                    slot, offsets[slot], market, heads[market], "order_placed/1", data, b"{}", recorded_at
                )
                offsets[slot] += 1
                rows.append(row)
        by_slot: dict[int, dict[str, Head]] = {}
        for row in rows:
            by_slot.setdefault(row.slot, {})[row.stream_id] = heads[row.stream_id]
        cash = {
            account: CashChange(amount, self.rng.randint(-5, 50), self.rng.randint(0, 5))
            for account, amount in reservation.granted.items()
        }
        refused = dict.fromkeys(sorted(reservation.claimed)[:1], "not_found")
        plan = CommitPlan(
            self.rng.choice((reservation.batch_id, reservation.batch_id, None)), mine,
            [offsets[owned.slot] for owned in mine], [f"{self.clock_us}-{n}" for n, _ in enumerate(mine)], recorded_at,
            rows, by_slot, cash, refused,
        )  # fmt: skip
        kind, _ = self.both.call(commit, plan)
        self.commits[kind] += 1
        if kind == "answer":
            self.heads = heads
            for owned in mine:
                owned.next_offset = offsets[owned.slot]

    def give_back(self) -> None:
        if self.reserved:
            _, reservation, _ = self.rng.choice(self.reserved)
            self.both.call(give_back_batch, reservation.batch_id)

    def look(self) -> None:
        kind, _ = self.both.call(roster)
        assert kind == "answer"
        self.both.call(live_market_ids, self.rng.sample(self.slots, 1))
        self.both.call(forget_dead_shards)
        self.both.call(_ends_of, self.rng.choice(self.markets))

    def bury(self) -> None:
        envelope: Any = Envelope(new_id(), self.accounts[0], "k", b"", 1, "tests", "", _Unheard())  # type: ignore[arg-type]
        self.patch.setattr("trading.shard.dead_letter.command_data", repr)
        self.both.call(bury, envelope, ValueError("\0 broken"))
        self.both.call(recent_letters)


class _Unheard:
    def __repr__(self) -> str:
        return "a command that nobody knows"


def _ends_of(connection: Any, market_id: str) -> Any:
    """The stream as a market is loaded from it; these events mean nothing, and it says which the first is."""
    with connection.cursor() as cursor:
        try:
            current_state(cursor, market_id)
        except Exception as error:
            return repr(error)
    return None


def _tried(function: Any, *arguments: Any, **named: Any) -> tuple[str, Any]:
    try:
        answer = function(*arguments, **named)
    except (SlotLost, psycopg.Error) as error:
        return "error", (
            type(error).__mro__[1].__name__,
            error.sqlstate if isinstance(error, psycopg.Error) else "",
        )
    return "answer", answer


def _real_rows(connection: Any) -> Any:
    def rows(sql: str) -> list[Any]:
        return connection.execute(sql).fetchall()

    micros = "(extract(epoch FROM recorded_at) * 1000000)::bigint"
    return {
        "slot": rows(f"SELECT owner, epoch, next_offset, command_offset, {micros} FROM slot ORDER BY slot"),
        "stream": rows("SELECT id::text, slot, version, hash FROM stream ORDER BY id"),
        "event": rows(
            f"SELECT slot, slot_offset, stream_id::text, version, type, hash, {micros} FROM event ORDER BY 3, 4"
        ),
        "cash": rows("SELECT account_id::text, cash_pips, reserved_pips, fees_paid_pips FROM cash_account ORDER BY 1"),
        "batch": rows(
            "SELECT batch_id::text, slots, epochs, accounts::text[], amounts, claim_accounts::text[], claim_keys "
            "FROM batch ORDER BY 1"
        ),
        "claim": rows(
            "SELECT account_id::text, key, command_hash, order_id::text, market_id::text, refusal FROM client_order "
            "ORDER BY account_id, key COLLATE \"C\""
        ),
        "shard": rows("SELECT shard_id, state FROM shard ORDER BY shard_id"),
    }  # fmt: skip


def _simulated_rows(tables: Any) -> Any:
    return {
        "slot": [(s.owner, s.epoch, s.next_offset, s.command_offset, s.recorded_us) for s in tables.slots],
        "stream": sorted((stream, *row) for stream, row in tables.streams.items()),
        "event": [
            (e.slot, e.slot_offset, e.stream_id, e.version, e.type, e.hash, e.recorded_us)
            for _, events in sorted(tables.events.items())
            for e in events
        ],
        "cash": sorted((a, c.cash_pips, c.reserved_pips, c.fees_paid_pips) for a, c in tables.cash.items()),
        "batch": sorted(
            (i, b.slots, b.epochs, b.accounts, b.amounts, [a for a, _ in b.claims], [k for _, k in b.claims])
            for i, b in tables.batches.items()
        ),
        "claim": sorted(
            (*claim, c.command_hash, c.order_id, c.market_id, c.refusal) for claim, c in tables.claims.items()
        ),
        "shard": sorted((shard_id, state) for shard_id, (_, state) in tables.shards.items()),
    }  # fmt: skip
