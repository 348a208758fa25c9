"""Recorded days of other venues: every row's book, every take's maker, every checkpoint, the settlement."""

import json

import pytest

from ops.tape.kalshi import KalshiTape
from ops.tape.lobster import LobsterTape
from tests.data import recorded
from tests.engine.both_markets import START_US
from tests.engine.digest import state_digest
from tests.engine.sayings import resolve
from tests.engine.tape_run import TapeRun
from trading.engine import codec, invariants
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.market import Market


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


def test_the_first_minutes_of_aapl_give_every_level_of_every_row_and_the_right_maker_of_every_take() -> None:
    run = TapeRun(tick_pips=1)
    tape = LobsterTape(recorded("lobster-aapl-small/AAPL_driver.csv.gz"))
    assert play(run, tape) == (999, 98, 999)
    assert_log_gives_the_same_state(run)


def test_a_whole_day_of_amzn_gives_every_level_of_every_row_and_the_right_maker_of_every_take() -> None:
    run = TapeRun(tick_pips=1)
    tape = LobsterTape(recorded("lobster-amzn/AMZN_driver.csv.gz"))
    assert play(run, tape) == (155_935, 8_939, 155_935)


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
