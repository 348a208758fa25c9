"""Orders over the socket of the real exchange: the answers of the HTTP calls; and what becomes of them when it ends."""

import asyncio
import datetime as dt
import json
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from tests.api.bot import checked_order, new_client_id
from tests.api.hostile import frames
from tests.running_exchange import RunningExchange, Trader
from tests.trading.live.conftest import Client, until

ENDS_WITHIN_S = 15.0


@pytest.fixture(scope="module")
def alice(exchange: RunningExchange) -> Trader:
    return exchange.new_trader("100000.0000")


@pytest.fixture
def market(exchange: RunningExchange) -> str:
    return new_market(exchange)


def new_market(exchange: RunningExchange) -> str:
    body = {
        "question": f"Will socket {secrets.token_hex(6)} take orders?", "resolution_criteria": "Yes if it does.",
        "category": "tests", "outcomes": ["Yes", "No"], "closes_at": "2050-01-01T00:00:00Z",
    }  # fmt: skip
    made = httpx.post(f"{exchange.http}/api/v1/markets", json=body, headers=exchange.staff_headers())
    assert made.status_code == 201, made.text
    return made.json()["market_id"]


@asynccontextmanager
async def trading(exchange: RunningExchange, key: str, **wish: Any) -> AsyncIterator[Client]:
    async with websockets.connect(exchange.ws) as connection:
        client = Client(connection)
        answer = await client.ask("auth", key=key, **wish)
        assert answer["ok"], answer
        yield client


