"""Markets of three and more outcomes: one book each; a sell without shares pays for all the others."""

from tests.engine.both_markets import MarketUnderTest, assert_book
from tests.engine.sayings import (
    cancel,
    cancelled,
    create,
    leg,
    matched,
    opened,
    place,
    placed,
    rejected,
    resolve,
)

A, B, C = 0, 1, 2
ABC = create(outcomes=("A", "B", "C"))


def test_each_outcome_has_a_book_of_its_own(market: MarketUnderTest) -> None:
    market.given(
        ABC,
        place("a", "ann", "buy", 10, 3000, outcome=A),
        place("b", "bob", "sell", 5, 2500, outcome=B),
        place("c", "cat", "buy", 7, 2600, outcome=C),
    )
    assert_book(market, """
        bid  price  ask
         10     30
    """, outcome=A)  # fmt: skip
    assert_book(market, """
        bid  price  ask
                25    5
    """, outcome=B)  # fmt: skip
    assert_book(market, """
        bid  price  ask
          7     26
    """, outcome=C)  # fmt: skip


def test_the_second_of_three_outcomes_is_not_mirrored(market: MarketUnderTest) -> None:
    market.given(ABC, place("b1", "bob", "buy", 5, 4000, outcome=B))
    order = place("a1", "ann", "buy", 5, 6000, outcome=A)
    assert market.run(order) == (placed(order, reserved=30_000),)


def test_a_sale_without_shares_mints_sets_and_leaves_the_seller_all_other_outcomes(
    market: MarketUnderTest,
) -> None:
    market.given(ABC, place("b1", "bob", "buy", 10, 3000, outcome=B))
    taker = place("s1", "ann", "sell", 10, 2900, outcome=B)
    assert market.run(taker) == (
        placed(taker, reserved=71_000),
        opened("bob"),
        opened("ann"),
        matched("T1", "sell", 10, 3000,
            leg("b1", "bob", "maker", "buy", 10, 3000, outcome=B, cash=0, reserved=0),
            leg("s1", "ann", "taker", "sell", 10, 3000, outcome=B, cash=1_000, reserved=0),
            outcome=B),
    )  # fmt: skip
    assert market.free_shares("bob") == [0, 10, 0]
    assert market.free_shares("ann") == [10, 0, 10]


def test_a_buy_is_covered_by_complete_complements_only(market: MarketUnderTest) -> None:
    """Ann holds 10 A and 10 C, sells 6 of A: 4 complements of B are left to cover a buy of B."""
    market.given(
        ABC,
        place("b1", "bob", "buy", 10, 3000, outcome=B), place("s1", "ann", "sell", 10, 3000, outcome=B),
        place("s2", "ann", "sell", 6, 9000, outcome=A),
    )  # fmt: skip
    assert market.free_shares("ann") == [4, 0, 10]
    order = place("b2", "ann", "buy", 10, 2000, outcome=B)
    assert market.run(order) == (placed(order, reserved=12_000, covered=4),)
    assert market.free_shares("ann") == [0, 0, 6]


def test_a_covered_buy_delivers_its_complements(market: MarketUnderTest) -> None:
    market.given(
        ABC,
        place("b1", "bob", "buy", 10, 3000, outcome=B), place("s1", "ann", "sell", 10, 3000, outcome=B),
        place("s2", "bob", "sell", 10, 2000, outcome=B),
    )  # fmt: skip
    taker = place("b2", "ann", "buy", 12, 2500, outcome=B)
    assert market.run(taker) == (
        placed(taker, reserved=5_000, covered=10),
        matched("T2", "buy", 10, 2000,
            leg("s2", "bob", "maker", "sell", 10, 2000, outcome=B, delivered=10, cash=20_000, reserved=0),
            leg("b2", "ann", "taker", "buy", 10, 2000, outcome=B, delivered=10, cash=80_000, reserved=5_000),
            outcome=B),
    )  # fmt: skip
    assert market.free_shares("ann") == [0, 0, 0]
    assert resolve_sets(market) == 0


