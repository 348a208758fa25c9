"""reconcile: clean on what is right, and every kind of wrong row found, also while trading goes on."""

import threading
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import WrittenMarket, append, append_to_account, funded_account
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.reconcile import run as course

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


@pytest.fixture
def exchange(project):
    """Trading in three markets, one resolved and paid to half its holders, one voided."""
    accounts = [funded_account() for _ in range(4)]
    markets = [
        WrittenMarket(taker_fee_e4=70),
        WrittenMarket(("A", "B", "C"), taker_fee_e4=30),
        WrittenMarket(),
    ]
    for seed, market in enumerate(markets):
        market.trade_randomly(accounts, 80, seed)
    project()
    markets[2].resolve((10_000, 0))
    project()
    for account_id in list(markets[2].state.holdings)[:2]:
        pay(markets[2], account_id)
    project()
    return markets


def pay(market, account_id):
    """What settlement does for one holder of a market that `Yes` has won."""
    holding = market.state.holdings[account_id]
    quantities = [free + held for free, held in zip(holding.free, holding.held, strict=True)]
    amount = 10_000 * quantities[0]
    about = {"market": market.market_id, "settlement": market.settlement_id}
    if any(quantities):
        append_to_account(
            account_id, ("position_closed/1", {**about, "quantities": quantities, "payout": amount})
        )
    if amount:
        paid = {**about, "amount": amount, "kind": "win", "repaid": 0}
        append_to_account(account_id, ("payout_issued/1", paid))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cash_account SET cash_pips = cash_pips + %s WHERE account_id = %s", [amount, account_id]
        )
        cursor.execute(
            "UPDATE settlement SET paid_pips = paid_pips + %s WHERE settlement_id = %s",
            [amount, market.settlement_id],
        )


def reconcile():
    call_command("reconcile", "--wait", "0.2")


def test_what_the_projections_make_of_the_log_is_right(exchange, capsys):
    reconcile()
    assert "all is as the log says" in capsys.readouterr().out


def test_an_empty_exchange_is_right():
    Projector(load_projections()).round()
    reconcile()


WRONG = {
    "UPDATE cash_account SET cash_pips = cash_pips + 1": "cash less debt is",
    "UPDATE cash_account SET reserved_pips = reserved_pips + 5": "reserved is",
    "UPDATE cash_account SET fees_paid_pips = fees_paid_pips + 5": "fees paid is",
    "UPDATE cash_account SET debt_pips = 7": "money in the exchange is",
    "INSERT INTO batch (batch_id, slots, epochs, accounts, amounts, claim_accounts, claim_keys) "
    "SELECT uuidv7(), '{0}', '{0}', ARRAY[account_id], '{9}', '{}', '{}' FROM cash_account LIMIT 1": "cash less debt",
    'UPDATE "order" SET filled = filled + 1': "filled is",
    "UPDATE \"order\" SET status = 'open', reason = NULL WHERE status = 'cancelled'": "status is 'open'",
    "UPDATE \"order\" SET updated_at = updated_at + interval '1 microsecond'": "updated is",
    'DELETE FROM "order" WHERE filled > 0': "is missing",
    "DELETE FROM fill WHERE role = 'maker'": ": fills:",
    "UPDATE fill SET fee_pips = fee_pips + 1": ": fills:",
    "UPDATE trade SET quantity = quantity + 1": ": trades:",
    "UPDATE book_level SET quantity = quantity + 1": "s of outcome",
    "DELETE FROM book_level WHERE is_bid": "bids of outcome",
    "UPDATE trade_bar SET volume_pips = volume_pips + 1 WHERE resolution = '1h'": "bars of 1h:",
    "DELETE FROM trade_bar WHERE resolution = '1m'": "bars of 1m:",
    "UPDATE position SET quantity = quantity + 1": "shares of outcome",
    "UPDATE position SET realized_pips = realized_pips + 1": "realized less cost",
    "UPDATE position SET cost_pips = cost_pips + 1": "realized less cost",
    "UPDATE participation SET net_cash_pips = net_cash_pips - 1": "net cash and fees",
    "UPDATE forecast SET price_sq_sum = price_sq_sum + 1": "forecast of outcome",
    "DELETE FROM forecast WHERE outcome = 0": "forecast of outcome 0",
    "UPDATE standing SET volume_pips = volume_pips + 1 WHERE isfinite(day)": "volume and scores of 2",
    "UPDATE standing SET score_sum_e8 = score_sum_e8 + 1 WHERE NOT isfinite(day)": "volume and scores of -infinity",
    "UPDATE standing SET realized_pips = realized_pips + 1 WHERE isfinite(day)": "realized by day is",
    "DELETE FROM standing WHERE NOT isfinite(day)": "realized: None",
    "INSERT INTO standing VALUES ('-infinity', gen_random_uuid(), 5, 0, 0, 0)": "realized is 5",
    "UPDATE account_ledger SET cash_pips = cash_pips + 1": "cash_pips is",
    "UPDATE account_ledger SET seq = seq - 1": "seq is",
    "UPDATE ledger_entry SET amount_pips = amount_pips + 10000000": "entered_pips is",
    "DELETE FROM ledger_entry WHERE kind = 'trade'": "entries is",
    "DELETE FROM account_ledger": "cash_pips: None",
    "INSERT INTO account_ledger VALUES (gen_random_uuid(), 0, 1, now())": "seq is 1, the log says 0",
    "INSERT INTO ledger_entry VALUES (gen_random_uuid(), now(), 0, 0, 0, 1, NULL, NULL, 'trade')": "entries is 1",
    "UPDATE market_summary SET volume_pips = volume_pips + 1": "volume is",
    "UPDATE market_summary SET trader_count = 0": "traders is",
    "UPDATE market_summary SET open_interest_sets = open_interest_sets - 1": "sets is",
    "UPDATE market_summary SET last_prices[1] = 1": "last is",
    "UPDATE market_summary SET seq = seq + 1": "seq is",
    "UPDATE market SET status = 'suspended'": "status is 'suspended'",
    "UPDATE outcome SET name = name || '?'": "outcomes is",
    "DELETE FROM market_summary": "volume is None",
    "UPDATE settlement SET paid_pips = paid_pips + 1": "settlement",
    "INSERT INTO trade VALUES (uuidv7(), gen_random_uuid(), 0, 1, 1, 'buy', now(), 1)": "unknown to the log",
}


