"""Cancelling: one order, all of a market, of an outcome, of a side, all of them."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.api.bot import TOKEN, Bot, Market, new_client_id, same_but_as_of
from tests.api.conftest import MakeMarket, _bot, read_side_held
from tests.running_exchange import RunningExchange
from trading.wire import command_stream


@pytest.fixture
def dora(exchange: RunningExchange, alice: Bot) -> Iterator[Bot]:
    """An account with no orders from other tests."""
    yield from _bot(alice.lane, exchange, exchange.new_trader("1000.0000"))


def cancel_all(bot: Bot, path: str, **query: str) -> int:
    answer = bot.ask("DELETE", path, status=200, params=query)
    assert answer.keys() == {"cancelled", "as_of"}
    assert answer["as_of"] == "" or TOKEN.fullmatch(answer["as_of"])
    assert type(answer["cancelled"]) is int
    return answer["cancelled"]


def test_cancel_answers_the_final_state_and_frees_the_money(alice: Bot, bob: Bot, market: Market) -> None:
    before = alice.money()
    order = alice.buy(market, "0.5000", 10)
    bob.sell(market, "0.5000", 4)
    ended = alice.cancel(order["order_id"])
    assert (ended["status"], ended["reason"], ended["filled"], ended["remaining"]) == (
        "cancelled",
        "by_owner",
        4,
        0,
    )
    assert ended["seq"] > order["seq"]
    assert alice.money() == (before[0] - 20_000, before[1])
    assert bob.sell(market, "0.5000", 1)["filled"] == 0


def test_cancel_of_an_ended_order_answers_how_it_ended(alice: Bot, bob: Bot, market: Market) -> None:
    cancelled, filled = alice.buy(market, "0.4000", 10), alice.buy(market, "0.5000", 10)
    bob.sell(market, "0.5000", 10)
    first = alice.cancel(cancelled["order_id"])
    assert same_but_as_of(alice.cancel(cancelled["order_id"])) == same_but_as_of(first)
    assert alice.cancel(filled["order_id"])["status"] == "filled"


def test_cancel_of_a_rejected_order_answers_the_rejection(alice: Bot, market: Market) -> None:
    order = alice.order(market, status=422, price="0.4050")["order"]
    assert alice.cancel(order["order_id"])["status"] == "rejected"


def test_anothers_order_is_not_found_and_stays(alice: Bot, bob: Bot, market: Market) -> None:
    order = alice.buy(market, "0.5000", 10)
    for path in (f"/orders/{order['order_id']}", f"/markets/{market.market_id}/orders/{order['order_id']}"):
        assert bob.ask("DELETE", path, status=404)["code"] == "not_found"
    assert alice.look(order["order_id"], params={"min_as_of": order["as_of"]})["status"] == "open"


def test_order_of_another_market_is_not_found_under_this_one(
    alice: Bot, market: Market, make_market: MakeMarket
) -> None:
    order = alice.order(make_market("Ann", "Ben", "Cid"), outcome="Cid")
    path = f"/markets/{market.market_id}/orders/{order['order_id']}"
    for method, body in (("DELETE", None), ("PATCH", {"quantity": 1}), ("GET", None)):
        assert alice.ask(method, path, body, status=404)["code"] == "not_found"
    assert alice.look(order["order_id"])["remaining"] == 10


def test_order_is_cancelled_by_client_id_and_under_its_market(alice: Bot, market: Market) -> None:
    for path in ("/orders/by-client-id/{}", f"/markets/{market.slug}/orders/by-client-id/{{}}"):
        client_order_id = new_client_id()
        order = alice.buy(market, "0.5000", 10, client_order_id=client_order_id)
        for _ in range(2):
            ended = alice.ask("DELETE", path.format(client_order_id), status=200)
            assert (ended["order_id"], ended["status"]) == (order["order_id"], "cancelled")


def test_cancel_all_of_a_market_leaves_other_markets_and_accounts_alone(
    alice: Bot, bob: Bot, market: Market, make_market: MakeMarket
) -> None:
    elsewhere, theirs = alice.order(make_market()), bob.order(market)
    mine = [alice.buy(market, f"0.{cents}00", 1) for cents in (20, 30, 40)]
    assert cancel_all(alice, f"/markets/{market.market_id}/orders") == 3
    assert cancel_all(alice, f"/markets/{market.slug}/orders") == 0
    assert {alice.look(order["order_id"])["status"] for order in mine} == {"cancelled"}
    assert alice.look(elsewhere["order_id"])["status"] == "open"
    assert bob.look(theirs["order_id"])["status"] == "open"


def test_cancel_all_of_an_outcome_or_a_side(alice: Bot, market: Market) -> None:
    orders = {
        (outcome, side): alice.order(market, outcome=outcome, side=side, price=price, quantity=1)
        for outcome, side, price in (
            ("Yes", "buy", "0.1000"), ("Yes", "sell", "0.9000"), ("No", "buy", "0.0800"), ("No", "sell", "0.9500"),
        )
    }  # fmt: skip
    path = f"/markets/{market.market_id}/orders"
    assert cancel_all(alice, path, outcome="No", side="sell") == 1
    assert cancel_all(alice, path, side="buy") == 2
    assert cancel_all(alice, path, outcome="No") == 0
    assert {key: alice.look(order["order_id"])["status"] for key, order in orders.items()} == {
        ("Yes", "buy"): "cancelled", ("Yes", "sell"): "open", ("No", "buy"): "cancelled", ("No", "sell"): "cancelled",
    }  # fmt: skip
    assert cancel_all(alice, path, outcome="Yes") == 1


@pytest.mark.parametrize("query", [{"side": "both"}, {"side": ""}, {"outcome": "Maybe"}, {"outcome": ""}])
def test_cancel_all_of_what_does_not_exist_is_malformed(
    alice: Bot, market: Market, query: dict[str, str]
) -> None:
    order = alice.order(market)
    problem = alice.ask("DELETE", f"/markets/{market.market_id}/orders", status=400, params=query)
    assert (problem["code"], problem["errors"].keys()) == ("invalid_request", query.keys())
    assert alice.look(order["order_id"])["status"] == "open"


def test_cancel_everything_reaches_orders_that_cannot_be_read_yet(
    exchange: RunningExchange, dora: Bot, make_market: MakeMarket
) -> None:
    markets = [make_market() for _ in range(2)]
    with read_side_held(exchange):
        for market in markets:
            dora.order(market, quantity=1)
        assert cancel_all(dora, "/orders") == 2
        assert dora.money() == (10_000_000, 0)
    assert cancel_all(dora, "/orders") == 0


def test_cancel_everything_of_a_side_or_an_outcome(dora: Bot, make_market: MakeMarket) -> None:
    first, second = make_market(), make_market("Ann", "Ben", "Cid")
    buy, sell = dora.buy(first, "0.1000", 1), dora.sell(first, "0.9000", 1)
    ben = dora.order(second, outcome="Ben", quantity=1)
    assert cancel_all(dora, "/orders", outcome="Ben") == 1
    assert cancel_all(dora, "/orders", side="sell") == 1
    statuses = [dora.look(order["order_id"])["status"] for order in (buy, sell, ben)]
    assert statuses == ["open", "cancelled", "cancelled"]


def test_cancel_everything_of_no_side_is_malformed(dora: Bot, market: Market) -> None:
    for query in ({"side": "both"}, {"side": ""}, {"outcome": ""}):
        assert dora.ask("DELETE", "/orders", status=400, params=query)["errors"].keys() == query.keys()
    dora.order(market)
    assert dora.ask("DELETE", "/orders", status=400, params={"side": "both"})["code"] == "invalid_request"
    assert cancel_all(dora, "/orders") == 1


# What is on its way -------------------------------------------------------------------------------


def test_cancel_everything_stops_orders_that_no_engine_has_read_yet(
    exchange: RunningExchange, dora: Bot, market: Market
) -> None:
    with ThreadPoolExecutor() as threads:
        with frozen(exchange, "engine"):
            placing = threads.submit(dora.order, market, status=422)
            wait_for_queue(exchange)
            assert cancel_all(dora, "/orders") == 0
        problem = placing.result()
    assert (problem["code"], problem["order"]["status"]) == ("cancelled_by_owner", "rejected")
    assert dora.money() == (10_000_000, 0)
    assert dora.order(market)["status"] == "open"
    assert cancel_all(dora, "/orders") == 1


def test_cancel_everything_reaches_orders_whose_commit_is_under_way(
    exchange: RunningExchange, dora: Bot, market: Market
) -> None:
    with ThreadPoolExecutor() as threads, exchange.connect() as database:
        with database.transaction():
            # The commit waits for this row, the reservation does not.
            database.execute("SELECT FROM stream WHERE id = %s FOR UPDATE", [market.market_id])
            placing = threads.submit(dora.order, market)
            with exchange.connect() as reader:
                until(lambda: bool(reader.execute("SELECT count(*) FROM batch").fetchone()[0]))  # type: ignore[index]
            cancelling = threads.submit(cancel_all, dora, "/orders")
            until(lambda: fence_of(exchange, dora) is not None)
        order = placing.result()
        assert cancelling.result() == 1
    ended = dora.look(order["order_id"])
    assert (ended["status"], ended["reason"]) == ("cancelled", "by_owner")
    assert dora.money() == (10_000_000, 0)


def test_cancel_of_a_side_everywhere_raises_no_fence(
    exchange: RunningExchange, dora: Bot, market: Market
) -> None:
    dora.order(market)
    assert cancel_all(dora, "/orders", side="buy") == 1
    assert fence_of(exchange, dora) is None


@contextmanager
def frozen(exchange: RunningExchange, name: str) -> Iterator[None]:
    """The process stands still; not for seconds, or another would take its place."""
    exchange.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        exchange.signal(name, signal.SIGCONT)


def wait_for_queue(exchange: RunningExchange) -> None:
    """Until a command waits that no engine has consumed."""
    valkey = exchange.valkey()
    with exchange.connect() as database:
        consumed = dict(database.execute("SELECT slot, command_offset FROM slot WHERE kind = 'market'"))  # type: ignore[arg-type]
    until(
        lambda: any(
            valkey.xrange(command_stream(slot), min=f"({offset}", count=1)
            for slot, offset in consumed.items()
            if valkey.xlen(command_stream(slot))
        )
    )


def fence_of(exchange: RunningExchange, bot: Bot) -> object:
    with exchange.connect() as database:
        row = database.execute(
            "SELECT fence FROM cash_account JOIN accounts_user USING (account_id) WHERE username = %s",
            [bot.trader.username],
        ).fetchone()
    assert row is not None
    return row[0]


def until(condition: Callable[[], bool], *, within_s: float = 4) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
