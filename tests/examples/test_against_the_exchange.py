"""The client and the exchange: what happens once although connections are cut, processes die and frames are lost."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.pmarket_client import Book, Client, Feed, Problem, price_text, register
from tests.examples.proxies import lossy_feed, wire_to
from tests.running_exchange import PROJECT, RunningExchange, Trader

PATIENCE_S = 30.0
BUY = {"outcome": "Yes", "side": "buy", "price": "0.4000", "quantity": 10}


@pytest.fixture(scope="module")
def trader(exchange: RunningExchange) -> Trader:
    return exchange.new_trader("100000.0000")


@pytest.fixture
def market(exchange: RunningExchange) -> str:
    """The id of a market of Yes and No that nobody else trades."""
    body = {
        "question": f"Is the client of the test {secrets.token_hex(6)} right?",
        "resolution_criteria": "It is.",
        "category": "tests",
        "outcomes": ["Yes", "No"],
        "closes_at": "2050-01-01T00:00:00Z",
    }
    answer = httpx.post(f"{exchange.http}/api/v1/markets", json=body, headers=exchange.staff_headers())
    assert answer.status_code == 201, answer.text
    return answer.json()["market_id"]


def client_of(exchange: RunningExchange, trader: Trader, **options: Any) -> Client:
    options = {"orders_url": exchange.live_http, "read_own_writes": True, **options}
    return Client(exchange.http, trader.key, **options)


@pytest.fixture
async def client(exchange: RunningExchange, trader: Trader) -> AsyncIterator[Client]:
    """An undisturbed client of the trader."""
    async with client_of(exchange, trader) as client:
        yield client


@pytest.fixture
async def rival(exchange: RunningExchange) -> AsyncIterator[Client]:
    """Somebody else with money."""
    async with Client(exchange.http, exchange.new_trader().key, orders_url=exchange.live_http) as client:
        yield client


async def orders_of(client: Client, market: str) -> list[dict[str, Any]]:
    return [
        order async for order in client.pages("/portfolio/orders", market_id=market, status="all", limit=2)
    ]


async def until(book: Book, *, trusted: bool = True) -> None:
    async with asyncio.timeout(PATIENCE_S):
        version = book.version
        while book.trusted is not trusted:
            version = await book.newer(version)


async def why_doubted(book: Book) -> str:
    """Must wait already when the doubt comes: it may last for no longer than a frame's way there and back."""
    await until(book, trusted=False)
    return book.why


# Orders -------------------------------------------------------------------------------------------


async def test_what_was_placed_amended_and_cancelled_is_read_at_once(client: Client, market: str):
    order = await client.place(market, **BUY, post_only=True)
    assert (await client.amend(order["order_id"], quantity=7))["remaining"] == 7
    assert [row["quantity"] for row in await orders_of(client, market)] == [7]
    await client.place(market, **BUY, client_order_id=(own := client.new_id()))
    assert (await client.cancel(client_order_id=own))["reason"] == "by_owner"
    assert await client.cancel_all(market) == 1
    assert [row["status"] for row in await orders_of(client, market)] == ["cancelled"] * 2
    assert client.journal.unsettled("bot") == []


async def test_pages_follow_each_other_without_a_hole(client: Client, market: str):
    items = [{**BUY, "market_id": market, "price": price_text(1000 + 100 * n)} for n in range(7)]
    placed = [result["order"]["order_id"] for result in await client.batch(items)]
    assert [row["order_id"] for row in await orders_of(client, market)] == placed[::-1]


@pytest.mark.parametrize("fates", [["cut"], ["lose", "cut"], ["cut", "cut", "cut"]], ids=" ".join)
async def test_an_order_whose_answer_is_lost_is_placed_once(
    exchange: RunningExchange, trader: Trader, market: str, fates: list[str]
):
    async with wire_to(exchange.ws_port) as wire:
        wire.fate = list(fates)
        async with client_of(exchange, trader, orders_url=wire.url) as cut_off:
            order = await cut_off.place(market, **BUY)
            (only,) = await orders_of(cut_off, market)
    assert wire.fate == []
    assert (only["order_id"], only["quantity"], only["status"]) == (order["order_id"], 10, "open")


async def test_money_whose_answer_is_lost_is_paid_in_once(exchange: RunningExchange):
    poor = exchange.new_trader("1.0000")
    async with wire_to(exchange.port) as wire:
        wire.fate = ["cut", "cut"]
        async with Client(wire.url, poor.key) as cut_off:
            assert (await cut_off.deposit("5.0000"))["cash"] == "6.0000"
            assert (await cut_off.get("/account"))["cash"] == "6.0000"


