"""Each order has paid ceil(sum of rate x quantity x p x (1 - p)) over its fills, however split."""

from tests.engine.both_markets import MarketUnderTest
from tests.engine.sayings import (
    amend,
    amended,
    cancel,
    cancelled,
    create,
    leg,
    matched,
    opened,
    place,
    placed,
    rejected,
)

SEVEN_PERCENT = 700


def fees_of(market: MarketUnderTest, *takers: tuple[str, int]) -> list[int]:
    """Sends buys of the given sizes at 55.55 and answers the maker's fee in each trade."""
    return [market.run(place(order, "bob", "buy", size, 5555))[-1].legs[0].fee for order, size in takers]


def test_a_taker_pays_its_fee_and_a_maker_without_a_rate_none(market: MarketUnderTest) -> None:
    market.given(create(taker=SEVEN_PERCENT), place("a1", "ann", "sell", 10, 6000))
    taker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(taker) == (
        placed(taker, reserved=60_000 + 1_680),
        opened("ann"),
        opened("bob"),
        matched("T1", "buy", 10, 6000,
            leg("a1", "ann", "maker", "sell", 10, 6000, cash=1_680, reserved=0),
            leg("b1", "bob", "taker", "buy", 10, 6000, fee=1_680, cash=0, reserved=0)),
    )  # fmt: skip
    assert market.cash_pips("bob") == 10_000_000 - 61_680


def test_the_higher_rate_is_reserved_and_what_the_lower_leaves_is_released(market: MarketUnderTest) -> None:
    market.given(create(taker=SEVEN_PERCENT, maker=250))
    maker = place("b1", "bob", "buy", 10, 6000)
    assert market.run(maker) == (placed(maker, reserved=61_680),)
    assert market.run(place("a1", "ann", "sell", 10, 6000))[-1] == matched(
        "T1", "sell", 10, 6000,
        leg("b1", "bob", "maker", "buy", 10, 6000, fee=600, cash=1_080, reserved=0),
        leg("a1", "ann", "taker", "sell", 10, 6000, fee=1_680, cash=0, reserved=0),
    )  # fmt: skip


def test_seven_fills_of_one_share_cost_what_one_fill_of_seven_does(market: MarketUnderTest) -> None:
    """One share at 55.55 costs 172.846925 pips: rounded up alone it would cost 7 x 173 = 1,211."""
    market.given(create(taker=0, maker=SEVEN_PERCENT), place("a1", "ann", "sell", 7, 5555))
    split = fees_of(market, *((f"b{number}", 1) for number in range(7)))
    assert split == [173, 173, 173, 173, 173, 173, 172]
    market.given(place("a2", "ann", "sell", 7, 5555))
    assert fees_of(market, ("whole", 7)) == [sum(split)] == [1_210]


def test_fills_at_both_rates_are_rounded_up_once(market: MarketUnderTest) -> None:
    """Taking one costs 172.846925, making four 4 x 61.731045: 419.77, not 173 + 4 x 62 = 421."""
    market.given(create(taker=SEVEN_PERCENT, maker=250), place("a1", "ann", "sell", 1, 5555))
    taken = market.run(place("b1", "bob", "buy", 5, 5555))[-1].legs[1]
    made = [market.run(place(f"a{size}", "ann", "sell", 1, 5555))[-1].legs[0] for size in range(2, 6)]
    assert [taken.fee, *(made_leg.fee for made_leg in made)] == [173, 62, 62, 62, 61]
    assert made[-1] == leg("b1", "bob", "maker", "buy", 1, 5555, fee=61, cash=111, reserved=0)
    assert market.cash_pips("bob") == 10_000_000 - 5 * 5_555 - 420


def test_the_fee_of_a_covered_sell_comes_out_of_its_proceeds(market: MarketUnderTest) -> None:
    market.deposit("nil", 61_680)
    market.given(
        create(taker=SEVEN_PERCENT), place("a1", "ann", "sell", 10, 6000), place("b1", "nil", "buy", 10, 6000),
        place("b2", "bob", "buy", 10, 5000),
    )  # fmt: skip
    assert market.cash_pips("nil") == 0
    order = place("s1", "nil", "sell", 10, 5000)
    assert market.run(order) == (
        placed(order, reserved=0, covered=10),
        opened("bob"),
        matched("T2", "sell", 10, 5000,
            leg("b2", "bob", "maker", "buy", 10, 5000, cash=1_750, reserved=0),
            leg("s1", "nil", "taker", "sell", 10, 5000, fee=1_750, delivered=10, cash=48_250, reserved=0)),
    )  # fmt: skip


def test_the_fee_of_a_covered_share_at_one_pip_leaves_nothing_below_zero(market: MarketUnderTest) -> None:
    market.deposit("nil", 5)
    market.given(
        create(taker=SEVEN_PERCENT), place("a1", "ann", "sell", 1, 1), place("b1", "nil", "buy", 1, 1),
        place("b2", "bob", "buy", 1, 1),
    )  # fmt: skip
    assert market.cash_pips("nil") == 3
    events = market.run(place("s1", "nil", "sell", 1, 1))
    assert events[-1].legs[1] == leg(
        "s1", "nil", "taker", "sell", 1, 1, fee=1, delivered=1, cash=0, reserved=0
    )


def test_a_better_price_whose_fee_is_higher_never_exceeds_the_reserve(market: MarketUnderTest) -> None:
    """At 90 a share's fee is 0.63 cents, at 50 it is 1.75: the better price pays for it."""
    market.given(create(taker=SEVEN_PERCENT), place("a1", "ann", "sell", 10, 5000))
    events = market.run(place("b1", "bob", "buy", 10, 9000))
    assert events[0].reserved == 90_000 + 630
    assert events[-1].legs[1] == leg(
        "b1", "bob", "taker", "buy", 10, 5000, fee=1_750, cash=90_630 - 51_750, reserved=0
    )


def test_a_fee_of_a_hundred_percent_leaves_both_sides_whole(market: MarketUnderTest) -> None:
    market.given(create(taker=10_000, maker=10_000), place("a1", "ann", "sell", 1, 1))
    assert market.cash_pips("ann") == 10_000_000 - 9_999 - 1
    events = market.run(place("b1", "bob", "buy", 1, 9999))
    assert events[-1].legs == (
        leg("a1", "ann", "maker", "sell", 1, 1, fee=1, cash=0, reserved=0),
        leg("b1", "bob", "taker", "buy", 1, 1, fee=1, cash=9_998, reserved=0),
    )


def test_cancel_and_amend_free_the_fee_that_was_reserved(market: MarketUnderTest) -> None:
    market.given(create(taker=SEVEN_PERCENT), place("b1", "bob", "buy", 10, 6000))
    assert market.run(amend("bob", "b1", to=5)) == (
        amended("b1", "bob", 5, 6000, cash=30_840, reserved=30_840),
    )
    assert market.run(cancel("bob", "b1")) == (cancelled("b1", "bob", "by_owner", 5, cash=30_840),)


def test_the_fee_counts_when_cash_is_short(market: MarketUnderTest) -> None:
    market.deposit("nil", 61_679)
    market.given(create(taker=SEVEN_PERCENT))
    order = place("b1", "nil", "buy", 10, 6000)
    assert market.run(order) == (rejected(order, "exceeds_available_cash"),)
    market.deposit("nil", 1)
    enough = place("b2", "nil", "buy", 10, 6000)
    assert market.run(enough) == (placed(enough, reserved=61_680),)
    assert market.cash_pips("nil") == 0
