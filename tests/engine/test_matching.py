"""Price-time priority, partial fills and what each time in force does with a remainder."""

import pytest

from tests.engine.both_markets import CLOSES_US, START_US, FastMarket, MarketUnderTest, assert_book
from tests.engine.sayings import cancel, cancelled, create, leg, matched, opened, place, placed, rejected
from trading.engine.liquidity import Interest, shares_on_offer


def test_an_order_that_meets_nothing_rests_and_reserves_its_cost(market: MarketUnderTest) -> None:
    market.given(create())
    order = place("b1", "bob", "buy", 58, 6000)
    assert market.run(order) == (placed(order, reserved=348_000),)
    assert market.cash_pips("bob") == 10_000_000 - 348_000
    assert_book(market, """
        bid  price  ask
         58     60
    """)  # fmt: skip


def test_the_book_is_drawn_with_sizes_of_a_price_added_up(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 30, 6200), place("a2", "bob", "sell", 10, 6200),
        place("b1", "cat", "buy", 25, 5800), place("b2", "cat", "buy", 7, 5750),
    )  # fmt: skip
    assert_book(market, """
        bid  price  ask
              62     40
        25    58
         7    57.50
    """)  # fmt: skip


def test_a_crossing_buy_is_filled_at_the_resting_price_and_mints_sets(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 10, 6000))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 10, 6000,
            leg("a1", "ann", "maker", "sell", 10, 6000, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 10, 6000, cash=0, reserved=0)),
    )  # fmt: skip
    assert (market.free_shares("ann"), market.free_shares("bob")) == ([0, 10], [10, 0])
    assert market.cash_pips("ann") == 10_000_000 - 40_000
    assert market.cash_pips("bob") == 10_000_000 - 60_000


def test_the_taker_keeps_a_better_price_and_its_reserve_is_released_in_the_fill(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("a1", "ann", "sell", 10, 5000))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker)[3] == matched(
        "T1", "buy", 10, 5000,
        leg("a1", "ann", "maker", "sell", 10, 5000, cash=0, reserved=0),
        leg("b1", "bob", "taker", "buy", 10, 5000, cash=10_000, reserved=0),
    )  # fmt: skip
    assert market.cash_pips("bob") == 10_000_000 - 50_000


def test_the_best_price_comes_first_and_then_the_longest_wait(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 5, 6100), place("a2", "bob", "sell", 5, 6000),
        place("a3", "cat", "sell", 5, 6000), place("a4", "ann", "sell", 5, 5900),
    )  # fmt: skip
    events = market.run(place("b1", "dan", "buy", 18, 6100))
    makers = [
        (event.legs[0].order, event.legs[0].quantity, event.price)
        for event in events
        if hasattr(event, "legs")
    ]
    assert makers == [("a4", 5, 5900), ("a2", 5, 6000), ("a3", 5, 6000), ("a1", 3, 6100)]
    assert_book(market, """
        bid  price  ask
                61    2
    """)  # fmt: skip


def test_a_crossing_sell_takes_the_highest_bid_first_and_then_the_longest_wait(
    market: MarketUnderTest,
) -> None:
    market.given(
        create(),
        place("b1", "ann", "buy", 5, 4000), place("b2", "bob", "buy", 5, 4200), place("b3", "cat", "buy", 5, 4200),
    )  # fmt: skip
    events = market.run(place("a1", "dan", "sell", 12, 4000))
    makers = [
        (event.legs[0].order, event.legs[0].quantity, event.price)
        for event in events
        if hasattr(event, "legs")
    ]
    assert makers == [("b2", 5, 4200), ("b3", 5, 4200), ("b1", 2, 4000)]


def test_a_partly_filled_maker_keeps_its_place(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 10, 6000), place("a2", "bob", "sell", 10, 6000),
        place("b1", "cat", "buy", 4, 6000),
    )  # fmt: skip
    events = market.run(place("b2", "dan", "buy", 8, 6000))
    makers = [(event.legs[0].order, event.legs[0].quantity) for event in events if hasattr(event, "legs")]
    assert makers == [("a1", 6), ("a2", 2)]


def test_the_remainder_of_a_gtc_order_rests_at_its_own_price(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 4, 5500,
            leg("a1", "ann", "maker", "sell", 4, 5500, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 4, 5500, cash=2_000, reserved=36_000)),
    )  # fmt: skip
    assert_book(market, """
        bid  price  ask
          6     60
    """)  # fmt: skip


def test_a_price_that_does_not_cross_is_left_alone(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500))
    market.given(place("b1", "bob", "buy", 4, 5499))
    assert_book(market, """
        bid  price  ask
                55    4
          4  54.99
    """)  # fmt: skip


@pytest.mark.parametrize("kind", ["limit", "market"])
def test_the_remainder_of_an_ioc_order_is_cancelled_as_unfilled(market: MarketUnderTest, kind: str) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500), place("a2", "ann", "sell", 4, 6100))
    taker = place("b1", "bob", "buy", 10, 6000, tif="IOC", kind=kind)
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 4, 5500,
            leg("a1", "ann", "maker", "sell", 4, 5500, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 4, 5500, cash=2_000, reserved=36_000)),
        cancelled("b1", "bob", "unfilled", 6, cash=36_000),
    )  # fmt: skip
    assert_book(market, """
        bid  price  ask
                61    4
    """)  # fmt: skip


