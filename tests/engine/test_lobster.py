"""Recorded orders of a stock exchange: every level of every row, and the right maker of every take."""

from ops.tape.lobster import LobsterTape
from tests.data import recorded
from tests.engine.tape_run import TapeRun, assert_log_gives_the_same_state, play


def test_the_first_minutes_of_aapl_give_every_level_of_every_row_and_the_right_maker_of_every_take() -> None:
    run = TapeRun(tick_pips=1)
    tape = LobsterTape(recorded("lobster-aapl-small/AAPL_driver.csv.gz"))
    assert play(run, tape) == (999, 98, 999)
    assert_log_gives_the_same_state(run)


def test_a_whole_day_of_amzn_gives_every_level_of_every_row_and_the_right_maker_of_every_take() -> None:
    run = TapeRun(tick_pips=1)
    tape = LobsterTape(recorded("lobster-amzn/AMZN_driver.csv.gz"))
    assert play(run, tape) == (155_935, 8_939, 155_935)
