"""Recorded books of a binary prediction market: one book for both outcomes, bursts, settlement."""

import pytest

from ops.tape.kalshi import KalshiTape
from tests.data import recorded
from tests.engine.sayings import resolve
from tests.engine.tape_run import TapeRun, assert_log_gives_the_same_state, play
from trading.engine import events as ev


@pytest.mark.parametrize(
    ("name", "length", "checkpoints", "winner"),
    [("KXGOLD15M-26AUG060000-00", 48_237, 49, 0), ("KXGOLD15M-26AUG102145-45", 136_992, 137, 1)],
)
def test_a_binary_market_meets_every_checkpoint_of_both_outcomes_and_settles_at_its_result(
    name: str, length: int, checkpoints: int, winner: int
) -> None:
    run = TapeRun(tick_pips=100)
    tape = KalshiTape(recorded(f"kalshi-gold-dev/{name}_driver.csv.gz"))
    rows, _, books = play(run, tape)
    assert (rows, books, tape.winner) == (length, 2 * checkpoints, winner)
    assert tape.prints is not None
    trades = [event for event in run.log if isinstance(event, ev.OrderMatched)]
    assert sum(event.quantity for event in trades) == sum(shares for _, shares in tape.prints)
    assert run.market.volume_pips == sum(price * shares for price, shares in tape.prints)
    ended = run.run(resolve(10_000 * (1 - winner), 10_000 * winner))
    assert [type(event) for event in ended] == [ev.MarketClosed, ev.MarketResolved]
    winning = sum(holding.free[winner] for holding in run.market.holdings.values())
    assert winning * 10_000 == run.market.collateral_pips == ended[-1].sets * 10_000 > 0
    assert_log_gives_the_same_state(run)
