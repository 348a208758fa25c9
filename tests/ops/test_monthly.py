"""Monthly totals are what an independent sum over the log comes to, agree with reconcile's, and outlive the log."""

import csv
import datetime as dt
import io
import random
import uuid
from collections import Counter, defaultdict

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from tests.trading.projections import written_log
from tests.trading.projections.emptied import empty_exchange
from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.errors import ArchivedEvents
from trading.eventlog.codec import to_us
from trading.eventlog.partitions import make_partitions
from trading.eventlog.read import read_slot, slot_heads
from trading.ids import new_id
from trading.reconcile.ledger import Ledger

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/ops/monthlytotal/"
NOW = dt.datetime.now(dt.UTC)
THIS = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
LAST = (THIS - dt.timedelta(days=1)).replace(day=1)


@pytest.fixture(autouse=True)
def _empty(transactional_db, monkeypatch):
    from ops.models import MonthlyTotal

    empty_exchange()
    written_log.RESERVES.clear()
    MonthlyTotal.objects.all().delete()
    monkeypatch.setattr("trading.projections.markets.hint", lambda jobs: None)
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)
    with transaction.atomic(), connection.cursor() as cursor:
        make_partitions(cursor, months_ahead=0, today=LAST)
    yield
    empty_exchange()
    MonthlyTotal.objects.all().delete()


def project():
    from trading.projections.projection import load_projections
    from trading.projections.runner import Projector

    projector = Projector([each for each in load_projections() if each.name != "notifications"])
    try:
        while projector.round():
            pass
    finally:
        projector.close()


