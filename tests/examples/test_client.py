"""The client's patience: which answers end a request, which are waited out, and what is known of the rest."""

import asyncio
from decimal import Decimal

import httpx
import pytest

from examples import pmarket_client
from examples.pmarket_client import (
    Client,
    Journal,
    NotFound,
    Problem,
    Refused,
    Unavailable,
    Unsettled,
    pips,
    price_text,
)
from ops.simulation.pace import Pace
from tests.examples.answers import UNKNOWN, MakeClient, Script, order, said

BUY = {"outcome": "Yes", "side": "buy", "price": "0.4500", "quantity": 10}


def left(client: Client) -> list[str]:
    return [write.id for write in client.journal.unsettled(client.name)]


# Sending ------------------------------------------------------------------------------------------


async def test_a_write_is_sent_with_the_same_id_until_it_is_answered(make_client: MakeClient):
    client, script = make_client(
        httpx.ConnectError("no"),
        httpx.ReadTimeout("?"),
        said(504, **UNKNOWN),
        said(500, "internal_error"),
        httpx.Response(502, text="<html>bad gateway"),
        said(503, "overloaded", retry_after=2),
        said(429, "rate_limited", retry_after=3),
        said(201),
    )  # fmt: skip
    assert (await client.place("m", **BUY))["status"] == "open"
    assert len({request.content for request in script.asked}) == 1
    assert set(script.paths) == {"POST /markets/m/orders"}
    assert script.asked[0].url.host == "fast"
    assert script.slept[-1] >= 3.0
    assert left(client) == []


async def test_a_write_is_in_the_journal_before_it_leaves(make_client: MakeClient):
    client, script = make_client(said(201))
    at_the_door = []

    def look(request: httpx.Request) -> httpx.Response:
        at_the_door.append(left(client))
        return script.answer(request)

    client._http = httpx.AsyncClient(transport=httpx.MockTransport(look))
    await client.place("m", **BUY, client_order_id="mine")
    assert (at_the_door, left(client)) == ([["mine"]], [])


async def test_a_refusal_is_raised_with_its_rule_and_settles_the_id(make_client: MakeClient):
    client, script = make_client(said(422, "off_tick", order=order("rejected")))
    with pytest.raises(Refused) as caught:
        await client.place("m", **BUY)
    assert (caught.value.code, caught.value.order["status"], len(script.asked)) == ("off_tick", "rejected", 1)
    assert left(client) == []


async def test_one_id_for_two_commands_is_raised_and_not_repeated(make_client: MakeClient):
    client, script = make_client(said(409, "idempotency_mismatch"))
    with pytest.raises(Problem, match="idempotency_mismatch"):
        await client.deposit("5.0000", client_id="twice")
    assert len(script.asked) == 1


async def test_a_write_that_was_never_taken_in_is_unavailable_and_leaves_nothing_open(
    make_client: MakeClient,
):
    answers = [httpx.ConnectError("no"), said(503, "overloaded"), said(429, "rate_limited")] * 20
    client, _ = make_client(*answers, patience_s=10)
    with pytest.raises(Unavailable):
        await client.place("m", **BUY)
    assert left(client) == []


@pytest.mark.parametrize(
    "trouble", [httpx.ReadError("cut"), said(504, **UNKNOWN), said(500, "internal_error")]
)
async def test_a_write_that_may_have_been_done_is_unsettled_and_stays_in_the_journal(
    make_client: MakeClient, trouble
):
    client, _ = make_client(trouble, *[httpx.ConnectError("no")] * 60, patience_s=10)
    with pytest.raises(Unsettled) as caught:
        await client.place("m", **BUY, client_order_id="mine")
    assert caught.value.write.id == "mine"
    assert left(client) == ["mine"]


async def test_who_are_you_does_not_settle_what_an_earlier_attempt_may_have_done(make_client: MakeClient):
    client, _ = make_client(httpx.ReadError("cut"), said(401, "not_authenticated"))
    with pytest.raises(Problem, match="not_authenticated"):
        await client.place("m", **BUY, client_order_id="mine")
    assert left(client) == ["mine"]
    other, _ = make_client(said(401, "not_authenticated"))
    with pytest.raises(Problem, match="not_authenticated"):
        await other.place("m", **BUY)
    assert left(other) == []


