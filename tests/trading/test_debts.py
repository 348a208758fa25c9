"""What a reversed pay-out left as debt is repaid out of cash that trading brings, exactly once and to the pip."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from trading import debts
from trading.cash import deposit, open_account, withdraw
from trading.errors import Refused
from trading.eventlog.read import read_stream
from trading.ids import new_id
from trading.tasks import collect_debts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_hint(monkeypatch):
    """The hint needs Valkey; what it wakes polls anyway."""
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)


@pytest.fixture(autouse=True)
def nobody_owes():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cash_account SET debt_pips = 0 WHERE debt_pips > 0")


def account(cash_pips, debt_pips):
    account_id = new_id()
    open_account(account_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cash_account SET cash_pips = %s, debt_pips = %s WHERE account_id = %s",
            [cash_pips, debt_pips, account_id],
        )
    return account_id


def row(account_id):
    with connection.cursor() as cursor:
        cursor.execute("SELECT cash_pips, debt_pips FROM cash_account WHERE account_id = %s", [account_id])
        return cursor.fetchone()


def repaid(account_id):
    with connection.cursor() as cursor:
        events = list(read_stream(cursor, stream_id=account_id))
    return [(event.type, event.data) for event in events]


def test_an_account_repays_as_much_as_it_has():
    whole, part = account(900, 400), account(300, 400)
    assert collect_debts() == 2
    assert (row(whole), row(part)) == ((500, 0), (0, 100))
    assert repaid(whole) == [("debt_repaid/1", {"amount": 400})]
    assert repaid(part) == [("debt_repaid/1", {"amount": 300})]


def test_who_owes_nothing_or_has_nothing_is_left_alone():
    rich, poor = account(900, 0), account(0, 400)
    assert collect_debts() == 0
    assert (row(rich), row(poor), repaid(rich), repaid(poor)) == ((900, 0), (0, 400), [], [])


def test_what_is_repaid_is_not_repaid_again():
    debtor = account(900, 400)
    assert [collect_debts(), collect_debts()] == [1, 0]
    assert row(debtor) == (500, 0)


def test_rounds_that_run_at_once_collect_each_debt_once(monkeypatch):
    monkeypatch.setattr(debts, "PAGE_ACCOUNTS", 3)
    debtors = [account(1_000, 1 + number) for number in range(120)]

    def collect(_):
        try:
            return collect_debts()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(collect, range(6))) == len(debtors)
    assert [row(debtor) for debtor in debtors] == [(999 - number, 0) for number in range(120)]
    assert [repaid(debtor) for debtor in debtors] == [
        [("debt_repaid/1", {"amount": 1 + number})] for number in range(120)
    ]


def test_more_debts_than_a_round_looks_at_are_the_next_rounds(monkeypatch):
    monkeypatch.setattr(debts, "ROUND_ACCOUNTS", 4)
    debtors = [account(10, 10) for _ in range(6)]
    assert [collect_debts(), collect_debts(), collect_debts()] == [4, 2, 0]
    assert {row(debtor) for debtor in debtors} == {(0, 0)}


def test_what_is_owed_cannot_be_withdrawn():
    debtor = account(900, 400)
    with pytest.raises(Refused) as refusal:
        withdraw(account_id=debtor, amount_pips=501, client_id=None, actor="test")
    assert refusal.value.code == "exceeds_available_cash"
    assert (row(debtor), repaid(debtor)) == ((900, 400), [])
    assert withdraw(account_id=debtor, amount_pips=500, client_id=None, actor="test").cash_pips == 400


def test_who_owes_more_than_there_is_withdraws_nothing():
    debtor = account(300, 400)
    with pytest.raises(Refused):
        withdraw(account_id=debtor, amount_pips=1, client_id=None, actor="test")


def test_a_deposit_and_a_round_together_repay_no_more_than_is_owed():
    debtor = account(100, 400)
    deposit(account_id=debtor, amount_pips=250, client_id=None, actor="test")
    assert collect_debts() == 1
    assert row(debtor) == (0, 50)
    deposit(account_id=debtor, amount_pips=80, client_id=None, actor="test")
    assert (collect_debts(), row(debtor)) == (0, (30, 0))
