"""Order frames on one socket: the order in which they are sent, how many at once, who pays, what is malformed."""

import asyncio
import json
from typing import Any

import pytest
from django.db import OperationalError

from tests.trading.live.conftest import LiveServer, close_code, until
from trading.engine.commands import AmendOrder, CancelOrder, CancelOrders, PlaceOrder
from trading.ids import new_id
from trading.live import order_frames, sockets
from trading.live.client_frames import SocketLimits
from trading.live.desk import Desk
from trading.market_terms import MarketTerms

ORDER = {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 1}
FEE_FREE = {"tick_pips": 100, "taker_fee_e4": 0, "maker_fee_e4": 0, "closes_us": 2**60}


class SlowTerms:
    """Finds markets as the desk does; those that are held only once they are released."""

    def __init__(self) -> None:
        self.held: dict[str, asyncio.Event] = {}

    async def __call__(self, reference: str) -> MarketTerms:
        if reference in self.held:
            await self.held[reference].wait()
        return MarketTerms(reference, ("Yes", "No"), **FEE_FREE)


@pytest.fixture
def terms(monkeypatch: pytest.MonkeyPatch) -> SlowTerms:
    slow = SlowTerms()
    monkeypatch.setattr(Desk, "terms", staticmethod(slow))
    return slow


async def send(client: Any, *frames: dict[str, Any]) -> None:
    for number, frame in enumerate(frames, 1):
        await client.connection.send(json.dumps({"id": number, **frame}))


def place(market: str, **wanted: Any) -> dict[str, Any]:
    return {"op": "place", "market_id": market, **ORDER, **wanted}


async def test_frames_are_sent_in_order_and_none_waits_for_the_answer_of_another(
    live: LiveServer, terms: SlowTerms
):
    slow, quick = new_id(), new_id()
    terms.held[slow] = asyncio.Event()
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        await send(
            client,
            place(slow),
            {"op": "place", "market_id": quick},  # malformed, and answered at its turn
            place(quick),
            {"op": "cancel", "market_id": quick, "client_order_id": "c1"},
            {"op": "amend", "market_id": quick, "client_order_id": "c2", "price": "0.4000"},
            {"op": "cancel_all", "market_id": quick, "side": "buy"},
            {"op": "ping"},
        )
        assert (await client.receive())["id"] == 7  # what is no order is not held up
        assert live.gateway.sent == []
        terms.held[slow].set()
        assert (await client.receive())["error"]["errors"].keys() == {"outcome", "side", "price", "quantity"}
        await until(lambda: len(live.gateway.sent) == 5)
        live.gateway.outcome.set_result("count")
        assert {(await client.receive())["id"] for _ in range(5)} == {1, 3, 4, 5, 6}
    commands = [envelope.command for envelope in live.gateway.sent]
    assert [type(command) for command in commands] == [
        PlaceOrder,
        PlaceOrder,
        CancelOrder,
        AmendOrder,
        CancelOrders,
    ]
    assert [command.market_id for command in commands] == [slow, quick, quick, quick, quick]
    # Ids too follow the order of the frames: a cancel-all means what came before it, and nothing else.
    ids = [envelope.command_id for envelope in live.gateway.sent]
    assert ids == sorted(ids)
    assert commands[0].by == live.keys.trader.actor


async def test_frame_whose_order_has_to_be_looked_up_lets_others_pass(
    live: LiveServer, terms: SlowTerms, monkeypatch: pytest.MonkeyPatch
):
    found = asyncio.Event()

    async def home(caller: Any, named: Any) -> MarketTerms:
        await found.wait()
        return await terms(new_id())

    monkeypatch.setattr(Desk, "home", staticmethod(home))
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        await send(client, {"op": "cancel", "client_order_id": "far-away"}, place(new_id()))
        await until(lambda: len(live.gateway.sent) == 1)
        found.set()
        await until(lambda: len(live.gateway.sent) == 2)
    assert [type(envelope.command) for envelope in live.gateway.sent] == [PlaceOrder, CancelOrder]


