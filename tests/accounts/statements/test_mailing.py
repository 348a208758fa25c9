"""Statements by e-mail: to those who have switched them on, one a day however often a round is repeated."""

import datetime as dt
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from tests.accounts.statements.conftest import of, read, rows_of
from tests.trading.projections.written_log import WrittenMarket

pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.timedelta(days=1)
ADDRESS = "mia@mail.example"


def change_wish(account_id: str, is_on: bool) -> None:
    from accounts.notifications.preferences import change

    change(account_id, cells={"statement": {"email": is_on}})


@pytest.fixture
def mia(someone, clock, days, follow) -> str:
    """Somebody who has switched statements on and has placed an order yesterday."""
    clock(days[2])
    account_id = someone("mia", email=ADDRESS)
    WrittenMarket().place(account_id, "buy", 0, 6000, 10)
    follow()
    change_wish(account_id, True)
    return account_id


def quarter_past(days: tuple[dt.datetime, ...]) -> dt.datetime:
    return dt.datetime.combine(days[2].date() + DAY, dt.time(0, 15), dt.UTC)


def ask(now: dt.datetime) -> int:
    from accounts.statements.mailing import ask_for_statements

    return ask_for_statements(now)


def test_the_round_mails_yesterdays_statement_once_however_often_it_is_repeated(mia, days, run_jobs):
    at = quarter_past(days)
    assert [ask(at), ask(at)] == [1, 0]
    assert run_jobs() == [("accounts.send_statement", "done")]
    assert [ask(at), ask(at + dt.timedelta(hours=8))] == [0, 0]
    assert run_jobs() == []
    (message,) = mail.outbox
    assert (message.to, message.subject) == ([ADDRESS], f"Statement of {days[2].date()}")
    assert "Opening balance  $0.00" in message.body
    assert f"/api/v1/account/statement?date={days[2].date()}" in message.body
    (part,) = message.attachments
    assert part.get_filename() == f"statement-{days[2].date()}.csv"
    assert rows_of(part.get_payload(decode=True)) == read(mia, days[2].date())
    assert len(of(rows_of(part.get_payload(decode=True)), "entry")) == 2


def test_a_job_that_runs_again_after_the_mail_went_out_sends_no_second_one(mia, days, jobs):
    from accounts.statements.mailing import send_statement

    ask(quarter_past(days))
    ((_, payload),) = jobs()
    send_statement(payload)
    send_statement(payload)
    assert len(mail.outbox) == 1


def test_before_a_quarter_past_midnight_nobody_is_asked_for(mia, days):
    assert ask(quarter_past(days) - dt.timedelta(minutes=1)) == 0


def test_whoever_has_not_switched_them_on_or_has_no_confirmed_address_gets_none(
    mia, someone, days, run_jobs, follow
):
    from accounts.models import NotificationPreferences

    someone("max", email="max@mail.example")
    off, unconfirmed, nowhere = (
        someone("off", email="off@mail.example"),
        someone("ada", email="a@b.example"),
        someone("eve"),
    )
    for account_id in (off, unconfirmed, nowhere):
        change_wish(account_id, True)
    change_wish(off, False)
    NotificationPreferences.objects.filter(account_id=unconfirmed).update(confirmed_email="")
    assert ask(quarter_past(days)) == 1
    assert run_jobs() == [("accounts.send_statement", "postponed")], "the ledger is behind"
    follow()
    run_jobs(dt.timedelta(minutes=1))
    assert [message.to for message in mail.outbox] == [[ADDRESS]]


def test_pages_of_accounts_miss_nobody(someone, clock, days, monkeypatch):
    monkeypatch.setattr("accounts.statements.mailing.AT_ONCE", 2)
    clock(days[2])
    for number in range(5):
        change_wish(someone(f"user{number}", email=f"u{number}@mail.example"), True)
    assert ask(quarter_past(days)) == 5


def test_who_switches_them_off_meanwhile_or_changes_the_address_is_not_mailed_to_the_old_one(
    mia, days, run_jobs
):
    from accounts.models import User

    ask(quarter_past(days))
    User.objects.filter(account_id=mia).update(email="new@mail.example")
    assert run_jobs() == [("accounts.send_statement", "done")]
    assert mail.outbox == []


def test_one_that_does_not_add_up_is_a_dead_letter_and_no_mail(mia, days, run_jobs):
    ask(quarter_past(days))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE account_ledger SET cash_pips = cash_pips + 1 WHERE account_id = %s", [mia])
    assert run_jobs() == [("accounts.send_statement", "dead")]
    assert mail.outbox == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT error, job_key FROM dead_letter")
        ((error, key),) = cursor.fetchall()
    assert "does not add up" in error
    assert key == f"statement:{mia}:{days[2].date()}"


def test_what_is_proven_one_day_is_what_the_next_begins_with(mia, days, run_jobs, monkeypatch):
    from accounts.models import DailyStatement
    from accounts.statements import mailing
    from trading.selectors.statement import Anchor

    ask(quarter_past(days))
    run_jobs()
    midnight = dt.datetime.combine(days[2].date() + DAY, dt.time(), dt.UTC)
    assert mailing._anchor(mia, midnight.date()) == Anchor(midnight, 10**9 - 60_000)
    DailyStatement.objects.update(day=days[2].date() - dt.timedelta(days=500))
    assert mailing.forget_old_statements() == 1


def test_a_file_that_is_too_long_for_a_mail_is_a_link(mia, days, run_jobs, monkeypatch):
    monkeypatch.setattr("accounts.statements.mailing.LONGEST_ATTACHMENT", 100)
    ask(quarter_past(days))
    run_jobs()
    (message,) = mail.outbox
    assert message.attachments == []
    assert "too long for a mail" in message.body


def test_the_mails_link_ends_statements_and_nothing_else(mia, days, run_jobs):
    from accounts.notifications.preferences import grid_of
    from accounts.notifications.unsubscribe import read_token

    ask(quarter_past(days))
    run_jobs()
    link = mail.outbox[0].extra_headers["List-Unsubscribe"].strip("<>")
    subscription = read_token(link.rpartition("/")[2])
    assert subscription.text == "e-mails about “Daily statement”"
    from accounts.notifications.preferences import end_email

    end_email(subscription.account_id, subscription.kind)
    grid, _ = grid_of(mia)
    assert grid["statement"] == {"email": False}
    assert grid["market_resolved"]["email"]


def test_its_row_of_the_grid_has_no_channel_but_e_mail(make_caller):
    caller: Any = make_caller("mia")
    grid = caller.get("/notification-preferences").json()["kinds"]
    assert grid["statement"] == {"email": False}
    for channel in ("in_app", "webhook"):
        refused = caller.send("PATCH", "/notification-preferences", {"kinds": {"statement": {channel: True}}})
        assert refused.status_code == 400
    wanted = {"kinds": {"statement": {"email": True}}, "digest": "daily"}
    assert caller.send("PATCH", "/notification-preferences", wanted).json()["kinds"]["statement"] == {
        "email": True
    }


def test_of_two_workers_that_make_the_same_statement_one_mails_it(mia, days, jobs, monkeypatch):
    from accounts.statements import mailing

    ask(quarter_past(days))
    ((_, payload),) = jobs()
    made = mailing.make_statement

    def make_while_another_one_does(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr("accounts.statements.mailing.make_statement", made)
        mailing.send_statement(payload)
        return made(*args, **options)

    monkeypatch.setattr("accounts.statements.mailing.make_statement", make_while_another_one_does)
    mailing.send_statement(payload)
    assert len(mail.outbox) == 1
