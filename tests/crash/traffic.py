"""A client that trades until everything it sent is answered, and what must be true of the exchange afterwards."""

import asyncio
import random
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from tests.running_exchange import RunningExchange, Trader

AT_ONCE = 32
# Shorter than the gateway waits, so that some orders are sent again while their first is still on its way.
CLIENT_TIMEOUT_S = 0.5
WORKERS = 8
PACE_S = 0.02
CASH_PIPS = 10_000_000_000
TABLES = {
    "order": "order_id", "fill": "trade_id, order_id", "trade": "trade_id",
    "position": "market_id, account_id, outcome", "participation": "market_id, account_id",
    "standing": "day, account_id", "forecast": "market_id, account_id, outcome",
    "ledger_entry": "account_id, at, slot, slot_offset, leg", "account_ledger": "account_id", "market": "market_id",
    "outcome": "market_id, index", "market_summary": "market_id", "resting_order": "order_id",
    "book_level": "market_id, outcome, is_bid, price_pips", "quote_bar": "market_id, outcome, at",
    "trade_bar": "market_id, outcome, resolution, at", "activity_hour": "at, category",
}  # fmt: skip


@dataclass(slots=True)
class Course:
    """What the client has sent and heard."""

    orders: int = 0
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    amended: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent_again: int = 0


def make_markets(exchange: RunningExchange, number: int) -> list[str]:
    """Markets with a fee, so that fees have to be conserved too."""
    with httpx.Client(
        base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers(), timeout=30
    ) as client:
        return [
            client.post(
                "/markets",
                json={
                    "question": f"Does the engine survive {secrets.token_hex(6)}?", "resolution_criteria": "It trades.",
                    "category": "tests", "outcomes": ["Yes", "No"], "closes_at": "2050-01-01T00:00:00Z",
                    "taker_fee": "0.0700",
                },
            ).json()["market_id"]
            for _ in range(number)
        ]  # fmt: skip


Wanted = tuple[Trader, str, dict[str, Any]]  # (trader, market id, order)


def make_orders(
    traders: list[Trader], markets: list[str], chance: random.Random, number: int
) -> list[Wanted]:
    return [
        (
            chance.choice(traders), chance.choice(markets),
            {
                "outcome": chance.choice(["Yes", "No"]), "side": chance.choice(["buy", "sell"]),
                "price": f"0.{chance.randint(40, 60)}00", "quantity": chance.randint(1, 50),
                "client_order_id": f"kill-{n}-{secrets.token_hex(4)}",
                "time_in_force": chance.choice(["GTC", "GTC", "GTC", "IOC"]),
            },
        )
        for n in range(number)
    ]  # fmt: skip


async def trade_until(
    exchange: RunningExchange,
    traders: list[Trader],
    markets: list[str],
    chance: random.Random,
    end: Awaitable[Any],
    course: Course,
) -> None:
    """Trades at a moderate pace until `end` has happened, and every order until it is answered."""
    ended = asyncio.ensure_future(end)

    async def worker(client: httpx.AsyncClient) -> None:
        while not ended.done():
            ((trader, market_id, order),) = make_orders(traders, markets, chance, 1)
            course.orders += 1
            await trade_one(client, trader, market_id, order, course)
            await asyncio.sleep(PACE_S)

    async with client_of(exchange, CLIENT_TIMEOUT_S) as client:
        await asyncio.gather(*[worker(client) for _ in range(WORKERS)])
    await ended


def client_of(exchange: RunningExchange, timeout_s: float) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    return httpx.AsyncClient(base_url=f"{exchange.live_http}/api/v1", timeout=timeout_s, limits=limits)


async def place_batch(
    client: httpx.AsyncClient, trader: Trader, orders: list[dict[str, Any]], course: Course
) -> list[dict[str, Any]]:
    """Sends them once; answers those of which nobody knows yet what became of them."""
    try:
        response = await client.post("/orders/batch", json={"orders": orders}, headers=trader.headers)
    except httpx.HTTPError:
        return orders
    if response.status_code in (503, 504):
        return orders
    unknown = []
    for order, result in zip(orders, response.json()["results"], strict=True):
        if result["status"] in (503, 504):
            unknown.append(order)
        else:
            assert result["status"] in (200, 201), result
            course.acknowledged[order["client_order_id"]] = result["order"]
    return unknown


async def trade_one(
    client: httpx.AsyncClient, trader: Trader, market_id: str, order: dict[str, Any], course: Course
) -> None:
    """Places an order, and makes every tenth a share smaller."""
    name = order["client_order_id"]
    placed = await until_answered(client, trader, "POST", f"/markets/{market_id}/orders", order, course)
    assert placed.status_code in (200, 201), placed.text
    course.acknowledged[name] = placed.json()
    if len(course.acknowledged) % 10 == 0:
        change = {"reduce_by": 1, "client_id": f"amend-{name}"}
        amended = await until_answered(
            client, trader, "PATCH", f"/orders/by-client-id/{name}", change, course
        )
        assert amended.status_code == 200 or amended.json()["code"] == "order_not_open", amended.text
        if amended.status_code == 200:
            course.amended[name] = amended.json()


