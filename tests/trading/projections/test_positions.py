"""The positions projection: shares, what they cost, what they brought, and who put in how much."""

import pytest
from django.db import connection

from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.projections.holding import Holding, leg_flow_pips, split_evenly

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def positions(market, account_id):
    """(outcome, quantity, cost, realized) of an account."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT outcome, quantity, cost_pips, realized_pips FROM position "
            "WHERE market_id = %s AND account_id = %s ORDER BY outcome", [market.market_id, account_id],
        )  # fmt: skip
        return cursor.fetchall()


def participation(market, account_id):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT net_cash_pips, fees_pips FROM participation WHERE market_id = %s AND account_id = %s",
            [market.market_id, account_id],
        )
        return cursor.fetchone()


def close(market, account_id, quantities, payout):
    about = {"market": market.market_id, "settlement": market.settlement_id}
    append_to_account(
        account_id, ("position_closed/1", {**about, "quantities": quantities, "payout": payout})
    )


def test_a_trade_without_shares_mints_a_set_for_the_two(project):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    project()
    fee = 15_925
    assert positions(market, buyer) == [(0, 100, 650_000, 0)]
    assert positions(market, seller) == [(1, 100, 350_000, -fee)]
    assert participation(market, buyer) == (-650_000, 0)
    assert participation(market, seller) == (-350_000 - fee, fee)


def test_selling_realizes_against_the_average_cost(project):
    trader, other = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(other, "sell", 0, 4000, 10)
    market.place(other, "sell", 0, 5000, 5)
    market.place(trader, "buy", 0, 5000, 15)
    project()
    assert positions(market, trader) == [(0, 15, 65_000, 0)]
    market.place(other, "buy", 0, 6000, 6)
    market.place(trader, "sell", 0, 6000, 6)
    project()
    assert positions(market, trader) == [(0, 9, 39_000, 36_000 - 26_000)]
    assert participation(market, trader) == (36_000 - 65_000, 0)


def test_buying_the_other_outcome_delivers_what_is_held(project):
    trader, other = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(other, "sell", 0, 4000, 10)
    market.place(trader, "buy", 0, 4000, 10)
    market.place(other, "sell", 1, 3000, 10)
    market.place(trader, "buy", 1, 3000, 10)
    project()
    assert positions(market, trader) == [(0, 0, 0, 30_000)]
    assert participation(market, trader) == (30_000, 0)
    assert positions(market, other) == [(1, 0, 0, -30_000)]


def test_the_sum_over_outcomes_is_what_the_account_took_out_on_balance(project):
    accounts = [funded_account() for _ in range(4)]
    markets = [WrittenMarket(taker_fee_e4=150), WrittenMarket(("A", "B", "C"), taker_fee_e4=30)]
    for seed, market in enumerate(markets):
        market.trade_randomly(accounts, 150, seed)
    project()
    for market in markets:
        for account_id in accounts:
            rows = positions(market, account_id)
            assert (
                sum(realized - cost for _, _, cost, realized in rows) == participation(market, account_id)[0]
            )
            holding = market.state.holdings[account_id]
            held = [free + held for free, held in zip(holding.free, holding.held, strict=True)]
            quantities = {outcome: quantity for outcome, quantity, _, _ in rows}
            assert [quantities.get(index, 0) for index in range(len(held))] == held


def test_rows_do_not_depend_on_how_events_are_batched(project, projector):
    accounts = [funded_account() for _ in range(3)]
    market = WrittenMarket(taker_fee_e4=150)
    for seed in range(20):
        market.trade_randomly(accounts, 10, seed)
        project()
    by_small_batches = read_tables()
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    project()
    assert read_tables() == by_small_batches


def test_a_resolved_market_leaves_no_shares_and_what_was_earned(project):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    market.resolve((10_000, 0))
    close(market, buyer, [100, 0], 1_000_000)
    close(market, seller, [0, 100], 0)
    project()
    assert positions(market, buyer) == [(0, 0, 0, 350_000)]
    assert positions(market, seller) == [(1, 0, 0, -350_000)]
    assert participation(market, buyer) == (-650_000, 0)


def test_a_closing_waits_for_the_trades_of_its_market(project, projector):
    """Slots are read in any order: here the accounts' are all there before the market's."""
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    market.resolve((10_000, 0))
    close(market, buyer, [100, 0], 1_000_000)
    with connection.cursor() as cursor:
        cursor.execute("SELECT slot, next_offset FROM slot WHERE slot < 16 AND next_offset > 0")
        ((slot, head),) = cursor.fetchall()
        cursor.execute("UPDATE slot SET next_offset = 4 WHERE slot = %s", [slot])
    project()
    assert positions(market, buyer) == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE slot SET next_offset = %s WHERE slot = %s", [head, slot])
    project()
    assert positions(market, buyer) == [(0, 0, 0, 350_000)]


def test_a_voided_market_leaves_everybody_where_they_began(project):
    winner, loser = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(loser, "sell", 0, 4000, 10)
    market.place(winner, "buy", 0, 4000, 10)
    market.place(loser, "buy", 0, 7000, 10)
    market.place(winner, "sell", 0, 7000, 10)
    market.place(loser, "sell", 0, 4000, 2)
    market.place(winner, "buy", 0, 4000, 2)
    project()
    assert participation(market, winner) == (22_000, 0)
    market.void()
    about = {"market": market.market_id, "settlement": market.settlement_id}
    append_to_account(
        winner, ("payout_reversed/2", {**about, "amount": 22_000, "kind": "take_back", "owed": 0})
    )
    close(market, winner, [2, 0], 0)
    close(market, loser, [0, 2], 0)
    append_to_account(loser, ("payout_issued/1", {**about, "amount": 42_000, "kind": "refund", "repaid": 0}))
    project()
    for account_id in (winner, loser):
        rows = positions(market, account_id)
        assert {quantity for _, quantity, _, _ in rows} == {0}
        assert sum(realized for _, _, _, realized in rows) == 0


def test_a_closing_of_other_shares_than_are_held_stops_the_projection(project, caplog):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    market.resolve((10_000, 0))
    close(market, buyer, [99, 0], 990_000)
    project()
    assert "closes [99, 0] shares of a position of [100, 0]" in caplog.text
    assert positions(market, buyer) == []


def test_a_market_that_has_not_ended_closes_nobody(project, caplog):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    close(market, buyer, [100, 0], 1_000_000)
    project()
    assert "which has not ended that way" in caplog.text
    assert positions(market, buyer) == []


def test_complete_sets_give_each_outcome_its_cost_and_split_the_rest():
    holding = Holding(3)
    holding.rows[0].acquire(10, 50_000)
    holding.rows[1].acquire(10, 20_000)
    holding.rows[2].acquire(10, 10_001)
    holding.net(10)
    assert [row.realized_pips for row in holding.rows] == [6_667, 6_666, 6_666]
    assert holding.quantities == [0, 0, 0]


def test_parts_add_up():
    assert list(split_evenly(10, 3)) == [4, 3, 3]
    assert sum(split_evenly(-7, 3)) == -7


def test_a_leg_flows_by_what_was_delivered_and_what_was_paid():
    leg = {"side": "buy", "price": 6000, "quantity": 10, "delivered": 4, "netted": 1, "fee": 7}
    assert leg_flow_pips(leg) == 4 * 4000 - 6 * 6000 + 10_000 - 7
    assert leg_flow_pips({**leg, "side": "sell"}) == 4 * 6000 - 6 * 4000 + 10_000 - 7
