"""Trades of many traders, played through the real processes against a house market maker, and settled.

What the exchange did is read from its own tables and compared with sums made here with the csv module alone.
"""

import csv
import gzip
import json
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from ops.tape import night, takes
from ops.tape.exchange import Exchange
from ops.tape.house import books_of
from ops.tape.night import Choice, play_night
from ops.tape.open import open_tape
from ops.tape.polymarket import Trade
from tests.data import recorded
from tests.ops.trade_tape import ROWS, write

SHARE_PIPS = 10_000
BURST = (1_667_952_000, 1_667_973_600)
ALWAYS = (0, 10**12)


class Outcome(NamedTuple):
    """What came of a tape, in shares and pips: by (trader, market, outcome), by (trader, market), by trader."""

    net: dict[tuple[str, str, str], int]
    paid: dict[tuple[str, str], int]
    gained: dict[str, int]


@pytest.fixture
def tape_file(tmp_path) -> Path:
    return write(tmp_path / "synthetic_trades.csv.gz", ROWS)


# What the file says -------------------------------------------------------------------------------


def rows_of(path: Path):
    with gzip.open(path, "rt", newline="") as file:
        yield from enumerate(csv.DictReader(file), start=1)


def outcome_of_file(path: Path, time: tuple[int, int]) -> Outcome:
    net, gained, paid = defaultdict(int), defaultdict(int), {}
    for _, line in rows_of(path):
        if line["in_grid"] == "1" and time[0] <= int(line["t_unix"]) < time[1]:
            shares = int(line["qty_centi"]) * (1 if line["action"] == "buy" else -1)
            net[line["trader"], line["market"], line["outcome"]] += shares
            gained[line["trader"]] -= shares * int(line["price_tick"])
    listed = json.loads((path.parent / path.name.replace("trades.csv.gz", "markets.json")).read_text())
    winners = {entry["market"]: entry["winner_by_last_price"] for entry in listed}
    outcomes = {entry["market"]: {*entry["outcomes"], winners[entry["market"]]} - {None} for entry in listed}
    for trader, market in sorted({key[:2] for key in net}):
        shares = {name: net.get((trader, market, name), 0) for name in outcomes[market]}
        # As many complete sets as there are became $1 each, or were minted for it.
        sets = min(shares.values())
        gained[trader] += SHARE_PIPS * sets
        if (winner := winners[market]) is not None and shares[winner] > sets:
            paid[trader, market] = SHARE_PIPS * (shares[winner] - sets)
            gained[trader] += paid[trader, market]
    return Outcome(dict(net), paid, dict(gained))


# What the exchange says ---------------------------------------------------------------------------


def outcome_in(connection, name: str, path: Path) -> Outcome:
    """Taken from fills, pay-outs and cash; a taker is known by the rows that his orders are named after."""
    markets = {
        market_id: (question.removeprefix(f"Tape {name}, ").rpartition(" (")[0], outcomes)
        for market_id, question, outcomes in connection.execute(
            "SELECT market_id::text, question, outcomes FROM market_listing WHERE question LIKE %s",
            [f"Tape {name}, %"],
        )
    }
    traders, owner, net = {row: line["trader"] for row, line in rows_of(path)}, {}, defaultdict(int)
    for market_id, account, outcome, side, quantity, key in connection.execute(
        "SELECT market_id::text, account_id::text, outcome, side, quantity, client_order_id FROM fill "
        "WHERE market_id = ANY(%s::uuid[]) AND role = 'taker'",
        [list(markets)],
    ):
        market, outcomes = markets[market_id]
        trader = traders[int(key.partition(".")[0])]
        assert owner.setdefault(account, trader) == trader
        net[trader, market, outcomes[outcome]] += quantity if side == "buy" else -quantity
    paid = {
        (owner[account], markets[market_id][0]): amount
        for market_id, account, amount in connection.execute(
            "SELECT market_id::text, account_id::text, amount_pips FROM settlement_account JOIN settlement "
            "USING (settlement_id) WHERE market_id = ANY(%s::uuid[]) AND kind = 'resolve' AND amount_pips <> 0",
            [list(markets)],
        )
        if account in owner
    }
    gained = {
        owner[account]: pips
        for account, pips in connection.execute(
            "SELECT account_id::text, (cash_pips - debt_pips - (SELECT sum(amount_pips) FROM ledger_entry l "
            "WHERE l.account_id = c.account_id AND kind = 'deposit'))::bigint FROM cash_account c "
            "WHERE account_id = ANY(%s::uuid[])",
            [list(owner)],
        )
    }
    return Outcome(dict(net), paid, gained)