async def test_what_was_in_flight_when_the_task_ended_is_left_over(make_client: MakeClient):
    client, _ = make_client(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await client.deposit("5.0000")
    (write,) = client.journal.unsettled("bot")
    assert (write.path, write.body) == ("/account/deposit", {"amount": "5.0000", "client_id": write.id})


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>sign in to this network"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(302, headers={"Location": "http://elsewhere"}),
        httpx.Response(200, json=[1]),
        httpx.Response(404, json={"message": "no upstream"}),
        httpx.Response(403, text="Forbidden"),
        httpx.Response(429, json={}, headers={"Retry-After": "-5"}),
        httpx.Response(429, json={}, headers={"Retry-After": "Wed, 21 Oct 2037 07:28:00 GMT"}),
        httpx.Response(429, json={}, headers={"Retry-After": "999999999"}),
        httpx.RemoteProtocolError("garbage"),
        httpx.DecodingError("bad gzip"),
    ],
)
async def test_an_answer_that_is_not_the_exchanges_is_no_answer(make_client: MakeClient, answer):
    client, script = make_client(answer, said(201), patience_s=120)
    assert (await client.place("m", **BUY))["order_id"] == "o-1"
    assert script.slept[0] <= 60


async def test_waits_grow_and_are_cut_at_random(make_client: MakeClient):
    client, script = make_client(*[httpx.ConnectError("no")] * 8, said(201), patience_s=None)
    await client.place("m", **BUY)
    limits = [0.25, 0.5, 1, 2, 4, 5, 5, 5]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(script.slept, limits, strict=True)), (
        script.slept
    )


async def test_a_batch_with_items_that_nobody_knows_about_is_sent_again_whole(make_client: MakeClient):
    half = {"results": [{"status": 201, "order": order()}, {"status": 504, "code": "outcome_unknown"}]}
    whole = {"results": [{"status": 200, "order": order(as_of="4-9")}, {"status": 422, "code": "off_tick"}]}
    client, script = make_client(httpx.Response(200, json=half), httpx.Response(200, json=whole))
    items = [{"market_id": "m", **BUY}, {"op": "amend", "market_id": "m", "order_id": "o", "reduce_by": 1}]
    assert await client.batch(items) == whole["results"]
    first, second = script.bodies
    assert first == second
    assert first["orders"][0]["client_order_id"]
    assert first["orders"][1]["client_id"]
    assert client.as_of == "4-9"


async def test_floats_are_refused_before_anything_is_noted_or_sent(make_client: MakeClient):
    client, script = make_client()
    for call in (
        client.place("m", outcome="Yes", side="buy", price=0.65, quantity=1),
        client.deposit(10.5),
        client.batch([{"market_id": "m", **BUY, "price": 0.5}]),
    ):
        with pytest.raises(TypeError, match="never floats"):
            await call
    assert (script.asked, left(client)) == ([], [])


async def test_what_is_no_json_is_refused_before_it_is_noted(make_client: MakeClient):
    client, script = make_client()
    for price in (Decimal("0.65"), (0.65,), {"at": 0.5}):
        with pytest.raises(TypeError, match="never floats"):
            await client.place("m", outcome="Yes", side="buy", price=price, quantity=1)
    assert (script.asked, left(client)) == ([], [])


@pytest.mark.parametrize("status", [429, 503])
async def test_a_proxys_no_does_not_say_that_nothing_was_done(make_client: MakeClient, status: int):
    client, _ = make_client(httpx.Response(status, json={"message": "upstream reset"}), patience_s=0)
    with pytest.raises(Unsettled):
        await client.place("m", **BUY, client_order_id="mine")
    assert left(client) == ["mine"]


async def test_an_answer_is_not_lost_because_the_journal_cannot_be_written(
    make_client: MakeClient, tmp_path, monkeypatch
):
    journal = Journal(tmp_path / "journal.jsonl")
    client, _ = make_client(said(201), journal=journal)
    append = journal._append

    def full(line: dict) -> None:
        if "end" in line:
            raise OSError("no space left")
        append(line)

    monkeypatch.setattr(journal, "_append", full)
    assert (await client.place("m", **BUY, client_order_id="mine"))["order_id"] == "o-1"
    assert left(client) == []
    assert [write.id for write in Journal(tmp_path / "journal.jsonl").unsettled("bot")] == ["mine"]


