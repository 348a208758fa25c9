"""Settlement workers die, the broker is wiped, workers pay the same accounts at once: everybody is paid once.

A market of real trades ends three times: resolved, that undone, and void with take-backs. During each, ten workers die
by SIGKILL. What each account must have is worked out here, from what it traded.
"""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from ops.bench.commit_path import Load, sealed
from ops.bench.holders import buy, in_frames, order
from ops.bench.stage import fund_accounts
from tests.crash.traffic import make_markets
from tests.running_exchange import PROJECT, RunningExchange
from trading.engine.commands import CancelOrder
from trading.ids import new_id
from trading.settlement.split import split_pool
from trading.wire import Envelope, decode_outcomes

GROUPS = 900
CASH_PIPS = 2_000_000
KILLS = 10
WORKERS = ("settlement", "settlement.2")
GUARDS = ("guarded", "guarded", "unguarded", "unguarded")
CHUNK = {"SETTLEMENT_CHUNK": "10"}
PATIENCE_S = 60.0

Money = dict[str, tuple[int, int]]
"""Free cash and debt of accounts, in pips."""


@dataclass(slots=True)
class Crowd:
    """The holders of a market, and another market in which they can spend what they are paid."""

    market_id: str
    elsewhere: str
    accounts: Sequence[str]
    shares: dict[str, tuple[int, int]] = field(default_factory=dict)
    spending: list[Envelope] = field(default_factory=list)

    def orders(self, chance: random.Random) -> Iterator[Envelope]:
        """Of each three accounts one buys, a second takes the other side, and the first sells to the third."""
        for first, other, third in zip(*[iter(self.accounts)] * 3, strict=True):
            price, later, count = (
                100 * chance.randint(5, 95),
                100 * chance.randint(5, 95),
                chance.randint(1, 50),
            )
            yield buy(self.market_id, first, 0, price, count)
            yield buy(self.market_id, other, 1, 10_000 - price, count)
            yield order(self.market_id, first, "sell", 0, later, count)
            yield buy(self.market_id, third, 0, later, count)
            self.shares |= {first: (0, 0), other: (0, count), third: (count, 0)}

    def spend(self, accounts: Iterable[str], money: Money) -> Iterator[Envelope]:
        """Orders that meet no others and hold a part of some accounts' cash, most of it or all."""
        for number, account_id in enumerate(accounts):
            shares = money[account_id][0] // (120 if number % 2 else 107)
            self.spending.append(buy(self.elsewhere, account_id, 0, 100, shares))
        return iter(self.spending)

    def regret(self) -> Iterator[Envelope]:
        """The cancels of those."""
        while self.spending:
            sent = self.spending.pop()
            cancel = CancelOrder(self.elsewhere, sent.account_id, sent.command_id, None)
            yield sealed(cancel, new_id(), sent.account_id)


class Workers:
    """Processes that settle one settlement after the other, and are killed."""

    def __init__(self, exchange: RunningExchange) -> None:
        self.exchange = exchange
        self.deaths: Counter[str] = Counter()
        self._settlers = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.settlers"], cwd=PROJECT, env=exchange.env | CHUNK,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def start(self) -> None:
        self.exchange.kill("settlement", signal.SIGTERM)
        for name in WORKERS:
            self.exchange.start_process(name, **CHUNK)
        assert self._answer() == "ready"

    def close(self) -> None:
        os.killpg(self._settlers.pid, signal.SIGKILL)
        self._settlers.wait()
        for name in filter(self.exchange.has, WORKERS):
            self.exchange.kill(name)
        self.exchange.start_process("settlement")

    def settle(self, settlement_id: str, chance: random.Random, database: psycopg.Connection[Any]) -> None:
        """Let them settle; at ten random moments one of them dies, and in the middle the broker forgets everything."""
        forked = {self._fork(settlement_id, guard): guard for guard in GUARDS}
        for number, moment in enumerate(sorted(chance.sample(range(3 * GROUPS), KILLS))):
            wait_for(lambda: paid(database, settlement_id)[1] >= moment, settlement_id)  # noqa: B023
            time.sleep(chance.random() / 200)
            self._kill_one(forked, settlement_id, chance)
            if number == KILLS // 2:
                self.exchange.valkey().flushall()
        wait_for(lambda: paid(database, settlement_id)[0] == "done", settlement_id)

    def _kill_one(self, forked: dict[int, str], settlement_id: str, chance: random.Random) -> None:
        """A worker that lives, which is then replaced."""
        while True:
            alive: list[Any] = [*forked, *(name for name in WORKERS if self.exchange.is_alive(name))]
            victim = chance.choice(alive)
            if isinstance(victim, str):
                self.exchange.kill(victim)
                self.exchange.start_process(victim, **CHUNK)
                self.deaths["of the Procfile"] += 1
                return
            guard = forked.pop(victim)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:  # It has just paid the last one.
                continue
            forked[self._fork(settlement_id, guard)] = guard
            self.deaths[guard] += 1
            return

    def _fork(self, settlement_id: str, guard: str) -> int:
        assert self._settlers.stdin is not None
        self._settlers.stdin.write(f"{settlement_id} {guard}\n")
        self._settlers.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._settlers.stdout is not None
        return self._settlers.stdout.readline().strip()


