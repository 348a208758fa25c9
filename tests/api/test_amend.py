"""Amending: an order that is made smaller keeps its place and gives its money back; ids; whose it is."""

import pytest

from tests.api.bot import Bot, Market, new_client_id, same_but_as_of


def test_smaller_total_frees_cash_and_keeps_the_place(
    alice: Bot, bob: Bot, carol: Bot, market: Market
) -> None:
    first, second = alice.buy(market, "0.5000", 10), bob.buy(market, "0.5000", 10)
    cash, reserved = alice.money()
    amended = alice.amend(first["order_id"], quantity=6)
    assert (amended["status"], amended["quantity"], amended["remaining"]) == ("open", 6, 6)
    assert amended["seq"] > second["seq"]
    assert amended["created_at"] == first["created_at"]
    assert alice.money() == (cash + 20_000, reserved - 20_000)
    taker = carol.sell(market, "0.5000", 6)
    assert alice.look(first["order_id"], params={"min_as_of": taker["as_of"]})["status"] == "filled"
    assert bob.look(second["order_id"])["filled"] == 0


def test_total_counts_what_is_filled(alice: Bot, bob: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    bob.sell(market, "0.5000", 4)
    amended = alice.amend(order["order_id"], quantity=6)
    assert (amended["quantity"], amended["filled"], amended["remaining"]) == (6, 4, 2)


@pytest.mark.parametrize("quantity", [1, 3, 4])
def test_total_that_is_filled_already_ends_the_order(
    alice: Bot, bob: Bot, market: Market, quantity: int
) -> None:
    order = alice.buy(market, "0.5000", 10)
    bob.sell(market, "0.5000", 4)
    ended = alice.amend(order["order_id"], quantity=quantity)
    assert (ended["status"], ended["reason"], ended["filled"]) == ("cancelled", "by_owner", 4)


def test_reduce_by_takes_shares_off_what_is_left(alice: Bot, bob: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    bob.sell(market, "0.5000", 4)
    assert alice.amend(order["order_id"], reduce_by=5)["remaining"] == 1
    assert alice.amend(order["order_id"], reduce_by=5)["status"] == "cancelled"


def test_repeated_reduction_with_its_client_id_happens_once(alice: Bot, market: Market) -> None:
    order, client_id = alice.buy(market, "0.5000", 10), new_client_id()
    first = alice.amend(order["order_id"], reduce_by=3, client_id=client_id)
    again = alice.amend(order["order_id"], reduce_by=3, client_id=client_id)
    assert (first["quantity"], again["quantity"]) == (7, 7)
    assert same_but_as_of(again) == same_but_as_of(first)
    assert alice.amend(order["order_id"], reduce_by=3)["quantity"] == 4


def test_amends_id_used_for_another_amend_is_a_mismatch(alice: Bot, market: Market) -> None:
    order, client_id = alice.buy(market, "0.5000", 10), new_client_id()
    alice.amend(order["order_id"], reduce_by=3, client_id=client_id)
    body = {"reduce_by": 4, "client_id": client_id}
    problem = alice.ask("PATCH", f"/orders/{order['order_id']}", body, status=409)
    assert problem["code"] == "idempotency_mismatch"
    assert alice.look(order["order_id"])["quantity"] == 7


def test_amends_and_places_share_the_accounts_ids(alice: Bot, market: Market) -> None:
    client_id = new_client_id()
    order = alice.buy(market, "0.5000", 10, client_order_id=client_id)
    body = {"reduce_by": 4, "client_id": client_id}
    assert (
        alice.ask("PATCH", f"/orders/{order['order_id']}", body, status=409)["code"] == "idempotency_mismatch"
    )


def test_refused_amend_is_refused_again_under_its_id(alice: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    path = f"/orders/{order['order_id']}"
    alice.cancel(order["order_id"])
    late = {"quantity": 5, "client_id": new_client_id()}
    for _ in range(2):
        problem = alice.ask("PATCH", path, late, status=422)
        assert (problem["code"], problem["order"]["status"]) == ("order_not_open", "cancelled")


def test_ended_order_cannot_be_amended(alice: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    alice.cancel(order["order_id"])
    problem = alice.ask("PATCH", f"/orders/{order['order_id']}", {"quantity": 5}, status=422)
    assert (problem["code"], problem["order"]["status"]) == ("order_not_open", "cancelled")


def test_anothers_order_cannot_be_amended(alice: Bot, bob: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    for path in (f"/orders/{order['order_id']}", f"/markets/{market.market_id}/orders/{order['order_id']}"):
        assert bob.ask("PATCH", path, {"quantity": 5}, status=404)["code"] == "not_found"
    assert alice.look(order["order_id"])["quantity"] == 10


def test_order_is_amended_by_client_id_and_under_its_market(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    order = alice.buy(market, "0.5000", 10, client_order_id=client_order_id)
    left = 10
    for path in (
        f"/orders/by-client-id/{client_order_id}",
        f"/markets/{market.slug}/orders/by-client-id/{client_order_id}",
        f"/markets/{market.market_id}/orders/{order['order_id']}",
    ):
        left -= 1
        amended = alice.ask("PATCH", path, {"quantity": left}, status=200)
        assert (amended["order_id"], amended["quantity"]) == (order["order_id"], left)
