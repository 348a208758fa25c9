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
from tests.engine.sequences import DEPOSITS, SEQUENCE_BYTES, steps
from tests.engine.trial import Trial
from trading.engine import codec, decide, lifecycle
from trading.engine.apply import apply
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
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", SWEEP_SIZE)
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", OPEN_LIMIT)


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
        note(f"{now_us} {command}")
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
