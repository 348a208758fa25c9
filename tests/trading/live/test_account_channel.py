"""The account channel against a real uvicorn and a real Valkey, with rows as the test has them."""

import asyncio
import dataclasses
import itertools
import json
from contextlib import asynccontextmanager
from typing import Any

from tests.trading.live.conftest import Client, LiveServer, close_code, until
from trading.live import account_feeds as module
from trading.live import sockets as sockets_module


@asynccontextmanager
async def follower(live: LiveServer, **fields: Any):
    """A client that follows its account, its first frame not taken."""
    async with live.client() as client:
        await client.ask("auth", key="pm_good")
        assert (await client.ask("subscribe", channel="account", **fields))["ok"]
        yield client


def numbers(frame: dict[str, Any]) -> tuple[int | None, int]:
    return frame["prev_seq"], frame["seq"]


async def test_account_channel_needs_auth(live):
    async with live.client() as client:
        refused = await client.ask("subscribe", channel="account")
        assert refused["error"]["code"] == "not_authenticated"
        assert (await client.ask("auth", ticket="once"))["account_id"] == live.keys.principal.account_id
        assert await client.ask("subscribe", channel="account") == {"id": 3, "ok": True, "channel": "account"}


async def test_a_key_that_is_revoked_reads_its_account_no_more(live, monkeypatch):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    judged = live.keys.authenticate_key
    async with follower(live) as client:
        await client.receive()
        monkeypatch.setattr(live.keys, "authenticate_key", fail_with(OSError("the database is away")))
        await client.heartbeat()
        await client.heartbeat()
        monkeypatch.setattr(live.keys, "authenticate_key", judged)
        del live.keys.keys["pm_good"]
        assert await close_code(client.connection) == 1008


async def test_person_who_is_shut_out_reads_his_account_no_more(live, monkeypatch):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    async with live.client() as client:
        await client.ask("auth", ticket="once")
        await client.ask("subscribe", channel="account")
        await client.heartbeat()
        await client.heartbeat()
        live.keys.shut_out.add(live.keys.principal.user_id)
        assert await close_code(client.connection) == 1008


async def test_socket_that_comes_again_with_a_key_that_may_not_read_follows_its_account_no_more(
    live, monkeypatch
):
    monkeypatch.setattr(sockets_module, "HEARTBEAT_SECONDS", 0.05)
    live.keys.keys["pm_blind"] = dataclasses.replace(live.keys.principal, scopes=frozenset())
    async with follower(live) as client:
        assert (await client.ask("auth", key="pm_blind"))["ok"]
        assert await close_code(client.connection) == 1008


def fail_with(error: Exception):
    async def judge(key: str, ip: str | None):
        raise error

    return judge


async def test_all_of_the_account_comes_first_and_then_its_changes(live):
    account = live.keys.principal.account_id
    live.accounts.seqs[account] = 7
    async with follower(live) as client:
        first = await client.receive()
        await live.change(account, "o1", trades=["t1"])
        second = await client.receive()
    assert (first["channel"], numbers(first), first["data"]) == ("account", (None, 7), {"type": "snapshot"})
    assert "market_id" not in first
    assert (numbers(second), second["data"]) == (
        (7, 8),
        {"type": "update", "orders": ["o1"], "fills": ["t1"]},
    )


async def test_notifications_come_between_and_raise_no_number(live):
    account = live.keys.principal.account_id
    async with follower(live) as client:
        assert numbers(await client.receive()) == (None, 0)
        await live.valkey.publish(f"account:{account}", json.dumps({"title": "one"}))
        note = await client.receive()
        await live.change(account, "o1")
        assert numbers(await client.receive()) == (0, 1)
    assert (numbers(note), note["data"]) == ((0, 0), {"title": "one", "type": "notification"})


async def test_a_second_socket_gets_all_of_the_account_and_the_first_one_loses_no_fill(live):
    account = live.keys.principal.account_id
    async with follower(live) as first:
        await first.receive()
        await live.change(account, trades=["t1"])
        async with follower(live) as second:
            frame = await second.receive()
            while frame["data"]["type"] != "snapshot":
                frame = await second.receive()
            assert frame["prev_seq"] is None
            await live.change(account, trades=["t2"])
            assert (await second.receive())["data"]["fills"] == ["t2"]
        told = [await first.receive() for _ in range(3)]
    assert [f["data"].get("fills") for f in told if f["data"]["type"] == "update"] == [["t1"], ["t2"]]
    assert all(earlier["seq"] == later["prev_seq"] for earlier, later in itertools.pairwise(told))


async def test_news_that_were_missed_start_the_channel_afresh(live):
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        await live.change(account, "o1", is_lost=True)
        await live.change(account, "o2")
        frames = [await client.receive()]
        while frames[-1]["data"]["type"] != "snapshot":
            frames.append(await client.receive())
    assert numbers(frames[-1]) == (None, 2)


