"""Who would trade with himself: the taker, the own resting orders or both end, and nobody else."""

import pytest

from tests.engine.both_markets import MarketUnderTest, assert_book, trades_of
from tests.engine.sayings import cancelled, create, place, placed
from trading.engine import commands as cmd

A, B, C = 0, 1, 2


def own_ask_first(market: MarketUnderTest) -> None:
    market.given(create(), place("own", "bob", "sell", 4, 6000), place("ann's", "ann", "sell", 6, 6000))


def taker(stp: str, quantity: int = 10) -> cmd.PlaceOrder:
    return place("b", "bob", "buy", quantity, 6000, stp=stp)


def test_cancel_taker_ends_the_order_that_comes_and_leaves_the_book(market: MarketUnderTest) -> None:
    own_ask_first(market)
    order = taker("cancel_taker")
    assert market.run(order) == (
        placed(order, reserved=60_000),
        cancelled("b", "bob", "self_trade", 10, cash=60_000),
    )
    assert_book(market, """
        bid  price  ask
                60   10
    """)  # fmt: skip


def test_cancel_maker_ends_the_own_resting_order_and_goes_on(market: MarketUnderTest) -> None:
    own_ask_first(market)
    events = market.run(taker("cancel_maker"))
    assert events[1] == cancelled("own", "bob", "self_trade", 4, cash=16_000)
    assert trades_of(events) == [("ann's b", 6, 6000)]
    assert_book(market, """
        bid  price  ask
          4     60
    """)  # fmt: skip


def test_cancel_both_ends_the_own_resting_order_and_then_the_taker(market: MarketUnderTest) -> None:
    own_ask_first(market)
    assert market.run(taker("cancel_both"))[1:] == (
        cancelled("own", "bob", "self_trade", 4, cash=16_000),
        cancelled("b", "bob", "self_trade", 10, cash=60_000),
    )
    assert_book(market, """
        bid  price  ask
                60    6
    """)  # fmt: skip


@pytest.mark.parametrize(
    ("stp", "trades", "book"),
    [
        ("cancel_taker", [("first b", 3, 5900)], [(6000, 10)]),
        ("cancel_maker", [("first b", 3, 5900), ("last b", 6, 6000)], []),
        ("cancel_both", [("first b", 3, 5900)], [(6000, 6)]),
    ],
)
def test_what_stands_before_the_own_order_is_filled_in_every_mode(
    market: MarketUnderTest, stp: str, trades: list[tuple[str, int, int]], book: list[tuple[int, int]]
) -> None:
    market.given(
        create(), place("first", "ann", "sell", 3, 5900), place("own", "bob", "sell", 4, 6000),
        place("last", "ann", "sell", 6, 6000),
    )  # fmt: skip
    assert trades_of(market.run(taker(stp, 9))) == trades
    assert market.depth(0)[1] == book


@pytest.mark.parametrize("stp", ["cancel_taker", "cancel_maker", "cancel_both"])
def test_an_order_that_is_filled_before_it_reaches_the_own_one_ends_nothing(
    market: MarketUnderTest, stp: str
) -> None:
    market.given(create(), place("first", "ann", "sell", 3, 5900), place("own", "bob", "sell", 4, 6000))
    assert trades_of(market.run(taker(stp, 3))) == [("first b", 3, 5900)]
    assert market.depth(0)[1] == [(6000, 4)]


def own_bid_in_a_leg(market: MarketUnderTest) -> None:
    """Bob's bid for C stands before Cat's: bids of B and C leave 30 for A."""
    market.given(
        create(outcomes=("A", "B", "C")),
        place("b", "ann", "buy", 9, 3000, outcome=B), place("own", "bob", "buy", 4, 4000, outcome=C),
        place("c", "cat", "buy", 9, 3500, outcome=C),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stp", "ended", "trades"),
    [
        ("cancel_taker", ["a"], []),
        ("cancel_maker", ["own"], [("b c a", 5, 3500)]),
        ("cancel_both", ["own", "a"], []),
    ],
)
def test_an_own_order_in_one_leg_of_an_implied_offer_is_a_self_trade(
    market: MarketUnderTest, stp: str, ended: list[str], trades: list[tuple[str, int, int]]
) -> None:
    own_bid_in_a_leg(market)
    events = market.run(place("a", "bob", "buy", 5, 3500, outcome=A, stp=stp))
    assert [event.order for event in events if getattr(event, "reason", None) == "self_trade"] == ended
    assert trades_of(events) == trades


def test_own_orders_in_two_legs_end_in_the_order_of_their_outcomes(market: MarketUnderTest) -> None:
    market.given(
        create(outcomes=("A", "B", "C")),
        place("in c", "bob", "buy", 4, 4000, outcome=C), place("in b", "bob", "buy", 4, 3000, outcome=B),
    )  # fmt: skip
    assert market.run(place("a", "bob", "buy", 5, 3000, outcome=A, stp="cancel_both"))[1:] == (
        cancelled("in b", "bob", "self_trade", 4, cash=12_000),
        cancelled("in c", "bob", "self_trade", 4, cash=16_000),
        cancelled("a", "bob", "self_trade", 5, cash=15_000),
    )
