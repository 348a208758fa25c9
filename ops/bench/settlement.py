"""A market with very many holders is resolved while some of them trade elsewhere: how fast it pays, and what those
notice of it.

All processes of the exchange run. Accounts and their users are made by SQL in bulk, each with its deposit in the log;
what they hold they have bought, an order each, through the engine. Settlement is what the exchange does by itself from
the moment that the resolution is accepted.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import redis
from tqdm import tqdm

from accounts.keys import make_key
from ops.bench.commit_path import Load
from ops.bench.holders import pair_frames
from ops.bench.http_load import HttpStage, new_market, open_http_stage
from ops.bench.open_loop import RateRun, percentile
from ops.bench.stage import Stage, StageError, fund_accounts

FLOW_PER_S = 150
FLOW_WINDOW_S = 2.0
CASH_PIPS = 10_000 * 10_000
TRADERS = 400
"""Holders who trade: a chunk holds the cash of each of them for a moment."""

PART_ACCOUNTS = 20_000
"""Made and traded at a time, so that what the load remembers stays small."""

PATIENCE_S = 1_800.0
LOOK_S = 0.05

Say = Callable[[str], None]


@dataclass(slots=True)
class Latencies:
    """Of orders at a fixed rate in other markets, through the fast lane; in ms from when each was due."""

    took_ms: list[float] = field(default_factory=list)
    accepted: int = 0
    offered: int = 0

    def add(self, run: RateRun) -> None:
        self.took_ms += run.took_ms
        self.accepted += run.accepted
        self.offered += run.offered

    @property
    def p50_ms(self) -> float:
        return percentile(self.took_ms, 50)

    @property
    def p99_ms(self) -> float:
        return percentile(self.took_ms, 99)


@dataclass(frozen=True, slots=True)
class SettlementRun:
    """One resolution. `level_s` is from its end until the read models have all of it."""

    holders: int
    seconds: float
    level_s: float
    before: Latencies
    during: Latencies
    after: Latencies

    @property
    def holders_per_s(self) -> float:
        return self.holders / self.seconds


def run_settlements(
    stage: Stage, database: str, *, holders: int, seconds: float, repetitions: int, say: Say
) -> Iterator[SettlementRun]:
    """That many markets of the same holders, one after the other. Raises StageError."""
    with (
        stage.database(database) as name,
        open_http_stage(stage, name) as http,
        stage.connect(name) as connection,
    ):
        say(f"making {holders:,} accounts and their users")
        account_ids = make_users(connection, stage.database_url(name), holders)
        keys = make_keys(connection, account_ids[:: max(1, holders // TRADERS)])
        for repetition in range(repetitions):
            step = f"{repetition + 1}/{repetitions}"
            say(f"{holders:,} holders trade {step}")
            market_id = new_market(http, f"settled {repetition}")
            trade(stage, market_id, account_ids, seed=repetition)
            wait_level(connection)
            connection.execute("ANALYZE")
            say(f"resolving their market {step}")
            yield measure(http, connection, market_id, keys=keys, holders=holders, seconds=seconds)


def measure(
    http: HttpStage, connection: psycopg.Connection[Any], market_id: str, *, keys: list[str], holders: int,
    seconds: float,
) -> SettlementRun:  # fmt: skip
    before, during, after = Latencies(), Latencies(), Latencies()
    before.add(http.offer("live", keys=keys, per_s=FLOW_PER_S, seconds=seconds))
    with flow(http, keys, during), httpx.Client(headers=http.staff_headers, timeout=30) as staff:
        answer = staff.post(
            f"{http.web_url}/api/v1/markets/{market_id}/resolve", json={"outcome": "Yes", "evidence": "seen"}
        )
        began = time.perf_counter()
        if answer.status_code != 202:
            raise StageError(f"the market was not resolved: {answer.status_code} {answer.text[:500]}")
        wait_paid(connection, answer.json()["settlement_id"], holders)
        settled = time.perf_counter()
    wait_level(connection)
    level = time.perf_counter()
    after.add(http.offer("live", keys=keys, per_s=FLOW_PER_S, seconds=seconds))
    return SettlementRun(holders, settled - began, level - settled, before, during, after)


@contextmanager
def flow(http: HttpStage, keys: list[str], latencies: Latencies) -> Iterator[None]:
    """Orders in other markets at FLOW_PER_S for as long as this lasts."""
    ended = threading.Event()

    def trade_on() -> None:
        while not ended.is_set():
            latencies.add(http.offer("live", keys=keys, per_s=FLOW_PER_S, seconds=FLOW_WINDOW_S))

    thread = threading.Thread(target=trade_on, name="flow")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def make_keys(connection: psycopg.Connection[Any], account_ids: Sequence[str]) -> list[str]:
    """A key to trade with for each of those users."""
    fresh = [make_key() for _ in account_ids]
    connection.execute(
        "INSERT INTO accounts_apikey "
        "(id, user_id, name, prefix, key_hash, scopes, tier, ip_allowlist, created_at, expires_at) "
        "SELECT uuidv7(), u.id, 'bench', k.prefix, k.digest, '{read,trade}', 'standard', '{}', now(), "
        "now() + interval '1 day' FROM unnest(%s::uuid[], %s::text[], %s::bytea[]) AS k(account_id, prefix, digest) "
        "JOIN accounts_user u USING (account_id)",
        [list(account_ids), [key.prefix for key in fresh], [key.digest for key in fresh]],
    )
    return [key.secret for key in fresh]


def make_users(connection: psycopg.Connection[Any], url: str, count: int) -> list[str]:
    """Accounts with cash, and users who are to be notified, so that notifications are written as for real ones."""
    account_ids: list[str] = []
    with (
        psycopg.connect(url) as funding,
        tqdm(total=count, unit=" accounts", disable=count < PART_ACCOUNTS) as bar,
    ):
        while len(account_ids) < count:
            some = fund_accounts(funding, min(PART_ACCOUNTS, count - len(account_ids)), cash_pips=CASH_PIPS)
            funding.commit()
            connection.execute(
                "INSERT INTO accounts_user (password, is_superuser, first_name, last_name, email, is_staff, "
                "is_active, date_joined, username, account_id, is_simulated) "
                "SELECT '!', false, '', '', '', false, true, now(), 'holder_' || id, id::uuid, false "
                "FROM unnest(%s::text[]) AS id",
                [some],
            )
            account_ids += some
            bar.update(len(some))
    return account_ids


def trade(stage: Stage, market_id: str, account_ids: Sequence[str], *, seed: int) -> None:
    """An order of each account; all of them trade."""
    with (
        redis.Redis.from_url(stage.valkey_url) as valkey,
        tqdm(total=len(account_ids), unit=" orders", disable=len(account_ids) < PART_ACCOUNTS) as bar,
    ):
        load = Load(valkey)
        for start in range(0, len(account_ids), PART_ACCOUNTS):
            some = account_ids[start : start + PART_ACCOUNTS]
            load.prepare(list(pair_frames(load.gateway_id, market_id, some, seed=seed + start)))
            load.run(warm_up_s=0, seconds=PATIENCE_S)
            load.drain()
            load.take_messages()
            bar.update(len(some))
        load.close()


def wait_paid(connection: psycopg.Connection[Any], settlement_id: str, holders: int) -> None:
    """Until a settlement is done. Raises StageError where it fails or pays others than it should."""
    deadline = time.monotonic() + PATIENCE_S
    with tqdm(total=holders, unit=" holders", disable=holders < PART_ACCOUNTS) as bar:
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT status, accounts_paid FROM settlement WHERE settlement_id = %s", [settlement_id]
            ).fetchone()
            status, paid = row or ("", 0)
            bar.update(paid - bar.n)
            if status == "done" and paid == holders:
                return
            if status in ("done", "failed"):
                break
            time.sleep(LOOK_S)
    raise StageError(f"{paid:,} of {holders:,} holders were paid: {status}")


def wait_level(connection: psycopg.Connection[Any]) -> None:
    """Until every read model has all that is in the log now. Raises StageError."""
    deadline = time.monotonic() + PATIENCE_S
    heads = dict(connection.execute("SELECT slot, next_offset FROM slot").fetchall())
    while time.monotonic() < deadline:
        rows = connection.execute("SELECT slot, next_offset FROM projection_checkpoint").fetchall()
        if all(offset >= heads[slot] for slot, offset in rows):
            return
        time.sleep(LOOK_S)
    raise StageError("the read models do not catch up")
