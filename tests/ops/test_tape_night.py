"""Trades of many traders: what is read of a file, what the house must quote for it and what that comes to.

test_tape_night_played.py plays them with the processes.
"""

import random
from pathlib import Path

import pytest

from ops.tape.house import HOUSE, OTHER_SIDE, Order, books_of, orders_of, runs
from ops.tape.open import open_tape
from ops.tape.polymarket import RecordedMarket, Recording, Trade
from ops.tape.steps import BadTape
from tests.ops.trade_tape import ROWS, write
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.decide import run
from trading.engine.market import Market


@pytest.fixture
def tape_file(tmp_path) -> Path:
    return write(tmp_path / "synthetic_trades.csv.gz", ROWS)


# The reader ---------------------------------------------------------------------------------------


def test_a_file_of_trades_is_read_in_its_order_and_rows_off_the_grid_are_left_out(tape_file):
    tape = open_tape(tape_file)
    assert tape.name == "synthetic"
    trades, left_out = tape.read()
    assert (len(trades), left_out) == (19, 1)
    assert trades[0] == Trade(1, 100, "governor", "1", 0, "sell", 6000, 100)
    assert trades[7] == Trade(9, 102, "governor", "2", 1, "sell", 9999, 1_000_001)
    assert trades[2][1:] == trades[3][1:]
    assert tape.markets["seats"] == RecordedMarket("seats", ("46", "50", "54"), 1)
    assert tape.markets["senate"].winner is None


def test_an_outcome_that_nobody_traded_is_there_all_the_same_and_may_win(tape_file):
    markets = open_tape(tape_file).markets
    assert markets["only one was traded"] == RecordedMarket(
        "only one was traded", ("Republican", "Democrat"), 1
    )


def test_a_time_has_its_first_second_and_not_its_last(tape_file):
    trades, left_out = open_tape(tape_file).read(from_s=101, to_s=103)
    assert ([trade.row for trade in trades], left_out) == ([3, 4, 5, 6, 7, 9], 1)


def test_columns_may_stand_in_any_order_with_more_of_them_and_without_in_grid(tmp_path):
    path = write(
        tmp_path / "trades.csv.gz",
        "9,BUY, Yes ,fee,7,1,q,m\n",
        columns="\ufeffqty_centi,action,outcome,note,price_tick,t_unix,trader,market",
        markets={"markets": [{"market": "m", "outcomes": ["Yes", "No"]}]},
    )
    assert open_tape(path).read() == Recording([Trade(1, 1, "m", "q", 0, "buy", 7, 9)], 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,governor,1,buy,Martian,5000,1,0,1", "row 1: governor has no outcome 'Martian'"),
        ("1,mayor,1,buy,Democrat,5000,1,0,1", "row 1: trades_markets.json has no market 'mayor'"),
        ("1,governor,1,buy,Democrat,0,1,0,1", "row 1: price_tick is 0, outside 1..9999"),
        ("1,governor,1,buy,Democrat,10000,1,0,1", "row 1: price_tick is 10000, outside 1..9999"),
        ("1,governor,1,buy,Democrat,5000,-1,0,1", "row 1: qty_centi is -1, outside 1..10000000000"),
        ("1,governor,1,buy,Democrat,5000,0,0,1", "row 1: qty_centi is 0, outside 1..10000000000"),
        (
            "1,governor,1,buy,Democrat,5000,99999999999,0,1",
            "row 1: qty_centi is 99999999999, outside 1..10000000000",
        ),
        ("1,governor,1,buy,Democrat,5000,1.5,0,1", "row 1: qty_centi is '1.5', no whole number"),
        ("1,governor,1,hold,Democrat,5000,1,0,1", "row 1: action is 'hold', neither buy nor sell"),
        ("1,governor,,buy,Democrat,5000,1,0,1", "row 1: trader is empty"),
        ("1,governor,1,buy,Democrat,5000,1,0,2", "row 1: in_grid is '2', neither 0 nor 1"),
        ("soon,governor,1,buy,Democrat,5000,1,0,1", "row 1: t_unix is 'soon', no whole number"),
        ("1,governor", "row 1: in_grid is empty"),
    ],
)
def test_what_cannot_have_been_meant_is_refused_with_its_row(tmp_path, row, said):
    path = write(tmp_path / "trades.csv.gz", row)
    with pytest.raises(BadTape) as refused:
        open_tape(path).read()
    assert str(refused.value) == said.replace("trades_markets", "markets")


