"""A market order that says how much money it may cost, fees included."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, trades_of
from tests.engine.sayings import cancelled, create, leg, place, placed, rejected
from trading.engine import commands as cmd


def asks_of_40_and_50(market: MarketUnderTest, *, taker: int = 0) -> None:
    market.given(
        create(taker=taker), place("s1", "ann", "sell", 5, 4000), place("s2", "cat", "sell", 5, 5000)
    )  # fmt: skip


def buy(max_cost: int, *, most: int = 100, worst: int = 6000, stp: str = "cancel_taker") -> cmd.PlaceOrder:
    return place("b", "bob", "buy", most, worst, max_cost=max_cost, stp=stp)


def test_it_buys_the_best_offers_as_far_as_the_money_goes_and_gets_the_rest_back(
    market: MarketUnderTest,
) -> None:
    asks_of_40_and_50(market)
    order = buy(34_999)
    events = market.run(order)
    assert events[0] == placed(order, reserved=34_999, quantity=7)
    assert trades_of(events) == [("s1 b", 5, 4000), ("s2 b", 2, 5000)]
    taken = [event.legs[1] for event in events if hasattr(event, "legs")]
    assert taken == [
        leg("b", "bob", "taker", "buy", 5, 4000, cash=0, reserved=14_999),
        leg("b", "bob", "taker", "buy", 2, 5000, cash=4_999, reserved=0),
    ]
    assert market.cash_pips("bob") == 10_000_000 - 30_000


@pytest.mark.parametrize(
    ("max_cost", "shares"), [(5_000 * 7 + 4_000, 8), (20_000 + 840, 5), (20_000 + 839, 4)]
)
def test_the_fee_is_part_of_the_cost(market: MarketUnderTest, max_cost: int, shares: int) -> None:
    """5 at 40 cost 20,000 and 840 of fee, of which 4 cost 16,000 and 672; each at 50 another 5,175."""
    asks_of_40_and_50(market, taker=700)
    events = market.run(buy(max_cost))
    paid = 10_000_000 - market.cash_pips("bob")
    assert sum(quantity for _, quantity, _ in trades_of(events)) == shares
    assert paid <= max_cost


def test_money_beyond_the_offers_counts_at_the_worst_price_and_comes_back(market: MarketUnderTest) -> None:
    asks_of_40_and_50(market)
    order = buy(45_000 + 13_000)
    events = market.run(order)
    assert events[0] == placed(order, reserved=58_000, quantity=12)
    assert events[-1] == cancelled("b", "bob", "unfilled", 2, cash=13_000)


def test_offers_beyond_the_worst_price_are_left(market: MarketUnderTest) -> None:
    asks_of_40_and_50(market)
    assert trades_of(market.run(buy(100_000, worst=4999))) == [("s1 b", 5, 4000)]


def test_it_is_never_more_than_the_shares_asked_for(market: MarketUnderTest) -> None:
    asks_of_40_and_50(market)
    order = buy(100_000, most=3)
    events = market.run(order)
    assert events[0] == placed(order, reserved=100_000, quantity=3)
    assert trades_of(events) == [("s1 b", 3, 4000)]
    assert market.cash_pips("bob") == 10_000_000 - 12_000


@pytest.mark.parametrize("outcomes", [("Yes", "No"), ("A", "B", "C")])
def test_money_that_buys_no_share_meets_nothing(market: MarketUnderTest, outcomes: tuple[str, ...]) -> None:
    market.given(create(outcomes=outcomes), place("s1", "ann", "sell", 5, 4000))
    order = buy(3_999)
    assert market.run(order) == (
        placed(order, reserved=3_999, quantity=1),
        cancelled("b", "bob", "unfilled", 1, cash=3_999),
    )


def test_money_that_is_not_there_is_refused(market: MarketUnderTest) -> None:
    market.deposit("nil", 19_999)
    asks_of_40_and_50(market)
    order = place("b", "nil", "buy", 100, 6000, max_cost=20_000)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)


def test_a_wholly_covered_order_reserves_nothing(market: MarketUnderTest) -> None:
    market.given(create(), place("n", "bob", "buy", 7, 3000, outcome=1), place("y", "dan", "buy", 7, 7000))
    market.given(place("s1", "ann", "sell", 5, 4000), place("s2", "cat", "sell", 5, 5000))
    order = buy(34_999)
    events = market.run(order)
    assert events[0] == placed(order, reserved=0, covered=7, quantity=7)
    assert trades_of(events) == [("s1 b", 5, 4000), ("s2 b", 2, 5000)]
    assert market.cash_pips("bob") == 10_000_000 - 21_000 + 5 * 6_000 + 2 * 5_000


def test_a_partly_covered_order_pays_the_rest_out_of_its_money(market: MarketUnderTest) -> None:
    market.given(create(), place("n", "bob", "buy", 5, 3000, outcome=1), place("y", "dan", "buy", 5, 7000))
    market.given(place("s1", "ann", "sell", 5, 4000), place("s2", "cat", "sell", 5, 5000))
    order = buy(34_999)
    events = market.run(order)
    assert events[0] == placed(order, reserved=34_999, covered=5, quantity=7)
    assert events[2].legs[1] == leg(
        "b", "bob", "taker", "buy", 5, 4000, delivered=5, cash=30_000, reserved=34_999
    )
    assert market.cash_pips("bob") == 10_000_000 - 15_000 + 30_000 - 10_000


def test_expired_and_skipped_orders_buy_nothing(market: MarketUnderTest) -> None:
    market.given(
        create(), place("old", "ann", "sell", 5, 3000, expires_us=START_US + 1), place("own", "bob", "sell", 5, 3500),
        place("s", "cat", "sell", 5, 4000),
    )  # fmt: skip
    market.now_us += 1
    events = market.run(buy(8_000, stp="cancel_maker"))
    assert events[0].quantity == 2
    assert trades_of(events) == [("s b", 2, 4000)]


def test_it_buys_what_is_implied_as_well(market: MarketUnderTest) -> None:
    market.given(
        create(outcomes=("A", "B", "C")), place("x", "ann", "buy", 5, 3000, outcome=1),
        place("y", "cat", "buy", 5, 3000, outcome=2), place("s", "dan", "sell", 5, 4500),
    )  # fmt: skip
    assert trades_of(market.run(buy(29_000))) == [("x y b", 5, 4000), ("s b", 2, 4500)]
