"""Tapes: what the readers make of a file, and that the bare engine does what was recorded.

Real recordings are played by tests/engine (whole days, the bare engine; here with sweeps merged) and by
test_tape_recorded.py (the processes).
"""

import gzip
import json
from pathlib import Path

import pytest

from ops.tape.lobster import LobsterTape
from ops.tape.open import open_tape
from ops.tape.steps import (
    MAKER,
    TAKER,
    Amend,
    BadTape,
    Cancel,
    ExpectedBook,
    ExpectedFill,
    Place,
    Row,
    Tape,
    needed_cash,
)
from tests.data import recorded
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.decide import run
from trading.engine.market import Market

LOBSTER_HEADER = "row,t_ns,op,order_id,side,price_tick,qty,expect_maker,sweep"
KALSHI_HEADER = "src_line,ts_ms,op,side,price_tick,qty_centi"
EMPTY_ASK, EMPTY_BID = "9999999999,0", "-9999999999,0"

LOBSTER_OPS = """
1,1,SEED,X1,B,3500,10,,
1,1,SEED,X2,S,3600,20,,
2,2,ADD,11,B,3500,5,,
3,3,TAKE,T3,S,3500,10,X1,
4,4,REDUCE,11,B,3500,2,,
6,6,CANCEL,11,B,3500,3,,
"""
# ask price, size, bid price, size; the price is (tick + 20,000) * 100.
LOBSTER_BOOKS = [
    "2360000,20,2350000,10",
    "2360000,20,2350000,15",
    "2360000,20,2350000,5",
    "2360000,20,2350000,3",
    "2360000,20,2350000,3",
    f"2360000,20,{EMPTY_BID}",
]

KALSHI_OPS = """
1,1,S,yes,3000,100
1,1,S,no,6000,50
2,2,A,yes,3000,40
3,3,X,yes,3000,120
4,4,C,yes,3000,5
5,5,A,yes,3100,1500000
6,6,C,yes,3100,600000
7,7,E,,,
"""
KALSHI_BOOKS = [
    {"after_row": 3, "yes": [[3000, 140]], "no": [[6000, 50]]},
    {"after_row": 5, "yes": [[3000, 15]], "no": [[6000, 50]]},
    {"after_row": 7, "yes": [[3000, 15], [3100, 900000]], "no": [[6000, 50]]},
    {"after_row": 8, "yes": [], "no": []},
]


# A sweep of two levels while a third comes into view; then two whose rest stays, the second meets the first's.
SWEEPS = """
1,1,SEED,X1,B,3500,10,,
1,1,SEED,X2,S,3600,20,,
1,1,SEED,X3,S,3610,5,,
2,2,ADD,11,S,3600,5,,
3,3,TAKE,T3,B,3600,15,X2,7
4,3,TAKE,T4,B,3600,5,X2,7
4,3,REVEAL,X4,S,3700,9,,
5,3,TAKE,T5,B,3600,2,11,7
6,4,TAKE,T6,B,3600,3,11,8
7,4,CANCEL,11,S,3600,0,,
8,4,TAKE,T8,B,3610,5,X3,8
9,4,ADD,12,B,3620,8,,8
10,5,REDUCE,12,B,3620,2,,
11,6,TAKE,T11,S,3620,6,12,9
12,6,ADD,13,S,3610,6,,9
13,7,CANCEL,13,S,3610,6,,
"""


def write(path: Path, text: str) -> Path:
    with gzip.open(path, "wt", encoding="ascii") as file:
        file.write(text)
    return path


@pytest.fixture
def lobster(tmp_path) -> Path:
    write(tmp_path / "TEST_orderbook_1.csv.gz", "\n".join(LOBSTER_BOOKS) + "\n")
    return write(tmp_path / "TEST_driver.csv.gz", f"{LOBSTER_HEADER}\n{LOBSTER_OPS.strip()}\n")


@pytest.fixture
def sweeps(tmp_path) -> Path:
    return write(tmp_path / "SWEEP_driver.csv.gz", f"{LOBSTER_HEADER}\n{SWEEPS.strip()}\n")


@pytest.fixture
def kalshi(tmp_path) -> Path:
    write(tmp_path / "GOLD-00_books.jsonl.gz", "\n".join(map(json.dumps, KALSHI_BOOKS)) + "\n")
    prints = "src_line,ts_ms,taker_side,yes_price_tick,qty_centi\n3,3,no,3000,120\n"
    write(tmp_path / "GOLD-00_trades.csv.gz", prints)
    record = {"markets": [{"ticker": "GOLD-00", "result": "no"}]}
    (tmp_path / "GOLD-00_market.json").write_text(json.dumps(record))
    return write(tmp_path / "GOLD-00_driver.csv.gz", f"{KALSHI_HEADER}\n{KALSHI_OPS.strip()}\n")