def test_an_ioc_order_that_finds_nothing_gets_everything_back(market: MarketUnderTest) -> None:
    market.given(create())
    taker = place("b1", "bob", "sell", 10, 6000, tif="IOC")
    assert market.run(taker) == (
        placed(taker, reserved=40_000),
        cancelled("b1", "bob", "unfilled", 10, cash=40_000),
    )
    assert market.cash_pips("bob") == 10_000_000


def test_a_fok_order_is_filled_whole_over_several_prices(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500), place("a2", "cat", "sell", 6, 6000))
    taker = place("b1", "bob", "buy", 10, 6000, tif="FOK")
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 4, 5500,
            leg("a1", "ann", "maker", "sell", 4, 5500, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 4, 5500, cash=2_000, reserved=36_000)),
        opened("cat"),
        matched("T2", "buy", 6, 6000,
            leg("a2", "cat", "maker", "sell", 6, 6000, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 6, 6000, cash=0, reserved=0)),
    )  # fmt: skip


def test_a_fok_order_one_share_too_large_is_refused_and_changes_nothing(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500), place("a2", "cat", "sell", 6, 6001))
    taker = place("b1", "bob", "buy", 5, 6000, tif="FOK")
    assert market.run(taker) == (rejected(taker, "cannot_fill"),)
    assert market.cash_pips("bob") == 10_000_000
    assert_book(market, """
        bid  price  ask
             60.01    6
                55    4
    """)  # fmt: skip


def test_a_fok_order_counts_no_liquidity_behind_its_owners_own_order(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 4, 5500), place("own", "bob", "sell", 1, 5600), place("a2", "cat", "sell", 50, 5700),
    )  # fmt: skip
    too_much = place("b1", "bob", "buy", 5, 6000, tif="FOK")
    assert market.run(too_much) == (rejected(too_much, "cannot_fill"),)
    enough = place("b2", "bob", "buy", 4, 6000, tif="FOK")
    assert market.run(enough)[0] == placed(enough, reserved=24_000)
    assert_book(market, """
        bid  price  ask
                57   50
                56    1
    """)  # fmt: skip


def test_a_taker_is_cancelled_when_it_meets_its_owners_own_order(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500), place("own", "bob", "sell", 5, 5600))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker) == (
        placed(taker, reserved=60_000),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 4, 5500,
            leg("a1", "ann", "maker", "sell", 4, 5500, cash=0, reserved=0),
            leg("b1", "bob", "taker", "buy", 4, 5500, cash=2_000, reserved=36_000)),
        cancelled("b1", "bob", "self_trade", 6, cash=36_000),
    )  # fmt: skip
    assert_book(market, """
        bid  price  ask
                56    5
    """)  # fmt: skip


def test_an_own_order_behind_another_of_the_same_price_stops_only_what_reaches_it(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("a1", "ann", "sell", 4, 5500), place("own", "bob", "sell", 5, 5500))
    events = market.run(place("b1", "bob", "buy", 4, 5500))
    assert events[-1].legs[0].order == "a1"
    assert_book(market, """
        bid  price  ask
                55    5
    """)  # fmt: skip


def test_a_cancelled_order_is_matched_no_more(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 4, 5500), place("a2", "cat", "sell", 4, 5500), cancel("ann", "a1"),
    )  # fmt: skip
    events = market.run(place("b1", "bob", "buy", 4, 5500))
    assert events[-1].legs[0].order == "a2"
    assert_book(market, "bid  price  ask")


def test_the_extreme_prices_trade_exactly(market: MarketUnderTest) -> None:
    market.given(create(), place("a1", "ann", "sell", 1, 9999), place("b1", "bob", "buy", 1, 1))
    events = market.run(place("b2", "cat", "buy", 1, 9999))
    assert events[-1] == matched(
        "T1", "buy", 1, 9999,
        leg("a1", "ann", "maker", "sell", 1, 9999, cash=0, reserved=0),
        leg("b2", "cat", "taker", "buy", 1, 9999, cash=0, reserved=0),
    )  # fmt: skip
    assert market.cash_pips("ann") == 10_000_000 - 1
    assert market.cash_pips("cat") == 10_000_000 - 9_999


def test_looking_ahead_takes_a_price_as_a_whole_but_where_own_or_expired_orders_stand() -> None:
    market = FastMarket()
    for account in ("ann", "bob", "cat"):
        market.deposit(account, 10_000_000)
    market.given(
        create(closes_us=CLOSES_US),
        *(place(f"a{n}", "ann", "sell", 1, 6000) for n in range(20)),
        *(place(f"c{n}", "cat", "sell", 2, 6100) for n in range(3)),
        place("bobs", "bob", "sell", 5, 6100), place("c3", "cat", "sell", 1, 6100),
        place("brief", "cat", "sell", 9, 6200, expires_us=START_US + 10), place("c4", "cat", "sell", 4, 6200),
    )  # fmt: skip
    seen = Interest("bob", 0, True, 6200, "cancel_maker")

    def ahead(interest: Interest, now_us: int = START_US) -> list[tuple[int, int]]:
        return list(shares_on_offer(market.market, interest, now_us))

    assert ahead(seen) == [(6000, 20), *[(6100, 2)] * 3, (6100, 1), (6200, 13)]
    assert ahead(seen, START_US + 10)[-1] == (6200, 4)
    assert ahead(seen._replace(self_trade_prevention="cancel_taker")) == [(6000, 20), *[(6100, 2)] * 3]
    assert ahead(seen._replace(account_id="dan", price_pips=6100)) == [(6000, 20), (6100, 12)]