async def test_a_batch_whose_answer_is_lost_is_done_once(
    exchange: RunningExchange, trader: Trader, client: Client, market: str
):
    kept = await client.place(market, **BUY)
    async with wire_to(exchange.ws_port) as wire:
        wire.fate = ["cut"]
        async with client_of(exchange, trader, orders_url=wire.url) as cut_off:
            results = await cut_off.batch(
                [
                    {"market_id": market, **BUY},
                    {"op": "amend", "market_id": market, "order_id": kept["order_id"], "reduce_by": 3},
                    {"market_id": market, **BUY, "price": "0.4050"},
                ]
            )
            remaining = [row["remaining"] for row in await orders_of(cut_off, market)]
    assert [result["status"] for result in results] == [200, 200, 422]
    assert sorted(remaining) == [0, 7, 10]


# A process that dies with a request on its way, as its journal alone remembers.
DYING_BOT = """
import asyncio, sys
from examples.pmarket_client import Client

async def main(url, orders_url, key, journal, market):
    async with Client(url, key, orders_url=orders_url, journal=journal) as client:
        await client.place(market, outcome="Yes", side="buy", price="0.4000", quantity=10)

asyncio.run(main(*sys.argv[1:]))
"""


async def bot_that_died(
    exchange: RunningExchange, trader: Trader, market: str, journal: Path, fate: str
) -> None:
    """A bot killed in the middle of placing an order, once the exchange has it or while it never will."""
    async with wire_to(exchange.ws_port) as wire:
        wire.fate = [fate] * 100
        arguments = [exchange.http, wire.url, trader.key, str(journal), market]
        bot = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING_BOT, *arguments, cwd=PROJECT)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if fate == "lose":
                    while len(wire.fate) > 98:  # noqa: ASYNC110  (it is another process that acts)
                        await asyncio.sleep(0.01)
                else:
                    await wire.held.wait()
        finally:
            bot.kill()
            await bot.wait()


async def test_an_order_that_a_dead_process_placed_is_found_by_the_next_one(
    exchange: RunningExchange, trader: Trader, market: str, tmp_path: Path
):
    journal = tmp_path / "bot.jsonl"
    await bot_that_died(exchange, trader, market, journal, "hang")
    async with client_of(exchange, trader, journal=journal) as heir:
        (found,) = await heir.recover()
        assert await heir.recover() == []
        (only,) = await orders_of(heir, market)
    assert (found.outcome, found.answer["order_id"], only["status"]) == ("done", only["order_id"], "open")


async def test_an_order_that_a_dead_process_did_not_get_through_never_trades(
    exchange: RunningExchange, trader: Trader, market: str, tmp_path: Path
):
    journal = tmp_path / "bot.jsonl"
    await bot_that_died(exchange, trader, market, journal, "lose")
    async with client_of(exchange, trader, journal=journal) as heir:
        (found,) = await heir.recover()
        assert (found.outcome, found.problem.code) == ("never", "expired")
        # The request of the dead comes in after all.
        with pytest.raises(Problem, match="idempotency_mismatch"):
            await heir.place(market, **found.write.body)
        assert [row["status"] for row in await orders_of(heir, market)] == ["rejected"]


async def test_an_order_that_did_not_get_through_is_placed_late_if_that_is_wanted(
    exchange: RunningExchange, trader: Trader, market: str, tmp_path: Path
):
    journal = tmp_path / "bot.jsonl"
    await bot_that_died(exchange, trader, market, journal, "lose")
    async with client_of(exchange, trader, journal=journal) as heir:
        (found,) = await heir.recover(trade_late=True)
        (only,) = await orders_of(heir, market)
    assert (found.outcome, found.answer["order_id"], only["status"]) == ("done", only["order_id"], "open")


async def test_an_order_that_dies_with_the_engine_is_placed_once(
    exchange: RunningExchange, client: Client, market: str
):
    exchange.signal("engine", signal.SIGSTOP)
    placing = asyncio.create_task(client.place(market, **BUY))
    await asyncio.sleep(0)
    await asyncio.to_thread(exchange.kill, "engine")
    exchange.start_process("engine")
    order = await asyncio.wait_for(placing, 60)
    await asyncio.to_thread(exchange.wait_healthy)
    (only,) = await orders_of(client, market)
    assert only["order_id"] == order["order_id"]


# The feed -----------------------------------------------------------------------------------------


async def same_as_rest(book: Book, client: Client, market: str) -> bool:
    """Whether REST, as it reads now what was written, says the same of both sides."""
    told = await client.get(f"/markets/{market}/orderbook", outcome="Yes")
    mine = [[[price_text(p), q] for p, q in side] for side in (book.bids("Yes"), book.asks("Yes"))]
    return mine == [told["bids"], told["asks"]]


async def at_seq(book: Book, seq: int) -> None:
    """Until the book has what the order with that `seq` changed."""
    async with asyncio.timeout(PATIENCE_S):
        version = book.version
        while not book.trusted or (book.seq or 0) < seq:
            version = await book.newer(version)