async def test_socket_has_a_bounded_number_of_orders_under_way_and_can_still_cancel(
    live: LiveServer, terms: SlowTerms, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(order_frames, "MAX_IN_FLIGHT", 3)
    market = new_id()
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        await send(client, *[place(market)] * 4)
        refused = await client.receive()
        assert (refused["id"], refused["error"]["code"], refused["retry_after_s"]) == (4, "rate_limited", 1)
        await send(client, {"op": "cancel_all", "market_id": market})
        await until(lambda: len(live.gateway.sent) == 4)
        live.gateway.outcome.set_result("count")
        answers = [await client.receive() for _ in range(4)]
        assert all(answer["ok"] for answer in answers)
        await send(client, place(market))
        assert (await client.receive())["ok"]


async def test_buckets_of_the_caller_pay_and_a_flood_of_refused_orders_is_closed(
    live: LiveServer, terms: SlowTerms, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets, "MAX_REFUSED_FRAMES", 5)
    live.sockets.limits = SocketLimits(frames_per_second=0.001, burst=3)
    live.order_tokens.orders = 21
    live.gateway.outcome.set_result("count")
    market = new_id()
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        for _ in range(20):  # more than the socket's own bucket holds
            assert (await client.ask(**place(market)))["ok"]
        items = [{"market_id": market, **ORDER}] * 51
        refused = await client.ask("batch", orders=items)
        assert (refused["error"]["status"], refused["retry_after_s"]) == (429, 7)
        assert (await client.ask("cancel_all", market_id=market))["ok"]
        assert live.order_tokens.asked[-2:] == [("order", 2), ("cancel", 1)]
        for _ in range(6):
            assert (await client.ask(**place(market)))["error"]["code"] == "rate_limited"
        assert (await client.ask("cancel_all", market_id=market))["ok"]
        await send(client, *[place(market)] * 10)
        assert await close_code(client.connection) == 1008


async def test_order_entry_needs_a_key_that_may_trade_and_still_counts(live: LiveServer, terms: SlowTerms):
    async with live.client() as client:
        for op in order_frames.BUCKETS:
            assert (await client.ask(op))["error"]["code"] == "not_authenticated"
        await client.ask("auth", key="pm_good")
        for op in order_frames.BUCKETS:
            assert (await client.ask(op))["error"]["code"] == "permission_denied"
        refused = await client.ask("auth", key="pm_good", cancel_on_disconnect=True)
        assert refused["error"]["code"] == "permission_denied"
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        del live.keys.keys["pm_trader"]
        assert (await client.ask(**place(new_id())))["error"]["code"] == "not_authenticated"
    async with live.client() as client:
        await client.ask("auth", ticket="trader")
        live.keys.shut_out.add(live.keys.trader.user_id)
        assert (await client.ask(**place(new_id())))["error"]["code"] == "not_authenticated"
    assert live.gateway.sent == []


async def test_unknown_outcome_is_said_so_and_names_the_order(
    live: LiveServer, terms: SlowTerms, monkeypatch: pytest.MonkeyPatch
):
    async def lost(envelopes: Any) -> list[None]:
        return [None for _ in envelopes]

    monkeypatch.setattr(live.gateway, "send", lost)
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        answer = await client.ask(**place(new_id()))
    assert (answer["ok"], answer["error"]["status"], answer["error"]["code"]) == (
        False,
        504,
        "outcome_unknown",
    )
    assert answer["error"]["order_id"]


async def test_frame_of_a_trader_may_be_as_long_as_a_body(live: LiveServer, terms: SlowTerms):
    live.gateway.outcome.set_result("count")
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        item = {"market_id": new_id(), **ORDER, "client_order_id": "x" * 64}
        assert len(json.dumps([item] * 500)) > 64_000
        await client.connection.send(json.dumps({"id": 7, "op": "batch", "orders": [item] * 501}))
        assert (await client.receive())["error"]["errors"].keys() == {"orders"}
        await client.connection.send('{"id": 1, "op": "' + "x" * 1_000_001 + '"}')
        assert await close_code(client.connection) == 1009


MALFORMED = {
    '{"op": "place"}': {"market_id"},
    '{"op": "place", "market_id": 5}': {"market_id"},
    '{"op": "place", "market_id": ""}': {"market_id"},
    '{"op": "place", "market_id": "m", "key": "pm_trader"}': {"key", "outcome", "side", "price", "quantity"},
    '{"op": "place", "market_id": ["m"]}': {"market_id"},
    '{"op": "place", "market_id": "m", "outcome": "Yes", "side": [], "price": {}, "quantity": 1e3}': {
        "side", "price", "quantity",
    },
    '{"op": "amend"}': {"order_id"},
    '{"op": "amend", "order_id": "x"}': {"order_id"},
    '{"op": "amend", "client_order_id": "c", "market_id": "m"}': {"quantity"},
    '{"op": "amend", "client_order_id": "c", "market_id": "m", "quantity": 5, "side": "buy"}': {"side"},
    '{"op": "amend", "client_order_id": "c", "market_id": "m", "quantity": 5, "reduce_by": 5}': {"reduce_by"},
    '{"op": "cancel"}': {"order_id"},
    '{"op": "cancel", "order_id": 5}': {"order_id"},
    '{"op": "cancel", "client_order_id": "a b"}': {"client_order_id"},
    '{"op": "cancel", "client_order_id": "a", "order_id": "016f5e66-e800-7000-8000-000000000001"}': {"order_id"},
    '{"op": "cancel", "client_order_id": "a", "reason": "x"}': {"reason"},
    '{"op": "cancel_all", "market_id": {}}': {"market_id"},
    '{"op": "cancel_all", "market_id": "m", "side": "both"}': {"side"},
    '{"op": "cancel_all", "market_id": "m", "side": ["buy"]}': {"side"},
    '{"op": "cancel_all", "market_id": "m", "outcome": {}}': {"outcome"},
    '{"op": "cancel_all", "market_id": "m", "outcome": "Maybe"}': {"outcome"},
    '{"op": "cancel_all", "side": ""}': {"side"},
    '{"op": "cancel_all", "outcome": ""}': {"outcome"},
    '{"op": "cancel_all", "all": true}': {"all"},
    '{"op": "batch"}': {"orders"},
    '{"op": "batch", "orders": []}': {"orders"},
    '{"op": "batch", "orders": {}}': {"orders"},
    '{"op": "batch", "orders": [{}], "atomic": true}': {"atomic"},
    '{"op": "heartbeat"}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": 4}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": 301}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": "30"}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": true}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": 30.0}': {"timeout_s"},
    '{"op": "heartbeat", "timeout_s": 30, "by": "key:1"}': {"by"},
}  # fmt: skip


async def test_malformed_order_frames_are_answered_with_their_wrong_fields_and_nothing_is_sent(
    live: LiveServer, terms: SlowTerms
):
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        for number, (text, wrong) in enumerate(MALFORMED.items()):
            answer = await client.raw('{"id": ' + str(number) + ", " + text[1:])
            assert (answer["id"], answer["ok"]) == (number, False), text
            assert (answer["error"]["status"], answer["error"]["code"]) == (400, "invalid_request"), text
            assert answer["error"].get("errors", {}).keys() == wrong, text
        assert (await client.ask("ping"))["ok"]
    assert live.gateway.sent == []


async def test_frame_that_meets_a_lost_database_is_told_when_to_come_again(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
):
    async def lost(reference: str) -> MarketTerms:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(Desk, "terms", staticmethod(lost))
    monkeypatch.setattr(live.sockets, "_find_market", lost)
    async with live.client() as client:
        await client.ask("auth", key="pm_trader")
        for answer in (
            await client.ask("place", market_id=new_id(), **ORDER),
            await client.ask("subscribe", channel="book", market_id=new_id()),
        ):
            assert (answer["error"]["status"], answer["error"]["code"]) == (503, "overloaded")
            assert answer["retry_after_s"] == 1
