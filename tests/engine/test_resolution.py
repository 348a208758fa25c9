"""The way to a market's end by proposals: who may say what, when it settles, and how it is undone."""

import pytest

from tests.engine.both_markets import START_US, MarketUnderTest, assert_book
from tests.engine.sayings import (
    amend,
    approve,
    cancel,
    cancelled,
    close,
    create,
    dispute,
    place,
    placed,
    propose,
    refused,
    rejected,
    resolve,
    resume,
    reverse,
    settle,
    suspend,
    sweep,
    void,
    withdraw,
)
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine import lifecycle

NOT_OPEN = "market_not_open"
YES = (10_000, 0)
ENDED_YES = (
    ev.MarketClosed(reason="resolution", payouts=YES, settlement="r1", evidence="seen"),
    ev.MarketResolved(payouts=YES, settlement="r1", evidence="seen", sets=0, fees=0),
)


def proposed(
    *, by: str = "ann", approvals: int = 1, window_us: int = 0, until_us: int | None = None, resolution: str = "r1"
) -> ev.ResolutionProposed:  # fmt: skip
    return ev.ResolutionProposed(
        approvals=approvals, by=by, evidence="seen", payouts=YES, resolution=resolution, until_us=until_us,
        window_us=window_us,
    )  # fmt: skip


def approved(by: str, *, until_us: int | None = None, resolution: str = "r1") -> ev.ResolutionApproved:
    return ev.ResolutionApproved(by=by, resolution=resolution, until_us=until_us)


def given_holders(market: MarketUnderTest) -> None:
    """bob holds 10 Yes, cat 10 No; dan holds nothing."""
    market.given(create(), place("b1", "bob", "buy", 10, 6000), place("c1", "cat", "sell", 10, 6000))


def test_a_proposal_halts_trading_and_settles_when_another_person_approves_it(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000))
    assert market.run(propose(*YES)) == (proposed(),)
    order = place("a1", "cat", "sell", 10, 6000)
    assert market.run(order) == (rejected(order, NOT_OPEN),)
    assert market.run(approve("bea")) == (
        approved("bea"),
        ENDED_YES[0],
        cancelled("b1", "bob", "market_closed", 10, cash=60_000),
        ENDED_YES[1],
    )


def test_nobody_approves_his_own_proposal_or_twice(market: MarketUnderTest) -> None:
    market.given(create(), propose(*YES, approvals=2))
    assert market.run(approve("ann")) == (refused(None, "approve", None, "second_person_needed"),)
    assert market.run(approve("bea")) == (approved("bea"),)
    assert market.run(approve("bea")) == (refused(None, "approve", None, "second_person_needed"),)
    assert market.run(approve("cid")) == (approved("cid"), *ENDED_YES)


def test_a_window_begins_with_the_last_approval_and_settles_by_the_clock(market: MarketUnderTest) -> None:
    market.given(create(), propose(*YES, window_us=50))
    market.now_us += 1_000
    assert market.run(settle()) == (refused(None, "settle", None, NOT_OPEN),)
    until_us = market.now_us + 50
    assert market.run(approve("bea")) == (approved("bea", until_us=until_us),)
    assert market.run(approve("cid")) == (refused(None, "approve", None, NOT_OPEN),)
    market.now_us = until_us - 1
    assert market.run(settle()) == (refused(None, "settle", None, NOT_OPEN),)
    market.now_us = until_us
    assert market.run(settle("r2")) == (refused(None, "settle", None, "not_found"),)
    assert market.run(settle()) == ENDED_YES


def test_without_approvals_the_window_begins_with_the_proposal(market: MarketUnderTest) -> None:
    market.given(create())
    until_us = START_US + 50
    assert market.run(propose(*YES, approvals=0, window_us=50)) == (
        proposed(approvals=0, window_us=50, until_us=until_us),
    )
    market.now_us = until_us
    assert market.run(settle()) == ENDED_YES


