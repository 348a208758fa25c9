"""The engine process dies at each of its named points while a client trades; nothing is lost, nothing done twice.

PMARKET_KILLS=20 kills it so often at each point; `PMARKET_KILL_REPORT=FILE` writes down how often it died where.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from tests.crash.stage import place
from tests.crash.traffic import (
    CASH_PIPS,
    Course,
    check_amends,
    check_money,
    check_orders,
    check_trades,
    make_markets,
    row,
    trade_until,
)
from tests.running_exchange import RunningExchange, Trader
from trading.ids import MARKET_SLOTS, market_slot, new_id
from trading.money import format_pips
from trading.shard.crash_points import POINTS, VARIABLE
from trading.wire import FRAME_FIELD, command_stream, encode_frame

KILLS = int(os.environ.get("PMARKET_KILLS", "3"))
REPORT = os.environ.get("PMARKET_KILL_REPORT")
ENGINE, SECOND = "engine", "engine.2"
AT_START = frozenset(POINTS[: POINTS.index("before_read")])
AT_STOP = frozenset({"before_sign_off", "between_freeing_and_forgetting", "after_sign_off"})
AT_SHARING = frozenset({"before_let_go", "after_let_go"})
AT_POISON = frozenset({"before_bury", "after_bury"})
AT_LARGE_BATCH = frozenset({"between_copy_and_commit"})
AT_CONTENTION = frozenset({"before_give_back", "after_give_back"})
SLOW_POINT_S = 40.0


class Matrix:
    """One exchange, its traffic, and deaths on demand."""

    def __init__(self, exchange: RunningExchange, course: Course, chance: random.Random) -> None:
        self.exchange = exchange
        self.course = course
        self.chance = chance
        self.deaths: Counter[str] = Counter()
        # Of their own, since a poisoned command suspends its market, and a contended account has no cash.
        self.sick_market, self.calm_market = make_markets(exchange, 2)
        self.poor = exchange.new_trader("10.0000")

    async def end(self) -> None:
        """All of it; whatever goes wrong, an engine runs afterwards, or the traffic would never end."""
        try:
            await self._die_everywhere()
        finally:
            if not self.exchange.is_alive(ENGINE):
                self.exchange.start_process(ENGINE)

    async def _die_everywhere(self) -> None:
        points = [point for point in POINTS for _ in range(KILLS)]
        self.chance.shuffle(points)
        await asyncio.to_thread(self.exchange.kill, ENGINE)
        for point in points:
            await self._die_at(point)

    async def _die_at(self, point: str) -> None:
        # From this thread: what a pool's thread starts would end with it.
        times = 1 if point in AT_START or self._is_provoked(point) else self.chance.randint(1, 4)
        self.exchange.start_process(ENGINE, **{VARIABLE: f"{point}:{times}"})
        async with self._provoked(point):
            try:
                code = await asyncio.to_thread(self.exchange.wait_ended, ENGINE, SLOW_POINT_S)
            except TimeoutError:
                pytest.fail(f"the engine never came to {point}\n{self.exchange.log(ENGINE)}")
        assert code == -signal.SIGKILL, (
            f"at {point} the engine ended with {code}\n{self.exchange.log(ENGINE)}"
        )
        self.deaths[point] += 1

    @staticmethod
    def _is_provoked(point: str) -> bool:
        return point in AT_STOP | AT_SHARING | AT_POISON | AT_CONTENTION | AT_LARGE_BATCH

    @asynccontextmanager
    async def _provoked(self, point: str) -> AsyncIterator[None]:
        """Does what leads the engine to a point that traffic alone does not lead to."""
        sending: asyncio.Task[None] | None = None
        if point in AT_STOP:
            await self._engine_at_work()
            self.exchange.signal(ENGINE, signal.SIGTERM)
        elif point in AT_SHARING:
            await self._engine_at_work()
            self.exchange.start_process(SECOND)
        elif point in AT_POISON:
            await asyncio.to_thread(self._poison)
        elif point in AT_LARGE_BATCH:
            sending = asyncio.create_task(asyncio.to_thread(self._send_many))
        elif point in AT_CONTENTION:
            await asyncio.to_thread(self._contend)
        try:
            yield
        finally:
            if sending is not None:
                await sending
            if point in AT_SHARING:
                await asyncio.to_thread(self.exchange.kill, SECOND, signal.SIGTERM)
            elif point in AT_POISON:
                await asyncio.to_thread(self._take_back_poison)
            elif point in AT_CONTENTION:
                await asyncio.to_thread(self._end_contention)

    async def _engine_at_work(self) -> None:
        """Until the engine just started owns every slot: what the health page says may still be its predecessor's."""
        owner = f"%:{self.exchange.pid(ENGINE)}:%"
        with self.exchange.connect() as database:
            deadline = time.monotonic() + SLOW_POINT_S
            while row(database, "SELECT count(*) FROM slot WHERE owner LIKE %s", owner) != (MARKET_SLOTS,):
                assert time.monotonic() < deadline, self.exchange.log(ENGINE)
                await asyncio.sleep(0.05)

    def _poison(self) -> None:
        """An order that the log cannot take, in a frame that no gateway writes."""
        order = place(self.sick_market, new_id(), "buy", 1000, 1)
        # It must outlive the two failures that come before it is tried alone.
        order = replace(
            order,
            command=replace(order.command, client_order_id="\0"),
            deadline_us=order.deadline_us + 30_000_000,
        )
        slot = market_slot(self.sick_market)
        with self.exchange.valkey() as valkey:
            self.poison = valkey.xadd(command_stream(slot), {FRAME_FIELD: encode_frame(new_id(), [order])})

    def _take_back_poison(self) -> None:
        """The next engine has another point to come to."""
        with self.exchange.valkey() as valkey:
            valkey.xdel(command_stream(market_slot(self.sick_market)), self.poison)

    def _send_many(self) -> None:
        """So many orders at once that their events go through COPY, again and again while the engine lives."""
        order = {
            "market_id": self.calm_market,
            "outcome": "Yes",
            "side": "buy",
            "price": "0.0001",
            "quantity": 1,
        }
        while self.exchange.is_alive(ENGINE):
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(
                    f"{self.exchange.live_http}/api/v1/orders/batch", json={"orders": [order] * 300}, timeout=1.0,
                    headers=self.poor.headers,
                )  # fmt: skip

    def _contend(self) -> None:
        """All cash of the poor account is held by what looks like another shard's batch, and it sends an order."""
        with self.exchange.connect() as database, database.transaction():
            database.execute(
                "WITH held AS (UPDATE cash_account SET cash_pips = 0 WHERE account_id = %s "
                "RETURNING old.cash_pips AS amount, account_id) "
                "INSERT INTO batch (batch_id, slots, epochs, accounts, amounts, claim_accounts, claim_keys) "
                "SELECT %s, '{31}', '{0}', ARRAY[account_id], ARRAY[amount], '{}', '{}' FROM held",
                [self.poor_account(), self.held_batch],
            )
        order = place(self.calm_market, self.poor_account(), "buy", 1000, 1)
        with self.exchange.valkey() as valkey:
            slot = market_slot(self.calm_market)
            valkey.xadd(command_stream(slot), {FRAME_FIELD: encode_frame(new_id(), [order])})

    def _end_contention(self) -> None:
        with self.exchange.connect() as database, database.transaction():
            database.execute(
                "WITH gone AS (DELETE FROM batch WHERE batch_id = %s RETURNING accounts[1] AS account_id, amounts[1] "
                "AS amount) UPDATE cash_account c SET cash_pips = cash_pips + amount FROM gone "
                "WHERE c.account_id = gone.account_id",
                [self.held_batch],
            )

    held_batch = new_id()
    poison: Any = None

    def poor_account(self) -> str:
        with self.exchange.connect() as database:
            row = database.execute(
                "SELECT account_id::text FROM accounts_user WHERE username = %s", [self.poor.username]
            ).fetchone()
        assert row is not None
        return str(row[0])