def test_buying_one_share_of_each_outcome_nets_only_with_the_last(market: MarketUnderTest) -> None:
    market.given(
        ABC,
        place("sa", "ann", "sell", 5, 4000, outcome=A), place("sb", "bob", "sell", 5, 3000, outcome=B),
        place("sc", "cat", "sell", 5, 4000, outcome=C),
        place("ba", "dan", "buy", 5, 4000, outcome=A), place("bb", "dan", "buy", 5, 3000, outcome=B),
    )  # fmt: skip
    assert market.free_shares("dan") == [5, 5, 0]
    order = place("bc", "dan", "buy", 5, 4000, outcome=C)
    # Dan holds what completes C: his buy is covered by his own A and B, and reserves nothing.
    assert market.run(order)[0] == placed(order, reserved=0, covered=5)
    assert market.free_shares("dan") == [0, 0, 0]
    assert market.cash_pips("dan") == 10_000_000 - 20_000 - 15_000 + 30_000


def test_sets_completed_across_three_books_turn_into_cash(market: MarketUnderTest) -> None:
    """Dan bids for all three before he holds any: the last fill completes his sets."""
    market.given(
        ABC,
        place("ba", "dan", "buy", 5, 4000, outcome=A), place("bb", "dan", "buy", 5, 3000, outcome=B),
        place("bc", "dan", "buy", 5, 2000, outcome=C),
        place("sa", "ann", "sell", 5, 4000, outcome=A), place("sb", "bob", "sell", 5, 3000, outcome=B),
    )  # fmt: skip
    events = market.run(place("sc", "cat", "sell", 3, 2000, outcome=C))
    assert events[-1].legs[0] == leg(
        "bc", "dan", "maker", "buy", 3, 2000, outcome=C, netted=3, cash=30_000, reserved=4_000
    )
    assert market.free_shares("dan") == [2, 2, 0]
    assert resolve_sets(market) == 10


def resolve_sets(market: MarketUnderTest) -> int:
    """Ends the market and answers how many complete sets were outstanding."""
    sets: int = market.run(resolve(10_000, 0, 0))[-1].sets
    return sets


def test_complements_earmarked_by_a_buy_are_free_after_its_cancel(market: MarketUnderTest) -> None:
    market.given(
        ABC,
        place("b1", "bob", "buy", 10, 3000, outcome=B), place("s1", "ann", "sell", 10, 3000, outcome=B),
        place("b2", "ann", "buy", 10, 2000, outcome=B),
    )  # fmt: skip
    short = place("s2", "ann", "sell", 1, 9000, outcome=A)
    assert market.run(short) == (placed(short, reserved=1_000),)
    assert market.run(cancel("ann", "b2")) == (cancelled("b2", "ann", "by_owner", 10, released=10, cash=0),)
    assert market.free_shares("ann") == [10, 0, 10]


def test_the_own_order_stops_a_taker_only_in_its_own_book(market: MarketUnderTest) -> None:
    market.given(
        ABC, place("own", "ann", "sell", 5, 3000, outcome=B), place("s1", "bob", "sell", 5, 3000, outcome=A)
    )
    events = market.run(place("b1", "ann", "buy", 5, 3000, outcome=A))
    assert events[-1].legs[0].order == "s1"


def test_fifty_outcomes_trade_like_three(market: MarketUnderTest) -> None:
    market.given(create(outcomes=tuple(f"name {number}" for number in range(50))))
    market.given(
        place("b1", "bob", "buy", 2, 100, outcome=49), place("s1", "ann", "sell", 2, 100, outcome=49)
    )
    assert market.free_shares("ann") == [2] * 49 + [0]
    assert market.free_shares("bob") == [0] * 49 + [2]
    market.deposit("nil", 0)
    order = place("b2", "nil", "buy", 1, 1, outcome=3)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)