@pytest.fixture
def workers(exchange: RunningExchange) -> Iterator[Workers]:
    """In the place of the exchange's one settlement worker, which comes back afterwards."""
    made = Workers(exchange)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.timeout(240)
def test_each_holder_is_paid_once_whichever_workers_die(workers: Workers) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance, exchange = random.Random(seed), workers.exchange
    with (
        exchange.connect() as database,
        httpx.Client(
            base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers(), timeout=30
        ) as staff,
    ):
        crowd = trade(exchange, database, chance)
        course = Course(workers, database, staff, crowd, chance)
        course.resolve_undo_and_void()
        let_jobs_end(database, crowd.market_id)
    assert workers.deaths.total() == 3 * KILLS
    exchange.manage("reconcile")
    exchange.manage("verify_log")


def trade(exchange: RunningExchange, database: psycopg.Connection[Any], chance: random.Random) -> Crowd:
    """Everybody's orders, through the engine; all of them have met another one."""
    market_id, elsewhere = make_markets(exchange, 2)
    with psycopg.connect(exchange.database_url) as connection:
        accounts = fund_accounts(connection, 3 * GROUPS, cash_pips=CASH_PIPS)
    crowd = Crowd(market_id, elsewhere, accounts)
    send(exchange, market_id, crowd.orders(chance))
    (traded,) = database.execute(
        "SELECT count(*) FROM event WHERE stream_id = %s AND type = 'order_matched/1'", [market_id]
    ).fetchone() or (0,)
    assert traded == 2 * GROUPS
    return crowd


def send(exchange: RunningExchange, market_id: str, orders: Iterable[Envelope]) -> None:
    """Through the command stream, as a gateway would; every one is taken."""
    with exchange.valkey() as valkey:
        load = Load(valkey)
        load.prepare(list(in_frames(load.gateway_id, market_id, orders)))
        load.run(warm_up_s=0, seconds=PATIENCE_S)
        load.drain()
        outcomes = [outcome for message in load.take_messages() for outcome in decode_outcomes(message)]
        load.close()
    assert {outcome.kind for outcome in outcomes} == {"order"}


