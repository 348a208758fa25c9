"""What holds for every sequence of commands: money and shares balance after each of them, the naive
exchange says the same events, and the events alone bring the state back.

PMARKET_EXAMPLES=20000 (per shape of market) searches longer.
"""

import json
import os

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.engine.digest import state_digest
from tests.engine.oracle import NaiveExchange
from tests.engine.sayings import sweep
from tests.engine.sequences import DEPOSITS, SEQUENCE_BYTES, steps
from tests.engine.statement import Statement
from trading.engine import codec, decide, invariants
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.fees import worst_cost_pips
from trading.engine.market import Market

SWEEP_SIZE = 3
OPEN_LIMIT = 5
EXAMPLES = int(os.environ.get("PMARKET_EXAMPLES", "420"))
SHAPES = [(2, False), (2, True), (3, False), (3, True), (6, True)]
SEARCH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short sequences must reach the limits too."""
    monkeypatch.setattr(decide, "SWEEP_SIZE", SWEEP_SIZE)
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", OPEN_LIMIT)


class Trial:
    """One sequence, played to the engine and the naive exchange side by side."""

    def __init__(self) -> None:
        self.market = Market("m")
        self.naive = NaiveExchange(sweep_size=SWEEP_SIZE, open_limit=OPEN_LIMIT)
        self.naive.cash.update(DEPOSITS)
        self.statement = Statement(DEPOSITS)
        self.log: list[tuple[int, ev.Event]] = []
        self.trade_ids: list[str] = []
        self.levels: dict[tuple[int, bool, int], int] = {}

    def play(self, now_us: int, command: cmd.Command) -> None:
        note(f"{now_us} {command}")
        budget = self.statement.cash[getattr(command, "account_id", "")]
        events = decide.run(self.market, command, budget_pips=budget, now_us=now_us)
        assert [self._named(event) for event in events] == self.naive.run(command, now_us=now_us)
        for event in events:
            if isinstance(event, ev.OrderPlaced):
                worst = worst_cost_pips(command, self.market.highest_fee_e4)
                assert event.reserved <= worst, "more was reserved than is taken before matching"
            self.statement.add(event)
            self.log.append((now_us, event))
        self._check()

    def _named(self, event: ev.Event) -> ev.Event:
        if not isinstance(event, ev.OrderMatched):
            return event
        self.trade_ids.append(event.trade)
        return event._replace(trade=f"T{len(self.trade_ids)}")

    def _check(self) -> None:
        self.statement.check()
        invariants.check(self.market)
        market, naive = self.market, self.naive
        assert (market.status, market.fees_pips, market.collateral_pips) == (
            naive.status,
            naive.fees,
            naive.pot,
        )
        assert (self.statement.fees, self.statement.collateral) == (naive.fees, naive.pot)
        for account, cash in naive.cash.items():
            assert self.statement.cash[account] == cash
            holding = market.holdings.get(account)
            assert (holding is None) == (account not in naive.shares)
            assert holding is None or holding.free == naive.free_shares(account)
        self._check_books()
        assert {name: order.reserved_pips for name, order in market.orders.items()} == self.statement.reserved

    def _check_books(self) -> None:
        """Both books are equal, and `touched` names every level that the command has changed."""
        before, self.levels = self.levels, {}
        for index, book in enumerate(self.market.books):
            bids, asks = list(book.bids.depth()), list(book.asks.depth())
            assert (bids, asks) == self.naive.depth(index)
            self.levels |= {(index, True, price): size for price, size in bids}
            self.levels |= {(index, False, price): size for price, size in asks}
        changed = {level for level, _ in before.items() ^ self.levels.items()}
        assert changed <= self.market.touched, "a level changed without being touched"
        for index, is_bid, price in self.market.touched:
            book = self.market.books[index]
            size = (book.bids if is_bid else book.asks).size_at(price)
            assert size == self.levels.get((index, is_bid, price), 0)
        self.market.touched.clear()

    def finish(self) -> None:
        """A closed market is swept to its end; the log alone, by way of JSON, gives the state again."""
        while decide.needs_sweep(self.market):
            self.play(self.log[-1][0], sweep())
        replayed = Market("m")
        for at_us, event in self.log:
            name, data = codec.EVENT_NAMES[type(event)], json.loads(json.dumps(codec.event_data(event)))
            assert codec.event_from(name, data) == event
            apply(replayed, codec.event_from(name, data), at_us)
        assert state_digest(replayed) == state_digest(self.market)
        assert self.trade_ids == sorted(set(self.trade_ids)), "trade ids are unique and in order"


@pytest.mark.parametrize(("outcomes", "with_fees"), SHAPES)
@SEARCH
@given(data=st.binary(min_size=SEQUENCE_BYTES, max_size=SEQUENCE_BYTES))
def test_money_and_shares_balance_and_both_exchanges_agree_after_every_command(
    data: bytes, outcomes: int, with_fees: bool
) -> None:
    trial = Trial()
    for now_us, command in steps(data, outcomes=outcomes, with_fees=with_fees):
        copy = codec.command_from(json.loads(json.dumps(codec.command_data(command))))
        assert copy == command
        trial.play(now_us, command)
    trial.finish()


@settings(SEARCH, max_examples=min(EXAMPLES, 25))
@given(data=st.binary(min_size=SEQUENCE_BYTES, max_size=SEQUENCE_BYTES))
def test_deciding_changes_nothing_until_its_event_is_applied(data: bytes) -> None:
    market, cash = Market("m"), dict(DEPOSITS)
    for now_us, command in steps(data, outcomes=3, with_fees=True):
        budget = cash.get(getattr(command, "account_id", ""), 0)
        before = state_digest(market)
        for event in decide.decide(market, command, budget_pips=budget, now_us=now_us):
            assert state_digest(market) == before
            apply(market, event, now_us)
            before = state_digest(market)
        assert state_digest(market) == before
