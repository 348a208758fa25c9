"""The markets and trades projections: lifecycle, running totals, the tape, and the opening of settlements."""

import pytest
from django.db import connection

from tests.trading.projections.written_log import WrittenMarket, append, funded_account
from trading.engine import commands as cmd
from trading.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def rows(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def summary(market):
    ((*totals,),) = rows(
        "SELECT volume_pips, trade_count, trader_count, open_interest_sets, fees_pips, last_prices, seq "
        "FROM market_summary WHERE market_id = %s", market.market_id,
    )  # fmt: skip
    return tuple(totals)


def status(market):
    return rows("SELECT status, seq FROM market WHERE market_id = %s", market.market_id)[0]


def settlements(market):
    return rows(
        "SELECT settlement_id::text, kind, status, payouts, accounts_total, collateral_pips, cause_slot, cause_offset "
        "FROM settlement WHERE market_id = %s", market.market_id,
    )  # fmt: skip


def test_a_new_market_is_there_with_its_outcomes(project):
    market = WrittenMarket(("Red", "Green", "Blue"), taker_fee_e4=70)
    project()
    assert status(market) == ("open", 2)
    assert rows("SELECT index, name FROM outcome WHERE market_id = %s ORDER BY 1", market.market_id) == [
        (0, "Red"), (1, "Green"), (2, "Blue"),
    ]  # fmt: skip
    assert summary(market) == (0, 0, 0, 0, 0, [None, None, None], 2)


def test_the_lifecycle_shows(project):
    market = WrittenMarket()
    market.do(cmd.SuspendMarket(market.market_id, "news"))
    project()
    assert status(market) == ("suspended", 3)
    market.do(cmd.ResumeMarket(market.market_id))
    project()
    assert status(market) == ("open", 4)
    market.do(cmd.CloseMarket(market.market_id))
    project()
    assert status(market) == ("closed", 5)


def test_trading_adds_up(project):
    traders = [funded_account() for _ in range(5)]
    binary, triple = WrittenMarket(taker_fee_e4=70), WrittenMarket(("A", "B", "C"))
    for market in (binary, triple):
        market.trade_randomly(traders, 100, seed=7)
        project()
        market.trade_randomly(traders, 100, seed=8)
        project()
        state = market.state
        ((count,),) = rows("SELECT count(*) FROM trade WHERE market_id = %s", market.market_id)
        assert summary(market) == (
            state.volume_pips, count, len(state.holdings), state.sets, state.fees_pips, state.last_prices, state.seq,
        )  # fmt: skip


def test_the_tape_is_in_the_books_terms(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket()
    market.place(maker, "sell", 1, 6000, 10)
    market.place(taker, "buy", 1, 6000, 4)
    project()
    assert rows("SELECT outcome, price_pips, quantity, taker_side, seq FROM trade") == [
        (0, 4000, 4, "sell", 7)
    ]
    assert summary(market)[5] == [4000, 6000]


def job_keys():
    return sorted(key for (key,) in rows("SELECT key FROM job"))


def test_a_resolution_opens_one_settlement_and_asks_for_it_after_the_commit(project, hinted):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    market.place(seller, "sell", 0, 7500, 100)
    market.resolve((10_000, 0))
    project()
    slot, head = rows("SELECT slot, next_offset FROM slot WHERE slot < 16 AND next_offset > 0")[0]
    assert status(market)[0] == "resolved"
    assert settlements(market) == [
        (market.settlement_id, "resolve", "pending", [10_000, 0], 0, 1_000_000, slot, head - 1)
    ]
    keys = [f"settle:{market.settlement_id}:{share}" for share in range(4)]
    assert (hinted, job_keys()) == (keys, keys)
    ((resolution,),) = rows("SELECT resolution::text FROM market")
    assert '"payouts": [10000, 0]' in resolution


def test_a_void_is_of_the_collateral_without_the_fees(project, hinted):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    market.place(buyer, "buy", 0, 6500, 100)
    market.place(seller, "sell", 0, 6500, 100)
    market.void()
    project()
    ((_, kind, _, payouts, _, collateral, _, _),) = settlements(market)
    assert (status(market)[0], kind, payouts, collateral) == ("voided", "void", None, 1_000_000)
    assert len(hinted) == len(job_keys()) == 4


def test_a_settlement_is_not_opened_or_sent_twice(project, projector, hinted):
    market = WrittenMarket()
    market.resolve((0, 10_000))
    project()
    rows("UPDATE settlement SET status = 'done' RETURNING 1")
    rows("DELETE FROM market_step RETURNING 1")
    rows("DELETE FROM market_summary RETURNING 1")
    rows("DELETE FROM outcome RETURNING 1")
    rows("DELETE FROM market RETURNING 1")
    rows("UPDATE projection_checkpoint SET next_offset = 0 WHERE projection = 'markets' RETURNING 1")
    projector._refresh_at = 0.0
    project()
    assert status(market)[0] == "resolved"
    assert settlements(market)[0][2] == "done"
    assert len(hinted) == len(job_keys()) == 4


def test_a_refused_command_of_an_account_is_no_market_of_ours(project):
    account_id = funded_account()
    append(account_id, ("command_refused/1", {"account": account_id, "command": "withdraw", "order": None,
                                              "reason": "exceeds_available_cash"}), slot=16 + 3)  # fmt: skip
    append(new_id(), ("command_refused/1", {"account": None, "command": "create", "order": None, "reason": "x"}),
           slot=16 + 4)  # fmt: skip
    project()
    assert rows("SELECT count(*) FROM market") == [(0,)]