# The readers --------------------------------------------------------------------------------------


def test_a_lobster_file_becomes_rows_with_the_book_after_each(lobster):
    tape = open_tape(lobster)
    assert (tape.name, tape.tick_pips, tape.total_rows, tape.winner) == ("TEST", 1, 6, None)
    rows = list(tape.rows())
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2] == Row(
        3,
        (Place(TAKER, "T3", 0, "sell", 3500, 10, "IOC", (ExpectedFill("X1", 3500, 10),)),),
        (ExpectedBook(0, bids=((3500, 5),), asks=((3600, 20),), depth=1),),
    )
    assert rows[3].steps == (Amend("11", 3),)
    assert rows[4].steps == ()
    assert rows[5] == Row(6, (Cancel("11"),), (ExpectedBook(0, bids=(), asks=((3600, 20),), depth=1),))


def test_a_lobster_file_without_its_books_is_read_all_the_same(lobster):
    with_books = [row.steps for row in open_tape(lobster).rows() if row.steps]
    (lobster.parent / "TEST_orderbook_1.csv.gz").unlink()
    tape = open_tape(lobster)
    assert [row.steps for row in tape.rows()] == with_books
    assert tape.total_rows == 5


def test_the_lines_of_a_sweep_become_one_order(sweeps):
    steps = {row.number: row.steps for row in LobsterTape(sweeps, merge_sweeps=True).rows() if row.steps}
    assert steps[4] == (Place(MAKER, "X4", 0, "sell", 3700, 9, "GTC"),)
    neighbours_of_one_maker = (ExpectedFill("X2", 3600, 20), ExpectedFill("11", 3600, 2))
    assert steps[5] == (Place(TAKER, "T3", 0, "buy", 3600, 22, "IOC", neighbours_of_one_maker),)
    assert 3 not in steps


def test_an_order_that_a_sweep_had_hit_is_withdrawn_after_it_and_the_rest_stays_as_the_add(sweeps):
    steps = {row.number: row.steps for row in LobsterTape(sweeps, merge_sweeps=True).rows() if row.steps}
    fills = (ExpectedFill("11", 3600, 3), ExpectedFill("X3", 3610, 5))
    assert steps[9] == (Place("sweeper", "12", 0, "buy", 3620, 16, "GTC", fills), Cancel("11"))
    assert steps[10] == (Amend("12", 14, "sweeper"),)


def test_a_sweep_that_meets_the_rest_of_another_is_of_another_account(sweeps):
    steps = {row.number: row.steps for row in LobsterTape(sweeps, merge_sweeps=True).rows() if row.steps}
    assert steps[13] == (Cancel("13", "sweeper-2"),)
    assert steps[12] == (
        Place("sweeper-2", "13", 0, "sell", 3610, 12, "GTC", (ExpectedFill("12", 3620, 6),)),
    )


def test_a_book_is_known_again_from_the_last_row_of_a_sweep_on(lobster):
    write(lobster, f"{LOBSTER_HEADER}\n2,2,TAKE,T2,B,3600,5,X2,1\n4,2,TAKE,T4,B,3600,15,X2,1\n")
    rows = LobsterTape(lobster, merge_sweeps=True).rows()
    assert [row.number for row in rows if not row.books] == [2, 3]


def test_a_sweep_of_anything_but_takes_and_an_add_is_refused(tmp_path):
    lines = "1,1,TAKE,T1,B,3600,5,X2,1\n2,1,CANCEL,X2,S,3600,15,,1\n"
    path = write(tmp_path / "X_driver.csv.gz", f"{LOBSTER_HEADER}\n{lines}")
    with pytest.raises(BadTape):
        list(LobsterTape(path, merge_sweeps=True).rows())


def test_a_file_without_sweeps_has_none_to_merge(kalshi):
    with pytest.raises(BadTape):
        open_tape(kalshi, merge_sweeps=True)


