"""What is refused, by which rule first, and that a refusal changes nothing."""

import pytest

from tests.engine.both_markets import CLOSES_US, MarketUnderTest, assert_book
from tests.engine.sayings import cancel, close, create, place, placed, rejected, suspend
from trading.engine import decide
from trading.engine.rejection import RejectReason


def test_order_one_pip_over_available_cash_is_refused_and_changes_nothing(market: MarketUnderTest) -> None:
    market.deposit("nil", 59_999)
    market.given(create())
    order = place("b1", "nil", "buy", 10, 6000)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)
    assert market.cash_pips("nil") == 59_999
    assert_book(market, "bid  price  ask")


def test_order_of_all_available_cash_is_accepted(market: MarketUnderTest) -> None:
    market.deposit("nil", 60_000)
    market.given(create())
    order = place("b1", "nil", "buy", 10, 6000)
    assert market.run(order) == (placed(order, reserved=60_000),)


def test_cash_in_open_orders_is_not_available(market: MarketUnderTest) -> None:
    market.deposit("nil", 60_000)
    market.given(create(), place("b1", "nil", "buy", 5, 6000))
    order = place("b2", "nil", "buy", 6, 6000)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)
    market.given(cancel("nil", "b1"))
    again = place("b3", "nil", "buy", 6, 6000)
    assert market.run(again) == (placed(again, reserved=36_000),)


def test_a_sell_without_shares_needs_the_rest_of_the_dollar(market: MarketUnderTest) -> None:
    market.deposit("nil", 39_999)
    market.given(create())
    order = place("s1", "nil", "sell", 10, 6000)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)


def test_cash_is_judged_at_the_limit_even_where_the_book_is_cheaper(market: MarketUnderTest) -> None:
    market.deposit("nil", 30_000)
    market.given(create(), place("a1", "ann", "sell", 10, 2000))
    order = place("b1", "nil", "buy", 10, 6000, tif="IOC")
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)


@pytest.mark.parametrize("price", [1, 99, 101, 6050, 9999])
def test_a_price_between_the_ticks_is_refused(market: MarketUnderTest, price: int) -> None:
    market.given(create(tick=100))
    order = place("b1", "bob", "buy", 1, price, outcome=1)
    assert market.run(order) == (rejected(order, "off_tick"),)


@pytest.mark.parametrize("price", [100, 6000, 9900])
def test_a_price_on_the_tick_is_accepted(market: MarketUnderTest, price: int) -> None:
    market.given(create(tick=100))
    order = place("b1", "bob", "buy", 1, price)
    assert market.run(order) == (placed(order, reserved=price),)


def test_an_account_has_at_most_so_many_open_orders_in_a_market(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", 2)
    market.given(create(), place("b1", "bob", "buy", 1, 5000), place("b2", "bob", "buy", 1, 5000))
    third = place("b3", "bob", "buy", 1, 5000)
    assert market.run(third) == (rejected(third, "exceeds_limits"),)
    others = place("b4", "cat", "buy", 1, 5000)
    assert market.run(others) == (placed(others, reserved=5_000),)
    market.given(cancel("bob", "b1"))
    again = place("b5", "bob", "buy", 1, 5000)
    assert market.run(again) == (placed(again, reserved=5_000),)


# An order that breaks every rule at once, and what has to be mended for the next rule to speak.
BREAKS_ALL = place("x", "nil", "buy", 9, 6050, tif="FOK")
LADDER = [
    ("market_not_open", {}),
    ("off_tick", {"opens": True}),
    ("exceeds_limits", {"opens": True, "price": 6000}),
    ("cannot_fill", {"opens": True, "price": 6000, "limit": 100}),
    ("exceeds_available_cash", {"opens": True, "price": 6000, "limit": 100, "tif": "GTC"}),
]


@pytest.mark.parametrize(("reason", "mended"), LADDER)
def test_the_first_broken_rule_is_the_answer(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch, reason: str, mended: dict[str, object]
) -> None:
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", mended.get("limit", 0))
    market.given(create(tick=100))
    if not mended.get("opens"):
        market.given(suspend())
    order = BREAKS_ALL._replace(
        price_pips=mended.get("price", BREAKS_ALL.price_pips),
        time_in_force=mended.get("tif", BREAKS_ALL.time_in_force),
    )
    assert market.run(order) == (rejected(order, reason),)


def test_the_rules_are_declared_in_the_order_in_which_they_are_judged() -> None:
    declared = [reason.value for reason in RejectReason]
    judged = [reason for reason, _ in LADDER]
    assert declared[: len(judged)] == judged


def test_orders_are_refused_from_the_closing_time_on_and_cancels_are_not(market: MarketUnderTest) -> None:
    market.given(create())
    market.now_us = CLOSES_US - 1
    last = place("b1", "bob", "buy", 1, 6000)
    assert market.run(last) == (placed(last, reserved=6_000),)
    market.now_us = CLOSES_US
    late = place("b2", "bob", "buy", 1, 6000)
    assert market.run(late) == (rejected(late, "market_not_open"),)
    assert len(market.run(cancel("bob", "b1"))) == 1
    assert market.cash_pips("bob") == 10_000_000


def test_a_closed_market_refuses_orders(market: MarketUnderTest) -> None:
    market.given(create(), close())
    order = place("b1", "bob", "buy", 1, 6000, client="mine")
    assert market.run(order) == (rejected(order, "market_not_open"),)
