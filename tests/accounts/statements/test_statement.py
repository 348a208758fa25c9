"""A statement adds up by others' sums, says what was traded and held, and is refused where it contradicts itself."""

import csv
import datetime as dt
import io
import tracemalloc

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from tests.accounts.callers import code_of
from tests.accounts.statements.conftest import of, pay_in, pips, read, rows_of
from tests.trading.projections.written_log import WrittenMarket, append_to_account
from trading.cash import deposit
from trading.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)


def sql(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall() if cursor.description else None


@pytest.fixture
def traded(someone, clock, days, follow):
    """Three days of three people in two markets, the second of which is paid out on the third day."""
    clock(days[0])
    accounts = [someone(name) for name in ("mia", "max", "ada")]
    markets = [WrittenMarket(taker_fee_e4=700), WrittenMarket(("A", "B", "C"), taker_fee_e4=70)]
    for number, noon in enumerate(days):
        clock(noon)
        for market in markets:
            market.trade_randomly(accounts, 60, seed=number)
        pay_in(accounts[0], 123_456)
        pay_in(accounts[1], -45_678)
    markets[1].resolve((0, 10_000, 0))
    follow()
    return accounts, markets


def test_opening_and_entries_are_the_closing_balance_and_days_follow_each_other(traded, days):
    accounts, _ = traded
    for account_id in accounts:
        carried = 0
        for noon in days:
            rows = read(account_id, noon.date())
            (opening,), (closing,) = of(rows, "opening"), of(rows, "closing")
            assert pips(opening["balance"]) == carried
            for entry in of(rows, "entry"):
                carried += pips(entry["amount"])
                assert pips(entry["balance"]) == carried
            assert pips(closing["balance"]) == carried
        ((cash,),) = sql("SELECT cash_pips FROM cash_account WHERE account_id = %s", account_id)
        assert carried == cash


def test_entries_and_trades_are_those_of_the_log(traded, days):
    accounts, markets = traded
    with connection.cursor() as cursor:
        from trading.eventlog.read import read_stream

        legs = [
            (leg, market)
            for market in markets
            for event in read_stream(cursor, stream_id=market.market_id)
            if event.type == "order_matched/1"
            for leg in event.data["legs"]
        ]
    for account_id in accounts:
        own = [(leg, market) for leg, market in legs if leg["account"] == account_id]
        rows = [row for noon in days for row in read(account_id, noon.date())]
        told = [
            (
                row["market_id"],
                row["outcome"],
                row["side"],
                int(row["quantity"]),
                pips(row["price"]),
                pips(row["fee"]),
            )
            for row in of(rows, "fill")
        ]
        assert sorted(told) == sorted(
            (
                market.market_id, market.outcomes[leg["outcome"]], leg["side"], leg["quantity"], leg["price"],
                leg.get("fee", 0),
            )
            for leg, market in own
        )  # fmt: skip
        assert sum(pips(row["fee"]) for row in of(rows, "fees")) == sum(leg.get("fee", 0) for leg, _ in own)
        trades = [row for row in of(rows, "entry") if row["kind"] == "trade"]
        assert sorted((row["order_id"], pips(row["amount"]), int(row["quantity"]), pips(row["price"]),
                       pips(row["fee"]), row["side"]) for row in trades) == sorted(
            (leg["order"], leg["cash"], leg["quantity"], leg["price"], leg.get("fee", 0), leg["side"])
            for leg, _ in own if leg["cash"]
        )  # fmt: skip
        assert {row["question"] for row in trades} == {"Will it?"}


def test_what_was_held_at_each_days_end_is_what_a_replay_of_the_whole_log_says(traded, days):
    from trading.snapshots.past import state_at

    accounts, markets = traded
    for noon in days[:2]:
        end = dt.datetime.combine(noon.date() + DAY, dt.time(), dt.UTC)
        for account_id in accounts:
            held = {}
            for market in markets:
                with connection.cursor() as cursor:
                    holding = state_at(
                        cursor, market.market_id, int(end.timestamp()) * 1_000_000
                    ).market.holdings.get(account_id)
                if holding is not None:
                    for outcome, shares in enumerate(zip(holding.free, holding.held, strict=True)):
                        held[market.market_id, market.outcomes[outcome]] = sum(shares)
            rows = read(account_id, noon.date())
            told = {(row["market_id"], row["outcome"]): int(row["quantity"]) for row in of(rows, "position")}
            assert told == {key: shares for key, shares in held.items() if shares}
            (worth,) = of(rows, "positions")
            assert pips(worth["value"]) == sum(pips(row["value"]) for row in of(rows, "position"))
    assert any(of(read(account_id, noon.date()), "position") for account_id in accounts for noon in days)


def test_a_share_is_worth_the_bid_that_the_day_left_it_with_whatever_came_later(someone, clock, days, follow):
    clock(days[0])
    mia, max_ = someone("mia"), someone("max")
    market = WrittenMarket()
    market.place(max_, "sell", 0, 6000, 10)
    market.place(mia, "buy", 0, 6000, 10)
    market.place(max_, "buy", 0, 5500, 5)
    clock(days[1])
    market.place(max_, "buy", 0, 5900, 5)
    market.place(mia, "sell", 0, 5900, 4)
    follow()
    (held,) = of(read(mia, days[0].date()), "position")
    assert (held["outcome"], held["quantity"], held["price"], held["value"]) == (
        "Yes",
        "10",
        "0.5500",
        "5.5000",
    )
    (held,) = of(read(max_, days[0].date()), "position")
    assert (held["outcome"], held["quantity"], held["price"]) == ("No", "10", "0.4000")
    (held,) = of(read(mia, days[1].date()), "position")
    assert (held["quantity"], held["price"]) == ("6", "0.5900")


def test_a_fill_that_moves_no_cash_is_a_trade_all_the_same(someone, clock, days, follow):
    clock(days[0])
    mia, max_ = someone("mia"), someone("max")
    market = WrittenMarket()
    market.place(mia, "buy", 0, 6000, 10)
    market.place(max_, "sell", 0, 6000, 10)
    follow()
    rows = read(mia, days[0].date())
    assert [row["kind"] for row in of(rows, "entry")] == ["deposit", "order_reserved"]
    (fill,) = of(rows, "fill")
    assert (fill["kind"], fill["side"], fill["quantity"], fill["price"], fill["value"]) == (
        "maker", "buy", "10", "0.6000", "6.0000",
    )  # fmt: skip


def test_pay_outs_refunds_take_backs_and_reversals_stand_in_it(someone, clock, days, follow):
    clock(days[0])
    mia = someone("mia")
    market, settlement = WrittenMarket().market_id, new_id()
    clock(days[1])
    about = {"market": market, "settlement": settlement}
    append_to_account(
        mia,
        ("payout_issued/1", about | {"amount": 500, "kind": "win", "repaid": 0}),
        ("payout_issued/1", about | {"amount": 400, "kind": "refund", "repaid": 0}),
        ("payout_reversed/2", about | {"amount": 300, "kind": "take_back", "owed": 0}),
        ("payout_reversed/2", about | {"amount": 200, "kind": "win", "owed": 0}),
        ("payout_issued/1", about | {"amount": 100, "kind": "returned", "repaid": 0}),
    )
    sql("UPDATE cash_account SET cash_pips = cash_pips + 500 WHERE account_id = %s", mia)
    follow_only_ledger()
    told = [(row["kind"], row["amount"], row["question"]) for row in of(read(mia, days[1].date()), "entry")]
    assert told == [
        ("payout", "+0.0500", "Will it?"), ("refund", "+0.0400", "Will it?"), ("take_back", "-0.0300", "Will it?"),
        ("reversal", "-0.0200", "Will it?"), ("reversal", "+0.0100", "Will it?"),
    ]  # fmt: skip


def follow_only_ledger():
    from trading.projections.projection import load_projections
    from trading.projections.runner import Projector

    wanted = ("ledger", "markets")
    projector = Projector([each for each in load_projections() if each.name in wanted])
    try:
        while projector.round():
            pass
    finally:
        projector.close()


# What is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger_entry SET amount_pips = amount_pips + 1 WHERE ctid IN (SELECT ctid FROM ledger_entry WHERE "
        "account_id = %s AND at < %s ORDER BY at LIMIT 1)",
        "DELETE FROM ledger_entry WHERE (account_id, at, slot, slot_offset, leg) IN (SELECT account_id, at, slot, "
        "slot_offset, leg FROM ledger_entry WHERE account_id = %s AND at >= %s ORDER BY at LIMIT 1)",
        "UPDATE account_ledger SET cash_pips = cash_pips - 1 WHERE account_id = %s AND updated_at > %s",
    ],
)
def test_a_statement_that_would_not_add_up_is_refused(traded, days, damage, caplog):
    from accounts.statements.making import DoesNotAddUp

    (mia, *_), _ = traded
    read(mia, days[1].date())
    sql(damage, mia, dt.datetime.combine(days[1].date(), dt.time(), dt.UTC))
    with pytest.raises(DoesNotAddUp, match="does not add up"):
        read(mia, days[1].date())
    assert f"of account {mia} does not add up" in caplog.text


