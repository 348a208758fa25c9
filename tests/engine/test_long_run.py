"""A small part of the long run: python -m tests.engine.long_run plays a million commands."""

import pytest

from tests.engine.long_run import Difference, play
from trading.engine import matching


def test_seeded_sessions_of_every_shape_are_answered_as_by_the_naive_exchange() -> None:
    counts = play(commands=27_000, seed=100, session=250)
    # Whatever the rules speak of has come about.
    wanted = {
        "implied trades", "direct trades", "OrderExpired", "OrderAmended", "CancelAllFence", "MarketResolved",
        "MarketVoided", "OrderCancelled self_trade", "OrderCancelled unfilled", "OrderCancelled market_suspended",
        "OrderCancelled market_closed", "OrderCancelled by_owner", "OrderCancelled heartbeat",
        "OrderRejected would_cross", "OrderRejected cannot_fill", "OrderRejected reduce_only",
        "OrderRejected expired", "OrderRejected off_tick", "OrderRejected cancelled_by_owner",
        "OrderRejected exceeds_limits", "OrderRejected exceeds_available_cash", "OrderRejected market_not_open",
        "CommandRefused order_not_open", "CommandRefused not_found", "CommandRefused would_cross",
        "CommandRefused reduce_only", "CommandRefused expired", "CommandRefused off_tick", "ResolutionProposed",
        "ResolutionApproved", "ResolutionDisputed", "ResolutionWithdrawn", "ReversalRequested", "ResolutionReversed",
    }  # fmt: skip
    assert not wanted - set(counts)


def test_a_difference_says_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "fee_pips", lambda numerator: numerator // 10**8)
    with pytest.raises(
        Difference, match=r"repeat: python -m tests\.engine\.long_run --seed \d+ --commands 500"
    ):
        play(commands=5_000, seed=1, session=500)