async def until_answered(
    client: httpx.AsyncClient, trader: Trader, method: str, path: str, body: dict[str, Any], course: Course
) -> httpx.Response:
    """The same request again and again, until the exchange knows what became of it."""
    while True:
        try:
            response = await client.request(method, path, json=body, headers=trader.headers)
        except httpx.HTTPError:
            course.sent_again += 1
            continue
        if response.status_code not in (503, 504):
            return response
        course.sent_again += 1


def check_orders(database: psycopg.Connection[Any], course: Course, markets: list[str]) -> None:
    """Every acknowledged order is in the log and in the read model once, and nothing else is."""
    placed = database.execute(
        "SELECT data->>'client_order_id', data->>'order' FROM event "
        "WHERE stream_id = ANY(%s::uuid[]) AND type = 'order_placed/1'",
        [markets],
    ).fetchall()
    assert len(placed) == course.orders
    assert dict(placed) == {name: order["order_id"] for name, order in course.acknowledged.items()}
    rows = database.execute(
        'SELECT client_order_id, filled, quantity, status FROM "order" WHERE market_id = ANY(%s::uuid[])',
        [markets],
    ).fetchall()
    assert len(rows) == course.orders
    for client_order_id, filled, quantity, status in rows:
        if client_order_id in course.amended:
            continue
        # A resting order may have been filled further since it was acknowledged, never less.
        acknowledged = course.acknowledged[client_order_id]
        assert acknowledged["filled"] <= filled <= quantity
        if acknowledged["status"] != "open":
            assert (acknowledged["filled"], acknowledged["status"]) == (filled, status)


def check_amends(database: psycopg.Connection[Any], course: Course, markets: list[str]) -> None:
    """Every acknowledged amend has happened once: a share was taken off, or the last one cancelled."""
    smaller = database.execute(
        "SELECT data->>'order' FROM event WHERE stream_id = ANY(%s::uuid[]) AND type = 'order_amended/1'",
        [markets],
    ).fetchall()
    assert len(set(smaller)) == len(smaller)
    expected = {order["order_id"] for order in course.amended.values() if order["reason"] != "by_owner"}
    assert {order_id for (order_id,) in smaller} == expected
    assert len(expected) > course.orders // 40


def check_trades(database: psycopg.Connection[Any], course: Course, markets: list[str]) -> None:
    """No trade stands twice, and the fills of each add up to what its orders say."""
    (trades, distinct) = row(
        database,
        "SELECT count(*), count(DISTINCT data->>'trade') FROM event "
        "WHERE stream_id = ANY(%s::uuid[]) AND type = 'order_matched/1'",
        markets,
    )
    assert trades == distinct > course.orders // 10
    assert row(database, "SELECT count(*) FROM trade WHERE market_id = ANY(%s::uuid[])", markets) == (trades,)
    assert row(database, "SELECT count(*) FROM fill WHERE market_id = ANY(%s::uuid[])", markets) == (
        2 * trades,
    )
    assert row(
        database,
        'SELECT count(*) FROM "order" o WHERE market_id = ANY(%s::uuid[]) AND filled <> '
        "(SELECT coalesce(sum(quantity), 0) FROM fill WHERE fill.order_id = o.order_id)",
        markets,
    ) == (0,)


def check_money(database: psycopg.Connection[Any], markets: list[str]) -> None:
    """What the traders brought is their cash and reserves and the markets' collateral and fees, to the pip."""
    traders, held = row(
        database,
        "SELECT count(*), sum(cash_pips + reserved_pips - debt_pips)::bigint FROM cash_account WHERE account_id IN "
        '(SELECT account_id FROM "order" WHERE market_id = ANY(%s::uuid[]))',
        markets,
    )
    inside = row(
        database,
        "SELECT sum(10000 * open_interest_sets + fees_pips)::bigint FROM market_summary "
        "WHERE market_id = ANY(%s::uuid[])",
        markets,
    )[0]
    assert row(database, "SELECT count(*) FROM batch") == (0,)
    assert held + inside == traders * CASH_PIPS


def row(database: psycopg.Connection[Any], statement: str, *arguments: Any) -> tuple[Any, ...]:
    found = database.execute(statement, list(arguments)).fetchone()
    assert found is not None
    return tuple(found)


def dump(database: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the read models, in key order."""
    return {
        table: database.execute(f'SELECT t::text FROM "{table}" t ORDER BY {key}').fetchall()
        for table, key in TABLES.items()
    }
