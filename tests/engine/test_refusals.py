"""What is refused, by which rule first, and that a refusal changes nothing."""

import msgspec
import pytest

from tests.engine.both_markets import CLOSES_US, START_US, MarketUnderTest, assert_book
from tests.engine.sayings import cancel, cancel_all, close, create, place, placed, rejected, suspend
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


# An order that breaks every rule at once, and what has to be mended, one after another, for the next rule to speak.
BREAKS_ALL = place(
    "x", "nil", "buy", 9, 6050, tif="FOK", post_only=True, reduce_only=True, valid_until_us=START_US
)  # fmt: skip
LADDER: list[tuple[str, dict[str, object]]] = [
    ("market_not_open", {}),
    ("expired", {"opens": True}),
    ("cancelled_by_owner", {"valid_until_us": None}),
    ("off_tick", {"order_id": "z"}),
    ("exceeds_limits", {"price_pips": 6000}),
    ("would_cross", {"limit": 100}),
    ("cannot_fill", {"post_only": False}),
    ("reduce_only", {"time_in_force": "GTC"}),
    ("exceeds_available_cash", {"reduce_only": False}),
]


@pytest.mark.parametrize("rung", range(len(LADDER)), ids=[reason for reason, _ in LADDER])
def test_the_first_broken_rule_is_the_answer(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch, rung: int
) -> None:
    mended = {name: value for _, mends in LADDER[: rung + 1] for name, value in mends.items()}
    market.given(create(tick=100), place("a", "ann", "sell", 4, 6000), cancel_all("nil", fence="y"))
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", mended.pop("limit", 0))
    if not mended.pop("opens", False):
        market.given(suspend())
    order = msgspec.structs.replace(BREAKS_ALL, **mended)
    assert market.run(order) == (rejected(order, LADDER[rung][0]),)


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
