"""What covers an order, how fills and reductions use it, and when complete sets turn into $1."""

from tests.engine.both_markets import MarketUnderTest
from tests.engine.sayings import (
    amend,
    amended,
    cancel,
    cancelled,
    create,
    leg,
    matched,
    place,
    placed,
    rejected,
)


def give_yes(market: MarketUnderTest, account: str, quantity: int, *, to_no: str = "dan") -> None:
    """Lets an account buy Yes at 60 and another one No at 40."""
    number = market.cash_pips(account)
    market.given(
        place(f"give-a{number}", to_no, "sell", quantity, 6000),
        place(f"give-b{number}", account, "buy", quantity, 6000),
    )


def test_a_sell_of_shares_held_reserves_no_cash(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    order = place("s1", "ann", "sell", 10, 7000)
    assert market.run(order) == (placed(order, reserved=0, covered=10),)
    assert market.free_shares("ann") == [0, 0]


def test_shares_earmarked_by_one_order_do_not_cover_another(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    market.given(place("s1", "ann", "sell", 7, 7000))
    order = place("s2", "ann", "sell", 7, 8000)
    assert market.run(order) == (placed(order, reserved=4 * 2_000, covered=3),)


def test_a_fill_uses_shares_first_and_then_cash(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    order = place("s1", "ann", "sell", 15, 6000)
    assert market.run(order) == (placed(order, reserved=20_000, covered=10),)
    assert market.run(place("b1", "bob", "buy", 4, 6000))[2] == matched(
        "T2", "buy", 4, 6000,
        leg("s1", "ann", "maker", "sell", 4, 6000, delivered=4, cash=24_000, reserved=20_000),
        leg("b1", "bob", "taker", "buy", 4, 6000, cash=0, reserved=0),
    )  # fmt: skip
    assert market.run(place("b2", "bob", "buy", 8, 6000))[1] == matched(
        "T3", "buy", 8, 6000,
        leg("s1", "ann", "maker", "sell", 8, 6000, delivered=6, cash=36_000, reserved=12_000),
        leg("b2", "bob", "taker", "buy", 8, 6000, cash=0, reserved=0),
    )  # fmt: skip
    assert market.free_shares("ann") == [0, 2]


def test_whoever_holds_no_can_sell_it_without_cash(market: MarketUnderTest) -> None:
    market.deposit("nil", 40_000)
    market.given(
        create(), place("n1", "nil", "buy", 10, 4000, outcome=1), place("b1", "bob", "buy", 10, 6000)
    )
    assert market.cash_pips("nil") == 0
    order = place("n2", "nil", "sell", 10, 3500, outcome=1)
    assert market.run(order) == (placed(order, reserved=0, covered=10),)
    too_much = place("n3", "nil", "sell", 1, 3500, outcome=1)
    assert market.run(too_much) == (rejected(too_much, "exceeds_available_cash"),)


def test_a_buy_is_covered_by_shares_of_the_other_outcome(market: MarketUnderTest) -> None:
    """Buying Yes with No in hand completes sets: at 60 each pays the holder of No the other 40."""
    market.deposit("nil", 40_000)
    market.given(
        create(), place("n1", "nil", "buy", 10, 4000, outcome=1), place("b1", "bob", "buy", 10, 6000)
    )
    order = place("b2", "nil", "buy", 10, 7000)
    assert market.run(order) == (placed(order, reserved=0, covered=10),)
    assert market.run(place("s1", "ann", "sell", 10, 6500))[2] == matched(
        "T2", "sell", 10, 7000,
        leg("b2", "nil", "maker", "buy", 10, 7000, delivered=10, cash=30_000, reserved=0),
        leg("s1", "ann", "taker", "sell", 10, 7000, cash=5_000, reserved=0),
    )  # fmt: skip
    assert market.free_shares("nil") == [0, 0]
    assert market.free_shares("ann") == [0, 10]
    assert market.free_shares("bob") == [10, 0]


def test_a_covered_taker_gets_its_proceeds_at_the_better_price(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    market.given(place("b0", "bob", "buy", 10, 6500))
    events = market.run(place("s1", "ann", "sell", 5, 100))
    assert events[-1].legs[1] == leg(
        "s1", "ann", "taker", "sell", 5, 6500, delivered=5, cash=32_500, reserved=0
    )


def two_sided(market: MarketUnderTest) -> None:
    """Bob has 10 Yes earmarked by a sell at 90, and 10 No free, bought by cash."""
    market.given(create())
    give_yes(market, "bob", 10)
    market.given(
        place("high", "bob", "sell", 10, 9000),
        place("no", "bob", "buy", 10, 3000, outcome=1),
        place("yes", "ann", "buy", 10, 7000),
    )
    assert market.free_shares("bob") == [0, 10]


def test_sets_completed_by_a_fill_turn_into_cash_in_it(market: MarketUnderTest) -> None:
    market.given(create(), place("n1", "bob", "buy", 10, 3000, outcome=1))
    give_yes(market, "bob", 4)
    assert market.run(place("b1", "ann", "buy", 10, 7000))[2] == matched(
        "T2", "buy", 10, 7000,
        leg("n1", "bob", "maker", "buy", 10, 3000, outcome=1, netted=4, cash=40_000, reserved=0),
        leg("b1", "ann", "taker", "buy", 10, 7000, cash=0, reserved=0),
    )  # fmt: skip
    assert market.free_shares("bob") == [0, 6]


def test_shares_freed_by_a_cancel_net_in_that_event(market: MarketUnderTest) -> None:
    two_sided(market)
    assert market.run(cancel("bob", "high")) == (
        cancelled("high", "bob", "by_owner", 10, released=10, netted=10, cash=100_000),
    )
    assert market.free_shares("bob") == [0, 0]


def test_shares_freed_by_an_amend_net_in_that_event(market: MarketUnderTest) -> None:
    two_sided(market)
    assert market.run(amend("bob", "high", to=4)) == (
        amended("high", "bob", 4, 9000, covered=4, netted=6, cash=60_000, reserved=0),
    )
    assert market.free_shares("bob") == [0, 4]


def test_shares_freed_by_the_rest_of_an_ioc_order_net_in_that_event(market: MarketUnderTest) -> None:
    """The earmark of an immediate order is as good as any: what it does not use is free again."""
    two_sided(market)
    order = place("s1", "bob", "sell", 5, 8000, outcome=1, tif="IOC")
    assert market.run(order) == (
        placed(order, reserved=0, covered=5),
        cancelled("s1", "bob", "unfilled", 5, released=5, cash=0),
    )
    assert market.free_shares("bob") == [0, 10]


def test_earmarked_shares_do_not_net(market: MarketUnderTest) -> None:
    two_sided(market)
    assert market.cash_pips("bob") == 10_000_000 - 60_000 - 30_000


def test_a_reduction_frees_cash_before_shares(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    market.given(place("s1", "ann", "sell", 15, 6000))
    assert market.run(amend("ann", "s1", to=12)) == (
        amended("s1", "ann", 12, 6000, covered=10, cash=12_000, reserved=8_000),
    )
    assert market.run(amend("ann", "s1", by=4)) == (
        amended("s1", "ann", 8, 6000, covered=8, cash=8_000, reserved=0),
    )
    assert market.free_shares("ann") == [2, 0]


def test_a_cancel_frees_cash_and_shares_together(market: MarketUnderTest) -> None:
    market.given(create())
    give_yes(market, "ann", 10)
    market.given(place("s1", "ann", "sell", 15, 6000))
    assert market.run(cancel("ann", "s1")) == (
        cancelled("s1", "ann", "by_owner", 15, released=10, cash=20_000),
    )
    assert market.free_shares("ann") == [10, 0]


def test_shares_bought_later_do_not_change_what_covers_an_open_order(market: MarketUnderTest) -> None:
    market.given(create(), place("s1", "ann", "sell", 5, 8000))
    give_yes(market, "ann", 5)
    assert market.free_shares("ann") == [5, 0]
    assert market.run(cancel("ann", "s1")) == (cancelled("s1", "ann", "by_owner", 5, cash=10_000),)


def test_proceeds_of_one_order_pay_for_the_next(market: MarketUnderTest) -> None:
    market.deposit("nil", 60_000)
    market.given(create())
    give_yes(market, "nil", 10)
    market.given(place("s1", "nil", "sell", 10, 7000), place("b1", "bob", "buy", 10, 7000))
    order = place("b2", "nil", "buy", 10, 7000)
    assert market.run(order) == (placed(order, reserved=70_000),)
    assert market.cash_pips("nil") == 0