@pytest.mark.parametrize(
    ("markets", "said"),
    [
        ("no list", "is no list of markets"),
        ([{"market": "m"}], "m: not a list of 1 to 50 outcomes"),
        ([{"market": "m", "outcomes": ["Yes", "Yes"]}], "m: outcomes need names, each its own"),
        ([{"market": "m", "outcomes": ["A", "B"], "winner_by_last_price": "C"}], "m: the winner 'C' is none"),
        ([{"market": "m", "outcomes": ["A", "B"]}] * 2, "has a market twice"),
        (["m"], "not a market: 'm'"),
    ],
)
def test_a_list_of_markets_that_makes_no_sense_is_refused(tmp_path, markets, said):
    path = write(tmp_path / "trades.csv.gz", ROWS, markets=markets)
    with pytest.raises(BadTape, match=said):
        open_tape(path).read()


# The house ----------------------------------------------------------------------------------------


def place(market: Market, order: Order, *, by_house: bool) -> list[tuple[int, int]]:
    """Price and quantity of each fill of an order, or of the house's quote for it, in the bare engine."""
    account = HOUSE if by_house else order.account
    side, tif = (OTHER_SIDE[order.side], "GTC") if by_house else (order.side, "IOC")
    command = cmd.PlaceOrder(
        market.market_id, account, f"{account}-{order.key}", order.outcome, side, "limit", order.price_pips,
        order.quantity_shares, tif, "cancel_taker", order.key,
    )  # fmt: skip
    matches = [
        event
        for event in run(market, command, budget_pips=10**15, now_us=1)
        if isinstance(event, ev.OrderMatched)
    ]
    return [(match.legs[-1].price, match.legs[-1].quantity) for match in matches]


@pytest.mark.parametrize("outcomes", [("Yes", "No"), ("A", "B", "C")])
@pytest.mark.parametrize("seed", range(20))
def test_every_trade_of_a_run_meets_the_quote_that_was_made_for_it(outcomes, seed):
    chance, recorded_market = random.Random(seed), RecordedMarket("m", outcomes, None)
    trades = [
        Trade(
            row, 0, "m", str(chance.randrange(5)), chance.randrange(len(outcomes)), chance.choice(["buy", "sell"]),
            chance.choice([1, 2000, 3000, 5000, 7000, 8000, 9999]), chance.choice([1, 5, 20, 2_000_003]),
        )
        for row in range(1, 200)
    ]  # fmt: skip
    market = Market("m")
    run(market, cmd.CreateMarket("m", "?", outcomes, "Tapes", 1, 0, 0, None, 10**18), budget_pips=0, now_us=1)
    orders, lengths = [order for trade in trades for order in orders_of(trade)], []
    for together in runs(recorded_market, orders, most=50):
        lengths.append(len(together))
        assert [place(market, order, by_house=True) for order in together] == [[]] * len(together)
        for order in together:
            assert place(market, order, by_house=False) == [(order.price_pips, order.quantity_shares)]
        assert market.orders == {}
    assert sum(lengths) == len(orders)
    assert 1 < max(lengths) <= 50
    books = books_of({"m": recorded_market}, trades)
    assert {account: sums.holding for account, sums in books.of_market("m").items()} == {
        account: holding.free for account, holding in market.holdings.items()
    }
    assert books.collateral_pips("m") == market.collateral_pips