def test_a_kalshi_file_becomes_orders_of_both_outcomes(kalshi):
    tape = open_tape(kalshi)
    assert (tape.name, tape.tick_pips, tape.total_rows, tape.winner) == ("GOLD-00", 100, 8, 1)
    assert tape.prints == [(3000, 120)]
    rows = list(tape.rows())
    assert [row.steps for row in rows] == [
        (Place(MAKER, "1", 0, "buy", 3000, 100, "GTC"),),
        (Place(MAKER, "2", 1, "buy", 6000, 50, "GTC"),),
        (Place(MAKER, "3", 0, "buy", 3000, 40, "GTC"),),
        # A trade takes the oldest first, at the other outcome's price.
        (
            Place(
                TAKER, "4", 1, "buy", 7000, 120, "IOC",
                (ExpectedFill("1", 7000, 100), ExpectedFill("3", 7000, 20)),
            ),
        ),
        (Amend("3", 35),),
        # More than one order may hold becomes two; cancels take the newest first.
        (Place(MAKER, "6", 0, "buy", 3100, 1_000_000, "GTC"), Place(MAKER, "6.1", 0, "buy", 3100, 500_000, "GTC")),
        (Cancel("6.1"), Amend("6", 900_000)),
        (Cancel("3"), Cancel("2"), Cancel("6")),
    ]  # fmt: skip
    assert rows[4].books == (
        ExpectedBook(0, bids=((3000, 15),), asks=((4000, 50),), depth=500),
        ExpectedBook(1, bids=((6000, 50),), asks=((7000, 15),), depth=500),
    )
    assert [row.number for row in rows if row.books] == [3, 5, 7, 8]


def test_cash_that_is_needed_covers_open_orders_and_trades(kalshi):
    traded = 100 * 3000 + 20 * 3000
    resting = 15 * 3000 + 50 * 6000 + 1_500_000 * 3100
    assert needed_cash(open_tape(kalshi).rows()) == {MAKER: traded + resting, TAKER: 120 * 7000}


@pytest.mark.parametrize(
    "text", ["", "a,b,c\n1,2,3\n", f"{LOBSTER_HEADER}\n1,1,DANCE,X1,B,3500,10,,\n",
             f"{KALSHI_HEADER}\n1,1,C,yes,3000,1\n", f"{KALSHI_HEADER}\n1,1,X,yes,3000,1\n"],
)  # fmt: skip
def test_what_is_no_tape_is_refused(tmp_path, text):
    path = write(tmp_path / "X_driver.csv.gz", text)
    with pytest.raises(BadTape):
        list(open_tape(path).rows())


def test_a_file_that_is_not_compressed_is_refused(tmp_path):
    path = tmp_path / "X_driver.csv.gz"
    path.write_text(LOBSTER_HEADER)
    with pytest.raises(BadTape):
        open_tape(path)


# Against the engine -------------------------------------------------------------------------------


def taken(events) -> tuple[ExpectedFill, ...]:
    """The fills of a take: the maker's key, and price and shares in the taker's terms."""
    fills = []
    for event in events:
        if isinstance(event, ev.OrderMatched):
            roles = {leg.role: leg for leg in event.legs}
            fills.append(ExpectedFill(roles["maker"].order, roles["taker"].price, roles["taker"].quantity))
    return tuple(fills)


def do(market: Market, step) -> tuple[ExpectedFill, ...]:
    """One step against the engine; orders of the maker are named by their keys."""
    if isinstance(step, Place):
        command = cmd.PlaceOrder(
            market.market_id, step.account, step.key, step.outcome, step.side, "limit", step.price_pips,
            step.quantity_shares, step.time_in_force, "cancel_taker", step.key,
        )  # fmt: skip
    elif isinstance(step, Cancel):
        command = cmd.CancelOrder(market.market_id, step.account, None, step.key)
    else:
        command = cmd.AmendOrder(market.market_id, step.account, None, step.key, step.quantity_shares, None)
    return taken(run(market, command, budget_pips=10**15, now_us=1))


def book_of(market: Market, expected: ExpectedBook) -> ExpectedBook:
    """The engine's book in the terms of the expected one."""
    book = market.books[0]
    bids = tuple(book.bids.depth())[: expected.depth]
    asks = tuple(book.asks.depth())[: expected.depth]
    if expected.outcome == 1:
        bids, asks = (tuple((10_000 - price, shares) for price, shares in side) for side in (asks, bids))
    return ExpectedBook(expected.outcome, bids, asks, expected.depth)


def differences(tape: Tape) -> list[str]:
    """What the bare engine does otherwise than the recording."""
    market = Market("tape")
    create = cmd.CreateMarket("tape", "?", ("Yes", "No"), "Tapes", tape.tick_pips, 0, 0, None, 10**18)
    run(market, create, budget_pips=0, now_us=1)
    found = []
    for row in tape.rows():
        for step in row.steps:
            fills = do(market, step)
            if fills != (getattr(step, "expected", None) or ()):
                found.append(f"row {row.number}: {step} filled {fills}")
        found.extend(
            f"row {row.number}: {book_of(market, expected)} instead of {expected}"
            for expected in row.books
            if book_of(market, expected) != expected
        )
    return found


def test_the_engine_plays_a_lobster_tape(lobster):
    assert differences(open_tape(lobster)) == []


def test_the_engine_plays_a_kalshi_tape(kalshi):
    assert differences(open_tape(kalshi)) == []