async def test_every_intention_has_an_id_of_its_own(make_client: MakeClient):
    client, script = make_client(*[said(201) for _ in range(3)])
    for _ in range(2):
        await client.place("m", **BUY)
    await client.amend("o-1", price="0.4000")
    ids = [body.get("client_order_id", body.get("client_id")) for body in script.bodies]
    assert len(set(ids)) == 3
    other, _ = make_client()
    assert other.new_id() not in ids


async def test_each_request_goes_where_it_is_served(make_client: MakeClient):
    client, script = make_client(*[said(200, cancelled=2) for _ in range(9)])
    await client.cancel("o-1")
    await client.cancel(client_order_id="a:b.c")
    assert await client.cancel_all("slug/?#", outcome="A & B", side="buy") == 2
    await client.cancel_all()
    await client.heartbeat(30)
    await client.get("/account")
    await client.get("/markets/m")
    await client.order("o-1")
    await client.get("/markets/m/orderbook", outcome="Yes", depth=None)
    assert [f"{each.url.host} {path}" for each, path in zip(script.asked, script.paths, strict=True)] == [
        "fast DELETE /orders/o-1",
        "fast DELETE /orders/by-client-id/a%3Ab.c",
        "fast DELETE /markets/slug%2F%3F%23/orders?outcome=A+%26+B&side=buy",
        "fast DELETE /orders",
        "exchange POST /account/heartbeat",
        "exchange GET /account",
        "exchange GET /markets/m",
        "fast GET /orders/o-1",
        "exchange GET /markets/m/orderbook?outcome=Yes",
    ]
    assert {each.headers["Authorization"] for each in script.asked} == {"Bearer pm_key"}


async def test_an_order_is_named_by_one_id(make_client: MakeClient):
    client, _ = make_client()
    for names in ({}, {"order_id": "o", "client_order_id": "c"}):
        with pytest.raises(ValueError, match="name the order"):
            await client.cancel(**names)


# Reading ------------------------------------------------------------------------------------------


async def test_pages_are_followed_to_the_end(make_client: MakeClient):
    client, script = make_client(
        httpx.Response(200, json={"results": [{"n": 1}, {"n": 2}], "next": "after 2"}),
        said(503, "read_lag", retry_after=1),
        httpx.Response(200, json={"results": [{"n": 3}], "next": None}),
    )
    assert [row["n"] async for row in client.pages("/portfolio/orders", status="all", market_id=None)] == [
        1,
        2,
        3,
    ]
    assert script.paths[0] == "GET /portfolio/orders?status=all"
    assert script.paths[2] == "GET /portfolio/orders?status=all&cursor=after+2"


async def test_reads_wait_for_own_writes_of_every_slot_if_asked_to(make_client: MakeClient):
    client, script = make_client(
        said(201, as_of="3-7"),
        said(201, as_of="12-1"),
        said(201, as_of="3-9"),
        said(200),
        read_own_writes=True,
    )
    for _ in range(3):
        await client.place("m", **BUY)
    await client.order("o-1")
    assert client.as_of == "3-9.12-1"
    assert script.paths[-1] == "GET /orders/o-1?min_as_of=3-9.12-1"


async def test_what_is_not_there_says_whether_that_is_final(make_client: MakeClient):
    client, _ = make_client(said(404, "not_found", final=True), said(404, "not_found"))
    for is_final in (True, False):
        with pytest.raises(NotFound) as caught:
            await client.order("o-1")
        assert caught.value.is_final is is_final


async def test_a_pace_is_kept(monkeypatch: pytest.MonkeyPatch):
    script = Script()
    monkeypatch.setattr("examples.pmarket_client.asyncio.sleep", script.sleep)
    monkeypatch.setattr("examples.pmarket_client.time.monotonic", lambda: 100.0)
    pace = Pace(per_second=2.0, burst=3)
    for _ in range(5):
        await pace.take()
    assert script.slept == [0.5, 1.0]


# Recovering ---------------------------------------------------------------------------------------


def crashed(tmp_path, *lines: tuple[str, str, str, dict | None]) -> Journal:
    """The journal of a process that died with these writes (id, method, path, body) on their way."""
    journal = Journal(tmp_path / "journal.jsonl")
    for name, method, path, body in lines:
        journal.begin(pmarket_client.Write(name, "bot", method, path, body))
    journal.close()
    return Journal(tmp_path / "journal.jsonl")


