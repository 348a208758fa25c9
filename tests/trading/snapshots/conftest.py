"""Markets whose logs hold all that a shard writes, commands included, at times that the test chooses."""

import random
from typing import Any

import pytest

from tests.trading.projections.conftest import _empty, hinted, project, projector
from tests.trading.projections.written_log import WrittenMarket, append, funded_account, now_us
from trading.engine import commands as cmd
from trading.engine.codec import EVENT_NAMES, command_data, event_data
from trading.engine.decide import run
from trading.snapshots.past import forget_the_past

__all__ = ["_empty", "hinted", "project", "projector"]
GRANTED = 10**12
STEP_US = 1_000


class RecordedMarket(WrittenMarket):
    """Every command comes a millisecond after the one before it; `now_us` is the last one's time."""

    now_us = 0
    actor = "tests"

    def do(self, command: cmd.Command) -> list[tuple[str, dict[str, Any]]]:
        self.now_us = max(self.now_us + STEP_US, now_us() if self.now_us == 0 else 0)
        written = [
            (EVENT_NAMES[type(event)], event_data(event))
            for event in run(self.state, command, budget_pips=GRANTED, now_us=self.now_us)
        ]
        if written:
            metadata = {
                "actor": self.actor, "at_us": self.now_us, "command": command_data(command), "granted": GRANTED,
                "request_id": "r",
            }  # fmt: skip
            append(self.market_id, *written, metadata=metadata, at_us=self.now_us)
        self.state.touched.clear()
        return written


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    forget_the_past()


@pytest.fixture
def traded() -> RecordedMarket:
    """A binary market with fees in which four accounts have traded for a while."""
    market = RecordedMarket(taker_fee_e4=700)
    market.trade_randomly([funded_account() for _ in range(4)], 120, seed=random.Random(5).randrange(99))
    return market