def wanted(market: str, **more: Any) -> dict[str, Any]:
    return {"market_id": market, "outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 10, **more}


async def done(asked: Awaitable[dict[str, Any]], status: int) -> dict[str, Any]:
    """The body of an answer that has to have this status."""
    answer = await asked
    assert answer["ok"], answer
    assert answer["status"] == status
    return answer["body"]


async def refused(asked: Awaitable[dict[str, Any]], status: int) -> dict[str, Any]:
    answer = await asked
    assert (answer["ok"], answer["error"]["status"]) == (False, status), answer
    return answer["error"]


def look(exchange: RunningExchange, trader: Trader, order_id: str) -> dict[str, Any]:
    found = httpx.get(f"{exchange.http}/api/v1/orders/{order_id}", headers=trader.headers)
    assert found.status_code == 200, found.text
    return found.json()


async def ended(exchange: RunningExchange, trader: Trader, *order_ids: str) -> set[tuple[str, str]]:
    """How these orders ended, once none is open."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while True:
            found = [await asyncio.to_thread(look, exchange, trader, order_id) for order_id in order_ids]
            if all(order["status"] != "open" for order in found):
                return {(order["status"], order["reason"]) for order in found}
            await asyncio.sleep(0.05)


def new_key(exchange: RunningExchange, trader: Trader) -> dict[str, Any]:
    body = {"name": "another bot", "scopes": ["read", "trade"]}
    made = httpx.post(f"{exchange.http}/api/v1/keys", json=body, headers=trader.headers)
    assert made.status_code == 201, made.text
    return made.json()


# Answers ------------------------------------------------------------------------------------------


async def test_answers_are_those_of_the_http_calls(exchange, alice, market):
    async with trading(exchange, alice.key) as client:
        client_id = new_client_id()
        order = checked_order(
            await done(client.ask("place", **wanted(market, client_order_id=client_id)), 201)
        )
        again = checked_order(
            await done(client.ask("place", **wanted(market, client_order_id=client_id)), 200)
        )
        assert again["order_id"] == order["order_id"]
        other = wanted(market, client_order_id=client_id, quantity=11)
        assert (await refused(client.ask("place", **other), 409))["code"] == "idempotency_mismatch"
        amended = await done(
            client.ask("amend", order_id=order["order_id"], price="0.4000", quantity=12), 200
        )
        assert (amended["price"], amended["quantity"]) == ("0.4000", 12)
        smaller = await done(
            client.ask("amend", market_id=market, client_order_id=client_id, reduce_by=2), 200
        )
        assert smaller["quantity"] == 10
        gone = checked_order(await done(client.ask("cancel", client_order_id=client_id), 200))
        assert (gone["status"], gone["reason"]) == ("cancelled", "by_owner")
        problem = await refused(client.ask("place", **wanted(market, price="0.4050")), 422)
        assert (problem["code"], problem["order"]["status"]) == ("off_tick", "rejected")
        assert (await refused(client.ask("place", **wanted("no-such-market")), 404))["code"] == "not_found"
        for _ in range(2):
            await done(client.ask("place", **wanted(market, side="buy")), 201)
        assert (await done(client.ask("cancel_all", market_id=market, side="sell"), 200))["cancelled"] == 0
        assert (await done(client.ask("cancel_all", market_id=market), 200))["cancelled"] == 2


async def test_batch_of_five_hundred_is_one_frame_with_results_in_order(exchange, alice, market):
    other = new_market(exchange)
    items = [
        wanted(
            (market, other)[n % 2], quantity=1, price=f"0.{n % 89 + 10}00", client_order_id=new_client_id()
        )
        for n in range(500)
    ]
    items[7] = wanted(market, quantity=0)
    items[11] = wanted("no-such-market")
    async with trading(exchange, alice.key) as client:
        results = (await done(client.ask("batch", orders=items), 200))["results"]
        assert [result["status"] for result in results] == [{7: 400, 11: 404}.get(n, 201) for n in range(500)]
        assert [r["order"]["client_order_id"] for r in results if r["status"] == 201] == [
            item["client_order_id"] for item in items if "client_order_id" in item
        ]
        assert (await done(client.ask("cancel_all"), 200))["cancelled"] == 498


async def all_at_once(client: Client, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sends the frames without waiting; their answers in the frames' order."""
    for number, frame in enumerate(frames):
        await client.connection.send(json.dumps({"id": number, **frame}))
    return sorted([await client.receive() for _ in frames], key=lambda answer: answer["id"])


async def test_frames_sent_at_once_are_done_in_their_order(exchange, alice, market):
    names = [new_client_id() for _ in range(20)]
    frames = [{"op": "place", **wanted(market, client_order_id=name, quantity=1)} for name in names]
    frames += [
        {"op": "amend", "market_id": market, "client_order_id": names[0], "price": "0.4000"},
        {"op": "cancel", "market_id": market, "client_order_id": names[1]},
        {"op": "cancel_all", "market_id": market},
        {"op": "place", **wanted(market)},
    ]
    async with trading(exchange, alice.key) as client:
        answers = await all_at_once(client, frames)
    assert [answer["status"] for answer in answers] == [201] * 20 + [200] * 3 + [201]
    *placed, amended, cancelled, all_cancelled, kept = [answer["body"] for answer in answers]
    assert (amended["price"], cancelled["status"], all_cancelled["cancelled"]) == ("0.4000", "cancelled", 19)
    # An answer shows its order as the commit left it: the two that were changed may have got ahead of the others.
    sequence = [order["seq"] for order in placed[2:]]
    assert sequence == sorted(sequence)
    assert look(exchange, alice, kept["order_id"])["status"] == "open"


async def test_cancel_all_means_every_frame_before_it_and_none_after(exchange, market):
    alice, other = exchange.new_trader(), new_market(exchange)
    before = [
        {"op": "place", **wanted(each, client_order_id=new_client_id())} for each in (market, other) * 10
    ]
    after = [{"op": "place", **wanted(each)} for each in (market, other)]
    async with trading(exchange, alice.key) as client:
        answers = await all_at_once(client, [*before, {"op": "cancel_all"}, *after])
        # Orders that it overtook are refused, the others cancelled; none is left.
        overtaken = [answer["error"]["code"] for answer in answers[:20] if not answer["ok"]]
        assert set(overtaken) <= {"cancelled_by_owner"}
        assert answers[20]["body"]["cancelled"] == 20 - len(overtaken)
        for answer in answers[:20]:
            order = answer["body"] if answer["ok"] else answer["error"]["order"]
            assert look(exchange, alice, order["order_id"])["status"] in ("cancelled", "rejected")
        for answer in answers[21:]:
            assert look(exchange, alice, answer["body"]["order_id"])["status"] == "open"


async def test_revoked_key_trades_no_more_on_its_open_socket(exchange, alice, market):
    made = new_key(exchange, alice)
    async with trading(exchange, made["key"]) as client:
        await done(client.ask("place", **wanted(market)), 201)
        url = f"{exchange.http}/api/v1/keys/{made['id']}"
        assert (await asyncio.to_thread(httpx.delete, url, headers=alice.headers)).status_code == 204
        async with asyncio.timeout(5):
            while (answer := await client.ask("place", **wanted(market)))["ok"]:
                pass
    assert answer["error"]["code"] == "not_authenticated"


async def test_hostile_orders_are_answered_as_over_http_and_the_socket_goes_on(exchange, market):
    trader = exchange.new_trader()
    hostile = list(frames(market))
    async with trading(exchange, trader.key) as client:
        for each, text in hostile:
            answer = await client.raw(text)
            assert (answer["error"]["status"], answer["error"]["code"]) == each.answer, each.what
            assert len(json.dumps(answer)) < 10_000
            assert answer["id"] in (5, None)
        assert (await done(client.ask("cancel_all"), 200))["cancelled"] == 0
        assert (await client.ask("ping"))["ok"]
    assert len(hostile) > 200
    url = f"{exchange.http}/api/v1/account"
    account = (await asyncio.to_thread(httpx.get, url, headers=trader.headers)).json()
    assert (account["cash"], account["reserved"]) == ("10000.0000", "0.0000")


# What goes with a socket --------------------------------------------------------------------------


async def close(client: Client) -> None:
    await client.connection.close()


async def cut(client: Client) -> None:
    client.connection.transport.abort()


@pytest.mark.parametrize("end", [close, cut])
async def test_orders_of_the_key_go_with_the_socket_that_asked_for_it(
    exchange: RunningExchange, alice: Trader, market: str, end: Callable[[Client], Awaitable[None]]
) -> None:
    elsewhere, second = new_market(exchange), new_key(exchange, alice)["key"]
    async with trading(exchange, second) as other, trading(exchange, alice.key) as silent:
        theirs = await done(other.ask("place", **wanted(market)), 201)
        mine = [await done(silent.ask("place", **wanted(market)), 201)]
        async with trading(exchange, alice.key, cancel_on_disconnect=True) as client:
            mine += [await done(client.ask("place", **wanted(each)), 201) for each in (market, elsewhere)]
            # In flight as the socket ends.
            late = new_client_id()
            await client.connection.send(
                json.dumps({"id": 9, "op": "place", **wanted(market, client_order_id=late)})
            )
            await end(client)
        assert await ended(exchange, alice, *[order["order_id"] for order in mine]) == {
            ("cancelled", "disconnected")
        }
        assert look(exchange, alice, theirs["order_id"])["status"] == "open"
        # Perhaps it never arrived; if it did, it went too.
        url = f"{exchange.http}/api/v1/orders/by-client-id/{late}"
        found = await asyncio.to_thread(httpx.get, url, headers=alice.headers)
        if found.status_code == 200:
            assert await ended(exchange, alice, found.json()["order_id"]) == {("cancelled", "disconnected")}
        with exchange.connect() as database:
            await until(lambda: not _watched(database, alice))


async def test_sockets_that_do_not_ask_for_it_leave_their_orders(exchange, alice, market):
    async with trading(exchange, alice.key) as client:
        kept = await done(client.ask("place", **wanted(market)), 201)
    async with trading(exchange, alice.key, cancel_on_disconnect=True) as client:
        answer = await client.ask("auth", key=alice.key)  # says nothing of it: it stands
        assert answer["cancel_on_disconnect"] is True
        answer = await client.ask("auth", key=alice.key, cancel_on_disconnect=False)
        assert answer["cancel_on_disconnect"] is False
        with exchange.connect() as database:
            assert not _watched(database, alice)
    async with trading(exchange, alice.key) as client:
        assert (await done(client.ask("cancel", order_id=kept["order_id"]), 200))["reason"] == "by_owner"


def _watched(database: Any, trader: Trader) -> int:
    """How many sockets of the trader are watched."""
    return database.execute(
        "SELECT count(*) FROM dead_man_switch s JOIN accounts_user u USING (account_id) "
        "WHERE u.username = %s AND s.reason = 'disconnected' AND s.due_at > now()",
        [trader.username],
    ).fetchone()[0]


async def test_orders_go_with_a_live_process_that_dies(exchange, market):
    trader = exchange.new_trader()
    async with trading(exchange, trader.key, cancel_on_disconnect=True) as client:
        order = await done(client.ask("place", **wanted(market)), 201)
        try:
            await asyncio.to_thread(exchange.kill, "live")
            with exchange.connect() as database:
                assert _watched(database, trader) == 1
                # Nobody renews it any more; waiting for it would take 30 s.
                database.execute(
                    "UPDATE dead_man_switch SET due_at = clock_timestamp() WHERE account_id = "
                    "(SELECT account_id FROM accounts_user WHERE username = %s)",
                    [trader.username],
                )
        finally:
            exchange.start_process(
                "live"
            )  # in the main thread: the process ends with the thread it came from
            await asyncio.to_thread(exchange.wait_healthy)
    assert await ended(exchange, trader, order["order_id"]) == {("cancelled", "disconnected")}


async def test_orders_go_with_a_live_process_that_is_stopped(exchange, market):
    trader = exchange.new_trader()
    async with trading(exchange, trader.key, cancel_on_disconnect=True) as client:
        order = await done(client.ask("place", **wanted(market)), 201)
        exchange.kill("live", signal.SIGTERM)
        try:
            # It has cancelled before it went.
            assert await ended(exchange, trader, order["order_id"]) == {("cancelled", "disconnected")}
            with exchange.connect() as database:
                assert not _watched(database, trader)
        finally:
            exchange.start_process("live")
            await asyncio.to_thread(exchange.wait_healthy)


# The dead-man switch ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["socket", "web", "fast"])
async def test_orders_of_a_key_that_falls_silent_are_cancelled(exchange, market, way):
    trader = exchange.new_trader()
    other = new_key(exchange, trader)["key"]
    async with trading(exchange, other) as theirs, trading(exchange, trader.key) as client:
        kept = await done(theirs.ask("place", **wanted(market)), 201)
        mine = await done(client.ask("place", **wanted(market)), 201)
        before = dt.datetime.now(dt.UTC)
        if way == "socket":
            answer = await done(client.ask("heartbeat", timeout_s=5), 200)
        else:
            base = exchange.http if way == "web" else exchange.live_http
            url = f"{base}/api/v1/account/heartbeat"
            sent = await asyncio.to_thread(httpx.post, url, json={"timeout_s": 5}, headers=trader.headers)
            assert sent.status_code == 200, sent.text
            answer = sent.json()
        assert answer["timeout_s"] == 5
        due = dt.datetime.fromisoformat(answer["due_at"])
        assert dt.timedelta(seconds=4) < due - before < dt.timedelta(seconds=10)
        assert await ended(exchange, trader, mine["order_id"]) == {("cancelled", "heartbeat")}
        assert look(exchange, trader, mine["order_id"])["updated_at"] >= answer["due_at"]
        assert look(exchange, trader, kept["order_id"])["status"] == "open"
        # It lapses once: what is placed afterwards stands.
        later = await done(client.ask("place", **wanted(market)), 201)
        assert look(exchange, trader, later["order_id"])["status"] == "open"


async def test_heartbeat_that_is_stopped_cancels_nothing(exchange, market):
    trader = exchange.new_trader()
    async with trading(exchange, trader.key) as client:
        await done(client.ask("heartbeat", timeout_s=5), 200)
        assert await done(client.ask("heartbeat", timeout_s=0), 200) == {"timeout_s": 0, "due_at": None}
    with exchange.connect() as database:
        rows = database.execute(
            "SELECT count(*) FROM dead_man_switch JOIN accounts_user USING (account_id) WHERE username = %s",
            [trader.username],
        )
        assert rows.fetchone()[0] == 0
