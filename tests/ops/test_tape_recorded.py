"""Real recorded markets through the public batch endpoint of the real processes, and the log checked after them."""

import pytest

from tests.data import recorded

LOBSTER = "lobster-aapl-small/AAPL_driver.csv.gz"
STOCK_DAY = "lobster-amzn/AMZN_driver.csv.gz"
KALSHI = "kalshi-gold-dev/KXGOLD15M-26AUG060000-00_driver.csv.gz"


@pytest.fixture(scope="module", autouse=True)
def _checked_afterwards(exchange):
    """Whatever was played: the log's chains hold, and cash, positions and read models are what it says."""
    yield
    exchange.manage("verify_log")
    exchange.manage("reconcile")
    exchange.manage("rebuild_projections", "--check")


def play(exchange, name: str, *arguments: str) -> str:
    played = exchange.manage(
        "play_tape", str(recorded(name)), "--url", exchange.http, *arguments, check=False, timeout_s=300
    )
    assert played.returncode == 0, played.stdout + played.stderr
    return played.stdout


def test_every_level_of_every_row_and_every_maker_of_a_stock_is_as_recorded(exchange):
    assert "999 books and 98 takes compared, 0 differences" in play(exchange, LOBSTER, "--every-row")


def test_a_prediction_market_meets_its_checkpoints_and_settles_at_the_recorded_result(exchange):
    said = play(exchange, KALSHI, "--rows", "20000", "--check")
    assert "40 books and 441 takes compared, settled at the recorded result, 0 differences" in said


# Rows of one batch share a moment of the served book, so that is compared where batches end; the book after each
# single row is what a replay of the exchange's log gives.


def test_the_first_20000_rows_of_a_stock_give_every_book_and_every_maker(exchange):
    said = play(exchange, STOCK_DAY, "--rows", "20000", "--replay", "--orders-url", exchange.live_http)
    assert "20000 books of the replayed log compared" in said
    assert "861 books and 985 takes compared, 0 differences" in said


def test_the_first_20000_rows_with_sweeps_merged_give_every_book_that_can_be_compared_and_every_maker(
    exchange,
):
    said = play(
        exchange,
        STOCK_DAY,
        "--rows",
        "20000",
        "--replay",
        "--merge-sweeps",
        "--orders-url",
        exchange.live_http,
    )
    assert "19798 books of the replayed log compared" in said
    assert "763 books and 791 takes compared, 0 differences" in said
