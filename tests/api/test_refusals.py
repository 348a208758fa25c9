"""What the exchange says no to, with which code, and in which precedence."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.bot import Bot, Market
from tests.api.conftest import MakeMarket, _bot
from tests.running_exchange import RunningExchange


@pytest.fixture(scope="module")
def poor(exchange: RunningExchange, alice: Bot) -> Iterator[Bot]:
    """Has ten dollars."""
    yield from _bot(alice.lane, exchange, exchange.new_trader("10.0000"))


def change(staff: httpx.Client, market: Market, what: str, **body: Any) -> dict[str, Any]:
    response = staff.post(f"/markets/{market.market_id}/{what}", json=body)
    assert response.status_code in (200, 202), response.text
    return response.json()


def test_cash_is_enough_to_the_pip(poor: Bot, market: Market) -> None:
    assert poor.buy(market, "0.5000", 20)["status"] == "open"
    assert poor.money() == (0, 100_000)
    problem = poor.order(market, status=422, price="0.0100", quantity=1)
    assert problem["code"] == "exceeds_available_cash"
    assert (problem["order"]["status"], problem["order"]["reason"]) == ("rejected", "exceeds_available_cash")
    assert poor.money() == (0, 100_000)
    poor.ask("DELETE", f"/markets/{market.market_id}/orders", status=200)
    assert poor.money() == (100_000, 0)


def test_order_one_pip_over_available_cash_is_refused(poor: Bot, make_market: MakeMarket) -> None:
    market = make_market(tick="0.0001")
    problem = poor.order(market, status=422, price="0.0101", quantity=991)
    assert problem["code"] == "exceeds_available_cash"
    assert poor.buy(market, "0.0100", 1000)["status"] == "open"
    poor.ask("DELETE", f"/markets/{market.market_id}/orders", status=200)


def test_seller_needs_the_other_part_of_the_dollar(poor: Bot, market: Market) -> None:
    problem = poor.order(market, status=422, side="sell", price="0.5000", quantity=21)
    assert problem["code"] == "exceeds_available_cash"
    order = poor.sell(market, "0.5000", 20)
    assert poor.cancel(order["order_id"])["status"] == "cancelled"


def test_earlier_rules_win_over_later_ones(poor: Bot, market: Market, staff: httpx.Client) -> None:
    # Off the tick, FOK without anything to meet, and too dear: the tick speaks first, then the book, then the cash.
    hopeless: dict[str, Any] = {"price": "0.9950", "quantity": 1000, "time_in_force": "FOK"}
    assert poor.order(market, status=422, **hopeless)["code"] == "off_tick"
    assert poor.order(market, status=422, **{**hopeless, "price": "0.9900"})["code"] == "cannot_fill"
    assert poor.order(market, status=422, price="0.9900", quantity=1000)["code"] == "exceeds_available_cash"
    change(staff, market, "suspend", reason="for a test")
    assert poor.order(market, status=422, **hopeless)["code"] == "market_not_open"


@pytest.mark.parametrize("price", ["0.5050", "0.0001", "0.9999"])
def test_price_between_ticks_is_refused(alice: Bot, market: Market, price: str) -> None:
    assert alice.order(market, status=422, price=price)["code"] == "off_tick"


def test_finer_tick_allows_finer_prices(alice: Bot, make_market: MakeMarket) -> None:
    market = make_market(tick="0.0001")
    for price in ("0.0001", "0.9999", "0.5003"):
        assert alice.order(market, price=price, quantity=1, time_in_force="IOC")["price"] == price


def test_suspended_market_takes_no_orders_but_cancels_and_goes_on(
    alice: Bot, market: Market, staff: httpx.Client
) -> None:
    kept, dropped = alice.buy(market, "0.4000", 1), alice.buy(market, "0.3000", 1)
    change(staff, market, "suspend", reason="for a test")
    assert alice.order(market, status=422)["code"] == "market_not_open"
    assert alice.cancel(dropped["order_id"])["reason"] == "by_owner"
    change(staff, market, "resume")
    assert alice.look(kept["order_id"])["status"] == "open"
    assert alice.order(market)["status"] == "open"


def test_resolved_market_has_cancelled_its_orders_and_takes_none(
    alice: Bot, bob: Bot, market: Market, staff: httpx.Client
) -> None:
    before = alice.money()
    order = alice.buy(market, "0.4000", 10)
    ending = change(staff, market, "resolve", outcome="No", evidence="it was said")
    ended = alice.look(order["order_id"], params={"min_as_of": ending["as_of"]})
    assert (ended["status"], ended["reason"]) == ("cancelled", "market_closed")
    assert alice.money() == before
    assert alice.order(market, status=422)["code"] == "market_not_open"
    assert alice.cancel(order["order_id"])["reason"] == "market_closed"


def test_market_that_has_not_opened_takes_no_orders(alice: Bot, make_market: MakeMarket) -> None:
    market = make_market(opens_at="2049-01-01T00:00:00Z")
    assert alice.order(market, status=422)["code"] == "market_not_open"


def test_fields_that_say_the_default_are_no_wish(alice: Bot, market: Market) -> None:
    order = alice.order(
        market, post_only=False, reduce_only=False, on_suspend="keep", self_trade_prevention="cancel_taker",
        expires_at=None, valid_until=None, max_cost=None, client_order_id=None,
    )  # fmt: skip
    assert order["status"] == "open"


def test_refusals_are_counted_in_no_book(alice: Bot, bob: Bot, market: Market) -> None:
    alice.order(market, status=422, price="0.4050")
    assert bob.sell(market, "0.0100", 1, time_in_force="IOC")["filled"] == 0
