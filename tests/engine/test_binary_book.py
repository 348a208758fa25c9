"""Both outcomes of a binary market are one book: buying No at p is selling Yes at 1 - p."""

from tests.engine.both_markets import MarketUnderTest, assert_book
from tests.engine.sayings import cancelled, create, leg, matched, opened, place, placed


def test_a_buy_of_no_stands_as_an_ask_for_yes(market: MarketUnderTest) -> None:
    market.given(create())
    order = place("n1", "ann", "buy", 10, 4000, outcome=1)
    assert market.run(order) == (placed(order, reserved=40_000),)
    assert_book(market, """
        bid  price  ask
                60   10
    """)  # fmt: skip
    assert_book(market, """
        bid  price  ask
         10     40
    """, outcome=1)  # fmt: skip


def test_a_sell_of_no_stands_as_a_bid_for_yes(market: MarketUnderTest) -> None:
    market.given(create())
    order = place("n1", "ann", "sell", 10, 4000, outcome=1)
    assert market.run(order) == (placed(order, reserved=60_000),)
    assert_book(market, """
        bid  price  ask
         10     60
    """)  # fmt: skip


def test_buyers_of_both_outcomes_meet_and_mint_sets(market: MarketUnderTest) -> None:
    market.given(create(), place("n1", "ann", "buy", 10, 4000, outcome=1))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 10, 6000,
            leg("n1", "ann", "maker", "buy", 10, 4000, outcome=1, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 10, 6000, cash=0, reserved=0)),
    )  # fmt: skip
    assert (market.free_shares("ann"), market.free_shares("bob")) == ([0, 10], [10, 0])


def test_a_taker_of_no_keeps_the_better_price_in_its_own_terms(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    taker = place("n1", "ann", "buy", 10, 4500, outcome=1)
    assert market.run(taker)[3] == matched(
        "T1", "sell", 10, 6000,
        leg("b1", "bob", "maker", "buy", 10, 6000, cash=0, reserved=0),
        leg("n1", "ann", "taker", "buy", 10, 4000, outcome=1, cash=5_000, reserved=0),
    )  # fmt: skip


def test_orders_of_both_outcomes_share_one_queue(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 5, 6000),
        place("n1", "bob", "buy", 5, 4000, outcome=1),
        place("a2", "ann", "sell", 5, 6000),
        place("n2", "bob", "buy", 5, 4100, outcome=1),
    )
    events = market.run(place("b1", "cat", "buy", 20, 6000))
    assert [event.legs[0].order for event in events if hasattr(event, "legs")] == ["n2", "a1", "n1", "a2"]


def test_buying_no_into_ones_own_bid_for_yes_is_a_self_trade(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    taker = place("n1", "bob", "buy", 4, 4000, outcome=1)
    assert market.run(taker) == (
        placed(taker, reserved=16_000),
        cancelled("n1", "bob", "self_trade", 4, cash=16_000),
    )


def test_a_limit_one_pip_short_of_a_dollar_does_not_meet(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    market.given(place("n1", "ann", "buy", 10, 3999, outcome=1))
    assert_book(market, """
        bid  price  ask
             60.01   10
         10     60
    """)  # fmt: skip


def test_sellers_of_both_outcomes_meet_and_redeem_their_sets(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "bob", "sell", 10, 6000), place("b1", "ann", "buy", 10, 6000))
    first = place("s1", "ann", "sell", 10, 7000)
    assert market.run(first) == (placed(first, reserved=0, covered=10),)
    second = place("s2", "bob", "sell", 10, 3000, outcome=1)
    assert market.run(second) == (
        placed(second, reserved=0, covered=10),
        matched("T2", "buy", 10, 7000,
            leg("s1", "ann", "maker", "sell", 10, 7000, delivered=10, cash=70_000, reserved=0),
            leg("s2", "bob", "taker", "sell", 10, 3000, outcome=1, delivered=10, cash=30_000, reserved=0)),
    )  # fmt: skip
    assert (market.free_shares("ann"), market.free_shares("bob")) == ([0, 0], [0, 0])
    assert market.cash_pips("ann") + market.cash_pips("bob") == 20_000_000


def test_a_fok_order_for_no_counts_the_bids_for_yes(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 4, 6000), place("n1", "cat", "sell", 6, 4100, outcome=1))
    taker = place("n2", "ann", "buy", 10, 4100, outcome=1, tif="FOK")
    events = market.run(taker)
    assert [event.legs[0].order for event in events if hasattr(event, "legs")] == ["b1", "n1"]
    assert_book(market, "bid  price  ask", outcome=1)