async def test_the_last_news_being_lost_shows_by_the_accounts_own_number(live, monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        await live.change(account, "o1", is_lost=True)
        assert numbers(await client.receive()) == (None, 1)


async def test_rows_that_are_not_there_yet_are_waited_for(live):
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        await live.change(account, "o1", as_of="3-4")
        await live.valkey.publish(f"account:{account}", json.dumps({"title": "meanwhile"}))
        assert (await client.receive())["data"]["type"] == "notification"
        live.accounts.reached.add("3-4")
        assert (await client.receive())["data"]["orders"] == ["o1"]


async def test_a_database_that_is_away_delays_what_is_told_and_loses_nothing(live, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        live.accounts.is_down = True
        await live.change(account, "o1")
        await live.change(account, "o2")
        await client.ask("ping")
        live.accounts.is_down = False
        told: list[str] = []
        while "o2" not in told:
            told += (await client.receive())["data"]["orders"]
    assert told == ["o1", "o2"]


async def test_client_that_comes_back_gets_what_it_has_missed(live):
    account = live.keys.principal.account_id
    async with follower(live) as stays, follower(live) as client:
        for each in (stays, client):
            while (frame := await each.receive())["data"]["type"] != "snapshot":
                pass
        await client.connection.close()
        await live.change(account, "o1")
        while (await stays.receive())["data"].get("orders") != ["o1"]:
            pass
        async with follower(live, resume_from=frame["seq"]) as again:
            missed = await again.receive()
    assert (missed["prev_seq"], missed["data"]["orders"]) == (frame["seq"], ["o1"])


async def test_client_that_comes_back_gets_what_raised_no_number(live):
    account = live.keys.principal.account_id
    async with follower(live) as stays:
        await stays.receive()
        for title in ("one", "two"):
            await live.valkey.publish(f"account:{account}", json.dumps({"title": title}))
        notes = [await stays.receive() for _ in range(2)]
        async with follower(live, resume_from=notes[0]["seq"]) as again:
            missed = [await again.receive() for _ in range(2)]
    # All with that number, since nobody knows which of them it had.
    assert [frame["data"]["title"] for frame in missed] == ["one", "two"]
    assert [numbers(frame) for frame in missed] == [(0, 0), (0, 0)]


async def test_what_was_lost_while_all_of_the_account_was_read_is_not_linked_over(live):
    account = live.keys.principal.account_id
    async with follower(live) as first:
        await first.receive()
        live.accounts.hold_back()
        async with follower(live):
            await live.accounts.are_held()
            await live.change(account, trades=["t1"], is_lost=True)
            await live.change(account, trades=["t2"])
            feed = live.hub._accounts._feeds[account]
            await until(lambda: feed.heard_seq == 2)
            live.accounts.answers.set()
            frames = [await first.receive()]
            while frames[-1]["seq"] < 2 or frames[-1]["data"]["type"] != "snapshot":
                frames.append(await first.receive())
    assert frames[-1]["prev_seq"] is None


async def test_account_read_before_an_outage_is_not_told_in_it(live):
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        live.accounts.hold_back()
        accounts = live.hub._accounts
        feed = accounts._feeds[account]
        feed.lose()
        await live.change(account, "o1")
        await live.accounts.are_held()
        accounts.down()
        live.accounts.answers.set()
        await client.ask("ping")
        await live.change(account, "o2", is_lost=True)
        assert (feed.channel.is_current, feed.has_work) == (False, False)
        accounts.confirmed(f"account:{account}".encode())
        assert numbers(await client.receive()) == (None, 2)


async def test_a_feed_dropped_while_it_is_read_takes_no_news_of_others_with_it(live, monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.0)
    account, other = live.keys.principal.account_id, live.keys.trader.account_id
    async with follower(live) as client:
        await client.receive()
        async with live.client() as leaving:
            await leaving.ask("auth", key="pm_trader")
            await leaving.ask("subscribe", channel="account")
            await leaving.receive()
            live.accounts.hold_back()
            feeds = live.hub._accounts._feeds
            # In one read, the one that goes first.
            feeds[account] = feeds.pop(account)
            feeds[other].lose()
            await live.change(account, "o1")
            await live.accounts.are_held()
        await until(lambda: other not in feeds)
        live.accounts.answers.set()
        assert (await client.receive())["data"]["orders"] == ["o1"]


async def test_subscribing_again_is_one_subscription(live):
    async with follower(live) as client:
        await client.receive()
        assert (await client.ask("subscribe", channel="account"))["ok"]
        assert (await client.receive())["data"]["type"] == "snapshot"
        assert live.hub.health()["subscriptions"] == 1


async def test_valkey_that_was_away_starts_the_channel_afresh(live, feed_servers):
    account = live.keys.principal.account_id
    async with follower(live) as client:
        await client.receive()
        await asyncio.to_thread(feed_servers.valkey.stop)
        await until(lambda: not live.hub.is_live)
        feed_servers.valkey.start()  # in the main thread: the server ends with the thread it came from
        await live.valkey.connection_pool.disconnect()
        await live.change(account, "o1", is_lost=True)
        frame = await client.receive()
        assert (frame["prev_seq"], frame["data"]["type"]) == (None, "snapshot")


async def test_accounts_nobody_follows_are_let_go(live, monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)
    async with follower(live) as client:
        await client.receive()
        assert isinstance(client, Client)
    await until(lambda: not live.hub._accounts._feeds)