PLACED = ("mine", "POST", "/markets/m/orders", {**BUY, "client_order_id": "mine"})


async def test_an_order_that_is_there_is_done(make_client: MakeClient, tmp_path):
    client, script = make_client(said(200), journal=crashed(tmp_path, PLACED))
    (found,) = await client.recover()
    assert (found.write.id, found.outcome, found.answer["order_id"]) == ("mine", "done", "o-1")
    assert script.paths == ["GET /orders/by-client-id/mine"]
    assert Journal(tmp_path / "journal.jsonl").unsettled("bot") == []


async def test_an_order_that_was_rejected_is_refused(make_client: MakeClient, tmp_path):
    client, _ = make_client(said(200, status="rejected"), journal=crashed(tmp_path, PLACED))
    assert [found.outcome for found in await client.recover()] == ["refused"]


async def test_the_id_of_an_order_that_is_not_there_is_used_up_so_that_it_never_trades(
    make_client: MakeClient, tmp_path
):
    client, script = make_client(
        said(404, "not_found"), said(422, "expired"), journal=crashed(tmp_path, PLACED)
    )
    (found,) = await client.recover()
    assert (found.outcome, found.problem.code) == ("never", "expired")
    assert script.bodies[1] == {**PLACED[3], "valid_until": "2000-01-01T00:00:00Z"}
    assert left(client) == []


async def test_an_order_that_comes_in_while_its_id_is_used_up_is_found(make_client: MakeClient, tmp_path):
    client, _ = make_client(
        said(404, "not_found"),
        said(409, "idempotency_mismatch"),
        said(200, status="filled"),
        journal=crashed(tmp_path, PLACED),
    )
    (found,) = await client.recover()
    assert (found.outcome, found.answer["status"]) == ("done", "filled")


async def test_the_very_same_order_is_sent_again_if_it_may_trade_late(make_client: MakeClient, tmp_path):
    client, script = make_client(said(404, "not_found"), said(201), journal=crashed(tmp_path, PLACED))
    assert [found.outcome for found in await client.recover(trade_late=True)] == ["done"]
    assert script.bodies[1] == PLACED[3]


async def test_a_no_is_final_with_the_id_that_the_last_504_named(make_client: MakeClient):
    client, script = make_client(
        said(504, **UNKNOWN), said(404, "not_found", final=True), patience_s=0
    )  # fmt: skip
    with pytest.raises(Unsettled):
        await client.place("m", **BUY, client_order_id="mine")
    (found,) = await client.recover()
    assert (found.outcome, script.paths[1]) == ("never", "GET /orders/by-client-id/mine?order_id=o-504")


async def test_a_no_is_not_final_if_any_attempt_may_still_wait_at_a_door(make_client: MakeClient):
    client, script = make_client(
        httpx.ReadError("cut"), said(504, **UNKNOWN), *[httpx.ConnectError("no")] * 9, patience_s=2
    )
    with pytest.raises(Unsettled):
        await client.place("m", **BUY, client_order_id="mine")
    script.answers = [said(404, "not_found"), said(422, "expired")]
    assert [found.outcome for found in await client.recover()] == ["never"]
    assert "GET /orders/by-client-id/mine" in script.paths


async def test_cancels_amendments_and_cash_are_sent_again_in_their_order(make_client: MakeClient, tmp_path):
    writes = [
        ("d", "POST", "/account/deposit", {"amount": "5.0000", "client_id": "d"}),
        ("a", "PATCH", "/orders/o-1", {"price": "0.4000", "client_id": "a"}),
        ("c", "DELETE", "/orders/o-2", None),
    ]
    client, script = make_client(
        said(200), said(422, "order_not_open"), said(200), journal=crashed(tmp_path, *writes)
    )
    assert [(found.write.id, found.outcome) for found in await client.recover()] == [
        ("d", "done"),
        ("a", "refused"),
        ("c", "done"),
    ]
    assert script.paths == ["POST /account/deposit", "PATCH /orders/o-1", "DELETE /orders/o-2"]
    assert script.bodies == [body for _, _, _, body in writes]


