"""The feed of the real processes: what an order does is pushed, numbered as REST numbers it."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import websockets

from tests.running_exchange import RunningExchange, Trader
from tests.trading.live.conftest import Client
from tests.trading.live.feed_client import BookClient


@pytest.fixture
def make_market(exchange: RunningExchange) -> Callable[[], dict[str, Any]]:
    return lambda: new_market(exchange)


@pytest.fixture
def market(exchange: RunningExchange) -> dict[str, Any]:
    return new_market(exchange)


def new_market(exchange: RunningExchange) -> dict[str, Any]:
    closes_at = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat().replace("+00:00", "Z")
    body = {
        "question": "Will the feed tell the truth today?",
        "resolution_criteria": "Yes if it does.",
        "category": "tests",
        "outcomes": ["Yes", "No"],
        "closes_at": closes_at,
    }
    made = httpx.post(f"{exchange.http}/api/v1/markets", json=body, headers=exchange.staff_headers())
    assert made.status_code == 201, made.text
    return made.json()


@pytest.fixture
async def client(exchange: RunningExchange) -> AsyncIterator[Client]:
    async with websockets.connect(exchange.ws) as connection:
        yield Client(connection)


def place(exchange: RunningExchange, trader: Trader, market: dict[str, Any], **order: Any) -> dict[str, Any]:
    url = f"{exchange.live_http}/api/v1/markets/{market['market_id']}/orders"
    made = httpx.post(url, json=order, headers=trader.headers)
    assert made.status_code == 201, made.text
    return made.json()


def order_book(exchange: RunningExchange, market: dict[str, Any]) -> dict[str, Any]:
    url = f"{exchange.http}/api/v1/markets/{market['market_id']}/orderbook"
    return httpx.get(url, params={"outcome": "Yes"}).json()


async def test_an_order_is_pushed_and_the_book_equals_rest(exchange, market, client):
    seller, buyer = exchange.new_trader(), exchange.new_trader()
    await client.subscribe("book", market["slug"])
    await client.subscribe("trades", market["market_id"])
    await client.subscribe("ticker", market["market_id"])
    first = {frame["channel"]: frame for frame in [await client.receive() for _ in range(3)]}
    assert set(first) == {"book", "trades", "ticker"}
    book = BookClient()
    book.take(json.dumps(first["book"]))

    place(exchange, seller, market, outcome="Yes", side="sell", price="0.6500", quantity=10)
    taken = place(exchange, buyer, market, outcome="No", side="sell", price="0.3500", quantity=4)

    trades: list[dict[str, Any]] = []
    ticker: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while not trades or book.side("Yes", "ask") != [(6500, 6)] or ticker.get("volume") == "0.0000":
            frame = await client.receive()
            if frame["channel"] == "book":
                book.take(json.dumps(frame))
            elif frame["channel"] == "trades":
                trades += frame["data"]
            else:
                ticker = frame["data"]
    assert taken["status"] == "filled"
    assert [(t["outcome"], t["price"], t["quantity"], t["taker_side"]) for t in trades] == [
        ("Yes", "0.6500", 4, "buy")
    ]
    assert trades[0]["trade_id"] == taken["fills"][0]["trade_id"]
    assert ticker["Yes"]["best_ask"] == "0.6500"
    assert ticker["No"]["best_bid"] == "0.3500"
    rest = order_book(exchange, market)
    assert (rest["asks"], rest["bids"]) == ([["0.6500", 6]], [])
    assert rest["checksum"] == book.checksum()
    assert rest["seq"] >= book.seq


async def test_an_account_is_told_of_its_orders_fills_and_cash(exchange, market, client):
    seller, buyer = exchange.new_trader(), exchange.new_trader()
    await client.ask("auth", key=buyer.key)
    assert (await client.ask("subscribe", channel="account"))["ok"]
    first = await client.receive()
    assert (first["prev_seq"], first["data"]["type"], first["data"]["orders"]) == (None, "snapshot", [])
    cash = first["data"]["balance"]["cash"]
    resting = place(exchange, buyer, market, outcome="Yes", side="buy", price="0.4000", quantity=10)
    place(exchange, seller, market, outcome="Yes", side="sell", price="0.4000", quantity=4)

    seq, orders, fills, positions, balance = first["seq"], {}, [], {}, {}
    async with asyncio.timeout(10):
        while not fills:
            frame = await client.receive()
            assert frame["prev_seq"] == seq
            seq = frame["seq"]
            if frame["data"]["type"] == "update":
                orders |= {order["order_id"]: order for order in frame["data"]["orders"]}
                fills += frame["data"]["fills"]
                positions |= {(p["market_id"], p["outcome"]): p for p in frame["data"]["positions"]}
                balance = frame["data"]["balance"]
    order = orders[resting["order_id"]]
    assert (order["status"], order["filled"], order["remaining"]) == ("open", 4, 6)
    assert [(f["order_id"], f["price"], f["quantity"], f["role"]) for f in fills] == [
        (resting["order_id"], "0.4000", 4, "maker")
    ]
    assert positions[market["market_id"], "Yes"]["quantity"] == 4
    assert (cash, balance["cash"], balance["reserved"]) == ("10000.0000", "9996.0000", "2.4000")


async def test_every_client_ends_with_the_right_book_when_valkey_was_wiped(exchange, make_market):
    trader = exchange.new_trader()
    busy, quiet = make_market(), make_market()
    for market in (busy, quiet):
        await asyncio.to_thread(
            place, exchange, trader, market, outcome="Yes", side="buy", price="0.3000", quantity=5
        )
    async with AsyncExitStack() as sockets:
        followers = []
        for market in (busy, busy, quiet):
            client = Client(await sockets.enter_async_context(websockets.connect(exchange.ws)))
            await client.subscribe("book", market["market_id"])
            followers.append((market, client, BookClient()))
        with exchange.valkey() as valkey:
            valkey.flushall()
        await asyncio.to_thread(place_surely, exchange, trader, busy, "0.4000", 7)
        await asyncio.gather(*(
            follow_until(client, book, [(4000, 7), (3000, 5)] if market is busy else [(3000, 5)])
            for market, client, book in followers
        ))  # fmt: skip
        late = Client(await sockets.enter_async_context(websockets.connect(exchange.ws)))
        await late.subscribe("book", quiet["market_id"])
        await follow_until(late, BookClient(), [(3000, 5)])


def place_surely(
    exchange: RunningExchange, trader: Trader, market: dict[str, Any], price: str, quantity: int
) -> None:
    """One order, sent again until its outcome is known."""
    url = f"{exchange.live_http}/api/v1/markets/{market['market_id']}/orders"
    order = {
        "outcome": "Yes",
        "side": "buy",
        "price": price,
        "quantity": quantity,
        "client_order_id": "surely",
    }
    for _ in range(20):
        answer = httpx.post(url, json=order, headers=trader.headers, timeout=30)
        if answer.status_code in (200, 201):
            return
        assert answer.status_code in (503, 504), answer.text
    raise AssertionError("the order was never taken")


async def follow_until(client: Client, book: BookClient, bids: list[tuple[int, int]]) -> None:
    async with asyncio.timeout(30):
        while book.side("Yes", "bid") != bids:
            book.take(json.dumps(await client.receive()))
