"""A market's state as bytes and back: nothing that decides anything later is lost, and equal states are equal bytes."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.digest import state_facts
from tests.engine.sequences import DEPOSITS, SEQUENCE_BYTES, steps
from trading.engine import decide, events, snapshot
from trading.engine.apply import apply
from trading.engine.invariants import check
from trading.engine.market import Closing, Fence, Holding, Market, Order, Phase, Proposal, Reversal
from trading.engine.snapshot import decode_state, encode_state, state_hash

SHAPES = [(2, False), (2, True), (3, True), (6, True)]
SEARCH = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)


class Purse:
    """What each account may spend, added up from events."""

    def __init__(self):
        self.cash = dict(DEPOSITS)

    def run(self, market, command, now_us):
        budget = self.cash.get(getattr(command, "account_id", ""), 0)
        written = decide.run(market, command, budget_pips=budget, now_us=now_us)
        for event in written:
            for part in event.legs if isinstance(event, events.OrderMatched) else (event,):
                if hasattr(part, "cash"):
                    self.cash[part.account] += part.cash
        return written


def facts(market):
    """Everything there is, but for the order of look-ups by which nothing is decided: accounts, and levels by price."""
    told = state_facts(market)
    told["orders_of"].sort(key=lambda own: own[0])
    for book in told["books"]:
        for side in book.values():
            side["levels"].sort(key=lambda level: level[0])
    return told


@pytest.mark.parametrize(("outcomes", "with_fees"), SHAPES)
def test_a_market_goes_on_from_its_snapshot_as_if_nothing_had_happened(outcomes, with_fees):
    @given(data=st.binary(min_size=SEQUENCE_BYTES, max_size=SEQUENCE_BYTES), cut=st.integers(0, 80))
    @SEARCH
    def search(data, cut):
        market, purse, log = Market("m"), Purse(), []
        resumed, again = None, Purse()
        for number, (now_us, command) in enumerate(steps(data, outcomes=outcomes, with_fees=with_fees)):
            if number == cut:
                resumed, again.cash = decode_state(encode_state(market)), dict(purse.cash)
                check(resumed)
                assert facts(resumed) == facts(market)
            written = purse.run(market, command, now_us)
            log += [(event, now_us) for event in written]
            if resumed is not None:
                assert again.run(resumed, command, now_us) == written
        replayed = Market("m")
        for event, at_us in log:
            apply(replayed, event, at_us)
        states = [market, replayed] if resumed is None else [market, replayed, resumed]
        assert len({state_hash(encode_state(each)) for each in states}) == 1

    search()


def test_queues_come_back_in_the_order_in_which_they_are_matched():
    chance, market, purse = random.Random(7), Market("m"), Purse()
    for now_us, command in steps(chance.randbytes(SEQUENCE_BYTES), outcomes=2, with_fees=True):
        purse.run(market, command, now_us)
    restored = decode_state(encode_state(market))
    for side in ("bids", "asks"):
        queued = [order.order_id for order in getattr(market.books[0], side).queue()]
        assert [order.order_id for order in getattr(restored.books[0], side).queue()] == queued
        assert list(getattr(restored.books[0], side).depth()) == list(getattr(market.books[0], side).depth())
    assert encode_state(restored) == encode_state(market)


def test_a_changed_share_changes_the_hash():
    market, purse = Market("m"), Purse()
    for now_us, command in steps(random.Random(1).randbytes(SEQUENCE_BYTES), outcomes=3, with_fees=True):
        purse.run(market, command, now_us)
    before = state_hash(encode_state(market))
    market.sets += 1
    assert state_hash(encode_state(market)) != before


def test_every_field_of_the_state_is_kept_or_known_to_be_made_anew():
    """A field that is new in the engine has to be named in trading/engine/snapshot.py before anything is lost."""
    told = {*snapshot.MARKET_FIELDS, *snapshot.KEPT_APART, *snapshot.MADE_ANEW, *snapshot.NOT_STATE}
    assert told == set(vars(Market("m")))
    assert set(snapshot.ORDER_FIELDS) == set(Order.__slots__)
    assert set(snapshot.HOLDING_FIELDS) == set(Holding.__slots__)


def test_the_format_tells_lists_of_fields_apart():
    lists = (
        snapshot.MARKET_FIELDS,
        snapshot.ORDER_FIELDS,
        snapshot.HOLDING_FIELDS,
        *(kind._fields for kind in (Closing, Fence, Phase, Proposal, Reversal)),
    )
    assert snapshot._format_of(*lists) == snapshot.FORMAT
    assert snapshot._format_of((*snapshot.MARKET_FIELDS, "more"), *lists[1:]) != snapshot.FORMAT
    assert snapshot._format_of(lists[0], snapshot.ORDER_FIELDS[::-1], *lists[2:]) != snapshot.FORMAT