async def test_a_batch_is_settled_item_by_item(make_client: MakeClient, tmp_path):
    items = [
        {"market_id": "m", **BUY, "client_order_id": "a"},
        {"market_id": "m", **BUY, "client_order_id": "b"},
        {"op": "cancel", "market_id": "m", "order_id": "o"},
    ]
    answer = {
        "results": [
            {"status": 422, "code": "expired", "detail": ""},
            {"status": 409, "code": "idempotency_mismatch", "detail": ""},
            {"status": 200, "order": order("cancelled")},
        ]
    }
    client, script = make_client(
        httpx.Response(200, json=answer),
        said(200, status="filled"),
        journal=crashed(tmp_path, ("n", "POST", "/orders/batch", {"orders": items})),
    )
    (found,) = await client.recover()
    results = found.answer["results"]
    assert [each.get("code") or each["order"]["status"] for each in results] == [
        "expired",
        "filled",
        "cancelled",
    ]
    assert script.paths == ["POST /orders/batch", "GET /orders/by-client-id/b"]
    assert "valid_until" not in script.bodies[0]["orders"][2]


async def test_an_item_whose_id_is_no_orders_keeps_its_409(make_client: MakeClient, tmp_path):
    body = {"orders": [{"market_id": "m", **BUY, "client_order_id": "a"}]}
    client, _ = make_client(
        httpx.Response(200, json={"results": [{"status": 409, "code": "idempotency_mismatch"}]}),
        said(404, "not_found"),
        journal=crashed(tmp_path, ("n", "POST", "/orders/batch", body)),
    )
    (found,) = await client.recover()
    assert [result["status"] for result in found.answer["results"]] == [409]


async def test_a_request_that_makes_no_sense_does_not_keep_others_from_being_settled(
    make_client: MakeClient, tmp_path
):
    malformed = ("!", "POST", "/markets/m/orders", {**BUY, "client_order_id": "!"})
    client, _ = make_client(
        said(400, "invalid_request"), said(200), journal=crashed(tmp_path, malformed, PLACED)
    )
    assert [found.outcome for found in await client.recover()] == ["refused", "done"]
    assert left(client) == []


async def test_cash_that_was_moved_so_long_ago_that_it_is_archived_is_settled(
    make_client: MakeClient, tmp_path
):
    deposit = ("d", "POST", "/account/deposit", {"amount": "5.0000", "client_id": "d"})
    client, _ = make_client(said(410, "archived"), journal=crashed(tmp_path, deposit))
    assert [found.outcome for found in await client.recover()] == ["archived"]


async def test_what_cannot_be_settled_now_stays_for_the_next_time(make_client: MakeClient, tmp_path):
    other = ("other", "POST", "/markets/m/orders", {**BUY, "client_order_id": "other"})
    client, script = make_client(
        said(200), *[httpx.ConnectError("no")] * 40, journal=crashed(tmp_path, PLACED, other), patience_s=5
    )
    with pytest.raises(Unavailable):
        await client.recover()
    assert left(client) == ["other"]
    script.answers = [said(401, "not_authenticated")]
    with pytest.raises(Problem, match="not_authenticated"):
        await client.recover()
    assert left(client) == ["other"]
    # What had been settled before it failed is not forgotten.
    script.answers = [said(200)]
    assert [(found.write.id, found.outcome) for found in await client.recover()] == [
        ("mine", "done"),
        ("other", "done"),
    ]


async def test_what_is_still_under_way_in_this_process_is_left_alone(make_client: MakeClient):
    client, _ = make_client()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await go.wait()
        return said(201)

    client._http = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    placing = asyncio.create_task(client.place("m", **BUY))
    await arrived.wait()
    assert await client.recover() == []
    go.set()
    assert (await placing)["status"] == "open"


# Money --------------------------------------------------------------------------------------------


def test_amounts_are_read_and_written_exactly():
    for text, amount in (("0.6500", 6500), ("1250.0000", 12_500_000), ("0.0001", 1), ("0.0000", 0)):
        assert (pips(text), price_text(amount)) == (amount, text)


@pytest.mark.parametrize(
    "text", ["0.65", "-1.0000", "1e4", "0.65000", "", "\u0660.6500", 0.65, None, "0.6500\n"]
)
def test_other_forms_of_amounts_are_refused(text):
    with pytest.raises(ValueError, match="no amount"):
        pips(text)
