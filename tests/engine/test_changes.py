"""Cancelling and amending open orders."""

from tests.engine.both_markets import MarketUnderTest, assert_book
from tests.engine.sayings import (
    amend,
    amended,
    cancel,
    cancel_all,
    cancelled,
    create,
    leg,
    matched,
    place,
    refused,
)


def test_a_cancel_gives_the_whole_reserve_back(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    assert market.run(cancel("bob", "b1")) == (cancelled("b1", "bob", "by_owner", 10, cash=60_000),)
    assert market.cash_pips("bob") == 10_000_000
    assert_book(market, "bid  price  ask")


def test_a_cancel_may_name_the_order_by_its_client_id(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000, client="mine"))
    assert market.run(cancel("bob", client="mine")) == (cancelled("b1", "bob", "by_owner", 10, cash=60_000),)


def test_a_cancel_of_a_partly_filled_order_gives_back_what_the_rest_reserved(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), place("a1", "ann", "sell", 4, 6000))
    assert market.run(cancel("bob", "b1")) == (cancelled("b1", "bob", "by_owner", 6, cash=36_000),)
    assert market.cash_pips("bob") == 10_000_000 - 24_000


def test_an_order_that_has_ended_cannot_be_cancelled_or_amended(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("b1", "bob", "buy", 10, 6000, client="mine"),
        cancel("bob", "b1"),
        place("b2", "bob", "buy", 4, 6000),
        place("a1", "ann", "sell", 4, 6000),
    )
    assert market.run(cancel("bob", "b1")) == (refused("bob", "cancel", "b1", "order_not_open"),)
    assert market.run(cancel("bob", client="mine")) == (refused("bob", "cancel", None, "order_not_open"),)
    assert market.run(cancel("bob", "b2")) == (refused("bob", "cancel", "b2", "order_not_open"),)
    assert market.run(amend("ann", "a1", to=2)) == (refused("ann", "amend", "a1", "order_not_open"),)
    assert market.run(amend("ann", "never", by=2)) == (refused("ann", "amend", "never", "order_not_open"),)


def test_another_accounts_order_cannot_be_cancelled_or_amended(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000, client="mine"))
    assert market.run(cancel("cat", "b1")) == (refused("cat", "cancel", "b1", "not_found"),)
    assert market.run(amend("cat", "b1", to=1)) == (refused("cat", "amend", "b1", "not_found"),)
    assert market.run(cancel("cat", client="mine")) == (refused("cat", "cancel", None, "order_not_open"),)
    assert_book(market, """
        bid  price  ask
         10     60
    """)  # fmt: skip


def test_two_accounts_may_use_the_same_client_id(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("b1", "bob", "buy", 10, 6000, client="mine"),
        place("b2", "cat", "buy", 3, 6000, client="mine"),
    )
    assert market.run(cancel("cat", client="mine")) == (cancelled("b2", "cat", "by_owner", 3, cash=18_000),)
    assert_book(market, """
        bid  price  ask
         10     60
    """)  # fmt: skip


def test_an_order_made_smaller_keeps_its_place(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 10, 6000), place("a2", "bob", "sell", 10, 6000))
    assert market.run(amend("ann", "a1", to=4)) == (
        amended("a1", "ann", 4, 6000, cash=24_000, reserved=16_000),
    )
    assert_book(market, """
        bid  price  ask
                60   14
    """)  # fmt: skip
    events = market.run(place("b1", "cat", "buy", 6, 6000))
    makers = [(event.legs[0].order, event.legs[0].quantity) for event in events if hasattr(event, "legs")]
    assert makers == [("a1", 4), ("a2", 2)]


def test_an_order_may_be_made_smaller_by_a_number_of_shares(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 10, 6000, client="mine"))
    assert market.run(amend("ann", client="mine", by=4)) == (
        amended("a1", "ann", 6, 6000, cash=16_000, reserved=24_000),
    )


def test_the_new_total_counts_what_was_filled(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), place("a1", "ann", "sell", 4, 6000))
    assert market.run(amend("bob", "b1", to=7)) == (
        amended("b1", "bob", 7, 6000, cash=18_000, reserved=18_000),
    )
    assert_book(market, """
        bid  price  ask
          3     60
    """)  # fmt: skip
    assert market.run(place("a2", "ann", "sell", 5, 6000))[1] == matched(
        "T2", "sell", 3, 6000,
        leg("b1", "bob", "maker", "buy", 3, 6000, cash=0, reserved=0),
        leg("a2", "ann", "taker", "sell", 3, 6000, cash=0, reserved=8_000),
    )  # fmt: skip


def test_amending_to_what_is_filled_or_less_ends_the_order(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("b1", "bob", "buy", 10, 6000), place("b2", "cat", "buy", 10, 5900), place("a1", "ann", "sell", 14, 5900),
    )  # fmt: skip
    assert market.run(amend("cat", "b2", to=4)) == (cancelled("b2", "cat", "by_owner", 6, cash=35_400),)
    market.given(place("b3", "bob", "buy", 10, 6000), place("a2", "ann", "sell", 4, 6000))
    assert market.run(amend("bob", "b3", by=100)) == (cancelled("b3", "bob", "by_owner", 6, cash=36_000),)


def test_an_amend_that_changes_nothing_keeps_everything_as_it_is(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    assert market.run(amend("bob", "b1", to=10)) == (amended("b1", "bob", 10, 6000, cash=0, reserved=60_000),)


def test_cancel_all_ends_the_accounts_orders_the_oldest_first_and_no_other(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("b1", "bob", "buy", 1, 5000), place("b2", "cat", "buy", 2, 5100), place("b3", "bob", "sell", 3, 7000),
        place("b4", "bob", "buy", 4, 5200),
    )  # fmt: skip
    assert market.run(cancel_all("bob")) == (
        cancelled("b1", "bob", "by_owner", 1, cash=5_000),
        cancelled("b3", "bob", "by_owner", 3, cash=9_000),
        cancelled("b4", "bob", "by_owner", 4, cash=20_800),
    )
    assert_book(market, """
        bid  price  ask
          2     51
    """)  # fmt: skip
    assert market.run(cancel_all("bob")) == ()


def test_cancel_all_may_be_limited_to_an_outcome_and_a_side(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("b1", "bob", "buy", 1, 5000),
        place("b2", "bob", "sell", 2, 7000),
        place("b3", "bob", "buy", 3, 2000, outcome=1),
    )
    assert market.run(cancel_all("bob", outcome=1)) == (cancelled("b3", "bob", "by_owner", 3, cash=6_000),)
    assert market.run(cancel_all("bob", side="sell")) == (cancelled("b2", "bob", "by_owner", 2, cash=6_000),)
    assert market.run(cancel_all("bob", outcome=0, side="sell")) == ()
