"""GTD orders never trade from their time on, whether somebody has ended them by then or not."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, assert_book, trades_of
from tests.engine.sayings import create, expire, expired, place, placed, rejected, suspend
from trading.engine import lifecycle


def ask_until(market: MarketUnderTest, order: str, us: int, price: int = 6000, account: str = "ann") -> None:
    market.given(place(order, account, "sell", 5, price, expires_us=START_US + us))


def test_a_gtd_order_trades_until_a_microsecond_before_its_time(market: MarketUnderTest) -> None:
    market.given(create())
    ask_until(market, "s", 5)
    market.now_us += 4
    assert trades_of(market.run(place("b", "bob", "buy", 5, 6000))) == [("s b", 5, 6000)]


def test_an_expired_order_that_would_be_met_ends_and_the_next_is_met(market: MarketUnderTest) -> None:
    market.given(create())
    ask_until(market, "s", 5)
    market.given(place("next", "cat", "sell", 5, 6000))
    market.now_us += 5
    events = market.run(place("b", "bob", "buy", 5, 6000))
    assert events[1] == expired("s", "ann", 5, cash=20_000)
    assert trades_of(events) == [("next b", 5, 6000)]


@pytest.mark.parametrize("outcomes", [("Yes", "No"), ("A", "B", "C")])
def test_an_expired_order_out_of_reach_is_left_for_the_clock(
    market: MarketUnderTest, outcomes: tuple[str, ...]
) -> None:
    market.given(create(outcomes=outcomes))
    ask_until(market, "s", 5)
    market.given(place("x", "cat", "buy", 5, 1000, outcome=1, expires_us=START_US + 5))
    market.now_us += 5
    order = place("b", "bob", "buy", 5, 5000)
    assert market.run(order) == (placed(order, reserved=25_000),)


def test_an_expired_own_order_is_no_self_trade(market: MarketUnderTest) -> None:
    market.given(create())
    ask_until(market, "s", 5, account="bob")
    market.now_us += 5
    order = place("b", "bob", "buy", 5, 6000)
    assert market.run(order) == (placed(order, reserved=30_000), expired("s", "bob", 5, cash=20_000))
    assert_book(market, """
        bid  price  ask
          5     60
    """)  # fmt: skip


def test_a_fok_order_does_not_count_expired_ones_and_a_post_only_one_does_not_see_them(
    market: MarketUnderTest,
) -> None:
    market.given(create())
    ask_until(market, "s", 5)
    market.now_us += 5
    kill = place("k", "bob", "buy", 5, 6000, tif="FOK")
    assert market.run(kill) == (rejected(kill, "cannot_fill"),)
    order = place("b", "bob", "buy", 5, 6000, post_only=True)
    assert market.run(order)[0] == placed(order, reserved=30_000)


@pytest.mark.parametrize("us", [-1, 0])
def test_an_order_whose_time_is_over_when_it_comes_is_refused(market: MarketUnderTest, us: int) -> None:
    market.given(create())
    order = place("b", "bob", "buy", 5, 6000, expires_us=START_US + us)
    assert market.run(order) == (rejected(order, "expired"),)


def test_the_clock_ends_the_soonest_first_and_only_those_that_are_due(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 2)
    market.given(create())
    for order, us in (("d", 9), ("c", 5), ("a", 5), ("b", 4)):
        ask_until(market, order, us)
    market.now_us += 5
    assert [event.order for event in market.run(expire())] == ["b", "a"]
    assert market.run(expire()) == (expired("c", "ann", 5, cash=20_000),)
    assert market.run(expire()) == ()
    assert market.depth(0) == ([], [(6000, 5)])


def test_orders_expire_in_a_suspended_market_too(market: MarketUnderTest) -> None:
    market.given(create())
    ask_until(market, "s", 5)
    market.given(suspend())
    market.now_us += 5
    assert market.run(expire()) == (expired("s", "ann", 5, cash=20_000),)


def test_shares_freed_by_an_expiry_net_in_it(market: MarketUnderTest) -> None:
    market.given(
        create(), place("s0", "ann", "sell", 5, 5000), place("b0", "bob", "buy", 5, 5000),
        place("s", "bob", "sell", 5, 9000, expires_us=START_US + 5),
        place("n", "bob", "buy", 5, 4000, outcome=1), place("y", "cat", "buy", 5, 6000),
    )  # fmt: skip
    market.now_us += 5
    assert market.run(expire()) == (expired("s", "bob", 5, released=5, netted=5, cash=50_000),)
