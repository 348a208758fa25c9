"""Implied matching: an order of one outcome meets the best orders of all others on its own side, together $1."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, assert_book, trades_of
from tests.engine.sayings import amend, create, leg, matched, opened, place, placed, rejected

A, B, C = 0, 1, 2
ABC = create(outcomes=("A", "B", "C"))
CENTS = create(outcomes=("A", "B", "C"), tick=100)


def bids_of_30_and_25(market: MarketUnderTest, size: int = 5) -> None:
    market.given(
        ABC, place("b", "bob", "buy", size, 3000, outcome=B), place("c", "cat", "buy", size, 2500, outcome=C)
    )


def test_bids_for_all_outcomes_that_reach_a_dollar_mint_sets(market: MarketUnderTest) -> None:
    bids_of_30_and_25(market)
    taker = place("a", "ann", "buy", 5, 5000, outcome=A)
    assert market.run(taker) == (
        placed(taker, reserved=25_000),
        opened("bob"), opened("cat"), opened("ann"),
        matched("T1", "buy", 5, 4500,
            leg("b", "bob", "maker", "buy", 5, 3000, outcome=B, cash=0, reserved=0),
            leg("c", "cat", "maker", "buy", 5, 2500, outcome=C, cash=0, reserved=0),
            leg("a", "ann", "taker", "buy", 5, 4500, outcome=A, cash=2_500, reserved=0)),
    )  # fmt: skip
    assert [market.free_shares(name) for name in ("ann", "bob", "cat")] == [[5, 0, 0], [0, 5, 0], [0, 0, 5]]


def test_asks_of_all_outcomes_below_a_dollar_meet_and_the_taker_gets_the_rest(
    market: MarketUnderTest,
) -> None:
    market.given(
        ABC, place("b", "bob", "sell", 5, 4000, outcome=B), place("c", "cat", "sell", 5, 4500, outcome=C)
    )
    events = market.run(place("a", "ann", "sell", 5, 1000, outcome=A))
    assert trades_of(events) == [("b c a", 5, 1500)]
    assert [market.free_shares(name) for name in ("ann", "bob", "cat")] == [[0, 5, 5], [5, 0, 5], [5, 5, 0]]


def test_sellers_who_hold_what_they_sell_redeem_a_set(market: MarketUnderTest) -> None:
    bids_of_30_and_25(market)
    market.given(place("a", "ann", "buy", 5, 4500, outcome=A))
    market.given(
        place("sb", "bob", "sell", 5, 3500, outcome=B), place("sc", "cat", "sell", 5, 2500, outcome=C)
    )
    assert market.run(place("sa", "ann", "sell", 5, 4000, outcome=A))[-1] == matched(
        "T2", "sell", 5, 4000,
        leg("sb", "bob", "maker", "sell", 5, 3500, outcome=B, delivered=5, cash=17_500, reserved=0),
        leg("sc", "cat", "maker", "sell", 5, 2500, outcome=C, delivered=5, cash=12_500, reserved=0),
        leg("sa", "ann", "taker", "sell", 5, 4000, outcome=A, delivered=5, cash=20_000, reserved=0),
    )  # fmt: skip
    assert sum(market.cash_pips(name) for name in ("ann", "bob", "cat")) == 30_000_000


def test_one_pip_below_a_dollar_nothing_meets(market: MarketUnderTest) -> None:
    bids_of_30_and_25(market)
    assert trades_of(market.run(place("a", "ann", "buy", 5, 4499, outcome=A))) == []
    assert_book(market, """
        bid  price  ask
          5     44.99
    """)  # fmt: skip


def test_one_outcome_without_a_bid_implies_nothing(market: MarketUnderTest) -> None:
    market.given(ABC, place("b", "bob", "buy", 5, 9000, outcome=B))
    assert trades_of(market.run(place("a", "ann", "buy", 5, 9000, outcome=A))) == []


def test_a_direct_order_comes_before_an_implied_one_at_the_same_price(market: MarketUnderTest) -> None:
    bids_of_30_and_25(market)
    market.given(place("ask", "dan", "sell", 2, 4500, outcome=A))
    events = market.run(place("a", "ann", "buy", 6, 5000, outcome=A))
    assert trades_of(events) == [("ask a", 2, 4500), ("b c a", 4, 4500)]


@pytest.mark.parametrize(("ask", "first"), [(4499, "ask a"), (4501, "b c a")])
def test_the_better_price_comes_first_be_it_direct_or_implied(
    market: MarketUnderTest, ask: int, first: str
) -> None:
    bids_of_30_and_25(market)
    market.given(place("ask", "dan", "sell", 5, ask, outcome=A))
    assert trades_of(market.run(place("a", "ann", "buy", 10, 5000, outcome=A)))[0][0] == first


def test_each_trade_is_as_large_as_the_smallest_of_its_first_orders(market: MarketUnderTest) -> None:
    market.given(
        ABC, place("b1", "bob", "buy", 3, 3000, outcome=B), place("b2", "dan", "buy", 2, 2000, outcome=B),
        place("c", "cat", "buy", 9, 2500, outcome=C),
    )  # fmt: skip
    events = market.run(place("a", "ann", "buy", 7, 6000, outcome=A))
    assert trades_of(events) == [("b1 c a", 3, 4500), ("b2 c a", 2, 5500)]
    assert_book(market, """
        bid  price  ask
          2     60
    """)  # fmt: skip
    assert_book(market, """
        bid  price  ask
          4     25
    """, outcome=C)  # fmt: skip


def prices_of_makers(market: MarketUnderTest, taker_price: int = 100) -> tuple[list[int], int]:
    event = market.run(place("a", "ann", "buy", 1, taker_price, outcome=A))[-1]
    return [leg.price for leg in event.legs[:-1]], event.price


def test_a_taker_pays_at_least_a_tick_and_the_youngest_maker_pays_less(market: MarketUnderTest) -> None:
    """Bids of 60 and 50 make $1.10 without the taker, who pays 1: the younger pays 39 in place of 50."""
    market.given(
        CENTS, place("b", "bob", "buy", 1, 6000, outcome=B), place("c", "cat", "buy", 1, 5000, outcome=C)
    )
    assert prices_of_makers(market) == ([6000, 3900], 100)
    assert market.cash_pips("cat") == 10_000_000 - 3_900


def test_the_youngest_is_who_was_queued_last_whatever_was_placed_last(market: MarketUnderTest) -> None:
    market.given(
        CENTS, place("b", "bob", "buy", 1, 6000, outcome=B), place("c", "cat", "buy", 1, 5000, outcome=C)
    )
    market.given(amend("bob", "b", to=2))
    assert prices_of_makers(market) == ([4900, 5000], 100)


def test_no_maker_pays_less_than_a_tick_either(market: MarketUnderTest) -> None:
    market.given(
        CENTS, place("b", "bob", "buy", 1, 9900, outcome=B), place("c", "cat", "buy", 1, 9900, outcome=C)
    )
    assert prices_of_makers(market) == ([9800, 100], 100)


def test_a_direct_ask_of_a_tick_comes_before_bids_that_leave_less(market: MarketUnderTest) -> None:
    market.given(
        CENTS, place("b", "bob", "buy", 1, 6000, outcome=B), place("c", "cat", "buy", 1, 3900, outcome=C),
        place("ask", "dan", "sell", 1, 200, outcome=A), amend("dan", "ask", price=100),
    )  # fmt: skip
    assert trades_of(market.run(place("a", "ann", "buy", 1, 100, outcome=A))) == [("ask a", 1, 100)]


def test_an_account_in_two_legs_nets_with_the_leg_that_completes_its_sets(market: MarketUnderTest) -> None:
    market.given(
        ABC, place("s", "dan", "sell", 5, 5000, outcome=A), place("first", "bob", "buy", 5, 5000, outcome=A),
        place("b", "bob", "buy", 5, 3000, outcome=B), place("c", "bob", "buy", 5, 2500, outcome=C),
    )  # fmt: skip
    makers = market.run(place("a", "ann", "buy", 5, 4500, outcome=A))[-1].legs[:2]
    assert [(leg.netted, leg.cash) for leg in makers] == [(0, 0), (5, 50_000)]
    assert market.free_shares("bob") == [0, 0, 0]


def test_a_covered_leg_delivers_its_complements(market: MarketUnderTest) -> None:
    """Dan has sold A short and so holds B and C: buying A back returns him the dollar less its price."""
    market.given(
        ABC, place("s", "dan", "sell", 5, 5000, outcome=A), place("x", "cat", "buy", 5, 5000, outcome=A)
    )
    market.given(place("b", "bob", "buy", 5, 3000, outcome=B), place("c", "cat", "buy", 5, 2500, outcome=C))
    event = market.run(place("a", "dan", "buy", 5, 4500, outcome=A))[-1]
    assert event.legs[-1] == leg(
        "a", "dan", "taker", "buy", 5, 4500, outcome=A, delivered=5, cash=27_500, reserved=0
    )
    assert market.free_shares("dan") == [0, 0, 0]


def test_fifty_outcomes_make_one_trade_of_fifty_legs(market: MarketUnderTest) -> None:
    market.given(create(outcomes=tuple(f"name {number}" for number in range(50)), tick=100))
    market.given(*(place(f"m{number}", "bob", "buy", 2, 100, outcome=number) for number in range(1, 50)))
    event = market.run(place("t", "ann", "buy", 1, 5100, outcome=0))[-1]
    assert (len(event.legs), event.price, event.quantity) == (50, 5100, 1)
    assert market.free_shares("bob") == [0] + [1] * 49


def test_where_all_outcomes_cost_more_than_a_dollar_at_a_tick_nothing_is_implied(
    market: MarketUnderTest,
) -> None:
    market.given(
        create(outcomes=("A", "B", "C"), tick=5000),
        place("b", "bob", "buy", 1, 5000, outcome=B), place("c", "cat", "buy", 1, 5000, outcome=C),
    )  # fmt: skip
    assert trades_of(market.run(place("a", "ann", "buy", 1, 5000, outcome=A))) == []


@pytest.mark.parametrize(("size", "fills"), [(5, True), (6, False)])
def test_a_fok_order_counts_what_is_implied(market: MarketUnderTest, size: int, fills: bool) -> None:
    bids_of_30_and_25(market)
    order = place("a", "ann", "buy", size, 4500, outcome=A, tif="FOK")
    events = market.run(order)
    if fills:
        assert trades_of(events) == [("b c a", 5, 4500)]
    else:
        assert events == (rejected(order, "cannot_fill"),)


def test_a_market_order_takes_what_is_direct_and_implied(market: MarketUnderTest) -> None:
    bids_of_30_and_25(market)
    market.given(place("ask", "dan", "sell", 2, 4600, outcome=A))
    events = market.run(place("a", "ann", "buy", 9, 9999, outcome=A, tif="IOC", kind="market"))
    assert trades_of(events) == [("b c a", 5, 4500), ("ask a", 2, 4600)]
    assert (events[-1].reason, events[-1].quantity) == ("unfilled", 2)


def test_an_expired_first_order_of_a_leg_ends_and_the_next_takes_its_place(market: MarketUnderTest) -> None:
    market.given(ABC, place("old", "dan", "buy", 5, 4000, outcome=B, expires_us=START_US + 1))
    market.given(place("b", "bob", "buy", 5, 3000, outcome=B), place("c", "cat", "buy", 5, 2500, outcome=C))
    market.now_us += 1
    events = market.run(place("a", "ann", "buy", 5, 4500, outcome=A))
    assert trades_of(events) == [("b c a", 5, 4500)]
    assert events[1].order == "old"
