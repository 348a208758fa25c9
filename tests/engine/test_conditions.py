"""Post-only, reduce-only and valid-until: conditions under which an order would rather not be."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, assert_book, trades_of
from tests.engine.sayings import amend, create, place, placed, refused, rejected

A, B, C = 0, 1, 2


def test_a_post_only_order_that_would_meet_another_is_refused(market: MarketUnderTest) -> None:
    market.given(create(), place("s", "ann", "sell", 1, 6000))
    order = place("b", "bob", "buy", 5, 6000, post_only=True)
    assert market.run(order) == (rejected(order, "would_cross"),)
    assert_book(market, """
        bid  price  ask
                60    1
    """)  # fmt: skip


def test_a_post_only_order_one_tick_away_rests(market: MarketUnderTest) -> None:
    market.given(create(tick=100), place("s", "ann", "sell", 1, 6000))
    order = place("b", "bob", "buy", 5, 5900, post_only=True)
    assert market.run(order) == (placed(order, reserved=29_500),)


@pytest.mark.parametrize("stp", ["cancel_taker", "cancel_maker", "cancel_both"])
def test_a_post_only_order_counts_its_own_accounts_orders(market: MarketUnderTest, stp: str) -> None:
    market.given(create(), place("s", "bob", "sell", 1, 6000))
    order = place("b", "bob", "buy", 5, 6000, post_only=True, stp=stp)
    assert market.run(order) == (rejected(order, "would_cross"),)


def test_a_post_only_order_for_no_looks_at_the_bids_for_yes(market: MarketUnderTest) -> None:
    market.given(create(), place("y", "ann", "buy", 1, 6000))
    order = place("n", "bob", "buy", 5, 4000, outcome=1, post_only=True)
    assert market.run(order) == (rejected(order, "would_cross"),)
    below = place("n2", "bob", "buy", 5, 3999, outcome=1, post_only=True)
    assert market.run(below) == (placed(below, reserved=19_995),)


def test_a_post_only_order_counts_what_is_implied(market: MarketUnderTest) -> None:
    market.given(
        create(outcomes=("A", "B", "C")),
        place("b", "ann", "buy", 5, 3000, outcome=B), place("c", "cat", "buy", 5, 2500, outcome=C),
    )  # fmt: skip
    order = place("a", "bob", "buy", 5, 4500, outcome=A, post_only=True)
    assert market.run(order) == (rejected(order, "would_cross"),)
    below = place("a2", "bob", "buy", 5, 4499, outcome=A, post_only=True)
    assert market.run(below) == (placed(below, reserved=22_495),)


def test_a_post_only_order_is_met_by_others_as_any_other(market: MarketUnderTest) -> None:
    market.given(create(), place("b", "bob", "buy", 5, 6000, post_only=True))
    assert trades_of(market.run(place("s", "ann", "sell", 5, 6000))) == [("b s", 5, 6000)]


def ten_yes(market: MarketUnderTest) -> None:
    """Bob holds 10 Yes."""
    market.given(create(), place("s0", "ann", "sell", 10, 5000), place("b0", "bob", "buy", 10, 5000))


def test_a_reduce_only_order_within_the_shares_held_is_accepted(market: MarketUnderTest) -> None:
    ten_yes(market)
    order = place("s", "bob", "sell", 10, 6000, reduce_only=True)
    assert market.run(order) == (placed(order, reserved=0, covered=10),)


def test_a_reduce_only_order_of_one_share_more_is_refused(market: MarketUnderTest) -> None:
    ten_yes(market)
    order = place("s", "bob", "sell", 11, 6000, reduce_only=True)
    assert market.run(order) == (rejected(order, "reduce_only"),)


def test_shares_that_back_another_order_do_not_count_for_reduce_only(market: MarketUnderTest) -> None:
    ten_yes(market)
    market.given(place("s1", "bob", "sell", 6, 7000))
    order = place("s2", "bob", "sell", 5, 6000, reduce_only=True)
    assert market.run(order) == (rejected(order, "reduce_only"),)
    less = place("s3", "bob", "sell", 4, 6000, reduce_only=True)
    assert market.run(less) == (placed(less, reserved=0, covered=4),)


def test_a_reduce_only_buy_is_one_of_the_other_outcome(market: MarketUnderTest) -> None:
    ten_yes(market)
    order = place("n", "bob", "buy", 10, 4000, outcome=1, reduce_only=True)
    assert market.run(order) == (placed(order, reserved=0, covered=10),)
    more = place("n2", "bob", "buy", 1, 4000, outcome=1, reduce_only=True)
    assert market.run(more) == (rejected(more, "reduce_only"),)


def test_a_reduce_only_order_cannot_be_amended_beyond_the_shares_held(market: MarketUnderTest) -> None:
    ten_yes(market)
    market.given(place("s", "bob", "sell", 6, 6000, reduce_only=True))
    assert market.run(amend("bob", "s", to=11)) == (refused("bob", "amend", "s", "reduce_only"),)
    (event,) = market.run(amend("bob", "s", to=10))
    assert (event.covered, event.reserved, event.requeued) == (10, 0, True)


@pytest.mark.parametrize("until_us", [START_US - 1, START_US])
def test_an_order_that_arrives_after_it_was_valid_is_refused(market: MarketUnderTest, until_us: int) -> None:
    market.given(create())
    order = place("b", "bob", "buy", 5, 6000, valid_until_us=until_us)
    assert market.run(order) == (rejected(order, "expired"),)


def test_an_order_that_arrives_in_time_stays_for_as_long_as_it_likes(market: MarketUnderTest) -> None:
    market.given(create())
    order = place("b", "bob", "buy", 5, 6000, valid_until_us=START_US + 1)
    assert market.run(order) == (placed(order, reserved=30_000),)
    market.now_us += 10
    assert trades_of(market.run(place("s", "ann", "sell", 5, 6000))) == [("b s", 5, 6000)]
