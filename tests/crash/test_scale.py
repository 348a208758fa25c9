"""Two engine processes: one is killed, one is frozen, one comes and goes, all while a client trades."""

import asyncio
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.crash.traffic import (
    CASH_PIPS,
    Course,
    check_amends,
    check_money,
    check_orders,
    check_trades,
    make_markets,
    trade_until,
)
from tests.running_exchange import RunningExchange
from trading.ids import market_slot
from trading.money import format_pips

# What is promised is 10 s from the owner's death to its successor's work.
TAKEOVER_S = 10.0
FIRST, SECOND = "engine", "engine.2"
HALF, ALL = 8, 16

Disturb = Callable[[RunningExchange, Course], Awaitable[None]]


@pytest.fixture
def two_engines(exchange: RunningExchange) -> Iterator[RunningExchange]:
    """The exchange with a second engine; it has one again afterwards."""
    exchange.start_process(SECOND)
    try:
        wait_for_shares(exchange, {FIRST: HALF, SECOND: HALF}, timeout_s=30)
        yield exchange
    finally:
        if exchange.is_alive(SECOND):
            exchange.signal(SECOND, signal.SIGCONT)
            exchange.kill(SECOND, signal.SIGTERM)
        wait_for_shares(exchange, {FIRST: ALL}, timeout_s=30)
        exchange.wait_healthy()


def slots(exchange: RunningExchange) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{exchange.http}/matching/health", timeout=10).json()["slots"]
    return found


def shares(exchange: RunningExchange) -> Counter[str]:
    """How many slots each engine process owns."""
    names = {exchange.pid(name): name for name in (FIRST, SECOND) if exchange.has(name)}
    owners = [each["owner"] for each in slots(exchange) if each["owner"] and each["alive"]]
    return Counter(names.get(int(owner.split(":")[1]), owner) for owner in owners)


def wait_for_shares(exchange: RunningExchange, wanted: dict[str, int], timeout_s: float) -> float:
    """Until the engines own that many slots; answers how long it took."""
    started = time.monotonic()
    while (found := shares(exchange)) != wanted:
        assert time.monotonic() < started + timeout_s, f"{found} in place of {wanted}"
        time.sleep(0.05)
    return time.monotonic() - started


async def until_shares(
    exchange: RunningExchange, wanted: dict[str, int], timeout_s: float = TAKEOVER_S
) -> float:
    return await asyncio.to_thread(wait_for_shares, exchange, wanted, timeout_s)


async def until_more_orders(course: Course, number: int) -> None:
    """Until that many more orders than now are acknowledged."""
    goal = len(course.acknowledged) + number
    while len(course.acknowledged) < goal:  # noqa: ASYNC110  (a count is what is waited for)
        await asyncio.sleep(0.01)


async def kill_owner(exchange: RunningExchange, course: Course) -> None:
    await until_more_orders(course, 50)
    await asyncio.to_thread(exchange.kill, SECOND)
    took_s = await until_shares(exchange, {FIRST: ALL})
    print(f"a killed owner's slots had another after {took_s:.1f} s")
    await until_more_orders(course, 50)


async def freeze_owner(exchange: RunningExchange, course: Course) -> None:
    await until_more_orders(course, 50)
    exchange.signal(SECOND, signal.SIGSTOP)
    took_s = await until_shares(exchange, {FIRST: ALL})
    print(f"a frozen owner's slots had another after {took_s:.1f} s")
    await until_more_orders(course, 100)
    exchange.signal(SECOND, signal.SIGCONT)
    # It goes on with what it can get.
    await until_shares(exchange, {FIRST: HALF, SECOND: HALF}, timeout_s=30)
    assert exchange.is_alive(SECOND)
    await until_more_orders(course, 100)


async def stop_and_start_owner(exchange: RunningExchange, course: Course) -> None:
    """2 → 1 → 2, both as planned moves."""
    await until_more_orders(course, 50)
    before = {
        each["slot"]: each["epoch"] for each in slots(exchange) if owner_pid(each) == exchange.pid(FIRST)
    }
    await asyncio.to_thread(exchange.kill, SECOND, signal.SIGTERM)
    await until_shares(exchange, {FIRST: ALL})
    after = {each["slot"]: each["epoch"] for each in slots(exchange)}
    # What stayed was not even touched.
    assert {slot: after[slot] for slot in before} == before
    await until_more_orders(course, 50)
    exchange.start_process(SECOND)
    await until_shares(exchange, {FIRST: HALF, SECOND: HALF}, timeout_s=30)
    last = {each["slot"]: each["epoch"] for each in slots(exchange)}
    stayed = [each["slot"] for each in slots(exchange) if owner_pid(each) == exchange.pid(FIRST)]
    assert all(last[slot] == after[slot] for slot in stayed)
    await until_more_orders(course, 100)


def owner_pid(slot: dict[str, Any]) -> int:
    return int(slot["owner"].split(":")[1])


def check_books(exchange: RunningExchange, database: psycopg.Connection[Any], markets: list[str]) -> None:
    """The books that are shown are those of the open orders: no former owner has written over them."""
    with exchange.valkey() as valkey:
        for market_id in markets:
            found: Any = valkey.hgetall(f"book:{market_id}")
            shown = {name.decode(): int(size) for name, size in found.items() if name != b"seq"}
            rows = database.execute(
                "SELECT CASE WHEN (outcome = 0) = (side = 'buy') THEN 'bid' ELSE 'ask' END, "
                "CASE WHEN outcome = 0 THEN price_pips ELSE 10000 - price_pips END, sum(quantity - filled)::bigint "
                "FROM \"order\" WHERE market_id = %s AND status = 'open' GROUP BY 1, 2",
                [market_id],
            ).fetchall()
            assert shown == {f"0|{side}|{price}": size for side, price, size in rows}


@pytest.mark.slow
@pytest.mark.parametrize("disturb", [kill_owner, freeze_owner, stop_and_start_owner])
async def test_slots_that_change_their_owner_lose_nothing_and_do_nothing_twice(
    two_engines: RunningExchange, disturb: Disturb
) -> None:
    exchange, seed = two_engines, secrets.randbelow(10**6)
    print(f"seed {seed}")
    traders = [exchange.new_trader(format_pips(CASH_PIPS)) for _ in range(4)]
    markets = make_markets(exchange, 12)
    of_second = {each["slot"] for each in slots(exchange) if owner_pid(each) == exchange.pid(SECOND)}
    assert of_second & {market_slot(market_id) for market_id in markets}
    assert "engine processes alive: 2" in exchange.manage("slots").stdout
    assert "16 of 16" not in exchange.manage("slots", "--plan", "3").stdout
    course = Course()
    await trade_until(exchange, traders, markets, random.Random(seed), disturb(exchange, course), course)
    print(f"{len(course.acknowledged)} acknowledged, {course.sent_again} sent again")
    assert len(course.acknowledged) == course.orders

    assert "all is as the log says" in exchange.manage("reconcile", "--wait", "30").stdout
    exchange.manage("verify_log")
    with exchange.connect() as database:
        check_orders(database, course, markets)
        check_amends(database, course, markets)
        check_trades(database, course, markets)
        check_money(database, markets)
        check_books(exchange, database, markets)