def test_without_approvals_and_window_a_proposal_settles_at_once(market: MarketUnderTest) -> None:
    market.given(create())
    assert market.run(propose(*YES, approvals=0)) == (proposed(approvals=0, until_us=START_US), *ENDED_YES)


def test_a_holder_disputes_once_and_others_do_not(market: MarketUnderTest) -> None:
    given_holders(market)
    market.given(propose(*YES, window_us=50), approve("bea"))
    assert market.run(dispute("dan")) == (refused(None, "dispute", None, "not_a_holder"),)
    assert market.run(dispute("cat", "r2")) == (refused(None, "dispute", None, "not_found"),)
    assert market.run(dispute("cat")) == (
        ev.ResolutionDisputed(account="cat", reason="not so", resolution="r1"),
    )
    assert market.run(dispute("cat")) == (refused(None, "dispute", None, "not_supported"),)
    market.now_us += 100
    assert market.run(settle()) == (refused(None, "settle", None, NOT_OPEN),)
    # Others may add their objections.
    assert market.run(dispute("bob")) == (
        ev.ResolutionDisputed(account="bob", reason="not so", resolution="r1"),
    )


def test_a_dispute_comes_too_late_when_the_window_is_over(market: MarketUnderTest) -> None:
    given_holders(market)
    market.given(propose(*YES, approvals=0, window_us=50))
    market.now_us += 50
    assert market.run(dispute("cat")) == (refused(None, "dispute", None, NOT_OPEN),)


def test_a_disputed_proposal_is_upheld_by_somebody_else_and_settles_without_a_second_window(
    market: MarketUnderTest,
) -> None:
    market.given(
        create(), place("b1", "bob", "buy", 10, 6000), place("c1", "cat", "sell", 10, 6000),
        propose(*YES, approvals=0, window_us=50), dispute("cat"),
    )  # fmt: skip
    assert market.run(approve("ann")) == (refused(None, "approve", None, "second_person_needed"),)
    assert market.run(approve("bea")) == (
        approved("bea"),
        ENDED_YES[0],
        ev.MarketResolved(payouts=YES, settlement="r1", evidence="seen", sets=10, fees=0),
    )


def test_another_proposal_takes_the_place_of_a_disputed_one_and_needs_its_own_approvals(
    market: MarketUnderTest,
) -> None:
    given_holders(market)
    market.given(propose(*YES), dispute("cat"))
    assert market.run(propose(*YES, by="bea")) == (refused(None, "propose", None, "not_supported"),)
    assert market.run(propose(*YES, by="bea", resolution="r2")) == (proposed(by="bea", resolution="r2"),)
    assert market.run(approve("ann")) == (refused(None, "approve", None, "not_found"),)
    assert market.run(approve("bea", "r2")) == (refused(None, "approve", None, "second_person_needed"),)
    assert market.run(approve("ann", "r2"))[0] == approved("ann", resolution="r2")


@pytest.mark.parametrize(
    ("before", "after"),
    [((), "suspended"), ((suspend(),), "suspended"), ((close(),), "closed")],
)
def test_a_withdrawn_proposal_leaves_the_market_as_it_was_but_halted(
    market: MarketUnderTest, before: tuple[cmd.Command, ...], after: str
) -> None:
    market.given(create(), *before, propose(*YES), propose(*YES, resolution="r2"))
    assert market.run(withdraw("bea")) == (refused(None, "withdraw", None, "not_found"),)
    assert market.run(withdraw("bea", "r2")) == (
        ev.ResolutionWithdrawn(by="bea", reason="too early", resolution="r2", status=after),
    )
    assert market.run(withdraw("bea", "r2")) == (refused(None, "withdraw", None, NOT_OPEN),)


def test_a_market_withdrawn_from_review_trades_again_once_it_is_resumed(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), propose(*YES), withdraw(), resume())
    assert_book(market, """
        bid  price  ask
         10     60
    """)  # fmt: skip


