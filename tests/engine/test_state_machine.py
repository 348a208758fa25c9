"""Every command in whatever order and however aimed: the engine beside the naive exchange, rule by rule."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.both_markets import START_US
from tests.engine.sayings import (
    amend,
    approve,
    cancel,
    cancel_all,
    close,
    create,
    dispute,
    expire,
    place,
    propose,
    resolve,
    resume,
    reverse,
    settle,
    suspend,
    sweep,
    void,
    withdraw,
)
from tests.engine.trial import Trial
from trading.engine import codec, decide, lifecycle
from trading.engine import commands as cmd
from trading.engine import events as ev

ACCOUNTS = st.sampled_from(("ann", "bob", "cat"))
DEPOSITS = {"ann": 400_000, "bob": 400_000, "cat": 60_000}
PLACERS = st.sampled_from(("", "key"))
SIDES = st.sampled_from(("buy", "sell"))
SIZES = st.integers(1, 9)
TICK = 100


STEPS: dict[type, str] = {
    cmd.OpenMarket: "open", cmd.SuspendMarket: "suspend", cmd.ResumeMarket: "resume", cmd.CloseMarket: "close",
    cmd.ResolveMarket: "resolve", cmd.VoidMarket: "void", cmd.ProposeResolution: "propose",
    cmd.ApproveResolution: "approve", cmd.DisputeResolution: "dispute", cmd.WithdrawResolution: "withdraw",
    cmd.SettleResolution: "settle", cmd.ReverseResolution: "reverse",
}  # fmt: skip


class Exchange(RuleBasedStateMachine):
    """A market of two to four outcomes, and three accounts of which one is poor."""

    def __init__(self) -> None:
        super().__init__()
        self.trial = Trial(DEPOSITS)
        self.now_us = START_US
        self.placed: list[cmd.PlaceOrder] = []

    def say(self, command: cmd.Command) -> None:
        assert codec.command_from(codec.command_data(command)) == command
        before = self.trial.market.status
        said = self.trial.play(self.now_us, command)
        step = STEPS.get(type(command))
        if step is not None and not isinstance(said[0], ev.CommandRefused):
            assert before in lifecycle.ALLOWED_FROM[step]
            assert self.trial.market.status in lifecycle.LEADS_TO[step]

    @initialize(outcomes=st.integers(2, 4), taker=st.sampled_from((0, 700)), maker=st.sampled_from((0, 33)))
    def create(self, outcomes: int, taker: int, maker: int) -> None:
        names = tuple("ABCD"[:outcomes])
        self.outcomes = outcomes
        self.say(create(outcomes=names, tick=TICK, taker=taker, maker=maker))

    @rule(
        account=ACCOUNTS, side=SIDES, outcome=st.integers(0, 3), size=SIZES, off=st.integers(-3, 3),
        tif=st.sampled_from(("GTC", "GTC", "GTC", "GTD", "IOC", "FOK")), by=PLACERS,
        stp=st.sampled_from(("cancel_taker", "cancel_maker", "cancel_both")),
        flags=st.sampled_from(((False, False), (False, False), (True, False), (False, True))),
        on_suspend=st.sampled_from(("keep", "cancel")), life_us=st.integers(0, 6),
    )  # fmt: skip
    def place(
        self, account: str, side: str, outcome: int, size: int, off: int, tif: str, by: str, stp: str,
        flags: tuple[bool, bool], on_suspend: str, life_us: int,
    ) -> None:  # fmt: skip
        price = (100 // self.outcomes + off) * TICK
        order = place(
            self.next_id(), account, side, size, price, outcome=outcome % self.outcomes, tif=tif, stp=stp, by=by,
            post_only=flags[0] and tif in ("GTC", "GTD"), reduce_only=flags[1], on_suspend=on_suspend,
            expires_us=self.now_us + life_us if tif == "GTD" else None, client=f"c{len(self.placed)}",
        )  # fmt: skip
        self.placed.append(order)
        self.say(order)

    @rule(
        account=ACCOUNTS,
        outcome=st.integers(0, 3),
        most=SIZES,
        cents=st.integers(1, 400),
        worst=st.integers(20, 99),
    )
    def buy_for_money(self, account: str, outcome: int, most: int, cents: int, worst: int) -> None:
        order = place(
            self.next_id(),
            account,
            "buy",
            most,
            worst * TICK,
            outcome=outcome % self.outcomes,
            max_cost=cents * 100,
        )
        self.placed.append(order)
        self.say(order)

    def next_id(self) -> str:
        return f"o{len(self.placed):04}"

    @precondition(lambda self: self.placed)
    @rule(which=st.integers(0, 7), by_client_id=st.booleans())
    def cancel(self, which: int, by_client_id: bool) -> None:
        order = self.placed[-1 - which % len(self.placed)]
        if by_client_id and order.client_order_id is not None:
            self.say(cancel(order.account_id, client=order.client_order_id))
        else:
            self.say(cancel(order.account_id, order.order_id))

    @precondition(lambda self: self.placed)
    @rule(
        which=st.integers(0, 7),
        size=st.none() | st.integers(0, 12),
        less=st.booleans(),
        off=st.integers(-3, 3),
    )
    def amend(self, which: int, size: int | None, less: bool, off: int) -> None:
        order = self.placed[-1 - which % len(self.placed)]
        to, by = (None, size) if less else (size, None)
        price = order.price_pips + off * TICK if off or size is None else None
        if price is None or 0 < price < 10_000:
            self.say(amend(order.account_id, order.order_id, to=to, by=by, price=price))

    @rule(
        account=ACCOUNTS, outcome=st.none() | st.integers(0, 1), side=st.none() | SIDES, by=st.none() | PLACERS,
        ahead=st.none() | st.integers(0, 3), ago_us=st.none() | st.integers(0, 5),
    )  # fmt: skip
    def cancel_all(
        self, account: str, outcome: int | None, side: str | None, by: str | None, ahead: int | None,
        ago_us: int | None,
    ) -> None:  # fmt: skip
        fence = None if ahead is None else f"o{len(self.placed) + ahead:04}"
        until_us = None if ago_us is None else self.now_us - ago_us
        self.say(cancel_all(account, outcome=outcome, side=side, by=by, fence=fence, until_us=until_us))

    @rule(us=st.integers(1, 4))
    def wait(self, us: int) -> None:
        self.now_us += us

    @rule(command=st.sampled_from((suspend(), resume(), resume(), expire(), expire(), sweep())))
    def turn(self, command: cmd.Command) -> None:
        self.say(command)

    @rule(phase=st.sampled_from(("cancel_only", "post_only")), us=st.integers(0, 4))
    def resume_in_a_phase(self, phase: str, us: int) -> None:
        self.say(suspend())
        self.say(resume(phase, us))

    @precondition(lambda self: len(self.placed) > 6)
    @rule(
        what=st.sampled_from(("propose", "approve", "dispute", "withdraw", "settle", "reverse", "approve", "settle")),
        by=ACCOUNTS, which=st.sampled_from(("r1", "r1", "r1", "r2")), approvals=st.integers(0, 2),
        window_us=st.sampled_from((0, 4)), voids=st.booleans(),
    )  # fmt: skip
    def review(self, what: str, by: str, which: str, approvals: int, window_us: int, voids: bool) -> None:
        payouts = () if voids else (4_000, *[0] * (self.outcomes - 2), 6_000)
        self.say({
            "propose": propose(*payouts, by=by, resolution=which, approvals=approvals, window_us=window_us),
            "approve": approve(by, which), "dispute": dispute(by, which), "withdraw": withdraw(by, which),
            "settle": settle(which), "reverse": reverse(by, approvals=approvals),
        }[what])  # fmt: skip

    @precondition(lambda self: len(self.placed) > 12)
    @rule(how=st.sampled_from(("close", "resolve", "void")))
    def decide(self, how: str) -> None:
        payouts = (10_000, *[0] * (self.outcomes - 1))
        self.say({"close": close(), "resolve": resolve(*payouts), "void": void()}[how])

    def teardown(self) -> None:
        if self.trial.log:
            self.trial.finish()


def test_any_order_of_any_commands_is_answered_as_by_the_naive_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 2)
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", 4)
    run_state_machine_as_test(
        Exchange, settings=settings(max_examples=300, stateful_step_count=40, deadline=None, print_blob=True)
    )