@pytest.mark.slow
@pytest.mark.timeout(500 * KILLS)
async def test_engine_dies_at_each_of_its_points_and_nothing_is_lost(exchange: RunningExchange) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    course = Course()
    cash = format_pips(CASH_PIPS)
    traders: list[Trader] = [exchange.new_trader(cash) for _ in range(4)]
    markets = make_markets(exchange, 6)
    matrix = Matrix(exchange, course, chance)
    await trade_until(exchange, traders, markets, chance, matrix.end(), course)
    exchange.wait_healthy()
    assert matrix.deaths == dict.fromkeys(POINTS, KILLS)
    exchange.manage("verify_log")
    exchange.manage("reconcile")
    exchange.manage("replay_check")
    with exchange.connect() as database:
        check_orders(database, course, markets)
        check_amends(database, course, markets)
        check_trades(database, course, markets)
        check_money(database, markets)
    if REPORT:
        write_report(seed, matrix)


def write_report(seed: int, matrix: Matrix) -> None:
    """What happened, for docs/."""
    course = matrix.course
    told = {"seed": seed, "orders": course.orders, "sent again": course.sent_again}
    told |= {"kills": dict(sorted(matrix.deaths.items()))}
    Path(str(REPORT)).write_text(json.dumps(told, indent=2) + "\n")