async def test_a_book_follows_the_exchange(exchange: RunningExchange, client: Client, market: str):
    async with Feed(exchange.ws) as feed:
        book = feed.book(market)
        await until(book)
        for price in ("0.4000", "0.4100", "0.3900"):
            order = await client.place(market, **{**BUY, "price": price})
        await at_seq(book, order["seq"])
        assert book.best("Yes") == (4100, None)
        assert await same_as_rest(book, client, market)


async def test_a_book_that_lost_a_frame_says_so_and_comes_back(
    exchange: RunningExchange, client: Client, market: str
):
    lost: list[str] = []
    snapshots: list[str] = []

    def is_lost(text: str) -> bool:
        if '"snapshot"' in text:
            snapshots.append(text)
        if not lost and '"delta"' in text:
            lost.append(text)
            return True
        return False

    async with lossy_feed(exchange.ws, is_lost) as url, Feed(url) as feed:
        book = feed.book(market)
        await until(book)
        doubt = asyncio.create_task(why_doubted(book))
        # The lost frame may hold several orders, and only a later frame tells that it is missing.
        while not doubt.done():
            order = await client.place(market, **BUY)
        assert await doubt == "gap"
        await at_seq(book, order["seq"])
        assert await same_as_rest(book, client, market)
    # It went on from the last frame that it had.
    assert (len(lost), len(snapshots)) == (1, 1)


async def test_a_book_survives_the_death_of_its_server(
    exchange: RunningExchange, client: Client, market: str
):
    async with Feed(exchange.ws) as feed:
        book = feed.book(market)
        await until(book)
        await asyncio.to_thread(exchange.kill, "live")
        await until(book, trusted=False)
        assert book.why == "disconnected"
        exchange.start_process("live")
        await asyncio.to_thread(exchange.wait_healthy)
        order = await client.place(market, **BUY)
        await at_seq(book, order["seq"])
        assert await same_as_rest(book, client, market)


async def test_trades_tickers_and_notifications_arrive(
    exchange: RunningExchange, trader: Trader, client: Client, rival: Client, market: str
):
    async with Feed(exchange.ws, key=trader.key) as feed, asyncio.timeout(PATIENCE_S):
        trades, ticker, account = (
            feed.stream("trades", market),
            feed.stream("ticker", market),
            feed.stream("account"),
        )
        assert (await anext(trades)).data == []
        assert (await anext(account)).data["type"] == "snapshot"
        await client.place(market, **BUY)
        await rival.place(market, outcome="Yes", side="sell", price="0.4000", quantity=10)
        update = await anext(trades)
        assert [(row["price"], row["quantity"], row["taker_side"]) for row in update.data] == [
            ("0.4000", 10, "sell")
        ]
        assert update.complete
        while (await anext(ticker)).data["Yes"]["last_price"] != "0.4000":
            pass
        told = set()
        while told != {"update", "notification"}:
            told.add((await anext(account)).data["type"])


# The bot ------------------------------------------------------------------------------------------


async def test_the_quoting_bot_quotes_around_the_middle_and_leaves_nothing_behind(
    exchange: RunningExchange, rival: Client, market: str, tmp_path: Path
):
    name = f"bot_{secrets.token_hex(5)}"
    key = await register(exchange.http, name, secrets.token_urlsafe(12))
    async with Client(exchange.http, key, read_own_writes=True) as own:
        await own.deposit("1000.0000")
    await rival.batch(
        [
            {"market_id": market, "outcome": "Yes", "side": side, "price": price, "quantity": 50}
            for side, price in (("buy", "0.4000"), ("sell", "0.6000"))
        ]
    )
    command = ["-m", "examples.quoting_bot", market, "--url", exchange.http, "--fast-url", exchange.live_http]
    command += ["--journal", str(tmp_path / "bot.jsonl")]
    bot = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=PROJECT, env={**os.environ, "PMARKET_KEY": key}, stdout=subprocess.PIPE
    )
    try:
        async with Feed(exchange.ws) as feed, asyncio.timeout(PATIENCE_S):
            book = feed.book(market)
            await until(book)
            while book.best("Yes") != (4800, 5200):
                await book.newer(book.version)
            # The market moves up, and the bot with it.
            await rival.place(market, outcome="Yes", side="buy", price="0.5000", quantity=50)
            while book.best("Yes") != (5300, 5700):
                await book.newer(book.version)
        bot.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            printed = (await bot.communicate())[0].decode()
        assert bot.returncode == 0
    finally:
        if bot.returncode is None:
            bot.kill()
            await bot.wait()
    assert "buy at 0.4800: stands" in printed
    assert "cancelled 2 orders" in printed.splitlines()[-1]
    async with Client(exchange.http, key) as own:
        assert await own.cancel_all(market) == 0
    assert json.loads((tmp_path / "bot.jsonl").read_text().splitlines()[-1])["end"] is True