class Course:
    """The three ends of one market, and what everybody must have after each."""

    def __init__(
        self, workers: Workers, database: psycopg.Connection[Any], staff: httpx.Client, crowd: Crowd,
        chance: random.Random,
    ) -> None:  # fmt: skip
        self.workers, self.database, self.staff = workers, database, staff
        self.crowd, self.chance = crowd, chance
        self.traded = self.money()
        # Fees included: what is not there any more is in the market.
        self.net = {account: cash - CASH_PIPS for account, (cash, _) in self.traded.items()}

    def resolve_undo_and_void(self) -> None:
        ending = self.end("resolve", {"outcome": "Yes"})
        wins = {account: 10_000 * yes for account, (yes, _) in self.crowd.shares.items()}
        assert self.money() == {a: (cash + wins[a], 0) for a, (cash, _) in self.traded.items()}
        self.check_log(ending, {"position_closed/1": dict.fromkeys(wins, 0), "payout_issued/1": wins})
        self.spend(list(wins)[::2])
        self.undo(ending, wins)
        self.let_debts_be_repaid()
        self.void()

    def undo(self, ending: str, wins: dict[str, int]) -> None:
        """What was spent of a pay-out is owed."""
        before = self.money()
        undoing = self.end(f"resolutions/{ending}/reverse", {})
        after = {a: (cash - min(wins[a], cash), max(0, wins[a] - cash)) for a, (cash, _) in before.items()}
        assert sum(debt > 0 for _, debt in after.values()) > GROUPS // 10
        assert self.money() == after
        self.check_log(undoing, {"position_reopened/1": dict.fromkeys(wins, 0), "payout_reversed/2": wins})

    def let_debts_be_repaid(self) -> None:
        """The orders that hold what was spent are cancelled: a round of the exchange takes what is owed."""
        send(self.workers.exchange, self.crowd.elsewhere, self.crowd.regret())
        wait_for(lambda: not any(debt for _, debt in self.money().values()), "the debts")
        assert self.money() == self.traded

    def void(self) -> None:
        """Those who are ahead give back what they have left, those who are behind get all of it."""
        self.spend([account for account, net in self.net.items() if net > 0][::2])
        before = self.money()
        taken = {a: min(max(self.net[a], 0), cash) for a, (cash, _) in before.items()}
        pool = sum(taken.values()) - sum(self.net.values())
        refunds = split_pool({a: -net for a, net in self.net.items() if net < 0}, pool)
        assert sum(refunds.values()) == pool < -sum(net for net in self.net.values() if net < 0)
        voiding = self.end("void", {})
        assert self.money() == {
            a: (cash - taken[a] + refunds.get(a, 0), 0) for a, (cash, _) in before.items()
        }
        closed = {a: 0 for a, shares in self.crowd.shares.items() if any(shares)}
        self.check_log(
            voiding, {"position_closed/1": closed, "payout_issued/1": refunds, "payout_reversed/2": taken}
        )

    def end(self, path: str, decision: dict[str, Any]) -> str:
        """Staff decides, workers settle and die; answers the settlement's id."""
        market_id = self.crowd.market_id
        answer = self.staff.post(f"/markets/{market_id}/{path}", json={"evidence": "seen", **decision})
        assert answer.status_code == 202, answer.text
        settlement_id: str = answer.json()["settlement_id"]
        wait_for(lambda: paid(self.database, settlement_id) != ("", 0), "the settlement")
        self.workers.settle(settlement_id, self.chance, self.database)
        check_totals(self.database, settlement_id)
        self.let_engine_notice()
        return settlement_id

    def let_engine_notice(self) -> None:
        """An order until it is answered, since what is sent as the engine finds the broker empty is not told of."""
        exchange, trader = self.workers.exchange, self.workers.exchange.new_trader()
        url = f"{exchange.live_http}/api/v1/markets/{self.crowd.elsewhere}/orders"
        wanted = {"outcome": "No", "side": "buy", "price": "0.01", "quantity": 1, "client_order_id": "surely"}
        wait_for(
            lambda: httpx.post(url, json=wanted, headers=trader.headers, timeout=30).is_success, "the engine"
        )

    def spend(self, accounts: Sequence[str]) -> None:
        send(self.workers.exchange, self.crowd.elsewhere, self.crowd.spend(accounts, self.money()))

    def money(self) -> Money:
        rows = self.database.execute(
            "SELECT account_id::text, cash_pips, debt_pips FROM cash_account WHERE account_id = ANY(%s::uuid[])",
            [self.crowd.accounts],
        ).fetchall()
        return {account_id: (cash, debt) for account_id, cash, debt in rows}

    def check_log(self, settlement_id: str, expected: dict[str, dict[str, int]]) -> None:
        """Each account's events of a settlement: one of each kind that it must have, with its amount."""
        rows = self.database.execute(
            "SELECT type, stream_id::text, coalesce((data->>'amount')::bigint, 0) FROM event "
            "WHERE slot >= 16 AND data->>'settlement' = %s",
            [settlement_id],
        ).fetchall()
        closings = ("position_closed/1", "position_reopened/1")
        assert sorted(rows) == sorted(
            (kind, account_id, amount)
            for kind, amounts in expected.items()
            for account_id, amount in amounts.items()
            if amount or kind in closings
        )


def paid(database: psycopg.Connection[Any], settlement_id: str) -> tuple[str, int]:
    """Status, and how many accounts have been paid."""
    row = database.execute(
        "SELECT status, accounts_paid FROM settlement WHERE settlement_id = %s", [settlement_id]
    ).fetchone()
    return row or ("", 0)


def check_totals(database: psycopg.Connection[Any], settlement_id: str) -> None:
    """Everybody was counted and paid once, and together they got what there was."""
    row = database.execute(
        "SELECT status, accounts_total, accounts_paid, kind, paid_pips - collateral_pips FROM settlement "
        "WHERE settlement_id = %s",
        [settlement_id],
    ).fetchone()
    assert row is not None
    assert row[:3] == ("done", 3 * GROUPS, 3 * GROUPS)
    # A void gives back besides what it has taken.
    assert row[4] == 0 or row[3] == "void"


def let_jobs_end(database: psycopg.Connection[Any], market_id: str) -> None:
    """Those of workers that died are found once their leases are over, which is now."""
    database.execute("UPDATE job SET claimed_until = now() WHERE name = 'trading.settle'")
    left = "SELECT count(*) FROM job WHERE name = 'trading.settle'"
    wait_for(lambda: database.execute(left).fetchone() == (0,), "the jobs' end")
    given_up = database.execute(
        "SELECT error FROM dead_letter JOIN settlement ON payload->>'settlement' = settlement_id::text "
        "WHERE job_name = 'trading.settle' AND market_id = %s",
        [market_id],
    )
    assert given_up.fetchall() == []


def wait_for(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