def test_a_market_under_review_is_not_decided_past_its_reviewers(market: MarketUnderTest) -> None:
    market.given(create(), propose(*YES))
    for verb, command in (
        ("resolve", resolve()),
        ("void", void()),
        ("suspend", suspend()),
    ):
        assert market.run(command) == (refused(None, verb, None, NOT_OPEN),)


def test_orders_end_under_review_as_they_asked_for_and_can_be_withdrawn(
    market: MarketUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 1)
    leaving = [place(f"b{n}", "bob", "buy", 1, 10, on_suspend="cancel") for n in range(2)]
    market.given(create(), *leaving, place("b3", "bob", "buy", 1, 10))
    gone = [cancelled(f"b{n}", "bob", "market_suspended", 1, cash=10) for n in range(2)]
    assert market.run(propose(*YES)) == (proposed(), gone[0])
    assert market.run(sweep()) == (gone[1],)
    assert market.run(sweep()) == ()
    assert market.run(cancel("bob", "b3")) == (cancelled("b3", "bob", "by_owner", 1, cash=10),)


def test_a_void_is_proposed_like_any_other_end(market: MarketUnderTest) -> None:
    market.given(create(), propose())
    assert market.run(approve("bea"))[1:] == (
        ev.MarketClosed(reason="void", settlement="r1", evidence="seen"),
        ev.MarketVoided(settlement="r1", evidence="seen", sets=0, fees=0),
    )


def test_a_market_whose_time_comes_under_review_loses_its_book_and_stays_under_review(
    market: MarketUnderTest,
) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), propose(*YES))
    assert market.run(close()) == (
        ev.MarketClosed(reason="time"),
        cancelled("b1", "bob", "market_closed", 10, cash=60_000),
    )
    assert market.run(close()) == (refused(None, "close", None, NOT_OPEN),)
    assert market.run(withdraw())[0].status == "closed"
    market.given(propose(*YES))
    assert market.run(approve("bea")) == (approved("bea"), *ENDED_YES)


def test_after_an_objection_somebody_else_has_to_look_whatever_is_proposed(market: MarketUnderTest) -> None:
    given_holders(market)
    market.given(propose(*YES, approvals=0, window_us=50), dispute("cat"), withdraw())
    assert market.run(propose(*YES, approvals=0, window_us=50)) == (proposed(approvals=1, window_us=50),)
    market.now_us += 100
    assert market.run(settle()) == (refused(None, "settle", None, NOT_OPEN),)
    assert market.run(approve("ann")) == (refused(None, "approve", None, "second_person_needed"),)
    market.given(approve("bea"))
    market.now_us += 50
    assert isinstance(market.run(settle())[-1], ev.MarketResolved)
    # Decided is decided: the next time nobody has objected yet.
    market.given(reverse("ann"))
    assert isinstance(market.run(propose(*YES, resolution="r2", approvals=0))[-1], ev.MarketResolved)


def test_only_so_many_holders_are_heard(market: MarketUnderTest) -> None:
    for number in range(51):
        market.deposit(f"h{number}", 10_000)
    market.given(create(), place("b0", "bob", "buy", 60, 6000))
    market.given(*(place(f"h{n}", f"h{n}", "sell", 1, 6000) for n in range(51)), propose(*YES))
    market.given(*(dispute(f"h{n}") for n in range(50)))
    assert market.run(dispute("h50")) == (refused(None, "dispute", None, "exceeds_limits"),)


# --- Undone -----------------------------------------------------------------------------------


def undone(by: str, *, sets: int = 10, settlement: str = "u1", reverses: str = "s1") -> ev.ResolutionReversed:
    return ev.ResolutionReversed(by=by, evidence="wrong", reverses=reverses, settlement=settlement, sets=sets)


