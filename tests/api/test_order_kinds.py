"""Every kind of order, end to end: times, post-only, reduce-only, self-trades, costs, amendments, suspension."""

import datetime as dt
import time
from typing import Any

import httpx
import pytest

from tests.api.bot import LEFT_OUT, Bot, Market, fills, new_client_id, pips
from tests.api.conftest import MakeMarket


def in_s(seconds: float) -> str:
    """A time of the API, so many seconds from now."""
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def ended(bot: Bot, order: dict[str, Any], *, within_s: float = 15) -> dict[str, Any]:
    """The order once it is no longer open."""
    deadline = time.monotonic() + within_s
    while (now := bot.look(order["order_id"]))["status"] == "open":
        assert time.monotonic() < deadline, f"still open after {within_s} s: {now}"
        time.sleep(0.05)
    return now


# Time ---------------------------------------------------------------------------------------------


def test_gtd_order_rests_until_its_time_and_then_expires(alice: Bot, market: Market) -> None:
    before = alice.money()
    order = alice.buy(market, "0.4000", 10, time_in_force="GTD", expires_at=in_s(1.5))
    assert (order["status"], order["time_in_force"]) == ("open", "GTD")
    assert order["expires_at"].startswith(in_s(1.5)[:4])
    assert alice.money() == (before[0] - 40_000, before[1] + 40_000)
    late = ended(alice, order)
    assert (late["status"], late["reason"], late["remaining"]) == ("expired", "expired", 0)
    assert late["updated_at"] >= order["expires_at"]
    assert alice.money() == before


def test_gtd_order_that_has_expired_already_is_refused(alice: Bot, market: Market) -> None:
    before = alice.money()
    problem = alice.order(market, status=422, time_in_force="GTD", expires_at=in_s(-1))
    assert (problem["code"], problem["order"]["status"]) == ("expired", "rejected")
    assert alice.money() == before


def test_gtd_order_trades_before_its_time(alice: Bot, bob: Bot, market: Market) -> None:
    order = alice.buy(market, "0.4000", 10, time_in_force="GTD", expires_at=in_s(600))
    assert bob.sell(market, "0.4000", 10)["status"] == "filled"
    assert alice.look(order["order_id"])["status"] == "filled"


def test_order_that_arrives_after_its_valid_until_is_refused(alice: Bot, market: Market) -> None:
    assert alice.order(market, status=422, valid_until=in_s(-1))["code"] == "expired"
    order = alice.order(market, valid_until=in_s(60))
    # It says when it may arrive, not how long it rests.
    assert (order["status"], order["expires_at"]) == ("open", None)


# What may rest and what may reduce ----------------------------------------------------------------


