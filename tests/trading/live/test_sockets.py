"""Sockets against a real uvicorn and a real Valkey, fed as a shard feeds them."""

import asyncio
import json

import pytest
import websockets

from tests.trading.live.conftest import LiveServer, close_code, until
from tests.trading.live.feed_client import BookClient, FakeShard, shown
from trading.live import account_feeds as account_feeds_module
from trading.live import hub as hub_module
from trading.live import outbox as outbox_module
from trading.live import sockets as sockets_module
from trading.live.book_mirror import BookMirror, FeedTicker
from trading.live.client_frames import SocketLimits

NAMES = ["Yes", "No"]


async def published(live: LiveServer, shard: FakeShard) -> FakeShard:
    shard.change((0, "bid", 6500, 120), (0, "ask", 6700, 5))
    await live.publish(shard)
    return shard


async def test_book_starts_with_a_snapshot_and_goes_on_with_linked_deltas(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        answer = await client.subscribe("book", shard.market_id)
        first = await client.receive()
        await live.publish(shard, shard.change((0, "bid", 6400, 7), events=3))
        second = await client.receive()
    assert answer == {"id": 1, "ok": True, "channel": "book", "market_id": shard.market_id}
    sent_at = first.pop("sent_at")
    assert sent_at.endswith("Z")
    assert first == {
        "channel": "book",
        "market_id": shard.market_id,
        "seq": 2,
        "prev_seq": None,
        "data": {
            "type": "snapshot",
            "bids": {"Yes": [["0.6500", 120]]},
            "asks": {"Yes": [["0.6700", 5]]},
            "checksum": 3479377447,
        },
    }
    assert (second["prev_seq"], second["seq"]) == (2, 5)
    assert second["data"]["changes"] == [["Yes", "bid", "0.6400", 7]]


async def test_market_can_be_named_by_its_slug(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        answer = await client.subscribe("ticker", f"slug-of-{shard.market_id}")
        frame = await client.receive()
    assert answer["market_id"] == frame["market_id"] == shard.market_id
    assert frame["data"]["Yes"]["best_bid"] == "0.6500"


async def test_subscribing_again_gives_a_fresh_snapshot(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        await client.receive()
        await client.subscribe("book", shard.market_id)
        assert (await client.receive())["data"]["type"] == "snapshot"
        await live.publish(shard, shard.change((0, "bid", 6400, 7)))
        assert (await client.receive())["data"]["type"] == "delta"
        await client.ask("ping")
        assert client._waiting == []


async def test_unsubscribed_channel_is_silent(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        await client.receive()
        assert (await client.ask("unsubscribe", channel="book", market_id=shard.market_id))["ok"]
        assert live.hub.health()["subscriptions"] == 0
        await live.publish(shard, shard.change((0, "bid", 6400, 7)))
        await client.subscribe("ticker", shard.market_id)
        assert (await client.receive())["channel"] == "ticker"


async def test_clients_joining_while_a_shard_publishes_all_end_with_its_book(live):
    shard = live.market(("Ann", "Bea", "Cid"))
    await live.publish(shard)
    done = asyncio.Event()

    async def publish() -> None:
        for step in range(300):
            level = (step % 3, "bid" if step % 2 else "ask", 1 + (step * 7) % 40, 1 + step % 9)
            update = shard.change(level, trades=[(f"t{step}", 0, 5000, 1, "buy")])
            await live.publish(shard, *([] if step % 50 == 49 else [update]))  # some messages are lost
            await asyncio.sleep(0)
        await live.publish(shard, shard.change((0, "bid", 50, 1)))
        done.set()

    async def follow(delay_s: float) -> BookClient:
        await asyncio.sleep(delay_s)
        book = BookClient()
        async with live.client() as client:
            await client.subscribe("book", shard.market_id)
            while not (done.is_set() and book.seq == shard.seq):
                book.take(json.dumps(await client.receive()))
        return book

    publishing = asyncio.create_task(publish())
    books = await asyncio.gather(*(follow(step / 100) for step in range(12)))
    await publishing
    for book in books:
        assert book.levels == shown(shard, ["Ann", "Bea", "Cid"])


async def test_trades_frames_carry_rows_as_rest_lists_them(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("trades", shard.market_id)
        assert (await client.receive())["data"] == []
        await live.publish(shard, shard.change(trades=[("t1", 0, 6500, 3, "buy")]))
        frame = await client.receive()
    assert (frame["prev_seq"], frame["seq"]) == (2, 3)
    assert frame["data"][0]["trade_id"] == "t1"
    assert frame["data"][0]["price"] == "0.6500"


async def test_market_whose_book_nobody_has_written_yet_starts_when_it_is(live, monkeypatch):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    shard = live.market()
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        assert (await client.heartbeat())["data"]["subscriptions"][0]["seq"] is None
        await published(live, shard)
        assert (await client.receive())["seq"] == 2


async def test_market_that_has_ended_shows_an_empty_book_and_its_last_prices(live):
    shard = live.market()
    ticker = FeedTicker([9900, 100], [None, None], [None, None], 50_000, 3)
    live.ended[shard.market_id] = BookMirror(NAMES, 41), ticker
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        book = await client.receive()
        await client.subscribe("ticker", shard.market_id)
        frame = await client.receive()
    assert (book["seq"], book["data"]["bids"], book["data"]["checksum"]) == (41, {"Yes": []}, 0)
    assert frame["data"]["Yes"] == {"last_price": "0.9900", "best_bid": None, "best_ask": None}


async def test_heartbeat_carries_the_newest_number_of_every_subscription(live, monkeypatch):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        await client.subscribe("trades", shard.market_id)
        assert {(await client.receive())["channel"] for _ in range(2)} == {"book", "trades"}
        await live.publish(shard, shard.change((0, "bid", 6400, 7)))
        while (beat := await client.heartbeat())["data"]["subscriptions"][0]["seq"] != 3:
            pass
    assert beat["data"] == {
        "live": True,
        "subscriptions": [
            {"channel": "book", "market_id": shard.market_id, "seq": 3},
            {"channel": "trades", "market_id": shard.market_id, "seq": 2},
        ],
    }


async def test_valkey_that_dies_is_admitted_and_one_that_is_back_gives_fresh_snapshots(
    live, feed_servers, monkeypatch
):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        assert (await client.receive())["seq"] == 2
        await asyncio.to_thread(feed_servers.valkey.stop)
        try:
            while (beat := await client.heartbeat())["data"]["live"]:
                pass
            assert [s["seq"] for s in beat["data"]["subscriptions"]] == [None]
            assert live.hub.health()["status"] == "degraded"
        finally:
            feed_servers.valkey.start()  # in the main thread: the server ends with the thread it came from
        await live.valkey.connection_pool.disconnect()
        await live.publish(shard, shard.change((0, "bid", 6400, 7)))
        frame = await client.receive()
        assert (frame["prev_seq"], frame["seq"], frame["data"]["type"]) == (2, 3, "snapshot")
        await live.publish(shard, shard.change((0, "bid", 6400, 0)))
        assert (await client.receive())["prev_seq"] == 3


async def test_account_channel_needs_the_read_scope(live):
    async with live.client() as client:
        assert (await client.ask("auth", key="pm_other"))["ok"]
        assert (await client.ask("subscribe", channel="account"))["error"]["status"] == 403
        assert not (await client.ask("auth", key="pm_good"))["ok"]  # another account on the same socket


async def test_failed_sign_ins_are_counted(live):
    async with live.client() as client:
        codes = [(await client.ask("auth", key=f"pm_{n}"))["error"]["code"] for n in range(4)]
        assert codes == ["not_authenticated"] * 3 + ["rate_limited"]
        assert (await client.ask("auth", key="pm_good"))["ok"]


MALFORMED = [
    "",
    "nonsense",
    "[]",
    "1",
    "null",
    "{}",
    '{"id": 1}',
    '{"op": "ping"}',
    '{"id": true, "op": "ping"}',
    '{"id": 1.5, "op": "ping"}',
    '{"id": null, "op": "ping"}',
    '{"id": {}, "op": "ping"}',
    '{"id": 1, "op": 7}',
    '{"id": 1, "op": ["ping"]}',
    '{"id": 1, "op": "dance"}',
    '{"id": 1, "op": "ping", "op": "ping"}',
    '{"id": 1, "op": "ping", "extra": 1}',
    '{"id": 1, "op": "subscribe"}',
    '{"id": 1, "op": "subscribe", "channel": "book"}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": 7}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": ""}',
    '{"id": 1, "op": "subscribe", "channel": "gossip", "market_id": "x"}',
    '{"id": 1, "op": "subscribe", "channel": ["book"], "market_id": "x"}',
    '{"id": 1, "op": "subscribe", "channel": "account", "market_id": "x"}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": "x", "resume_from": "5"}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": "x", "resume_from": -1}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": "x", "resume_from": true}',
    '{"id": 1, "op": "subscribe", "channel": "book", "market_id": "x", "resume_from": 1.0}',
    '{"id": 1, "op": "unsubscribe", "channel": "book", "market_id": "x", "resume_from": 1}',
    '{"id": 1, "op": "auth"}',
    '{"id": 1, "op": "auth", "key": 5}',
    '{"id": 1, "op": "auth", "key": "pm_x", "ticket": "y"}',
    '{"id": 1, "op": "auth", "key": "pm_good", "cancel_on_disconnect": 1}',
    '{"id": 1, "op": "auth", "key": "pm_good", "cancel_on_disconnect": "yes"}',
    '{"id": 1, "op": "ping"} trailing',
    '{"id": 1e309, "op": "ping"}',
    '{"id": 99999999999999999999999, "op": "ping"}',
    '{"id": "\\ud800", "op": "ping"}',
    '{"id": 1, "op": "ping", "x": ' + "[" * 30_000 + "]" * 30_000 + "}",
    "[" * 60_000,
    b'{"id": 1, "op": "ping"}',
    b"\xff\x00",
]


async def test_malformed_frames_are_answered_and_the_socket_goes_on(live):
    async with live.client() as client:
        for frame in MALFORMED:
            answer = await client.raw(frame)
            assert answer["ok"] is False, frame
            assert answer["error"]["code"] == "invalid_request", frame
            assert answer["error"]["request_id"]
        assert (await client.ask("ping"))["ok"]


async def test_client_that_comes_back_goes_on_where_it_was(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("book", shard.market_id)
        book = BookClient()
        book.take(json.dumps(await client.receive()))
    await live.publish(shard, shard.change((0, "bid", 6400, 7)))
    await live.publish(shard, shard.change((0, "bid", 6300, 7)))
    async with live.client() as client:
        await client.ask("subscribe", channel="book", market_id=shard.market_id, resume_from=book.seq)
        while book.seq != shard.seq:
            book.take(json.dumps(await client.receive()))
    assert (book.snapshots, book.levels) == (1, shown(shard, ["Yes"]))


async def test_lifecycle_begins_with_the_status_and_tells_its_changes(live):
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.subscribe("lifecycle", shard.market_id)
        first = await client.receive()
        shard.status = "suspended"
        await live.publish(shard, shard.change())
        second = await client.receive()
    assert first["data"] == {"status": "open", "resolution": None}
    assert (second["prev_seq"], second["data"]["status"]) == (first["seq"], "suspended")


async def test_unknown_market_is_not_found(live):
    async with live.client() as client:
        answer = await client.ask("subscribe", channel="book", market_id="nowhere")
    assert answer["error"]["status"] == 404


async def test_frame_over_64_kilobytes_closes_with_1009(live):
    async with live.client() as client:
        await client.connection.send('{"id": 1, "op": "' + "x" * 70_000 + '"}')
        assert await close_code(client.connection) == 1009


async def test_socket_has_at_most_200_subscriptions(live):
    async with live.client() as client:
        for _ in range(67):
            market_id = live.market().market_id
            for channel in ("book", "trades", "ticker"):
                answer = await client.ask("subscribe", channel=channel, market_id=market_id)
    assert answer["error"]["code"] == "exceeds_limits"


async def test_frames_over_the_rate_are_refused_and_a_flood_is_closed(live, monkeypatch):
    monkeypatch.setattr(sockets_module, "MAX_REFUSED_FRAMES", 5)
    live.sockets.limits = SocketLimits(frames_per_second=0.001, burst=2)
    async with live.client() as client:
        answers = [await client.ask("ping") for _ in range(2)]
        assert all(answer["ok"] for answer in answers)
        refused = await client.raw('{"id": 3, "op": "ping"}')
        assert (refused["id"], refused["error"]["code"]) == (3, "rate_limited")
        for _ in range(5):
            await client.connection.send('{"id": 4, "op": "ping"}')
        assert await close_code(client.connection) == 1008


async def test_client_that_stops_reading_is_conflated_and_ends_with_the_right_book(live, monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 8)
    shard, book = live.market(), BookClient()
    await live.publish(shard)
    async with live.slow_client("book", shard.market_id) as connection:
        await publish_much(live, shard)
        while book.seq != shard.seq:
            text = await asyncio.wait_for(connection.recv(), 5)
            if "data" in (frame := json.loads(text)) and frame["channel"] == "book":
                book.take(text)
    assert book.levels == shown(shard, ["Yes"])
    assert book.snapshots > 1


async def test_client_that_stops_reading_trades_is_closed_with_1013(live, monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 8)
    shard = live.market()
    await live.publish(shard)
    async with live.slow_client("trades", shard.market_id) as connection:
        await publish_much(live, shard)
        assert await close_code(connection) == 1013


async def test_client_that_reads_nothing_at_all_is_cut_off(live, monkeypatch):
    monkeypatch.setattr(outbox_module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.02)
    shard = live.market()
    await live.publish(shard)
    async with live.slow_client("book", shard.market_id):
        await until(lambda: live.hub.health()["subscriptions"] == 1)
        await publish_much(live, shard)
        await until(lambda: not live.web.server_state.connections)


async def publish_much(live: LiveServer, shard: FakeShard) -> None:
    """More than the buffers of a slow client's connection hold."""
    trades = [(f"trade-{n}", 0, 5000, 1, "buy") for n in range(100)]
    for step in range(100):
        levels = [(0, "bid", 1 + (step * 100 + n) % 500, 1 + step) for n in range(100)]
        await live.publish(shard, shard.change(*levels, trades=trades))


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/v2", "/ws/v1/", "/ws/v1/x"])
async def test_other_paths_are_not_found(live, path):
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(live.url.replace("/ws/v1", path))
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == "not_found"


async def test_leaving_sockets_leave_nothing_behind(live, monkeypatch):
    monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(account_feeds_module, "LINGER_SECONDS", 0.01)
    shard = await published(live, live.market())
    async with live.client() as client:
        await client.ask("auth", key="pm_good")
        await client.subscribe("book", shard.market_id)
        await client.ask("subscribe", channel="account")
        assert live.hub.health()["sockets"] == 1
        assert live.hub.health()["subscriptions"] == 2
    await until(lambda: not live.hub.health()["sockets"])
    assert live.hub.health()["subscriptions"] == 0
    await until(lambda: not live.hub._markets)
    await until(lambda: not live.hub._accounts._feeds)
