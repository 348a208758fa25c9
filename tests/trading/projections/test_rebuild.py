"""rebuild_projections: from zero, unseen, and equal to what a projector makes."""

import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.trading.projections.conftest import read_tables
from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.projections import DEFAULT_PROJECTIONS
from trading.projections.projection import load_projections
from trading.projections.runner import Projector

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def trade(seed=3, commands=80):
    accounts = [funded_account() for _ in range(4)]
    markets = [WrittenMarket(taker_fee_e4=70), WrittenMarket(("A", "B", "C"))]
    for market in markets:
        market.trade_randomly(accounts, commands, seed)
    return markets


def layout():
    """Everything that makes the tables what they are, by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relkind::text, coalesce(pg_get_expr(c.relpartbound, c.oid), ''), "
            "coalesce(pg_get_indexdef(i.indexrelid), '') FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'i', 'I') ORDER BY 1"
        )
        classes = cursor.fetchall()
        cursor.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
        )
        return classes, cursor.fetchall()


def test_a_rebuild_gives_the_same_rows_and_the_same_tables(project):
    trade()
    project()
    rows, tables = read_tables(), layout()
    call_command("rebuild_projections")
    assert read_tables() == rows
    assert layout() == tables


def test_a_rebuild_repairs_what_was_spoilt_and_the_check_names_it(project, capsys):
    trade()
    project()
    rows = read_tables()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE position SET quantity = quantity + 1 WHERE outcome = 0")
        cursor.execute('DELETE FROM "order" WHERE side = %s', ["sell"])
    with pytest.raises(CommandError, match="2 tables differ"):
        call_command("rebuild_projections", "--check")
    told = capsys.readouterr().err
    assert "position: " in told
    assert "order: 0 rows should not be so" in told
    call_command("rebuild_projections", "--only", "positions")
    assert read_tables()["position"] == rows["position"]
    call_command("rebuild_projections", "--only", "orders")
    call_command("rebuild_projections", "--check")
    assert read_tables() == rows


def test_the_projector_goes_on_after_a_rebuild(project):
    (market, _) = trade()
    project()
    call_command("rebuild_projections")
    market.trade_randomly([funded_account()], 40, seed=9)
    project()
    call_command("rebuild_projections", "--check")


def test_a_rebuild_while_trading_goes_on_and_a_projector_runs():
    (market, _) = trade(commands=150)
    stop = threading.Event()

    def follow():
        projector = Projector(load_projections())
        try:
            while not stop.is_set():
                if not projector.round():
                    stop.wait(0.01)
        finally:
            projector.close()

    rebuilder = threading.Thread(target=call_command, args=["rebuild_projections"])
    follower = threading.Thread(target=follow)
    follower.start()
    rebuilder.start()
    seed = 0
    while rebuilder.is_alive():
        seed += 1
        market.trade_randomly([funded_account()], 10, seed)
    rebuilder.join()
    call_command("rebuild_projections", "--check")
    stop.set()
    follower.join()


def test_a_rebuild_needs_no_projector_and_sends_no_settlement(hinted):
    market, _ = trade()
    market.resolve((10_000, 0))
    for account_id, holding in list(market.state.holdings.items()):
        quantities = [free + held for free, held in zip(holding.free, holding.held, strict=True)]
        about = {"market": market.market_id, "settlement": market.settlement_id}
        append_to_account(
            account_id,
            ("position_closed/1", {**about, "quantities": quantities, "payout": quantities[0] * 10_000}),
        )
    call_command("rebuild_projections")
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(quantity) FROM position WHERE market_id = %s", [market.market_id])
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT status FROM settlement")
        assert cursor.fetchall() == [("pending",)]
    assert hinted == []


def test_what_has_no_tables_of_its_own_is_left_alone(project, settings):
    settings.PROJECTIONS = [*DEFAULT_PROJECTIONS, "tests.trading.projections.test_rebuild.OnlyListening"]
    call_command("rebuild_projections")
    with pytest.raises(CommandError, match="no projection 'listening' to rebuild"):
        call_command("rebuild_projections", "--only", "listening")


class OnlyListening:
    name = "listening"
    tables = ()

    def apply(self, connection, events):
        raise AssertionError("a rebuild is none of its business")

    def forget(self):
        pass


def test_an_unknown_projection_is_refused():
    with pytest.raises(
        CommandError, match="there are orders, trades, positions, ledger, books, candles, markets"
    ):
        call_command("rebuild_projections", "--only", "weather")


def test_a_table_that_others_refer_to_is_not_exchanged(project):
    project()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE referrer (market_id uuid REFERENCES market)")
    try:
        with pytest.raises(CommandError, match="referrer has a foreign key to market"):
            call_command("rebuild_projections", "--only", "markets")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE referrer")


def test_a_projector_remembers_nothing_of_the_tables_that_were_exchanged(project):
    market, buyer, seller = WrittenMarket(), funded_account(), funded_account()

    def match():
        market.place(buyer, "buy", 0, 4000, 5)
        market.place(seller, "sell", 0, 4000, 5)

    match()
    project()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE position SET quantity = quantity + 100")
    projector = Projector(load_projections())
    try:
        match()
        while projector.round():
            pass
        # Nothing happens meanwhile, so that no checkpoint tells of it, and it is not yet time to look at those again.
        call_command("rebuild_projections", "--only", "positions")
        projector._refresh_at = float("inf")
        match()
        while projector.round():
            pass
    finally:
        projector.close()
    call_command("rebuild_projections", "--check")