def test_post_only_rests_or_is_refused(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.6000", 10)
    problem = bob.order(market, status=422, price="0.6000", post_only=True)
    assert (problem["code"], problem["order"]["reason"]) == ("would_cross", "would_cross")
    assert bob.buy(market, "0.5900", 10, post_only=True)["status"] == "open"
    # The same book from the other side.
    assert bob.order(market, status=422, outcome="No", side="sell", price="0.4000", post_only=True)[
        "code"
    ] == ("would_cross")


def test_reduce_only_must_be_covered_by_shares(alice: Bot, bob: Bot, market: Market) -> None:
    assert alice.order(market, status=422, side="sell", reduce_only=True)["code"] == "reduce_only"
    bob.sell(market, "0.5000", 10)
    alice.buy(market, "0.5000", 10)
    assert (
        alice.order(market, status=422, side="sell", quantity=11, reduce_only=True)["code"] == "reduce_only"
    )
    before = alice.money()
    assert alice.sell(market, "0.9000", 6, reduce_only=True)["status"] == "open"
    assert alice.money() == before
    # Six are earmarked; four are free, and a buy of No is covered by as many complements.
    problem = alice.order(market, status=422, outcome="No", price="0.1000", quantity=5, reduce_only=True)
    assert problem["code"] == "reduce_only"
    assert alice.order(market, outcome="No", price="0.1000", quantity=4, reduce_only=True)["status"] == "open"


@pytest.mark.parametrize(
    ("prevention", "taker", "maker"),
    [
        ("cancel_taker", ("cancelled", "self_trade"), ("open", None)),
        ("cancel_maker", ("open", None), ("cancelled", "self_trade")),
        ("cancel_both", ("cancelled", "self_trade"), ("cancelled", "self_trade")),
    ],
)
def test_self_trade_is_prevented_as_asked(
    alice: Bot, bob: Bot, market: Market, prevention: str, taker: tuple[str, Any], maker: tuple[str, Any]
) -> None:
    better = bob.sell(market, "0.4000", 2)
    own = alice.sell(market, "0.5000", 10)
    order = alice.buy(market, "0.5000", 5, self_trade_prevention=prevention)
    # What stood before the own order is traded in any case.
    assert (order["status"], order["reason"], order["filled"]) == (*taker, 2)
    assert fills(order) == [("0.4000", 2, "0.0000")]
    assert bob.look(better["order_id"], params={"min_as_of": order["as_of"]})["status"] == "filled"
    stood = alice.look(own["order_id"], params={"min_as_of": order["as_of"]})
    assert (stood["status"], stood["reason"], stood["filled"]) == (*maker, 0)


# Market orders ------------------------------------------------------------------------------------


def test_market_order_buys_what_its_money_buys_fees_included(
    alice: Bot, bob: Bot, make_market: MakeMarket
) -> None:
    market = make_market(taker_fee="0.0700")
    alice.sell(market, "0.5000", 10)
    alice.sell(market, "0.6000", 100)
    before = bob.money()
    order = bob.order(market, type="market", price=LEFT_OUT, quantity=LEFT_OUT, max_cost="10.0000")
    # The money says how many shares are wanted.
    assert (order["type"], order["time_in_force"], order["status"]) == ("market", "IOC", "filled")
    assert order["quantity"] == order["filled"]
    spent = before[0] - bob.money()[0]
    cost = sum(pips(fill["price"]) * fill["quantity"] for fill in order["fills"])
    assert spent == cost + pips(order["fees"])
    # One share more would have cost about $0.62.
    assert 100_000 - 6_300 < spent <= 100_000
    assert [fill["price"] for fill in order["fills"]] == ["0.5000", "0.6000"]


def test_market_order_with_its_cost_and_a_quantity_stops_at_either(
    alice: Bot, bob: Bot, market: Market
) -> None:
    alice.sell(market, "0.5000", 100)
    wish = {"type": "market", "price": LEFT_OUT, "max_cost": "10.0000"}
    assert bob.order(market, **wish, quantity=7)["filled"] == 7
    assert bob.order(market, **wish, quantity=LEFT_OUT)["filled"] == 20
    assert bob.order(market, **{**wish, "price": "0.4900"}, quantity=LEFT_OUT)["filled"] == 0


def test_market_order_has_a_worst_price(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.5000", 5)
    alice.sell(market, "0.7000", 5)
    order = bob.order(market, type="market", price="0.6000", quantity=10)
    assert (order["filled"], order["status"], order["reason"]) == (5, "cancelled", "unfilled")


# Amendments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"quantity": 12}, {"price": "0.5000", "quantity": 12}])
def test_larger_order_loses_its_place(
    alice: Bot, bob: Bot, carol: Bot, market: Market, change: dict[str, Any]
) -> None:
    first, second = alice.buy(market, "0.5000", 10), bob.buy(market, "0.5000", 10)
    amended = alice.amend(first["order_id"], **change)
    assert (amended["quantity"], amended["remaining"], amended["price"]) == (12, 12, "0.5000")
    taker = carol.sell(market, "0.5000", 10)
    assert bob.look(second["order_id"], params={"min_as_of": taker["as_of"]})["status"] == "filled"
    assert alice.look(first["order_id"])["filled"] == 0


def test_new_price_takes_and_frees_cash_and_loses_the_place(
    alice: Bot, bob: Bot, carol: Bot, market: Market
) -> None:
    first, second = alice.buy(market, "0.4000", 10), bob.buy(market, "0.5000", 10)
    before = alice.money()
    assert alice.amend(first["order_id"], price="0.5000")["price"] == "0.5000"
    assert alice.money() == (before[0] - 10_000, before[1] + 10_000)
    taker = carol.sell(market, "0.5000", 10)
    assert bob.look(second["order_id"], params={"min_as_of": taker["as_of"]})["status"] == "filled"
    assert alice.amend(first["order_id"], price="0.3000")["remaining"] == 10
    assert alice.money() == (before[0] + 10_000, before[1] - 10_000)


def test_new_price_that_meets_the_book_trades(alice: Bot, bob: Bot, market: Market) -> None:
    bob.sell(market, "0.6000", 4)
    order = alice.buy(market, "0.5000", 10)
    amended = alice.amend(order["order_id"], price="0.6000")
    assert (amended["status"], amended["filled"], amended["remaining"]) == ("open", 4, 6)
    assert fills(amended) == [("0.6000", 4, "0.0000")]


def test_amended_order_keeps_to_the_rules(alice: Bot, bob: Bot, market: Market) -> None:
    bob.sell(market, "0.6000", 4)
    order = alice.buy(market, "0.5000", 10, post_only=True)
    path = f"/orders/{order['order_id']}"
    assert alice.ask("PATCH", path, {"price": "0.6000"}, status=422)["code"] == "would_cross"
    assert alice.ask("PATCH", path, {"price": "0.5050"}, status=422)["code"] == "off_tick"
    dear = {"price": "0.5900", "quantity": 1_000_000}
    poor = alice.money()
    if poor[0] < 5_900 * 1_000_000:
        assert alice.ask("PATCH", path, dear, status=422)["code"] == "exceeds_available_cash"
    still = alice.look(order["order_id"])
    assert (still["status"], still["price"], still["quantity"]) == ("open", "0.5000", 10)
    assert alice.money() == poor


def test_refused_amendment_is_refused_again_under_its_id(alice: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    change = {"price": "0.5050", "client_id": new_client_id()}
    for _ in range(2):
        problem = alice.ask("PATCH", f"/orders/{order['order_id']}", change, status=422)
        assert problem["code"] == "off_tick"


# Suspension ---------------------------------------------------------------------------------------


def test_suspension_cancels_the_orders_that_asked_for_it(
    alice: Bot, market: Market, staff: httpx.Client
) -> None:
    goes, stays = alice.buy(market, "0.4000", 1, on_suspend="cancel"), alice.buy(market, "0.4000", 1)
    reply = staff.post(f"/markets/{market.market_id}/suspend", json={"reason": "for a test"})
    assert reply.status_code == 200, reply.text
    gone = ended(alice, goes)
    assert (gone["status"], gone["reason"]) == ("cancelled", "market_suspended")
    assert alice.look(stays["order_id"])["status"] == "open"


# Categorical markets ------------------------------------------------------------------------------


def test_three_buys_that_reach_a_dollar_mint_a_set(
    alice: Bot, bob: Bot, carol: Bot, make_market: MakeMarket
) -> None:
    market = make_market("Ann", "Ben", "Cid", taker_fee="0.0700")
    first = alice.order(market, outcome="Ann", price="0.3000", quantity=10)
    second = bob.order(market, outcome="Ben", price="0.3000", quantity=8)
    # Makers get their own price, and the taker what is left of the dollar.
    taker = carol.order(market, outcome="Cid", price="0.4500", quantity=5)
    assert (taker["status"], taker["average_price"]) == ("filled", "0.4000")
    assert pips(taker["fees"]) == -(-700 * 5 * 4_000 * 6_000 // (10_000 * 10_000))
    seen = {"min_as_of": taker["as_of"]}
    for bot, order, left in ((alice, first, 5), (bob, second, 3)):
        maker = bot.look(order["order_id"], params=seen)
        assert fills(maker) == [("0.3000", 5, "0.0000")]
        assert maker["remaining"] == left
    with httpx.Client(base_url=f"{carol._exchange.http}/api/v1", headers=carol.trader.headers) as client:
        trades = client.get(f"/markets/{market.market_id}/trades", params=seen).json()["results"]
        assert sorted((t["outcome"], t["price"], t["quantity"]) for t in trades) == [
            ("Ann", "0.3000", 5), ("Ben", "0.3000", 5), ("Cid", "0.4000", 5),
        ]  # fmt: skip
        mine = client.get("/portfolio/fills", params={"market_id": market.market_id, **seen}).json()[
            "results"
        ]
        assert [(f["outcome"], f["side"], f["price"], f["quantity"], f["role"]) for f in mine] == [
            ("Cid", "buy", "0.4000", 5, "taker")
        ]
        book = client.get(f"/markets/{market.market_id}/orderbook", params={"outcome": "Ann", **seen}).json()
        assert (book["bids"], book["asks"]) == ([["0.3000", 5]], [])


def test_post_only_and_fok_count_implied_liquidity(
    alice: Bot, bob: Bot, carol: Bot, make_market: MakeMarket
) -> None:
    market = make_market("Ann", "Ben", "Cid")
    alice.order(market, outcome="Ann", price="0.3000", quantity=5)
    bob.order(market, outcome="Ben", price="0.3000", quantity=5)
    wish = {"outcome": "Cid", "price": "0.4000"}
    assert carol.order(market, status=422, **wish, post_only=True)["code"] == "would_cross"
    assert carol.order(market, status=422, **wish, quantity=6, time_in_force="FOK")["code"] == "cannot_fill"
    assert carol.order(market, **wish, quantity=5, time_in_force="FOK")["status"] == "filled"


def test_fee_is_that_of_the_sum_of_an_orders_fills(alice: Bot, bob: Bot, make_market: MakeMarket) -> None:
    market = make_market(taker_fee="0.0700", maker_fee="0.0100")
    maker = alice.sell(market, "0.3300", 3)
    for quantity in (1, 1, 1):
        last = bob.buy(market, "0.3300", quantity)
    total = alice.look(maker["order_id"], params={"min_as_of": last["as_of"]})
    assert pips(total["fees"]) == -(-100 * 3 * 3_300 * 6_700 // (10_000 * 10_000))


# What does not go together ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "wrong"),
    [
        ({"time_in_force": "GTD"}, ["expires_at"]),
        ({"expires_at": "2040-01-01T00:00:00Z"}, ["expires_at"]),
        ({"time_in_force": "IOC", "expires_at": "2040-01-01T00:00:00Z"}, ["expires_at"]),
        ({"time_in_force": "GTD", "expires_at": "2040-01-01T00:00:00"}, ["expires_at"]),
        ({"time_in_force": "GTD", "expires_at": "tomorrow"}, ["expires_at"]),
        ({"time_in_force": "GTD", "expires_at": 2_000_000_000}, ["expires_at"]),
        ({"valid_until": "soon"}, ["valid_until"]),
        ({"time_in_force": "IOC", "post_only": True}, ["post_only"]),
        ({"time_in_force": "FOK", "post_only": True}, ["post_only"]),
        ({"type": "market", "post_only": True}, ["post_only"]),
        ({"type": "market", "time_in_force": "GTC"}, ["time_in_force"]),
        ({"type": "market", "time_in_force": "GTD", "expires_at": "2040-01-01T00:00:00Z"}, ["time_in_force"]),
        ({"max_cost": "1.0000"}, ["max_cost"]),
        ({"type": "market", "side": "sell", "max_cost": "1.0000"}, ["max_cost"]),
        ({"type": "market", "time_in_force": "FOK", "max_cost": "1.0000"}, ["max_cost"]),
        ({"type": "market", "max_cost": "0.0000"}, ["max_cost"]),
        ({"type": "market", "quantity": LEFT_OUT}, ["quantity"]),
        ({"price": LEFT_OUT}, ["price"]),
        ({"self_trade_prevention": "cancel_all"}, ["self_trade_prevention"]),
        ({"on_suspend": "maybe", "reduce_only": 1}, ["on_suspend", "reduce_only"]),
        ({"type": "market", "time_in_force": "GTC", "post_only": "yes"}, ["time_in_force", "post_only"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_go_together_is_malformed_and_named(
    alice: Bot, market: Market, wish: dict[str, Any], wrong: list[str]
) -> None:
    before = alice.money()
    problem = alice.order(market, status=400, **wish)
    assert (problem["code"], sorted(problem["errors"])) == ("invalid_request", sorted(wrong))
    assert alice.money() == before


def test_batch_takes_every_kind_of_order(alice: Bot, bob: Bot, market: Market) -> None:
    bob.sell(market, "0.6000", 3)
    order = {"market_id": market.market_id, "outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 2}
    known = new_client_id()
    results = alice.batch(
        {**order, "time_in_force": "GTD", "expires_at": in_s(600)},
        {**order, "price": "0.6000", "post_only": True},
        {**order, "side": "sell", "reduce_only": True},
        {**order, "valid_until": in_s(-1)},
        {**order, "type": "market", "price": None, "quantity": None, "max_cost": "1.2000"},
        {**order, "time_in_force": "GTD"},
        {**order, "on_suspend": "cancel", "self_trade_prevention": "cancel_both", "client_order_id": known},
        {"op": "amend", "market_id": market.market_id, "client_order_id": known, "price": "0.4500", "quantity": 5},
    )  # fmt: skip
    assert [(result["status"], result.get("code")) for result in results] == [
        (201, None), (422, "would_cross"), (422, "reduce_only"), (422, "expired"), (201, None),
        (400, "invalid_request"), (201, None), (200, None),
    ]  # fmt: skip
    assert results[4]["order"]["filled"] == 2
    assert (results[7]["order"]["price"], results[7]["order"]["quantity"]) == ("0.4500", 5)