def test_what_an_earlier_statement_has_proven_is_where_the_next_one_begins(traded, days):
    from accounts.statements.making import DoesNotAddUp
    from trading.selectors.statement import Anchor

    (mia, *_), _ = traded
    (closing,) = of(read(mia, days[0].date()), "closing")
    midnight = dt.datetime.combine(days[1].date(), dt.time(), dt.UTC)
    proven = Anchor(midnight, pips(closing["balance"]))
    assert read(mia, days[2].date(), anchor=proven) == read(mia, days[2].date())
    with pytest.raises(DoesNotAddUp):
        read(mia, days[2].date(), anchor=proven._replace(balance_pips=proven.balance_pips + 1))


def test_of_a_day_that_goes_on_it_tells_what_was_until_now(someone, follow):
    mia = someone("mia")
    follow()
    now = dt.datetime.now(dt.UTC)
    rows = read(mia, now.date(), now=now)
    assert [row["kind"] for row in of(rows, "entry")] == ["deposit"]
    assert of(rows, "closing")[0]["at"] == now.isoformat().replace("+00:00", "Z")


# Hostile texts ---------------------------------------------------------------------------------------


@given(text=st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_no_text_of_a_user_is_a_formula_and_none_is_lost(text):
    from accounts.statements.cells import user_text

    cell = user_text(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell in (text, f"'{text}")
    file = io.StringIO(newline="")
    csv.writer(file).writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [cell, "next"]


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", 'a "quoted", name', "Zürich ✓"]
)
def test_an_outcomes_name_comes_through_as_a_text(someone, clock, days, follow, name):
    clock(days[0])
    mia = someone("mia")
    market = WrittenMarket((name, "No"))
    market.place(mia, "buy", 0, 6000, 10)
    follow()
    (reserved,) = [row for row in of(read(mia, days[0].date()), "entry") if row["kind"] == "order_reserved"]
    assert reserved["outcome"] == (f"'{name}" if name[0] in "=+-@" else name)


# A big account ---------------------------------------------------------------------------------------


def test_a_hundred_thousand_entries_do_not_sit_in_memory(someone, days, follow):
    from accounts.statements.making import make_statement

    mia = someone("mia")
    market = WrittenMarket()
    follow()
    noon = days[1]
    sql(
        "INSERT INTO ledger_entry (account_id, at, slot, leg, slot_offset, amount_pips, market_id, order_id, kind) "
        "SELECT %s, %s, 3, 0, n, CASE n %% 2 WHEN 0 THEN 7 ELSE -7 END, %s, gen_random_uuid(), "
        "CASE n %% 2 WHEN 0 THEN 'order_released' ELSE 'order_reserved' END FROM generate_series(1, 100000) AS n",
        mia, noon, market.market_id,
    )  # fmt: skip
    read(mia, days[0].date())
    tracemalloc.start()
    try:
        statement = make_statement(mia, noon.date(), now=dt.datetime.now(dt.UTC))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with statement.file as file:
        size = file.seek(0, 2)
    assert statement.entries == 100_000
    assert size > 15_000_000
    assert peak < 8_000_000


# The endpoint ----------------------------------------------------------------------------------------


def test_the_endpoint_gives_the_callers_own_as_a_file(make_caller, follow):
    mia, max_ = make_caller("mia"), make_caller("max")
    deposit(account_id=str(mia.user.account_id), amount_pips=50_000, client_id=None, actor="tests")
    follow()
    today = dt.datetime.now(dt.UTC).date()
    answer = mia.get(f"/account/statement?date={today}", accept="text/csv")
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/csv")
    assert answer["Content-Disposition"] == f'attachment; filename="statement-{today}.csv"'
    content = b"".join(answer.streaming_content)
    assert content.startswith(b"\xef\xbb\xbfrecord,at,kind,amount,balance,")
    assert content.count(b"\n") == content.count(b"\r\n")
    assert of(rows_of(content), "closing")[0]["balance"] == "5.0000"
    other = max_.get(f"/account/statement?date={today}")
    assert of(rows_of(b"".join(other.streaming_content)), "entry") == []


def test_no_parameter_leads_to_another_ones_statement(make_caller):
    mia, max_ = make_caller("mia"), make_caller("max")
    day = "2026-01-01"
    for more in (f"account_id={max_.user.account_id}", f"account={max_.user.account_id}", "user=max"):
        assert code_of(mia.get(f"/account/statement?date={day}&{more}")) == (400, "invalid_request")
    assert mia.get(f"/account/{max_.user.account_id}/statement?date={day}").status_code == 404


def test_only_a_key_that_may_read_gets_one(make_caller, nobody):
    assert code_of(nobody.get("/account/statement?date=2026-01-01"))[0] == 401
    assert code_of(make_caller("mia", scopes=("trade",)).get("/account/statement?date=2026-01-01"))[0] == 403


@pytest.mark.parametrize(
    "date",
    [
        "", "x", "2026-13-01", "2026-02-30", "20260101", "2026-1-1", "2026-W01-1", "2026-01-01T00:00:00Z", "9999-12-31",
        "0001-01-01", "1969-12-31", "٢٠٢٦-٠١-٠١", " 2026-01-01", "2026-01-01%0A", "-2026-01-01",  # noqa: RUF001
    ],
)  # fmt: skip
def test_what_is_no_day_of_the_past_is_refused(make_caller, date):
    assert code_of(make_caller("mia").get(f"/account/statement?date={date}")) == (400, "invalid_request")


def test_tomorrow_and_no_date_at_all_are_refused(make_caller):
    mia, tomorrow = make_caller("mia"), dt.datetime.now(dt.UTC).date() + DAY
    assert code_of(mia.get(f"/account/statement?date={tomorrow}"))[0] == 400
    assert code_of(mia.get("/account/statement"))[0] == 400
    assert mia.get("/account/statement?date=1970-01-01").status_code == 200


def test_a_statement_that_does_not_add_up_is_a_500_without_a_row_of_it(make_caller, follow, days):
    mia = make_caller("mia")
    deposit(account_id=str(mia.user.account_id), amount_pips=50_000, client_id=None, actor="tests")
    follow()
    sql("UPDATE account_ledger SET cash_pips = 1 WHERE account_id = %s", mia.user.account_id)
    answer = mia.get(f"/account/statement?date={days[0].date()}", accept="text/csv")
    assert code_of(answer) == (500, "internal_error")


# Markets that have ended -------------------------------------------------------------------------------


@pytest.fixture
def paid_out(someone, clock, days, follow, monkeypatch):
    """mia held 10 Yes yesterday and was paid for them today; when that was done."""
    from trading.settlement import settle

    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)
    clock(days[2])
    mia, max_ = someone("mia"), someone("max")
    market = WrittenMarket()
    market.place(max_, "sell", 0, 6000, 10)
    market.place(mia, "buy", 0, 6000, 10)
    clock(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
    market.resolve((10_000, 0))
    follow()
    assert settle(market.settlement_id) == "done"
    follow()
    return mia, market, dt.datetime.now(dt.UTC)


def test_shares_that_were_paid_for_since_are_held_until_then_at_the_price_of_that_day(paid_out, days):
    mia, _, now = paid_out
    (held,) = of(read(mia, days[2].date(), now=now), "position")
    assert (held["outcome"], held["quantity"], held["price"]) == ("Yes", "10", "0.6000")
    today = read(mia, now.date(), now=now)
    assert of(today, "position") == []
    assert [(row["kind"], row["amount"]) for row in of(today, "entry")] == [("payout", "+10.0000")]


def test_a_position_that_was_closed_stays_so_whatever_the_market_brings_afterwards(paid_out, clock, follow):
    mia, market, then = paid_out
    clock(then + dt.timedelta(seconds=1))
    about = {"market": market.market_id, "settlement": new_id()}
    append_to_account(mia, ("payout_issued/1", about | {"amount": 5, "kind": "returned", "repaid": 0}))
    follow()
    rows = read(mia, then.date(), now=then)
    assert of(rows, "position") == []
    assert [row["kind"] for row in of(rows, "entry")] == ["payout"]