@pytest.mark.parametrize("name", ["lobster-aapl-small/AAPL_driver.csv.gz", "lobster-amzn/AMZN_driver.csv.gz"])
def test_the_engine_plays_recorded_stocks_with_sweeps_merged(name):
    assert differences(LobsterTape(recorded(name), merge_sweeps=True)) == []


def test_a_wrong_maker_and_a_wrong_book_are_found(lobster):
    write(lobster, f"{LOBSTER_HEADER}\n{LOBSTER_OPS.strip().replace('10,X1,', '10,11,')}\n")
    write(lobster.parent / "TEST_orderbook_1.csv.gz", "\n".join(LOBSTER_BOOKS).replace("0,15", "0,14") + "\n")
    found = differences(open_tape(lobster))
    assert [line.split(":")[0] for line in found] == ["row 2", "row 3"]


# Against a running exchange -----------------------------------------------------------------------


def play(exchange, path: Path, *arguments: str):
    return exchange.manage("play_tape", str(path), "--url", exchange.http, *arguments, check=False)


@pytest.mark.parametrize("arguments", [("--every-row",), ("--check", "--batch", "2"), ("--rows", "4")])
def test_a_lobster_tape_is_played_through_the_batch_endpoint(exchange, lobster, arguments):
    played = play(exchange, lobster, *arguments)
    assert (played.returncode, "0 differences" in played.stdout) == (0, True), played.stdout + played.stderr


def test_sweeps_are_played_as_single_orders_and_their_rests_stay(exchange, sweeps):
    played = play(exchange, sweeps, "--check", "--merge-sweeps")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "11 steps in" in played.stdout
    assert "3 takes compared, 0 differences" in played.stdout


def test_every_row_of_one_batch_is_compared_with_the_replayed_log(exchange, lobster):
    played = play(exchange, lobster, "--replay")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "6 books of the replayed log compared" in played.stdout


def test_a_row_that_differs_only_within_a_batch_is_found_in_the_replayed_log(exchange, lobster):
    lines = "1,1,SEED,X1,B,3500,10,,\n2,2,ADD,11,B,3500,5,,\n3,3,CANCEL,11,B,3500,5,,\n"
    write(lobster, f"{LOBSTER_HEADER}\n{lines}")
    books = [f"{EMPTY_ASK},2350000,{size}" for size in (10, 14, 10)]
    write(lobster.parent / "TEST_orderbook_1.csv.gz", "\n".join(books) + "\n")
    played = play(exchange, lobster, "--replay")
    assert played.returncode == 1
    assert (
        "row 2: bids of Yes differ from level 1 on: [['0.3500', 15]] instead of [['0.3500', 14]] (replayed)"
        in (played.stderr)
    )
    assert "1 differences from the recording" in played.stderr


def test_anothers_log_cannot_be_replayed(exchange, lobster):
    played = play(exchange, lobster, "--replay", "--key", "pm_x")
    assert played.returncode == 1
    assert played.stderr.startswith("CommandError: --replay reads this database's log")


def test_a_kalshi_tape_is_played_and_settled(exchange, kalshi):
    played = play(exchange, kalshi, "--check", "--orders-url", exchange.live_http)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "8 books and 1 takes compared, settled at the recorded result, 0 differences" in played.stdout


def test_a_tape_cut_short_is_settled_all_the_same(exchange, kalshi):
    played = play(exchange, kalshi, "--check", "--rows", "6", "--key", exchange.staff_key())
    assert played.returncode == 0, played.stdout + played.stderr
    assert "settled at the recorded result, 0 differences" in played.stdout


def test_a_difference_from_the_recording_is_shown_and_fails(exchange, lobster):
    write(lobster, f"{LOBSTER_HEADER}\n{LOBSTER_OPS.strip().replace('10,X1,', '10,11,')}\n")
    write(lobster.parent / "TEST_orderbook_1.csv.gz", "\n".join(LOBSTER_BOOKS).replace("0,15", "0,14") + "\n")
    played = play(exchange, lobster, "--every-row")
    assert played.returncode == 1
    assert (
        "row 2: bids of Yes differ from level 1 on: [['0.3500', 15]] instead of [['0.3500', 14]]"
        in played.stderr
    )
    assert "row 3: take T3 got [('X1', '0.3500', 10)], expected [('11', '0.3500', 10)]" in played.stderr
    assert "2 differences from the recording" in played.stderr


def test_a_file_that_is_not_there_is_one_clear_line(exchange, tmp_path):
    played = play(exchange, tmp_path / "no_driver.csv.gz")
    assert played.returncode == 1
    assert played.stderr.startswith("CommandError: cannot read the tape: ")