def test_a_reversed_market_has_its_shares_still_and_is_decided_anew(market: MarketUnderTest) -> None:
    given_holders(market)
    assert market.run(reverse("ann")) == (refused(None, "reverse", None, NOT_OPEN),)
    market.given(resolve(*YES))
    assert market.run(reverse("ann")) == (undone("ann"),)
    order = place("b2", "bob", "buy", 1, 10)
    assert market.run(order) == (rejected(order, NOT_OPEN),)
    market.given(propose(0, 10_000))
    assert market.run(approve("bea")) == (
        approved("bea"),
        ev.MarketClosed(reason="resolution", payouts=(0, 10_000), settlement="r1", evidence="seen"),
        ev.MarketResolved(payouts=(0, 10_000), settlement="r1", evidence="seen", sets=10, fees=0),
    )
    assert market.run(reverse("ann", settlement="u2")) == (undone("ann", settlement="u2", reverses="r1"),)


def test_only_the_end_that_stands_is_undone(market: MarketUnderTest) -> None:
    given_holders(market)
    market.given(resolve(*YES), reverse("ann", reverses="s1"), propose(*YES, approvals=0))
    assert market.run(reverse("ann", reverses="s1")) == (refused(None, "reverse", None, "not_found"),)
    assert market.run(reverse("ann", settlement="u2", reverses="r1")) == (
        undone("ann", settlement="u2", reverses="r1"),
    )


def test_a_reversal_takes_as_many_persons_as_it_needs(market: MarketUnderTest) -> None:
    given_holders(market)
    market.given(resolve(*YES))
    assert market.run(reverse("ann", approvals=1)) == (
        ev.ReversalRequested(approvals=1, by="ann", evidence="wrong"),
    )
    assert market.run(reverse("ann", settlement="u2", approvals=0)) == (
        refused(None, "reverse", None, "second_person_needed"),
    )
    # How many it takes was said by the first.
    assert market.run(reverse("bea", settlement="u2", approvals=5)) == (undone("bea", settlement="u2"),)


# --- Resumed in a phase ---------------------------------------------------------------------------


def test_in_a_cancel_only_phase_orders_go_but_do_not_come(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), place("b2", "bob", "buy", 1, 10), suspend())
    until_us = market.now_us + 30
    assert market.run(resume("cancel_only", 30)) == (
        ev.MarketResumed(phase="cancel_only", until_us=until_us),
    )
    early = place("a1", "ann", "sell", 10, 6000)
    assert market.run(early) == (rejected(early, NOT_OPEN),)
    assert market.run(amend("bob", "b1", price=6100)) == (refused("bob", "amend", "b1", NOT_OPEN),)
    assert market.run(cancel("bob", "b2")) == (cancelled("b2", "bob", "by_owner", 1, cash=10),)
    market.now_us = until_us
    order = place("a2", "ann", "sell", 1, 7000)
    assert market.run(order) == (placed(order, reserved=3_000),)


def test_in_a_post_only_phase_orders_rest_but_none_trades(market: MarketUnderTest) -> None:
    market.given(create(), place("b1", "bob", "buy", 10, 6000), suspend(), resume("post_only", 30))
    for crossing in (place("a1", "ann", "sell", 1, 6000), place("a2", "ann", "sell", 1, 7000, tif="IOC")):
        assert market.run(crossing) == (rejected(crossing, "would_cross"),)
    resting = place("a3", "ann", "sell", 1, 6100)
    assert market.run(resting) == (placed(resting, reserved=3_900),)
    assert market.run(amend("ann", "a3", price=5900)) == (refused("ann", "amend", "a3", "would_cross"),)
    market.now_us += 30
    assert isinstance(market.run(amend("ann", "a3", price=6000))[-1], ev.OrderMatched)


def test_a_halt_ends_the_phase(market: MarketUnderTest) -> None:
    market.given(create(), suspend(), resume("cancel_only", 1_000), suspend(), resume())
    order = place("b1", "bob", "buy", 1, 10)
    assert market.run(order) == (placed(order, reserved=10),)
