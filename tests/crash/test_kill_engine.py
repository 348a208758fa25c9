"""`kill -9` of the engine while a client trades: what was acknowledged is there once, and the books balance."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.crash.traffic import (
    AT_ONCE,
    CASH_PIPS,
    CLIENT_TIMEOUT_S,
    Course,
    check_amends,
    check_money,
    check_orders,
    check_trades,
    client_of,
    dump,
    make_markets,
    make_orders,
    place_batch,
    trade_one,
)
from tests.running_exchange import RunningExchange, Trader
from trading.money import format_pips

ORDERS = 2_000
ORDERS_IN_BATCHES = 6_000
BATCH = 50
KILLS = 5
TRADERS = 4
BATCH_TIMEOUT_S = 2.0


async def kill_at_random(exchange: RunningExchange, course: Course, chance: random.Random) -> None:
    for moment in sorted(chance.sample(range(course.orders // 20, course.orders * 19 // 20), KILLS)):
        while len(course.acknowledged) < moment:  # noqa: ASYNC110  (a count is what is waited for)
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.random() / 50)
        await asyncio.to_thread(exchange.kill, "engine")
        # From this thread: what a pool's thread starts would end with it.
        exchange.start_process("engine")


async def trade(
    exchange: RunningExchange, traders: list[Trader], markets: list[str], chance: random.Random
) -> Course:
    """Sends every order until it is answered, always under its own client id; kills the engine on the way."""
    course = Course(ORDERS)
    orders = iter(make_orders(traders, markets, chance, ORDERS))

    async def worker(client: httpx.AsyncClient) -> None:
        for trader, market_id, order in orders:
            await trade_one(client, trader, market_id, order, course)

    async with client_of(exchange, CLIENT_TIMEOUT_S) as client:
        await asyncio.gather(
            kill_at_random(exchange, course, chance), *[worker(client) for _ in range(AT_ONCE)]
        )
    return course


async def trade_in_batches(
    exchange: RunningExchange, traders: list[Trader], markets: list[str], chance: random.Random
) -> Course:
    """The same in batches, enough at once that the engine's own batches overlap."""
    course = Course(ORDERS_IN_BATCHES)
    orders = make_orders(traders, markets, chance, ORDERS_IN_BATCHES)
    batches = iter([
        (trader, own[start : start + BATCH])
        for trader in traders
        if (own := [{**order, "market_id": market_id} for who, market_id, order in orders if who is trader])
        for start in range(0, len(own), BATCH)
    ])  # fmt: skip

    async def worker(client: httpx.AsyncClient) -> None:
        for trader, left in batches:
            while left:
                left = await place_batch(client, trader, left, course)
                course.sent_again += len(left)

    async with client_of(exchange, BATCH_TIMEOUT_S) as client:
        await asyncio.gather(
            kill_at_random(exchange, course, chance), *[worker(client) for _ in range(AT_ONCE)]
        )
    return course


@pytest.mark.slow
@pytest.mark.parametrize("way", [trade, trade_in_batches])
async def test_killed_engine_loses_nothing_and_does_nothing_twice(
    exchange: RunningExchange, way: Callable[..., Awaitable[Course]]
) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    traders = [exchange.new_trader(format_pips(CASH_PIPS)) for _ in range(TRADERS)]
    markets = make_markets(exchange, 6)
    course = await way(exchange, traders, markets, random.Random(seed))
    exchange.wait_healthy()
    print(f"{len(course.acknowledged)} acknowledged, {course.sent_again} sent again")
    assert len(course.acknowledged) == course.orders

    assert "all is as the log says" in exchange.manage("reconcile", "--wait", "30").stdout
    exchange.manage("verify_log")
    with exchange.connect() as database:
        check_orders(database, course, markets)
        if way is trade:  # batches amend nothing
            check_amends(database, course, markets)
        check_trades(database, course, markets)
        check_money(database, markets)
        before = dump(database)
        exchange.manage("rebuild_projections")
        assert dump(database) == before


def test_order_that_no_engine_took_is_unknown_first_and_then_missing_for_good(
    exchange: RunningExchange,
) -> None:
    (market_id,), trader = make_markets(exchange, 1), exchange.new_trader()
    lanes = [f"{base}/api/v1" for base in (exchange.http, exchange.live_http)]
    wanted = [
        {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 1, "client_order_id": f"nobody-{n}"}
        for n in range(2)
    ]

    def send(lane: str, path: str, body: dict[str, object]) -> httpx.Response:
        return httpx.post(f"{lane}{path}", json=body, headers=trader.headers, timeout=30)

    exchange.kill("engine")
    with ThreadPoolExecutor(3) as pool:
        single = [pool.submit(send, lanes[n], f"/markets/{market_id}/orders", wanted[n]) for n in range(2)]
        batch = pool.submit(
            send, lanes[1], "/orders/batch", {"orders": [{**wanted[0], "market_id": market_id}]}
        )
        problems = [each.result() for each in single]
        (item,) = batch.result().json()["results"]
    assert [problem.status_code for problem in problems] == [504, 504]
    assert {problem.json()["code"] for problem in problems} == {"outcome_unknown"}
    assert (item["status"], item["code"]) == (504, "outcome_unknown")
    for lane, problem in zip(lanes, problems, strict=True):
        missing = httpx.get(f"{lane}/orders/{problem.json()['order_id']}", headers=trader.headers)
        assert (missing.status_code, missing.json()["final"]) == (404, True)
    exchange.start_process("engine")
    exchange.wait_healthy()
    # The engine has found the orders in its stream, too late; their ids were not used up.
    for n, lane in enumerate(lanes):
        placed = send(lane, f"/markets/{market_id}/orders", wanted[n])
        assert (placed.status_code, placed.json()["status"]) == (201, "open")
        still = httpx.get(f"{lane}/orders/{problems[n].json()['order_id']}", headers=trader.headers)
        assert (still.status_code, still.json()["final"]) == (404, True)
