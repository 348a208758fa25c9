"""Looking an order up, and waiting for the read side."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from tests.api.bot import TOKEN, Bot, Market, new_client_id, same_but_as_of
from tests.api.conftest import MakeMarket, read_side_held
from tests.running_exchange import RunningExchange


def as_numbers(token: str) -> tuple[int, int]:
    """Slot and offset of a token that names one slot."""
    slot, offset = token.split("-")
    return int(slot), int(offset)


def test_order_is_found_by_every_name(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    placed = alice.order(market, client_order_id=client_order_id)
    for market_part in ("", f"/markets/{market.market_id}", f"/markets/{market.slug}"):
        for name in (placed["order_id"], f"by-client-id/{client_order_id}"):
            found = alice.ask("GET", f"{market_part}/orders/{name}", status=200)
            assert same_but_as_of(found) == same_but_as_of(placed)


def test_look_up_right_after_the_answer_finds_what_was_answered(alice: Bot, bob: Bot, market: Market) -> None:
    for _ in range(5):
        maker = alice.buy(market, "0.5000", 2)
        taker = bob.sell(market, "0.5000", 1)
        assert same_but_as_of(bob.look(taker["order_id"])) == same_but_as_of(taker)
        seen = alice.look(maker["order_id"], params={"min_as_of": taker["as_of"]})
        assert (seen["filled"], seen["fills"][0]["trade_id"]) == (1, taker["fills"][0]["trade_id"])
        alice.cancel(maker["order_id"])


def test_look_up_shows_what_was_committed_before_it(alice: Bot, market: Market) -> None:
    for _ in range(5):
        order = alice.order(market)
        alice.cancel(order["order_id"])
        assert alice.look(order["order_id"])["status"] == "cancelled"


def test_answer_of_a_read_can_be_waited_for(alice: Bot, bob: Bot, market: Market) -> None:
    maker = alice.buy(market, "0.5000", 2)
    bob.sell(market, "0.5000", 1)
    seen = alice.look(maker["order_id"])
    again = alice.look(maker["order_id"], params={"min_as_of": seen["as_of"]})
    assert again["filled"] >= seen["filled"]
    assert as_numbers(seen["as_of"]) >= as_numbers(maker["as_of"])


def test_what_cannot_be_read_in_time_is_said_so_and_never_called_missing(
    exchange: RunningExchange, alice: Bot, market: Market
) -> None:
    earlier = alice.order(market)
    alice.look(earlier["order_id"])
    path = f"/orders/{earlier['order_id']}"
    with read_side_held(exchange), ThreadPoolExecutor(3) as pool:
        later = alice.order(market, client_order_id=new_client_id())
        by_client_id = f"/orders/by-client-id/{later['client_order_id']}"
        awaited = pool.submit(alice.ask, "GET", path, status=503, params={"min_as_of": later["as_of"]})
        claimed = pool.submit(alice.ask, "GET", by_client_id, status=503)
        # Without a token the answer is, after a while, what is known, and says so.
        seen = pool.submit(alice.look, earlier["order_id"])
        assert awaited.result()["code"] == claimed.result()["code"] == "read_lag"
        assert as_numbers(seen.result()["as_of"]) < as_numbers(later["as_of"])
    assert as_numbers(alice.look(later["order_id"])["as_of"]) >= as_numbers(later["as_of"])
    assert alice.ask("GET", by_client_id, status=200)["order_id"] == later["order_id"]


def test_token_of_the_future_is_malformed(alice: Bot, market: Market) -> None:
    order = alice.order(market)
    slot, _ = as_numbers(order["as_of"])
    params = {"min_as_of": f"{slot}-999999999"}
    assert (
        alice.ask("GET", f"/orders/{order['order_id']}", status=400, params=params)["code"]
        == "invalid_request"
    )


def test_token_that_is_none_is_malformed(alice: Bot, market: Market) -> None:
    order = alice.order(market)
    for token in ("yesterday", "1-", "-1", "1-1-1", "1-x", "٣-٤", "1.5", "9" * 40 + "-1"):
        problem = alice.ask("GET", f"/orders/{order['order_id']}", status=400, params={"min_as_of": token})
        assert (problem["code"], problem["errors"].keys()) == ("invalid_request", {"min_as_of"})


def test_unknown_order_is_not_found_and_final(alice: Bot) -> None:
    # A UUIDv7 of the year 2020: whatever carried it is long past its deadline.
    problem = alice.ask("GET", "/orders/016f5e66-e800-7000-8000-000000000001", status=404)
    assert (problem["code"], problem["final"]) == ("not_found", True)


def test_client_id_of_a_late_command_is_not_found_and_final(alice: Bot, market: Market) -> None:
    late = {"order_id": "016f5e66-e800-7000-8000-000000000001"}
    for path in ("/orders", f"/markets/{market.market_id}/orders"):
        problem = alice.ask("GET", f"{path}/by-client-id/{new_client_id()}", status=404, params=late)
        assert (problem["code"], problem["final"]) == ("not_found", True)
    order = alice.order(market, client_order_id=new_client_id())
    path = f"/orders/by-client-id/{order['client_order_id']}"
    assert alice.ask("GET", path, status=200, params=late)["order_id"] == order["order_id"]
    problem = alice.ask("GET", path, status=400, params={"order_id": "it"})
    assert problem["errors"].keys() == {"order_id"}
    problem = alice.ask("GET", f"/orders/{order['order_id']}", status=400, params=late)
    assert problem["errors"].keys() == {"order_id"}


def test_order_that_may_still_be_on_its_way_is_not_final(alice: Bot, market: Market) -> None:
    known = uuid.UUID(alice.order(market)["order_id"])
    unknown = uuid.UUID(int=known.int ^ 1)
    with ThreadPoolExecutor(2) as pool:
        by_id = pool.submit(alice.ask, "GET", f"/orders/{unknown}", status=404)
        by_client_id = pool.submit(alice.ask, "GET", f"/orders/by-client-id/{new_client_id()}", status=404)
        for problem in (by_id.result(), by_client_id.result()):
            assert (problem["code"], problem["final"]) == ("not_found", False)


def test_anothers_order_is_not_found(alice: Bot, bob: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    order = alice.order(market, client_order_id=client_order_id)
    alice.look(order["order_id"])
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"reduce_by": 1})):
        path = f"/orders/{order['order_id']}"
        assert bob.ask(method, path, body, status=404)["code"] == "not_found"
        if method != "GET":
            assert (
                bob.ask(method, f"/orders/by-client-id/{client_order_id}", body, status=404)["code"]
                == "not_found"
            )
    assert alice.look(order["order_id"])["remaining"] == 10


def test_order_is_found_under_its_own_market_only(
    alice: Bot, market: Market, make_market: MakeMarket
) -> None:
    order = alice.order(market)
    other = make_market()
    path = f"/markets/{other.market_id}/orders/{order['order_id']}"
    assert alice.ask("GET", path, status=404)["code"] == "not_found"
    assert alice.ask("GET", f"/markets/no-such/orders/{order['order_id']}", status=404)["code"] == "not_found"


def test_as_of_is_a_token(alice: Bot, market: Market) -> None:
    assert TOKEN.fullmatch(alice.look(alice.order(market)["order_id"])["as_of"])
