"""Ends that are undone: everything is as it was before them, what was spent is owed, and the market ends anew.

The engine's own events in a real log, the read models as the projector makes them. Each test ends with the log proved,
`reconcile` clean, and read models that a rebuild makes the same.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import connection

from tests.trading.projections.conftest import _empty, hinted, project, projector, read_tables
from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading.cash import deposit, withdraw
from trading.debts import collect_debts
from trading.engine import commands as cmd
from trading.eventlog.read import read_stream
from trading.ids import new_id
from trading.reconcile import reconcile
from trading.settlement import course, dues, settle
from trading.settlement import pay as pay_module

__all__ = ["_empty", "hinted", "project", "projector"]

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

CASH = 10_000_000


@pytest.fixture(autouse=True)
def no_hint(monkeypatch):
    """The hint needs Valkey; what it wakes polls anyway."""
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)


@pytest.fixture(autouse=True)
def proved(_empty, project):
    """What must be true of the exchange whatever a test has done to it."""
    yield
    prove(project)


def prove(project):
    project()
    assert reconcile(wait_s=0, begin=lambda _: None, progress=lambda _: None).differences == []
    call_command("verify_log", verbosity=0)
    followed = read_tables()
    call_command("rebuild_projections", verbosity=0)
    assert read_tables() == followed


def query(statement, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall()


def cash_of(account_id):
    return query("SELECT cash_pips, debt_pips FROM cash_account WHERE account_id = %s", account_id)[0]


def traded_market(accounts, *, outcomes=("Yes", "No"), fee=70, seed=1, commands=60):
    market = WrittenMarket(outcomes, taker_fee_e4=fee)
    market.trade_randomly(accounts, commands, seed)
    return market


def swapped(one, other, shares=100, price_pips=4_000):
    """A market in which `one` has bought Yes for $0.40 and `other` No for $0.60, nothing else."""
    market = WrittenMarket()
    market.place(one, "buy", 0, price_pips, shares)
    market.place(other, "buy", 1, 10_000 - price_pips, shares)
    return market


def end(market, payouts=None):
    """The market's end by decision; answers the settlement's id."""
    market.settlement_id = new_id()
    if payouts is None:
        market.void()
    else:
        market.resolve(payouts)
    return market.settlement_id


def undo(market):
    undoing = new_id()
    market.do(cmd.ReverseResolution(market.market_id, undoing, "wrong", "user:1", 0))
    return undoing


def settled(settlement_id, project):
    """Paid to the end."""
    project()
    while (status := settle(settlement_id)) != "done":
        assert status == "running"
    project()


def state():
    """What an end changes and its undoing must put back: all but rows of nothing at all."""
    positions = query(
        "SELECT market_id::text, account_id::text, outcome, quantity, cost_pips, realized_pips FROM position "
        "WHERE (quantity, cost_pips, realized_pips) <> (0, 0, 0) ORDER BY 1, 2, 3"
    )
    standings = query(
        "SELECT day::text, account_id::text, realized_pips, volume_pips, score_sum_e8, scored_markets FROM standing "
        "WHERE (realized_pips, volume_pips, score_sum_e8, scored_markets) <> (0, 0, 0, 0) ORDER BY 1, 2"
    )
    money = query("SELECT account_id::text, cash_pips - debt_pips FROM cash_account ORDER BY 1")
    ledger = query("SELECT account_id::text, cash_pips FROM account_ledger ORDER BY 1")
    rest = query(
        "SELECT market_id::text, account_id::text, net_cash_pips, fees_pips FROM participation ORDER BY 1, 2"
    )
    return {"positions": positions, "standings": standings, "money": money, "ledger": ledger, "flows": rest}


def cancel_all(market):
    """Both before and after an end no orders rest, since a decided market has none."""
    for order in list(market.state.orders.values()):
        market.cancel(order.account_id, order.order_id)


ENDS = {
    "resolved": (("Yes", "No"), (10_000, 0)),
    "tied": (("A", "B", "C"), (3_333, 3_333, 3_334)),
    "void": (("Yes", "No"), None),
    "void of three": (("A", "B", "C"), None),
}


@pytest.mark.parametrize("name", ENDS)
def test_shares_costs_profits_scores_and_money_are_what_they_were(name, project):
    outcomes, payouts = ENDS[name]
    accounts = [funded_account(CASH) for _ in range(7)]
    market = traded_market(accounts, outcomes=outcomes)
    cancel_all(market)
    project()
    before = state()
    ending = end(market, payouts)
    settled(ending, project)
    paid = query("SELECT paid_pips FROM settlement WHERE settlement_id = %s", ending)
    assert state()["money"] != before["money"]
    assert query("SELECT sum(quantity)::bigint FROM position") == [(0,)]
    undoing = undo(market)
    settled(undoing, project)
    assert state() == before
    assert query("SELECT paid_pips FROM settlement WHERE settlement_id = %s", undoing) == paid
    assert {debt for _, debt in map(cash_of, accounts)} == {0}


def test_accounts_log_tells_the_undoing_and_its_cause(project):
    winner, loser = funded_account(CASH), funded_account(CASH)
    market = swapped(winner, loser)
    ending = end(market, (10_000, 0))
    settled(ending, project)
    undoing = undo(market)
    settled(undoing, project)
    with connection.cursor() as cursor:
        told = [list(read_stream(cursor, stream_id=account))[-2:] for account in (winner, loser)]
    about = {"market": market.market_id, "settlement": undoing}
    reopened = {**about, "reverses": ending}
    assert [(event.type, event.data) for event in told[0]] == [
        ("payout_reversed/2", {**about, "amount": 1_000_000, "kind": "win", "owed": 0}),
        ("position_reopened/1", {**reopened, "quantities": [100, 0], "costs": [400_000, 0]}),
    ]
    assert (told[1][1].type, told[1][1].data) == (
        "position_reopened/1", {**reopened, "quantities": [0, 100], "costs": [0, 600_000]}
    )  # fmt: skip
    (cause,) = query("SELECT cause_slot, cause_offset FROM settlement WHERE settlement_id = %s", undoing)
    assert told[0][0].metadata == {"cause": {"slot": cause[0], "offset": cause[1]}}


def indebted(project):
    """A winner of $100 who has spent it and all he had before, and the market whose end was undone."""
    winner, loser = funded_account(CASH), funded_account(CASH)
    market = swapped(winner, loser)
    settled(end(market, (10_000, 0)), project)
    withdraw(account_id=winner, amount_pips=cash_of(winner)[0] - 300_000, client_id=None, actor="test")
    settled(undo(market), project)
    assert cash_of(winner) == (0, 700_000)
    return winner, loser, market


def test_what_was_spent_is_debt_and_a_deposit_repays_it(project):
    winner, _, _ = indebted(project)
    deposit(account_id=winner, amount_pips=500_000, client_id=None, actor="test")
    assert cash_of(winner) == (0, 200_000)
    deposit(account_id=winner, amount_pips=500_000, client_id=None, actor="test")
    assert cash_of(winner) == (300_000, 0)


def test_a_later_pay_out_repays_debt(project):
    winner, _, market = indebted(project)
    settled(end(market, (10_000, 0)), project)
    assert cash_of(winner) == (300_000, 0)


def test_a_refund_repays_debt(project):
    winner, _, market = indebted(project)
    settled(end(market), project)
    assert cash_of(winner) == (0, 300_000)


def test_what_trading_brings_repays_debt(project):
    """Shares that were bought before, sold for $15 while $100 are owed."""
    winner, loser, other = (funded_account(CASH) for _ in range(3))
    elsewhere = swapped(winner, other, shares=50)
    market = swapped(winner, loser)
    settled(end(market, (10_000, 0)), project)
    withdraw(account_id=winner, amount_pips=cash_of(winner)[0], client_id=None, actor="test")
    settled(undo(market), project)
    elsewhere.place(other, "buy", 0, 3_000, 50)
    elsewhere.place(winner, "sell", 0, 3_000, 50)
    assert cash_of(winner) == (150_000, 1_000_000)
    assert (collect_debts(), cash_of(winner)) == (1, (0, 850_000))
    assert collect_debts() == 0


def test_debts_of_many_ends_add_up(project):
    winner, loser = funded_account(CASH), funded_account(CASH)
    for _ in range(3):
        market = swapped(winner, loser)
        settled(end(market, (10_000, 0)), project)
        withdraw(account_id=winner, amount_pips=cash_of(winner)[0], client_id=None, actor="test")
        settled(undo(market), project)
        deposit(account_id=winner, amount_pips=2_000_000, client_id=None, actor="test")
    assert cash_of(winner) == (1_000_000, 0)


@pytest.mark.parametrize("seed", range(2))
def test_resolved_undone_resolved_otherwise_undone_and_void(seed, project):
    chance = random.Random(seed)
    accounts = [funded_account(CASH) for _ in range(6)]
    market = traded_market(accounts, seed=seed)
    cancel_all(market)
    project()
    before = state()
    for payouts in ((10_000, 0), (2_500, 7_500)):
        settled(end(market, payouts), project)
        prove(project)
        for account in chance.sample(accounts, 3):
            spend(account, chance)
        spent = sum(cash - debt for cash, debt in map(cash_of, accounts))
        settled(undo(market), project)
        prove(project)
        assert [state()[name] for name in ("positions", "standings", "flows")] == [
            before[name] for name in ("positions", "standings", "flows")
        ]
        assert sum(cash - debt for cash, debt in map(cash_of, accounts)) < spent
    net = sum(-flow for _, _, flow, _ in before["flows"])
    held = sum(cash - debt for cash, debt in map(cash_of, accounts))
    settled(end(market), project)
    # All that the market held, fees included, is the accounts' again.
    assert sum(cash - debt for cash, debt in map(cash_of, accounts)) == held + net


def spend(account_id, chance):
    cash, debt = cash_of(account_id)
    if cash > debt:
        withdraw(
            account_id=account_id, amount_pips=chance.randint(1, cash - debt), client_id=None, actor="test"
        )


@pytest.mark.parametrize("keeps_pips", [0, 5_000_000])
def test_a_void_with_take_backs_is_undone_too(keeps_pips, project):
    """Who was ahead had spent some or nothing of it; whatever was taken comes back, whatever was given goes."""
    ahead, behind, other = (funded_account(CASH) for _ in range(3))
    market = swapped(ahead, other, shares=100, price_pips=2_000)
    market.place(behind, "buy", 0, 9_000, 100)
    market.place(ahead, "sell", 0, 9_000, 100)
    cash, _ = cash_of(ahead)
    withdraw(account_id=ahead, amount_pips=cash - 200_000 - keeps_pips, client_id=None, actor="test")
    project()
    before = state()
    ending = end(market)
    settled(ending, project)
    taken = 200_000 if keeps_pips == 0 else 700_000
    rows = query("SELECT step, sum(amount_pips)::bigint FROM settlement_account GROUP BY step ORDER BY step")
    assert rows == [("pay", 1_000_000 + taken), ("take_back", taken)]
    settled(undo(market), project)
    assert state() == before
    assert query("SELECT sum(quantity)::bigint FROM position") == [(200,)]


def test_undoing_waits_for_the_settlement_that_it_undoes(project):
    accounts = [funded_account(CASH) for _ in range(5)]
    market = traded_market(accounts)
    ending = end(market, (10_000, 0))
    project()
    assert settle(ending, time_limit_s=-1) == "running"
    undoing = undo(market)
    project()
    assert settle(undoing) == "waiting"
    assert query("SELECT status FROM settlement WHERE settlement_id = %s", undoing) == [("pending",)]
    settled(ending, project)
    settled(undoing, project)


def test_a_later_end_waits_for_the_undoing_and_for_its_read_model(project):
    accounts = [funded_account(CASH) for _ in range(5)]
    market = traded_market(accounts)
    settled(end(market, (10_000, 0)), project)
    undoing = undo(market)
    project()
    later = end(market, (0, 10_000))
    project()
    assert settle(later) == "waiting"
    while settle(undoing) != "done":
        pass
    # Every account is paid, but the positions do not show it.
    assert settle(later) == "waiting"
    settled(later, project)


def test_an_end_that_was_read_before_the_undoing_was_done_waits_for_the_read_model(project, monkeypatch):
    """The undoing ends between the reading of a later settlement and its begin: positions are older than it yet."""
    accounts = [funded_account(CASH) for _ in range(5)]
    market = traded_market(accounts)
    settled(end(market, (10_000, 0)), project)
    undoing = undo(market)
    later = end(market, (0, 10_000))
    project()
    real = dues.load_settlement

    def slow(settlement_id):
        found = real(settlement_id)
        if settlement_id == later:
            assert settle(undoing) == "done"
        return found

    monkeypatch.setattr(course, "load_settlement", slow)
    assert settle(later) == "waiting"
    monkeypatch.undo()
    settled(later, project)


class Died(Exception):
    """Stands for the end of a process at this point."""


@pytest.mark.parametrize("payouts", [(10_000, 0), None])
def test_workers_that_die_while_undoing_take_back_from_each_account_once(payouts, project, monkeypatch):
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 2)
    accounts = [funded_account(CASH) for _ in range(30)]
    market = traded_market(accounts, commands=150)
    cancel_all(market)
    project()
    before = state()
    settled(end(market, payouts), project)
    undoing = undo(market)
    project()
    chance = random.Random(5)
    for name in ("_mark", "_move_cash", "_show_progress"):
        monkeypatch.setattr(pay_module, name, dying(getattr(pay_module, name), chance))
    deaths = 0
    while True:
        try:
            if settle(undoing) == "done":
                break
        except Died:
            deaths += 1
            project()
    assert deaths > 3
    project()
    assert state() == before


def dying(real, chance):
    def call(*arguments):
        if chance.random() < 0.1:
            raise Died
        real(*arguments)
        if chance.random() < 0.1:
            raise Died

    return call


@pytest.mark.parametrize("payouts", [(10_000, 0), None])
def test_workers_at_the_same_accounts_without_the_slots_lock_undo_once(payouts, project, monkeypatch):
    """Only the marks stand between six workers and six reversals."""
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 2)
    accounts = [funded_account(CASH) for _ in range(30)]
    market = traded_market(accounts, commands=150)
    cancel_all(market)
    project()
    before = state()
    monkeypatch.setattr(course, "_TAKE_SLOT", course._TAKE_SLOT.replace("FOR UPDATE SKIP LOCKED", ""))
    for settlement_id in (end(market, payouts), undo(market)):
        project()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(settled_by_thread, [settlement_id] * 6))
    project()
    assert state() == before


def settled_by_thread(settlement_id):
    try:
        while settle(settlement_id) != "done":
            pass
    finally:
        connection.close()
