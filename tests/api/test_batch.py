"""Up to 500 commands in one request, each answered as the single call would."""

from typing import Any

from tests.api.bot import Bot, Market, new_client_id
from tests.api.conftest import MakeMarket


def place(market: Market, **wanted: Any) -> dict[str, Any]:
    order = {"outcome": market.outcomes[0], "side": "buy", "price": "0.5000", "quantity": 10}
    return {"market_id": market.market_id, **order, **wanted}


def cancel(market: Market, **named: str) -> dict[str, Any]:
    return {"op": "cancel", "market_id": market.market_id, **named}


def amend(market: Market, **change: Any) -> dict[str, Any]:
    return {"op": "amend", "market_id": market.market_id, **change}


def test_orders_are_done_in_the_order_given_for_each_market(
    alice: Bot, bob: Bot, make_market: MakeMarket
) -> None:
    markets = [make_market(), make_market()]
    items = [place(market, price=f"0.{cents}00") for cents in (10, 20, 30, 40) for market in markets]
    results = alice.batch(*items)
    assert [result["status"] for result in results] == [201] * 8
    for market in markets:
        sequence = [r["order"]["seq"] for r in results if r["order"]["market_id"] == market.market_id]
        # A batch's orders are shown as its commit leaves them, and nothing came between.
        assert sequence == sorted(sequence)
        assert bob.sell(market, "0.1000", 40)["average_price"] == "0.2500"


def test_item_may_name_an_order_placed_earlier_in_the_batch(alice: Bot, market: Market) -> None:
    ids = [new_client_id() for _ in range(3)]
    before = alice.money()
    results = alice.batch(
        *[place(market, client_order_id=each) for each in ids],
        amend(market, client_order_id=ids[0], quantity=4),
        amend(market, client_order_id=ids[1], reduce_by=9, client_id=new_client_id()),
        cancel(market, client_order_id=ids[2]),
        cancel(market, client_order_id=ids[2]),
    )
    assert [result["status"] for result in results] == [201, 201, 201, 200, 200, 200, 200]
    assert [result["order"]["quantity"] for result in results[3:5]] == [4, 1]
    assert [result["order"]["status"] for result in results[5:]] == ["cancelled", "cancelled"]
    assert alice.money() == (before[0] - 25_000, before[1] + 25_000)


def test_errors_are_those_of_the_single_calls_and_stop_nothing(alice: Bot, bob: Bot, market: Market) -> None:
    used, theirs = new_client_id(), bob.order(market, price="0.1000")
    alice.order(market, client_order_id=used, price="0.1000", quantity=1)
    results = alice.batch(
        place(market, quantity=1),
        place(market, quantity=0),
        place(market, price="0.4050"),
        place(market, market_id="no-such-market"),
        place(market, client_order_id=used),
        cancel(market, order_id=theirs["order_id"]),
        {"op": "explode", "market_id": market.market_id},
        {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 1},
        "an order, please",
        place(market, expires_at="2040-01-01T00:00:00Z"),
        place(market, quantity=2),
    )
    assert [(result["status"], result.get("code")) for result in results] == [
        (201, None), (400, "invalid_request"), (422, "off_tick"), (404, "not_found"), (409, "idempotency_mismatch"),
        (404, "not_found"), (400, "invalid_request"), (400, "invalid_request"), (400, "invalid_request"),
        (400, "invalid_request"), (201, None),
    ]  # fmt: skip
    assert results[1]["errors"].keys() == {"quantity"}
    assert results[2]["order"]["status"] == "rejected"


def test_repeated_batch_changes_nothing_more(alice: Bot, market: Market) -> None:
    items = [place(market, client_order_id=new_client_id(), quantity=n) for n in (1, 2, 3)]
    first = alice.batch(*items)
    before = alice.money()
    again = alice.batch(*items)
    assert [result["status"] for result in again] == [200, 200, 200]
    assert [r["order"]["order_id"] for r in again] == [r["order"]["order_id"] for r in first]
    assert alice.money() == before


def test_same_id_twice_in_one_batch_is_one_order(alice: Bot, market: Market) -> None:
    item = place(market, client_order_id=new_client_id())
    results = alice.batch(item, item, {**item, "quantity": 11})
    assert [result["status"] for result in results] == [201, 200, 409]
    assert results[0]["order"]["order_id"] == results[1]["order"]["order_id"]


def test_five_hundred_items_over_several_markets(alice: Bot, make_market: MakeMarket) -> None:
    markets = [make_market() for _ in range(5)]
    items = [place(markets[n % 5], quantity=1, price=f"0.{n % 89 + 10}00") for n in range(500)]
    results = alice.batch(*items)
    assert [result["status"] for result in results] == [201] * 500
    assert [r["order"]["market_id"] for r in results] == [item["market_id"] for item in items]
    assert [r["order"]["price"] for r in results] == [item["price"] for item in items]
    assert len({result["order"]["order_id"] for result in results}) == 500


def test_batch_of_more_than_five_hundred_is_refused_whole(alice: Bot, market: Market) -> None:
    before = alice.money()
    body = {"orders": [place(market)] * 501}
    problem = alice.ask("POST", "/orders/batch", body, status=400)
    assert (problem["code"], problem["errors"].keys()) == ("invalid_request", {"orders"})
    assert alice.money() == before


def test_batch_wants_a_list_of_items(alice: Bot) -> None:
    for body in (
        {},
        {"orders": []},
        {"orders": None},
        {"orders": {}},
        {"orders": "x"},
        {"orders": [{}], "more": 1},
    ):
        assert alice.ask("POST", "/orders/batch", body, status=400)["code"] == "invalid_request"


def test_slug_serves_in_a_batch(alice: Bot, market: Market) -> None:
    (result,) = alice.batch(place(market, market_id=market.slug))
    assert result["order"]["market_id"] == market.market_id


def test_item_names_one_order(alice: Bot, market: Market) -> None:
    order = alice.order(market, client_order_id=new_client_id())
    both = {"order_id": order["order_id"], "client_order_id": order["client_order_id"]}
    results = alice.batch(
        cancel(market), cancel(market, **both), amend(market, quantity=1), amend(market, **both)
    )
    assert [result["status"] for result in results] == [400] * 4
    assert alice.look(order["order_id"])["status"] == "open"


def test_item_of_another_market_is_not_found_there(
    alice: Bot, market: Market, make_market: MakeMarket
) -> None:
    order = alice.order(make_market("Ann", "Ben", "Cid"), outcome="Cid")
    results = alice.batch(
        cancel(market, order_id=order["order_id"]), amend(market, order_id=order["order_id"], quantity=1)
    )
    assert [(result["status"], result["code"]) for result in results] == [(404, "not_found")] * 2
    assert alice.look(order["order_id"])["remaining"] == 10
