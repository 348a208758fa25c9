"""Plays a recorded tape to the bare engine: two accounts, one binary market, no process and no database."""

import json
from itertools import islice

from ops.tape.kalshi import KalshiTape
from ops.tape.lobster import LobsterTape
from ops.tape.steps import MAKER, TAKER, Amend, Cancel, ExpectedBook, Place, Step
from tests.engine.both_markets import START_US
from tests.engine.digest import state_digest
from tests.engine.sayings import amend, cancel, create, place
from trading.engine import codec, decide, invariants
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.fees import SHARE_PIPS
from trading.engine.market import Market

PURSE_PIPS = 10**15


class TapeRun:
    """The engine and two purses that are never empty; `log` is every event so far."""

    def __init__(self, *, tick_pips: int) -> None:
        self.market = Market("m")
        self.cash = {MAKER: PURSE_PIPS, TAKER: PURSE_PIPS}
        self.log: list[ev.Event] = []
        self.run(create(tick=tick_pips))

    def run(self, command: cmd.Command) -> list[ev.Event]:
        events = decide.run(self.market, command, budget_pips=PURSE_PIPS, now_us=START_US)
        for event in events:
            for part in event.legs if isinstance(event, ev.OrderMatched) else (event,):
                if hasattr(part, "cash"):
                    self.cash[part.account] += part.cash
        self.log += events
        return events

    def step(self, step: Step) -> None:
        """Does what the tape says and checks that exactly that came of it."""
        if isinstance(step, Place):
            self._place(step)
        elif isinstance(step, Amend):
            events = self.run(amend(MAKER, step.key, to=step.quantity_shares))
            assert [type(event) for event in events] == [ev.OrderAmended], events
        else:
            assert isinstance(step, Cancel)
            events = self.run(cancel(MAKER, step.key))
            assert [type(event) for event in events] == [ev.OrderCancelled], events

    def _place(self, step: Place) -> None:
        events = self.run(place(
            step.key, step.account, step.side, step.quantity_shares, step.price_pips, outcome=step.outcome,
            tif=step.time_in_force,
        ))  # fmt: skip
        matches = [event for event in events if type(event) is ev.OrderMatched]
        fills = tuple((event.legs[0].order, event.legs[1].price, event.legs[1].quantity) for event in matches)
        assert fills == (step.expected or ()), f"{step} was filled by {fills}"
        assert type(events[-1]) is (ev.OrderPlaced if step.expected is None else ev.OrderMatched), events

    def differences(self, expected: ExpectedBook) -> str:
        """What is wrong with the book of an outcome, down to the depth the recording has; "" if nothing."""
        book = self.market.books[0]
        bids, asks = tuple(book.bids.depth()), tuple(book.asks.depth())
        if expected.outcome == 1:
            bids, asks = mirrored(asks), mirrored(bids)
        seen = (tuple(islice(bids, expected.depth)), tuple(islice(asks, expected.depth)))
        wanted = (expected.bids, expected.asks)
        return "" if seen == wanted else f"{seen} instead of {wanted}"

    def check_money(self) -> None:
        """Nothing was lost: two purses = cash + reserves + collateral + fees."""
        market = self.market
        reserved = sum(order.reserved_pips for order in market.orders.values())
        held = sum(self.cash.values()) + reserved + market.collateral_pips + market.fees_pips
        assert held == 2 * PURSE_PIPS


def mirrored(levels: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The other side of the other outcome."""
    return tuple((SHARE_PIPS - price, shares) for price, shares in levels)


def play(run: TapeRun, tape: LobsterTape | KalshiTape) -> tuple[int, int, int]:
    """Plays a whole tape, checking every take and every book; answers (rows, takes, books) compared."""
    rows = takes = books = 0
    for row in tape.rows():
        for step in row.steps:
            run.step(step)
            takes += getattr(step, "expected", None) is not None
        for book in row.books:
            wrong = run.differences(book)
            assert not wrong, f"row {row.number}: {wrong}"
            books += 1
        rows += 1
    invariants.check(run.market)
    run.check_money()
    return rows, takes, books


def assert_log_gives_the_same_state(run: TapeRun) -> None:
    replayed = Market("m")
    for event in run.log:
        stored = json.dumps(codec.event_data(event))
        apply(replayed, codec.event_from(codec.EVENT_NAMES[type(event)], json.loads(stored)), START_US)
    assert state_digest(replayed) == state_digest(run.market)