TABLES = ("cash_account", "batch", "order", "fill", "trade", "position", "participation", "standing", "forecast",
          "ledger_entry",
          "account_ledger", "market", "outcome", "market_summary", "settlement", "book_level", "trade_bar")  # fmt: skip


@contextmanager
def rows_put_back():
    """Whatever is done to the tables within is undone."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f'CREATE TEMP TABLE saved_{table} AS SELECT * FROM "{table}"')
    yield
    with transaction.atomic(), connection.cursor() as cursor:
        for table in reversed(TABLES):
            cursor.execute(f'DELETE FROM "{table}"')
        for table in TABLES:
            cursor.execute(f'INSERT INTO "{table}" SELECT * FROM saved_{table}')
            cursor.execute(f"DROP TABLE saved_{table}")


def test_every_kind_of_wrong_row_is_found(exchange, capsys):
    for statement, told in WRONG.items():
        with rows_put_back():
            with connection.cursor() as cursor:
                cursor.execute(statement)
            with pytest.raises(CommandError, match="differences from the log"):
                reconcile()
            assert told in capsys.readouterr().err, statement
    reconcile()


def test_an_event_whose_money_does_not_add_up_is_found(exchange, project, capsys):
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET data = jsonb_set(data, '{cash}', '0') WHERE type = 'order_placed/1' AND slot_offset = "
            "(SELECT max(slot_offset) FROM event WHERE type = 'order_placed/1' AND (data->>'cash')::bigint <> 0)"
        )
    with pytest.raises(CommandError):
        reconcile()
    assert "cash less debt" in capsys.readouterr().err


def test_projections_that_do_not_come_are_told_and_cash_is_judged_all_the_same(exchange, capsys):
    exchange[0].place(funded_account(), "buy", 0, 4000, 1)
    with pytest.raises(CommandError, match="7 differences"):
        reconcile()
    assert "projection orders is 2 events behind" in capsys.readouterr().err


def test_an_unknown_event_is_a_difference(exchange, capsys):
    append(exchange[0].market_id, ("market_renamed/1", {"name": "x"}))
    with pytest.raises(CommandError):
        reconcile()
    assert "unknown type market_renamed/1" in capsys.readouterr().err


@contextmanager
def still_for_the_snapshot(lock, monkeypatch):
    """Keeps the writer, which moves cash after its events, still until the snapshot of cash is taken."""
    original = course.read_money

    def read_and_let_go(cursor):
        try:
            return original(cursor)
        finally:
            lock.release()

    with monkeypatch.context() as patch:
        patch.setattr(course, "read_money", read_and_let_go)
        lock.acquire()
        yield


def test_it_is_right_while_trading_goes_on(exchange, monkeypatch):
    still, stop = threading.Lock(), threading.Event()

    def trade():
        seed = 100
        with still:
            accounts = [funded_account() for _ in range(2)]
        while not stop.is_set():
            seed += 1
            for market in exchange[:2]:
                with still:
                    market.trade_randomly(accounts, 1, seed)
        connection.close()

    def follow():
        projector = Projector(load_projections())
        try:
            while not stop.is_set():
                projector.round()
                stop.wait(0.005)
        finally:
            projector.close()

    threads = [threading.Thread(target=trade), threading.Thread(target=follow)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            with still_for_the_snapshot(still, monkeypatch):
                call_command("reconcile", "--wait", "10")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
