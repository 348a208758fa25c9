"""The ledger projection: each change of cash is an entry, and an account's entries add up to its cash."""

import random

import pytest
from django.db import connection

from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import WrittenMarket, append, append_to_account, funded_account
from trading.ids import account_slot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def rows(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def entries(account_id):
    """(kind, amount, leg) of an account, oldest first, without the deposit that funded it."""
    found = rows(
        "SELECT kind, amount_pips, leg FROM ledger_entry WHERE account_id = %s ORDER BY at, slot, slot_offset, leg",
        account_id,
    )
    assert found.pop(0)[0] == "deposit"
    return found


def summed(account_id):
    """(cash, seq) of an account."""
    return rows("SELECT cash_pips, seq FROM account_ledger WHERE account_id = %s", account_id)[0]


def test_an_order_takes_cash_a_fill_moves_it_and_a_cancel_gives_it_back(project):
    buyer, seller = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    resting = market.place(buyer, "buy", 0, 6500, 10)
    market.place(seller, "sell", 0, 6000, 4)
    market.cancel(buyer, resting)
    project()
    reserve = 10 * 6500 + 1593
    assert entries(buyer)[0] == ("order_reserved", -reserve, 0)
    fill, back = entries(buyer)[1:]
    assert (fill[0], fill[2], back[0]) == ("trade", 0, "order_released")
    assert fill[1] + back[1] == reserve - 4 * 6500
    assert entries(seller)[1][0] == "trade"
    assert entries(seller)[1][2] == 1


def test_an_amendment_takes_or_gives_by_what_the_order_needs(project):
    trader = funded_account()
    market = WrittenMarket()
    order_id = market.place(trader, "buy", 0, 5000, 10)
    market.amend(trader, order_id, 7)
    market.amend(trader, order_id, 9)
    project()
    assert entries(trader) == [
        ("order_reserved", -50_000, 0), ("order_released", 15_000, 0), ("order_reserved", -10_000, 0),
    ]  # fmt: skip


def test_an_entry_names_the_market_and_the_order(project):
    trader = funded_account()
    market = WrittenMarket()
    order_id = market.place(trader, "buy", 0, 5000, 10)
    project()
    assert rows(
        "SELECT market_id::text, order_id::text FROM ledger_entry WHERE account_id = %s ORDER BY at", trader
    ) == [(None, None), (market.market_id, order_id)]


def test_what_moves_no_cash_is_no_entry_and_counts_all_the_same(project):
    trader = funded_account()
    market = WrittenMarket()
    market.place(trader, "buy", 0, 5001, 10)
    append_to_account(
        trader,
        ("command_refused/1", {"account": trader, "command": "withdraw", "order": None, "reason": "x"}),
    )
    project()
    assert entries(trader) == []
    assert summed(trader) == (10**12, 3)


def test_a_refusal_of_nobodys_command_is_nobodys(project):
    market = WrittenMarket()
    append(market.market_id, ("command_refused/1", {"account": None, "command": "x", "reason": "x"}))
    market.state.seq += 1
    project()
    assert rows("SELECT count(*) FROM account_ledger") == [(0,)]


def test_two_legs_of_one_match_are_two_entries_and_one_event(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"), taker_fee_e4=700)
    market.place(maker, "buy", 0, 3000, 5)
    market.place(maker, "buy", 1, 3100, 5)
    project()
    (_, before) = summed(maker)
    market.place(taker, "buy", 2, 4000, 5)
    project()
    # What was set aside for a taker's fee comes back with each leg.
    assert [(kind, leg) for kind, _, leg in entries(maker)] == [
        ("order_reserved", 0), ("order_reserved", 0), ("trade", 0), ("trade", 1),
    ]  # fmt: skip
    # The match is one event; the other one opened his position.
    assert summed(maker)[1] == before + 2


def test_pay_outs_refunds_and_take_backs_are_told_apart(project):
    account_id = funded_account()
    market = WrittenMarket()
    about = {"market": market.market_id, "settlement": market.settlement_id}
    append_to_account(
        account_id,
        ("payout_issued/1", {**about, "amount": 500, "kind": "win", "repaid": 0}),
        ("payout_reversed/2", {**about, "amount": 70, "kind": "take_back", "owed": 0}),
        ("payout_issued/1", {**about, "amount": 30, "kind": "refund", "repaid": 0}),
        ("funds_withdrawn/1", {"amount": 9, "client_id": None}),
    )
    project()
    assert entries(account_id) == [
        ("payout", 500, 0), ("take_back", -70, 0), ("refund", 30, 0), ("withdrawal", -9, 0),
    ]  # fmt: skip
    assert summed(account_id) == (10**12 + 451, 5)


def test_a_credit_that_repays_debt_is_entered_in_full(project):
    account_id = funded_account()
    append_to_account(account_id, ("funds_deposited/1", {"amount": 500, "client_id": None, "repaid": 300}))
    project()
    assert entries(account_id) == [("deposit", 500, 0)]
    assert summed(account_id)[0] == 10**12 + 500


def test_entries_add_up_to_the_cash_that_the_exchange_has(project):
    accounts = [funded_account() for _ in range(4)]
    for seed, market in enumerate((WrittenMarket(taker_fee_e4=150), WrittenMarket(("A", "B", "C")))):
        market.trade_randomly(accounts, 120, seed)
    project()
    cash = rows("SELECT account_id, cash_pips FROM cash_account ORDER BY 1")
    assert rows("SELECT account_id, cash_pips FROM account_ledger ORDER BY 1") == cash
    assert rows("SELECT account_id, sum(amount_pips)::bigint FROM ledger_entry GROUP BY 1 ORDER BY 1") == cash


def test_every_event_that_names_an_account_counts_once(project):
    accounts = [funded_account() for _ in range(4)]
    WrittenMarket(("A", "B", "C"), taker_fee_e4=30).trade_randomly(accounts, 150, seed=5)
    project()
    for account_id in accounts:
        ((named,),) = rows(
            "SELECT count(*) FROM event WHERE stream_id = %s OR data->>'account' = %s OR data->'legs' @> "
            "jsonb_build_array(jsonb_build_object('account', %s::text))",
            *[account_id] * 3,
        )
        assert summed(account_id)[1] == named


def test_rows_do_not_depend_on_batches_or_on_the_order_of_slots(project, projector):
    accounts = [funded_account() for _ in range(3)]
    assert len({account_slot(account_id) for account_id in accounts}) > 1
    markets = [WrittenMarket(taker_fee_e4=150), WrittenMarket(("A", "B", "C"))]
    for seed, market in enumerate(markets):
        market.trade_randomly(accounts, 60, seed)
    project()
    at_once = read_tables()
    heads = dict(rows("SELECT slot, next_offset FROM slot WHERE next_offset > 0"))
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    chance = random.Random(3)
    # The heads are let out a slot at a time, in any order, in pieces of any size.
    rows("UPDATE slot SET next_offset = 0 RETURNING 1")
    out = dict.fromkeys(heads, 0)
    while out != heads:
        slot = chance.choice([slot for slot, head in heads.items() if out[slot] < head])
        out[slot] = min(heads[slot], out[slot] + chance.randrange(1, 60))
        rows("UPDATE slot SET next_offset = %s WHERE slot = %s RETURNING 1", out[slot], slot)
        projector._limit = chance.randrange(1, 50)
        while projector.round():
            projector._limit = chance.randrange(1, 50)
    assert read_tables() == at_once
