"""Cancel-all with its filters and its fence, and orders that asked to be cancelled when the market is suspended."""

import pytest

from tests.engine.both_markets import CLOSES_US, FastMarket, MarketUnderTest
from tests.engine.sayings import (
    cancel_all,
    cancelled,
    create,
    fenced,
    place,
    placed,
    rejected,
    resolve,
    resume,
    suspend,
    sweep,
)
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine import lifecycle


def test_an_older_order_that_comes_after_the_fence_is_refused_and_a_younger_one_is_not(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("o1", "bob", "buy", 1, 5000))
    assert market.run(cancel_all("bob", fence="o5")) == (
        fenced("bob", "o5"),
        cancelled("o1", "bob", "by_owner", 1, cash=5_000),
    )
    late = place("o4", "bob", "buy", 1, 5000)
    assert market.run(late) == (rejected(late, "cancelled_by_owner"),)
    younger = place("o5", "bob", "buy", 1, 5000)
    assert market.run(younger) == (placed(younger, reserved=5_000),)
    others = place("o2", "cat", "buy", 1, 5000)
    assert market.run(others) == (placed(others, reserved=5_000),)


@pytest.mark.parametrize(
    ("filters", "spared"),
    [
        ({"outcome": 0}, place("o1", "bob", "buy", 1, 5000, outcome=1)),
        ({"side": "buy"}, place("o1", "bob", "sell", 1, 5000)),
        ({"by": "key"}, place("o1", "bob", "buy", 1, 5000, by="web")),
    ],
)
def test_a_fence_stops_only_the_orders_that_it_means(
    market: MarketUnderTest, filters: dict[str, object], spared: cmd.PlaceOrder
) -> None:
    market.given(create(), cancel_all("bob", fence="o5", **filters))  # type: ignore[arg-type]
    assert isinstance(market.run(spared)[0], ev.OrderPlaced)
    meant = place("o2", "bob", "buy", 1, 4000, by="key")
    assert market.run(meant) == (rejected(meant, "cancelled_by_owner"),)


def test_an_earlier_fence_still_stands_after_a_later_one(market: MarketUnderTest) -> None:
    market.given(create(), cancel_all("bob", fence="o5", side="buy"), cancel_all("bob", fence="o3"))
    order = place("o4", "bob", "buy", 1, 5000)
    assert market.run(order) == (rejected(order, "cancelled_by_owner"),)


def test_a_fence_older_than_a_minute_goes_when_the_next_one_comes(market: MarketUnderTest) -> None:
    market.given(create(closes_us=CLOSES_US), cancel_all("bob", fence="o5"))
    market.now_us += 60_000_001
    market.given(cancel_all("bob", fence="o3"))
    order = place("o4", "bob", "buy", 1, 5000)
    assert market.run(order) == (placed(order, reserved=5_000),)


def test_no_fence_is_written_once_a_market_has_ended(market: MarketUnderTest) -> None:
    market.given(create(), resolve())
    assert market.run(cancel_all("bob", fence="o5")) == ()


def test_cancel_all_may_be_limited_to_a_placer_and_to_orders_placed_until_then(
    market: MarketUnderTest,
) -> None:
    market.given(
        create(), place("o1", "bob", "buy", 1, 5000, by="key"), place("o2", "bob", "buy", 1, 5000, by="web")
    )
    market.now_us += 5
    market.given(place("o3", "bob", "buy", 1, 5000, by="key"))
    assert market.run(cancel_all("bob", by="key", reason="heartbeat", until_us=market.now_us - 5)) == (
        cancelled("o1", "bob", "heartbeat", 1, cash=5_000),
    )
    assert market.run(cancel_all("bob", by="key", reason="disconnected")) == (
        cancelled("o3", "bob", "disconnected", 1, cash=5_000),
    )


def test_an_order_sent_before_the_fence_and_placed_after_that_moment_is_cancelled_too(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("o1", "bob", "buy", 1, 5000, by="web"))
    market.given(*(place(order, "bob", "buy", 1, 5000, by="key") for order in ("o2", "o3")))
    assert market.run(cancel_all("bob", by="key", fence="o3", until_us=market.now_us - 5)) == (
        fenced("bob", "o3", by="key"),
        cancelled("o2", "bob", "by_owner", 1, cash=5_000),
    )


def four_of_which_three_leave(market: MarketUnderTest) -> list[ev.OrderCancelled]:
    market.given(create(), place("stays", "bob", "buy", 1, 4000))
    leaving = [f"o{number}" for number in range(3)]
    market.given(*(place(order, "bob", "buy", 1, 5000, on_suspend="cancel") for order in leaving))
    return [cancelled(order, "bob", "market_suspended", 1, cash=5_000) for order in leaving]


def test_a_suspension_cancels_the_orders_that_asked_for_it(market: MarketUnderTest) -> None:
    ends = four_of_which_three_leave(market)
    assert market.run(suspend()) == (ev.MarketSuspended(reason="news"), *ends)
    assert market.depth(0)[0] == [(4000, 1)]
    assert market.run(sweep()) == ()


def test_more_of_them_than_a_step_holds_are_swept(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 2)
    ends = four_of_which_three_leave(market)
    assert market.run(suspend()) == (ev.MarketSuspended(reason="news"), *ends[:2])
    assert market.run(sweep()) == (ends[2],)
    assert market.run(sweep()) == ()


def test_a_market_that_is_resumed_has_none_of_them_left(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 1)
    ends = four_of_which_three_leave(market)
    market.given(suspend())
    assert market.run(resume()) == (*ends[1:], ev.MarketResumed())
    assert market.depth(0)[0] == [(4000, 1)]


def test_fences_stay_as_few_as_they_can_be() -> None:
    market = FastMarket()
    market.given(create(closes_us=CLOSES_US))
    for number in range(10):
        market.given(cancel_all("bob", fence=f"o{number}"), cancel_all("bob", fence=f"o{number}", side="buy"))
        market.given(cancel_all(f"other {number}", fence="o5"))
    assert {account: len(fences) for account, fences in market.market.fences.items()} == {
        "bob": 2, **{f"other {number}": 1 for number in range(10)},
    }  # fmt: skip
    market.now_us += 60_000_001
    market.given(cancel_all("cat", fence="o5"))
    assert list(market.market.fences) == ["cat"]
