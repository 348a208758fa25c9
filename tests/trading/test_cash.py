"""Deposits, withdrawals and balances against a real PostgreSQL."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from trading import cash
from trading.errors import IdempotencyMismatch, InvalidRequest, NotFound, Refused
from trading.eventlog.read import read_stream
from trading.ids import account_slot, new_id

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_hint(monkeypatch):
    """The hint needs Valkey; what it wakes polls anyway."""
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)


@pytest.fixture
def account():
    account_id = new_id()
    cash.open_account(account_id)
    return account_id


def give(account_id, amount_pips, client_id=None):
    return cash.deposit(account_id=account_id, amount_pips=amount_pips, client_id=client_id, actor="test")


def take(account_id, amount_pips, client_id=None):
    return cash.withdraw(account_id=account_id, amount_pips=amount_pips, client_id=client_id, actor="test")


def events(account_id):
    with connection.cursor() as cursor:
        return [(event.type, event.data) for event in read_stream(cursor, stream_id=account_id)]


def free_cash(account_id):
    return cash.account_balance(account_id)["cash_pips"]


def set_row(account_id, **columns):
    with connection.cursor() as cursor:
        for name, value in columns.items():
            cursor.execute(f"UPDATE cash_account SET {name} = %s WHERE account_id = %s", [value, account_id])


def test_opening_an_account_twice_keeps_its_cash(account):
    give(account, 5)
    cash.open_account(account)
    assert free_cash(account) == 5


def test_a_deposit_is_an_event_and_free_cash(account):
    answer = give(account, 12_345, "d-1")
    with connection.cursor() as cursor:
        (event,) = read_stream(cursor, stream_id=account)
    assert answer == (12_345, event.event_id, False)
    assert (event.slot, event.version, event.type) == (account_slot(account), 1, "funds_deposited/1")
    assert event.data == {"amount": 12_345, "client_id": "d-1", "repaid": 0}
    assert event.metadata["actor"] == "test"
    assert event.metadata["command"] == {"op": "deposit", "amount": 12_345, "client_id": "d-1"}


def test_the_same_deposit_again_is_answered_and_not_done(account):
    first = give(account, 700, "d-1")
    give(account, 1, "d-2")
    assert give(account, 700, "d-1") == (701, first.as_of, True)
    assert len(events(account)) == 2


def test_a_client_id_used_for_another_command_is_a_mismatch(account):
    give(account, 700, "d-1")
    with pytest.raises(IdempotencyMismatch):
        give(account, 701, "d-1")
    with pytest.raises(IdempotencyMismatch):
        take(account, 700, "d-1")
    assert (free_cash(account), len(events(account))) == (700, 1)


def test_two_accounts_may_use_the_same_client_id(account):
    other = new_id()
    cash.open_account(other)
    assert not give(account, 1, "same").replayed
    assert not give(other, 2, "same").replayed


def test_everything_can_be_withdrawn_and_not_one_pip_more(account):
    give(account, 100)
    with pytest.raises(Refused) as refusal:
        take(account, 101)
    assert refusal.value.code == "exceeds_available_cash"
    assert (free_cash(account), len(events(account))) == (100, 1)
    assert take(account, 100).cash_pips == 0


def test_a_refused_withdrawal_uses_its_client_id_up(account):
    with pytest.raises(Refused):
        take(account, 50, "w-1")
    give(account, 1_000)
    with pytest.raises(Refused) as refusal:
        take(account, 50, "w-1")
    assert refusal.value.code == "exceeds_available_cash"
    assert free_cash(account) == 1_000
    assert [kind for kind, _ in events(account)] == ["command_refused/1", "funds_deposited/1"]


def test_a_deposit_repays_debt_first(account):
    set_row(account, debt_pips=300)
    assert give(account, 200).cash_pips == 0
    assert give(account, 200).cash_pips == 100
    assert cash.account_balance(account)["debt_pips"] == 0
    assert [data["repaid"] for _, data in events(account)] == [200, 100]


@pytest.mark.parametrize("amount", [0, -1, cash.MAX_AMOUNT_PIPS + 1])
def test_amounts_out_of_bounds_are_malformed(account, amount):
    for move in (give, take):
        with pytest.raises(InvalidRequest):
            move(account, amount, "x")
    assert events(account) == []
    assert not give(account, cash.MAX_AMOUNT_PIPS, "x").replayed


def test_an_account_holds_no_more_than_the_limit(account):
    set_row(account, cash_pips=cash.MAX_CASH_PIPS - 1)
    with pytest.raises(Refused) as refusal:
        give(account, 2)
    assert refusal.value.code == "exceeds_limits"
    assert give(account, 1).cash_pips == cash.MAX_CASH_PIPS


def test_without_a_cash_row_nothing_is_done():
    stranger = new_id()
    for move in (give, take):
        with pytest.raises(NotFound):
            move(stranger, 1, "x")
    with pytest.raises(NotFound):
        cash.account_balance(stranger)
    assert events(stranger) == []


def test_cash_in_flight_counts_as_reserved(account):
    give(account, 900)
    set_row(account, cash_pips=500, reserved_pips=100)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO batch (batch_id, slots, epochs, accounts, amounts, claim_accounts, claim_keys) "
            "VALUES (%s, '{0}', '{1}', %s::uuid[], %s, '{}', '{}')",
            [batch := new_id(), [new_id(), account], [7, 300]],
        )
        balance = cash.account_balance(account)
        cursor.execute("DELETE FROM batch WHERE batch_id = %s", [batch])
    assert (balance["cash_pips"], balance["reserved_pips"]) == (500, 400)
    assert f"{account_slot(account)}-" in balance["as_of"]


def test_fifty_four_threads_on_three_accounts_lose_and_double_nothing():
    accounts = [new_id() for _ in range(3)]
    for account_id in accounts:
        cash.open_account(account_id)
        give(account_id, 1_000)

    def one_client(n):
        account_id = accounts[n % 3]
        try:
            for step in range(4):
                give(account_id, 10, f"d-{n // 6}-{step}")  # Each id is sent by two threads at once.
                with contextlib.suppress(Refused):
                    take(account_id, 7)
        finally:
            connection.close()

    with ThreadPoolExecutor(54) as pool:
        list(pool.map(one_client, range(54)))
    for account_id in accounts:
        log = events(account_id)
        deposited = [data for kind, data in log if kind == "funds_deposited/1"]
        withdrawn = [data for kind, data in log if kind == "funds_withdrawn/1"]
        ids = [data["client_id"] for data in deposited if data["client_id"]]
        assert len(ids) == len(set(ids)) == 9 * 4
        assert free_cash(account_id) == sum(d["amount"] for d in deposited) - sum(
            d["amount"] for d in withdrawn
        )
