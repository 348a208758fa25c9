"""Exactly once: one client order id of an account has one effect, for ever."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx

from tests.api.bot import Bot, Lane, Market, document, new_client_id, same_but_as_of
from tests.api.conftest import MakeMarket
from tests.running_exchange import RunningExchange


def test_repetition_is_answered_with_the_same_order(alice: Bot, market: Market) -> None:
    wanted = {"client_order_id": new_client_id(), "price": "0.4000", "quantity": 7}
    first = alice.order(market, **wanted)
    before = alice.money()
    assert same_but_as_of(alice.order(market, status=200, **wanted)) == same_but_as_of(first)
    assert alice.money() == before


def test_repetition_shows_the_order_as_it_now_stands(alice: Bot, bob: Bot, market: Market) -> None:
    wanted = {"client_order_id": new_client_id(), "price": "0.4000", "quantity": 7}
    first = alice.order(market, **wanted)
    bob.sell(market, "0.4000", 3)
    again = alice.order(market, status=200, **wanted)
    assert (again["order_id"], again["filled"], again["status"]) == (first["order_id"], 3, "open")
    alice.cancel(first["order_id"])
    assert alice.order(market, status=200, **wanted)["status"] == "cancelled"


def test_same_command_in_other_words_is_a_repetition(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    first = alice.order(market, client_order_id=client_order_id, price="0.4000")
    again = alice.order(
        market.slug, status=200, client_order_id=client_order_id, price="0.40", type="limit", time_in_force="GTC",
        self_trade_prevention="cancel_taker", post_only=False,
    )  # fmt: skip
    assert again["order_id"] == first["order_id"]


def test_other_command_under_a_used_id_is_a_mismatch_and_does_nothing(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    first = alice.order(market, client_order_id=client_order_id, quantity=7)
    before = alice.money()
    for change in (
        {"quantity": 8},
        {"price": "0.4900"},
        {"side": "sell"},
        {"outcome": "No"},
        {"time_in_force": "IOC"},
    ):
        problem = alice.order(
            market, status=409, client_order_id=client_order_id, **{"quantity": 7, **change}
        )
        assert problem["code"] == "idempotency_mismatch"
    assert alice.money() == before
    assert alice.look(first["order_id"])["quantity"] == 7


def test_used_id_counts_in_every_market(alice: Bot, market: Market, make_market: MakeMarket) -> None:
    client_order_id = new_client_id()
    alice.order(market, client_order_id=client_order_id)
    assert (
        alice.order(make_market(), status=409, client_order_id=client_order_id)["code"]
        == "idempotency_mismatch"
    )


def test_ids_of_two_accounts_do_not_meet(alice: Bot, bob: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    mine = alice.order(market, client_order_id=client_order_id)
    theirs = bob.order(market, client_order_id=client_order_id)
    assert mine["order_id"] != theirs["order_id"]


def test_refusal_uses_the_id_up_and_is_repeated(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    first = alice.order(market, status=422, client_order_id=client_order_id, price="0.4050")
    again = alice.order(market, status=422, client_order_id=client_order_id, price="0.4050")
    assert first["code"] == again["code"] == "off_tick"
    assert same_but_as_of(again["order"]) == same_but_as_of(first["order"])
    other = alice.order(market, status=409, client_order_id=client_order_id, price="0.4000")
    assert other["code"] == "idempotency_mismatch"
    found = alice.ask("GET", f"/orders/by-client-id/{client_order_id}", status=200)
    assert (found["status"], found["reason"], found["order_id"]) == (
        "rejected",
        "off_tick",
        first["order"]["order_id"],
    )


def test_malformed_request_does_not_use_the_id_up(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    alice.order(market, status=400, client_order_id=client_order_id, quantity=0)
    alice.order(market, status=201, client_order_id=client_order_id, quantity=1)


def test_unknown_market_does_not_use_the_id_up(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    alice.order("no-such-market", status=404, client_order_id=client_order_id)
    alice.order(market, status=201, client_order_id=client_order_id)


def test_lanes_share_the_ids(exchange: RunningExchange, alice: Bot, market: Market) -> None:
    body = {
        "outcome": "Yes",
        "side": "buy",
        "price": "0.3000",
        "quantity": 2,
        "client_order_id": new_client_id(),
    }
    first = alice.order(market, **body)
    other = exchange.live_http if alice.lane.name == "web" else exchange.http
    again = httpx.post(
        f"{other}/api/v1/markets/{market.market_id}/orders", json=body, headers=alice.trader.headers
    )
    assert (again.status_code, document(again)["order_id"]) == (200, first["order_id"])


def test_twenty_at_once_under_one_id_are_one_order(alice: Bot, market: Market) -> None:
    wanted = {
        "outcome": "Yes",
        "side": "buy",
        "price": "0.2000",
        "quantity": 3,
        "client_order_id": new_client_id(),
    }
    cash, reserved = alice.money()
    with ThreadPoolExecutor(20) as pool:
        sent = [
            pool.submit(alice.send, "POST", f"/markets/{market.market_id}/orders", wanted) for _ in range(20)
        ]
        answers = [each.result() for each in sent]
    assert sorted(each.status_code for each in answers) == [200] * 19 + [201]
    assert len({document(each)["order_id"] for each in answers}) == 1
    assert alice.money() == (cash - 6_000, reserved + 6_000)


def test_id_may_use_every_allowed_character_and_length(alice: Bot, market: Market) -> None:
    for client_order_id in (f"A_z.0:9-{new_client_id()}", new_client_id().ljust(64, "x")):
        assert alice.order(market, client_order_id=client_order_id)["client_order_id"] == client_order_id
        path = f"/markets/{market.market_id}/orders/by-client-id/{client_order_id}"
        assert alice.ask("GET", path, status=200)["client_order_id"] == client_order_id


def test_ids_that_look_like_words_of_sql_are_ids_like_any_other(
    lane: Lane, exchange: RunningExchange, market: Market
) -> None:
    with closing(Bot(lane, exchange.new_trader(), exchange)) as bot:
        for quantity, name in enumerate(("NULL", "null", "Null", "TRUE", "...", "-", ":"), 1):
            first = bot.order(market, client_order_id=name, quantity=quantity)
            again = bot.order(market, status=200, client_order_id=name, quantity=quantity)
            assert again["order_id"] == first["order_id"]