@pytest.fixture
def clock(monkeypatch):
    """Events and ids of the time that a test says, a millisecond apart."""
    now, chance = [0], random.Random(1)

    def tick():
        now[0] += 1_000
        return now[0]

    def identify():
        bits = chance.getrandbits(76) & ~(0b11 << 62) | 0b10 << 62
        return str(uuid.UUID(int=(tick() // 1000) << 80 | 0x7 << 76 | bits))

    def set_to(moment):
        now[0] = to_us(moment)
        monkeypatch.setattr(written_log, "START_US", to_us(moment))

    monkeypatch.setattr(written_log, "now_us", tick)
    monkeypatch.setattr(written_log, "new_id", identify)
    return set_to


@pytest.fixture
def two_months(clock):
    """People who trade at the end of last month and in this one; a market is paid out, another one voided."""
    clock(THIS - dt.timedelta(minutes=10))
    accounts = [funded_account(10**9) for _ in range(4)]
    markets = [WrittenMarket(taker_fee_e4=700), WrittenMarket(("A", "B", "C"), taker_fee_e4=70)]
    for seed, market in enumerate(markets):
        market.trade_randomly(accounts[:3], 60, seed=seed)
    markets[0].place(accounts[0], "buy", 0, 5_050, 1)  # off its tick, so it is refused and no order
    markets[0].resolve((10_000, 0))
    clock(THIS)
    markets.append(WrittenMarket())
    for seed, market in enumerate(markets[1:]):
        market.trade_randomly(accounts, 80, seed=seed + 7)
    markets[2].void()
    about = {"market": markets[0].market_id, "settlement": new_id()}
    append_to_account(accounts[0], ("payout_issued/1", about | {"amount": 900, "kind": "win", "repaid": 0}),
                      ("payout_issued/1", about | {"amount": 80, "kind": "refund", "repaid": 0}),
                      ("payout_reversed/2", about | {"amount": 700, "kind": "win", "owed": 300}),
                      ("payout_reversed/2", about | {"amount": 60, "kind": "take_back", "owed": 0}),
                      ("payout_issued/1", about | {"amount": 50, "kind": "returned", "repaid": 40}),
                      ("funds_deposited/1", {"amount": 500, "client_id": None, "repaid": 10}),
                      ("debt_repaid/1", {"amount": 5}),
                      ("funds_withdrawn/1", {"amount": 44, "client_id": None}))  # fmt: skip
    project()
    return accounts, markets


def log():
    with connection.cursor() as cursor:
        for slot, head in slot_heads(cursor).items():
            yield from read_slot(cursor, slot=slot, from_offset=0, limit=head)


def independent_sums():
    """Figures by month, plainly from the log."""
    found, traders, volumes = defaultdict(Counter), defaultdict(set), defaultdict(Counter)
    for event in log():
        month = dt.datetime.fromtimestamp(event.recorded_us / 1e6, dt.UTC).strftime("%Y-%m")
        sums, data = found[month], event.data
        match event.type, data.get("kind"):
            case "order_matched/1", _:
                for leg in data["legs"]:
                    traders[month].add(leg["account"])
                    sums["fees"] += leg.get("fee", 0)
                if len(data["legs"]) == 2:
                    parts = [data["price"] * data["quantity"]]
                else:
                    parts = [leg["price"] * leg["quantity"] for leg in data["legs"]]
                sums["trades"] += len(parts)
                sums["volume"] += sum(parts)
                volumes[month][event.stream_id] += sum(parts)
            case "order_placed/1", _:
                sums["orders"] += 1
            case "market_created/1", _:
                sums["markets_created"] += 1
            case "market_resolved/1", _:
                sums["markets_resolved"] += 1
            case "market_voided/1", _:
                sums["markets_voided"] += 1
            case "funds_deposited/1", _:
                sums["deposits"] += data["amount"]
            case "funds_withdrawn/1", _:
                sums["withdrawals"] += data["amount"]
            case "payout_issued/1", how:
                sums[{"win": "payouts", "refund": "refunds", "returned": "returned"}[how]] += data["amount"]
            case "payout_reversed/2", how:
                sums["taken_back" if how == "take_back" else "reversed"] += data["amount"]
    for month, sums in found.items():
        sums["active_traders"] = len(traders[month])
    return found, volumes


def totals():
    from ops.monthly import all_totals

    return all_totals(dt.datetime.now(dt.UTC))


def test_every_figure_of_every_month_is_what_the_log_says(two_months):
    expected, volumes = independent_sums()
    rows = totals()
    assert [row.month.name for row in rows] == sorted(expected)
    assert len(rows) == 2
    for row in rows:
        told = {name: value for name, value in row.figures.items() if name not in ("debts", "new_users")}
        assert told == {name: expected[row.month.name][name] for name in told}
        assert told["trades"] > 5
        assert (row.largest_market_id, row.largest_volume_pips) == volumes[row.month.name].most_common(1)[0]
        assert row.largest_question == "Will it?"
    assert [row.is_final for row in rows] == [True, False]


def test_all_months_together_are_what_reconcile_adds_up(two_months):
    ledger = Ledger()
    for event in log():
        ledger.take(event)
    assert ledger.unknown == []
    summed = Counter()
    for row in totals():
        summed.update(row.figures)
    assert summed["deposits"] == ledger.deposited
    assert summed["withdrawals"] == ledger.withdrawn
    assert summed["payouts"] + summed["refunds"] + summed["returned"] == ledger.issued
    assert summed["taken_back"] + summed["reversed"] == ledger.reversed
    assert summed["fees"] == ledger.fees > 0
    assert totals()[-1].figures["debts"] == sum(ledger.debt.values()) == 300 - 40 - 10 - 5


def test_pages_of_a_few_events_and_markets_come_to_the_same(two_months, monkeypatch):
    before = totals()
    monkeypatch.setattr("ops.monthly.PAGE_EVENTS", 1)
    monkeypatch.setattr("ops.monthly.MARKETS_AT_ONCE", 1)
    assert totals() == before


def test_new_users_count_in_the_month_in_which_they_came(two_months, django_user_model):
    django_user_model.objects.all().delete()
    for name, joined in (("a", LAST), ("b", THIS - dt.timedelta(microseconds=1)), ("c", THIS)):
        user = django_user_model.objects.create_user(f"user-{name}", "", None)
        django_user_model.objects.filter(pk=user.pk).update(date_joined=joined)
    assert [row.figures["new_users"] for row in totals()] == [2, 1]


def test_a_month_that_is_over_is_kept_once_and_outlives_its_events(two_months, monkeypatch):
    from ops.models import MonthlyTotal
    from ops.monthly import keep_months

    before = totals()
    assert keep_months(THIS + dt.timedelta(minutes=59)) == 0
    now = max(dt.datetime.now(dt.UTC), THIS + dt.timedelta(hours=2))
    assert [keep_months(now), keep_months(now)] == [1, 0]
    assert MonthlyTotal.objects.get().month == LAST.date()
    monkeypatch.setattr("ops.monthly._archive_of", lambda month: "gone.gz" if month.begin == LAST else None)
    assert totals() == before
    MonthlyTotal.objects.all().delete()
    with pytest.raises(ArchivedEvents, match=r"gone\.gz"):
        totals()


def test_nothing_is_kept_while_the_read_models_are_behind(two_months):
    from ops.monthly import keep_months

    append_to_account(two_months[0][0], ("funds_withdrawn/1", {"amount": 1, "client_id": None}))
    assert keep_months(dt.datetime.now(dt.UTC)) == 0


def test_an_exchange_without_events_has_a_month_of_nothing():
    (row,) = totals()
    assert not any(value for name, value in row.figures.items() if name != "new_users")
    assert (row.largest_market_id, row.largest_question, row.largest_volume_pips) == (None, "", 0)


# What operators see ----------------------------------------------------------------------------------


def test_the_command_prints_a_table_or_csv_of_all_months_or_one(two_months, capsys):
    call_command("monthly_totals")
    said = capsys.readouterr().out
    assert f"{LAST:%Y-%m}\n" in said
    assert f"{THIS:%Y-%m} until now" in said
    call_command("monthly_totals", "--month", f"{LAST:%Y-%m}", "--csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    (expected, _) = totals()
    assert row["month"] == f"{LAST:%Y-%m}"
    assert row["orders"] == str(expected.figures["orders"])
    assert row["volume"].replace(".", "") == str(expected.figures["volume"])
    for wrong in ("2026-13", "x", "2026-1", "2026-01-01"):
        with pytest.raises(CommandError, match="not a month"):
            call_command("monthly_totals", "--month", wrong)
    with pytest.raises(CommandError, match="nothing happened"):
        call_command("monthly_totals", "--month", "1999-01")


def operator(**more):
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user(f"p{new_id()[-12:]}", "", "correct-horse-battery", **more))
    return client


def test_the_page_and_its_csv_are_for_staff_with_the_right_alone(two_months):
    for client, status in ((Client(), 302), (operator(), 302), (operator(is_staff=True), 403)):
        assert [client.get(path).status_code for path in (PAGE, f"{PAGE}csv/")] == [status, status]
    client = operator(is_staff=True, is_superuser=True)
    text = client.get(PAGE).content.decode()
    assert f"{THIS:%Y-%m} until now" in text
    assert "Debts at the month" in text
    answer = client.get(f"{PAGE}csv/")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["month"] for row in rows] == [f"{LAST:%Y-%m}", f"{THIS:%Y-%m}"]
    assert client.get(f"{PAGE}add/").status_code == 403
    assert client.post(PAGE, {}).status_code in (200, 403, 405)


def test_a_question_that_is_a_formula_is_a_text_in_the_csv():
    from ops.monthly import Totals, month_of, write_csv

    (row,) = totals()
    file = io.StringIO(newline="")
    write_csv(file, [Totals(month_of(NOW), False, row.figures, new_id(), "=1+1", 5)])
    (told,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert told["largest_market"] == "'=1+1"
