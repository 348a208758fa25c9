"""From creation to the end of a market: opening, suspending, closing, resolving, voiding, sweeping."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, assert_book
from tests.engine.sayings import (
    amend,
    cancel,
    cancelled,
    close,
    closed,
    create,
    created,
    leg,
    matched,
    opened,
    place,
    placed,
    refused,
    rejected,
    resolve,
    resolved,
    resume,
    suspend,
    sweep,
    void,
    voided,
)
from trading.engine import commands as cmd
from trading.engine import events as ev

NOT_OPEN = "market_not_open"
RESOLUTION = closed("resolution", 10_000, 0)
VOID = closed("void")
BY_TIME = closed("time")


def rest(market: MarketUnderTest, count: int) -> list[ev.OrderCancelled]:
    """Lets an account rest `count` orders; answers how the sweep will end them, the oldest first."""
    orders = [place(f"o{number}", "bob", "buy", 1, 1 + number % 7) for number in range(count)]
    market.given(*orders)
    return [cancelled(order.order_id, "bob", "market_closed", 1, cash=order.price_pips) for order in orders]


def test_a_market_without_an_opening_time_is_open_at_once(market: MarketUnderTest) -> None:
    creation = create(outcomes=("Yes", "No"), tick=100, taker=700, maker=250)
    assert market.run(creation) == (
        created(creation, at_us=START_US),
        ev.MarketOpened(),
    )  # fmt: skip


def test_a_market_that_opens_later_is_a_draft_until_it_is_opened(market: MarketUnderTest) -> None:
    creation = create(opens_us=START_US + 1)
    assert market.run(creation) == (created(creation, at_us=START_US),)
    early = place("b1", "bob", "buy", 1, 5000)
    assert market.run(early) == (rejected(early, NOT_OPEN),)
    market.now_us = START_US + 1
    assert market.run(cmd.OpenMarket("m")) == (ev.MarketOpened(),)
    assert market.run(cmd.OpenMarket("m")) == (refused(None, "open", None, NOT_OPEN),)
    order = place("b2", "bob", "buy", 1, 5000)
    assert market.run(order) == (placed(order, reserved=5_000),)


def test_nothing_can_be_asked_of_a_market_that_was_never_created(market: MarketUnderTest) -> None:
    for command in (place("b1", "bob", "buy", 1, 5000), cancel("bob", "b1"), resolve(), sweep(), suspend()):
        assert market.run(command) == ()


def test_a_market_is_created_once(market: MarketUnderTest) -> None:
    market.given(create())
    assert market.run(create(tick=100)) == (refused(None, "create", None, "not_supported"),)


def test_a_suspended_market_keeps_its_book_and_lets_orders_go_but_not_come(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), place("b2", "bob", "buy", 5, 5900))
    assert market.run(suspend()) == (ev.MarketSuspended(reason="news"),)
    order = place("a1", "ann", "sell", 10, 6000)
    assert market.run(order) == (rejected(order, NOT_OPEN),)
    assert market.run(cancel("bob", "b2")) == (cancelled("b2", "bob", "by_owner", 5, cash=29_500),)
    market.given(amend("bob", "b1", to=4))
    assert_book(market, """
        bid  price  ask
          4     60
    """)  # fmt: skip
    assert market.run(suspend()) == (refused(None, "suspend", None, NOT_OPEN),)


def test_a_resumed_market_trades_with_the_book_it_had(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), suspend())
    assert market.run(resume()) == (ev.MarketResumed(),)
    assert market.run(resume()) == (refused(None, "resume", None, NOT_OPEN),)
    order = place("a1", "ann", "sell", 10, 6000)
    assert market.run(order) == (
        placed(order, reserved=40_000),
        opened("bob"),
        opened("ann"),
        matched("T1", "sell", 10, 6000,
            leg("b1", "bob", "maker", "buy", 10, 6000, cash=0, reserved=0),
            leg("a1", "ann", "taker", "sell", 10, 6000, cash=0, reserved=0)),
    )  # fmt: skip


def test_closing_cancels_the_book_and_stops_trading_for_good(market: MarketUnderTest) -> None:
    market.given(
        create(), place("b1", "bob", "buy", 10, 6000), place("n1", "ann", "buy", 10, 3000, outcome=1)
    )
    assert market.run(close()) == (
        BY_TIME,
        cancelled("b1", "bob", "market_closed", 10, cash=60_000),
        cancelled("n1", "ann", "market_closed", 10, cash=30_000),
    )
    assert market.run(sweep()) == ()
    for verb, command in (("close", close()), ("suspend", suspend()), ("resume", resume())):
        assert market.run(command) == (refused(None, verb, None, NOT_OPEN),)


def test_a_closed_market_is_resolved_later(market: MarketUnderTest) -> None:
    market.given(create(), close())
    assert market.run(resolve(2500, 7500)) == (
        closed("resolution", 2500, 7500),
        resolved(2500, 7500, sets=0, fees=0),
    )
    assert market.status() == "resolved"


def test_resolving_says_how_many_sets_and_fees_there_are(market: MarketUnderTest) -> None:
    market.given(
        create(taker=700),
        place("a1", "ann", "sell", 10, 6000), place("b1", "bob", "buy", 10, 6000),
        place("s1", "bob", "sell", 10, 7000), place("b2", "cat", "buy", 4, 6500),
    )  # fmt: skip
    assert market.run(resolve()) == (
        RESOLUTION,
        cancelled("s1", "bob", "market_closed", 10, released=10, cash=0),
        cancelled("b2", "cat", "market_closed", 4, cash=26_000 + 637),
        resolved(10_000, 0, sets=10, fees=1_680),
    )
    assert market.free_shares("bob") == [10, 0]


def test_shares_that_a_sweep_frees_net_in_it(market: MarketUnderTest) -> None:
    market.given(
        create(),
        place("a1", "ann", "sell", 10, 6000), place("b1", "bob", "buy", 10, 6000),
        place("s1", "bob", "sell", 10, 9000), place("n1", "bob", "buy", 10, 3000, outcome=1),
        place("b2", "cat", "buy", 10, 7000),
    )  # fmt: skip
    assert market.run(void()) == (
        VOID,
        cancelled("s1", "bob", "market_closed", 10, released=10, netted=10, cash=100_000),
        voided(sets=10, fees=0),
    )


@pytest.mark.parametrize("count", [499, 500])
def test_up_to_500_orders_are_cancelled_with_the_market_in_one_step(
    market: MarketUnderTest, count: int
) -> None:
    market.given(create())
    ends = rest(market, count)
    assert market.run(resolve()) == (RESOLUTION, *ends, resolved(10_000, 0, sets=0, fees=0))
    assert market.run(sweep()) == ()


def test_more_orders_take_several_steps_and_the_end_comes_after_the_last(market: MarketUnderTest) -> None:
    market.given(create())
    ends = rest(market, 1_203)
    assert market.run(void()) == (VOID, *ends[:500])
    assert market.status() == "closed"
    assert market.run(sweep()) == tuple(ends[500:1000])
    assert market.run(sweep()) == (*ends[1000:], voided(sets=0, fees=0))
    assert market.status() == "voided"
    assert market.run(sweep()) == ()
    assert market.cash_pips("bob") == 10_000_000


def test_closing_by_time_takes_several_steps_too_and_waits_for_the_resolution(
    market: MarketUnderTest,
) -> None:
    market.given(create())
    ends = rest(market, 501)
    assert market.run(close()) == (BY_TIME, *ends[:500])
    assert market.run(sweep()) == (ends[500],)
    assert market.run(sweep()) == ()
    assert market.status() == "closed"


def test_a_resolution_may_come_while_the_book_is_still_being_swept(market: MarketUnderTest) -> None:
    market.given(create())
    ends = rest(market, 1_100)
    market.given(close())
    assert market.run(resolve()) == (RESOLUTION, *ends[500:1000])
    assert market.run(sweep()) == (*ends[1000:], resolved(10_000, 0, sets=0, fees=0))


def test_a_market_is_decided_once_even_while_it_is_being_swept(market: MarketUnderTest) -> None:
    market.given(create())
    ends = rest(market, 501)
    market.given(resolve())
    for verb, command in (("resolve", resolve(0, 10_000)), ("void", void()), ("close", close())):
        assert market.run(command) == (refused(None, verb, None, NOT_OPEN),)
    assert market.run(sweep()) == (ends[500], resolved(10_000, 0, sets=0, fees=0))
    for verb, command in (("resolve", resolve(0, 10_000)), ("void", void()), ("close", close())):
        assert market.run(command) == (refused(None, verb, None, NOT_OPEN),)


def test_an_owner_may_cancel_before_the_sweep_gets_there_and_the_end_still_comes(
    market: MarketUnderTest,
) -> None:
    market.given(create())
    rest(market, 501)
    market.given(resolve())
    assert market.run(cancel("bob", "o500")) == (cancelled("o500", "bob", "by_owner", 1, cash=4),)
    order = place("late", "bob", "buy", 1, 1)
    assert market.run(order) == (rejected(order, NOT_OPEN),)
    assert market.run(sweep()) == (resolved(10_000, 0, sets=0, fees=0),)


@pytest.mark.parametrize("before", [(), (suspend(),), (close(),)])
def test_a_market_can_be_voided_from_any_state_before_its_end(
    market: MarketUnderTest, before: tuple[cmd.Command, ...]
) -> None:
    market.given(create(), *before)
    assert market.run(void()) == (VOID, voided(sets=0, fees=0))


def test_a_draft_can_be_closed_and_resolved(market: MarketUnderTest) -> None:
    market.given(create(opens_us=START_US + 1))
    assert market.run(close()) == (BY_TIME,)
    assert market.run(cmd.OpenMarket("m")) == (refused(None, "open", None, NOT_OPEN),)
    assert market.run(resolve())[-1] == resolved(10_000, 0, sets=0, fees=0)