def assert_as_the_file_says(exchange, name: str, path: Path, time: tuple[int, int] = ALWAYS) -> Outcome:
    """Net positions, what the winners were paid, and what each trader has won or lost."""
    expected = outcome_of_file(path, time)
    with exchange.connect() as connection:
        found = outcome_in(connection, name, path)
    assert found.net == expected.net
    assert found.paid == expected.paid
    assert found.gained == expected.gained
    return found


# Played -------------------------------------------------------------------------------------------


def play(exchange, path: Path, *arguments: str) -> str:
    played = exchange.manage(
        "play_tape", str(path), "--url", exchange.http, "--orders-url", exchange.live_http, *arguments,
        check=False, timeout_s=300,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    return played.stdout


def test_short_sellers_split_rows_edges_and_many_outcomes_end_as_the_file_says(exchange, tmp_path):
    path = write(tmp_path / "awkward_trades.csv.gz", ROWS)
    said = play(exchange, path)
    assert "19 trades to play, 1 rows off the grid left out" in said
    assert "sent 22 orders for 19 trades, filled 22" in said
    assert "settled 3 markets at their winners, pay-outs equal collateral, 0 differences" in said
    assert "undecided and left open: senate" in said
    assert said.count(" 0 differences") == 4
    found = assert_as_the_file_says(exchange, "awkward", path)
    assert found.net["1", "governor", "Democrat"] == -100
    assert found.paid["1", "governor"] == 100 * SHARE_PIPS
    exchange.manage("reconcile")


@pytest.mark.slow
def test_the_election_night_with_a_house_market_maker_ends_as_the_file_says(exchange):
    path = recorded("polymarket-midterms2022-dev/trades.csv.gz")
    said = play(exchange, path, "--from", "2022-11-09T00:00", "--to", "2022-11-09T06:00")
    assert "2249 trades to play" in said
    assert "170 traders in 36 markets" in said
    assert "sent 2254 orders for 2249 trades, filled 2254" in said
    assert "settled 35 markets at their winners, pay-outs equal collateral, 0 differences" in said
    assert "undecided and left open: georgia_senate" in said
    assert said.count(" 0 differences") == 4
    found = assert_as_the_file_says(exchange, "polymarket-midterms2022-dev", path, BURST)
    assert len(found.gained) == 170
    exchange.manage("reconcile")
    exchange.manage("verify_log")


def play_here(exchange, path: Path, said: list[str]) -> list[str]:
    """Played by this process, as against an exchange elsewhere: accounts are registered, nothing is reconciled."""
    return play_night(
        open_tape(path), Exchange(exchange.http, exchange.live_http), Choice(None, None, None, 500),
        staff_key=exchange.staff_key(), is_local=False, say=said.append,
        bar=lambda _what, _rows: nullcontext(SimpleNamespace(update=lambda _: None)),
    )  # fmt: skip


def test_with_anothers_key_all_but_the_log_is_checked(exchange, tape_file):
    said = []
    assert play_here(exchange, tape_file, said) == []
    assert said[-1].startswith("reconcile: not run")


def test_a_share_and_a_pip_too_many_are_found(exchange, tape_file, monkeypatch):
    def one_more(markets, trades):
        books = books_of(markets, trades)
        books.add(Trade(0, 0, "governor", "3", 1, "sell", 1, 1), 2)
        return books

    monkeypatch.setattr(night, "books_of", one_more)
    differences = play_here(exchange, tape_file, [])
    assert "trader 3: bought less sold of governor Republican: 0 instead of -1" in differences
    assert "trader 3: position of governor Democrat: 20 instead of 21" in differences
    assert any(line.startswith("trader 3: cash: ") for line in differences)
    assert any(line.startswith("trader 3: profit in governor: ") for line in differences)
    assert any(line.startswith("house: ") for line in differences)


def test_a_quote_that_is_not_met_in_its_turn_is_found(exchange, tape_file, monkeypatch):
    monkeypatch.setattr(takes, "runs", lambda _market, orders, most: [list(orders)])
    differences = play_here(exchange, tape_file, [])
    assert any("'s order is filled" in line for line in differences)


def test_options_that_cannot_be_meant_are_refused(exchange, tape_file, tmp_path):
    for arguments, said in (
        (("--from", "soon"), "'soon' is no time like 2022-11-09T00:00"),
        (("--replay",), "--every-row and --replay compare books"),
        (("--merge-sweeps",), "has trades, and no sweeps to merge"),
        (("--from", "2030-01-01"), "synthetic has no trades in that time"),
    ):
        played = exchange.manage("play_tape", str(tape_file), "--url", exchange.http, *arguments, check=False)
        assert played.returncode != 0
        assert said in played.stderr
