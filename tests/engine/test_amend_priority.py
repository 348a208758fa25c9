"""A smaller order keeps its place; another price or a larger size goes to the end of the queue, and may trade."""

import pytest

from tests.engine.both_markets import CLOSES_US, START_US, MarketUnderTest, assert_book, trades_of
from tests.engine.sayings import amend, amended, close, create, place, refused, suspend


def two_asks(market: MarketUnderTest, *, taker: int = 0) -> None:
    market.given(
        create(tick=100, taker=taker),
        place("s1", "ann", "sell", 5, 6000),
        place("s2", "cat", "sell", 5, 6000),
    )


def order_of_makers(market: MarketUnderTest) -> list[str]:
    return [orders.split()[0] for orders, _, _ in trades_of(market.run(place("b", "bob", "buy", 20, 9000)))]


def test_a_larger_order_loses_its_place(market: MarketUnderTest) -> None:
    two_asks(market)
    assert market.run(amend("ann", "s1", to=6)) == (
        amended("s1", "ann", 6, 6000, cash=-4_000, reserved=24_000, requeued=True),
    )
    assert order_of_makers(market) == ["s2", "s1"]


def test_a_smaller_order_keeps_its_place(market: MarketUnderTest) -> None:
    two_asks(market)
    market.given(amend("ann", "s1", by=1))
    assert order_of_makers(market) == ["s1", "s2"]


def test_an_order_that_leaves_its_price_and_comes_back_is_the_last(market: MarketUnderTest) -> None:
    two_asks(market)
    market.given(amend("ann", "s1", price=6100))
    assert_book(market, """
        bid  price  ask
                61    5
                60    5
    """)  # fmt: skip
    market.given(amend("ann", "s1", price=6000))
    assert order_of_makers(market) == ["s2", "s1"]


def test_a_smaller_order_at_another_price_is_requeued(market: MarketUnderTest) -> None:
    two_asks(market)
    assert market.run(amend("ann", "s1", to=3, price=5900)) == (
        amended("s1", "ann", 3, 5900, cash=7_700, reserved=12_300, requeued=True),
    )
    assert order_of_makers(market) == ["s1", "s2"]


def test_an_amend_into_the_other_side_trades_as_a_taker(market: MarketUnderTest) -> None:
    two_asks(market, taker=700)
    market.given(place("b1", "bob", "buy", 8, 5000))
    events = market.run(amend("bob", "b1", to=12, price=6000))
    assert trades_of(events) == [("s1 b1", 5, 6000), ("s2 b1", 5, 6000)]
    assert [leg.role for event in events[3:] if hasattr(event, "legs") for leg in event.legs][1::2] == [
        "taker"
    ] * 2
    assert_book(market, """
        bid  price  ask
          2     60
    """)  # fmt: skip


def test_the_fees_of_an_order_are_rounded_once_over_all_its_places(market: MarketUnderTest) -> None:
    """It makes one share at 55.55, then takes one at 60, then makes one again there."""
    market.given(create(taker=700, maker=250), place("b", "bob", "buy", 3, 5555))
    paid = market.run(place("s1", "ann", "sell", 1, 5555))[-1].legs[0].fee
    market.given(place("s2", "ann", "sell", 1, 6000))
    paid += market.run(amend("bob", "b", price=6000))[-1].legs[1].fee
    paid += market.run(place("s3", "ann", "sell", 1, 6000))[-1].legs[0].fee
    exact = 250 * 5555 * 4445 + (700 + 250) * 6000 * 4000
    assert paid == -(-exact // 10**8)


def test_an_amend_covers_the_order_anew_with_what_is_free_by_then(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("s", "ann", "sell", 5, 8000),
        place("x", "bob", "sell", 8, 6000),
        place("y", "ann", "buy", 8, 6000),
    )
    assert market.run(amend("ann", "s", to=10)) == (
        amended("s", "ann", 10, 8000, cash=10_000 - 4_000, reserved=4_000, covered=8, requeued=True),
    )
    assert market.free_shares("ann") == [0, 0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (amend("ann", "s1", price=6050), "off_tick"),
        (amend("ann", "s1", to=10_000), "exceeds_available_cash"),
        (amend("ann", "s1", to=10_000, price=6050), "off_tick"),
    ],
)
def test_a_refused_amend_changes_nothing(market: MarketUnderTest, change: object, reason: str) -> None:
    two_asks(market)
    assert market.run(change) == (refused("ann", "amend", "s1", reason),)  # type: ignore[arg-type]
    assert market.cash_pips("ann") == 10_000_000 - 20_000
    assert order_of_makers(market) == ["s1", "s2"]


def test_a_post_only_order_cannot_be_moved_into_the_other_side(market: MarketUnderTest) -> None:
    two_asks(market)
    market.given(place("b1", "bob", "buy", 8, 5000, post_only=True))
    assert market.run(amend("bob", "b1", price=6000)) == (refused("bob", "amend", "b1", "would_cross"),)
    assert len(market.run(amend("bob", "b1", price=5900))) == 1


@pytest.mark.parametrize("state", ["suspended", "past its closing time"])
def test_only_a_smaller_order_is_possible_while_the_market_is_not_open(
    market: MarketUnderTest, state: str
) -> None:
    two_asks(market)
    if state == "suspended":
        market.given(suspend())
    else:
        market.now_us = CLOSES_US
    for change in (amend("ann", "s1", to=6), amend("ann", "s1", price=6100)):
        assert market.run(change) == (refused("ann", "amend", "s1", "market_not_open"),)
    assert market.run(amend("ann", "s1", to=4)) == (
        amended("s1", "ann", 4, 6000, cash=4_000, reserved=16_000),
    )


def test_an_expired_order_can_be_made_smaller_but_not_moved(market: MarketUnderTest) -> None:
    market.given(create(), place("b", "bob", "buy", 5, 6000, expires_us=START_US + 5))
    market.now_us += 5
    assert market.run(amend("bob", "b", price=6100)) == (refused("bob", "amend", "b", "expired"),)
    assert market.run(amend("bob", "b", to=4)) == (amended("b", "bob", 4, 6000, cash=6_000, reserved=24_000),)


def test_an_order_of_a_closed_market_is_gone(market: MarketUnderTest) -> None:
    two_asks(market)
    market.given(close())
    assert market.run(amend("ann", "s1", to=6)) == (refused("ann", "amend", "s1", "order_not_open"),)
