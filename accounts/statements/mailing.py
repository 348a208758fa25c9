"""Statements by e-mail: of each day one to whoever has switched them on, and never two.

A row says that an account is to get a day's statement; it commits with its job, so a round that is repeated finds it.
As with other mails, `mailed_at` is noted just before the mail server gets it. What each statement has proven is where
the next one starts to add up.
"""

import datetime as dt
from email.encoders import encode_base64
from email.mime.base import MIMEBase
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import DailyStatement, User
from accounts.notifications import addresses, unsubscribe
from accounts.notifications.preferences import EMAIL, STATEMENT, read_wishes, wanting_statements
from accounts.statements.making import DoesNotAddUp, Statement, make_statement
from trading.as_of import wait_for_the_log
from trading.errors import ArchivedEvents, NotKept, Overloaded, ReadLag
from trading.jobs import GiveUp, NewJob, NotYet, hint, insert_jobs, new_job
from trading.outside.mail import hand_over
from trading.selectors.statement import NOTHING_YET, Anchor

SEND_STATEMENT = "accounts.send_statement"
DUE_AT = dt.time(0, 15)
AT_ONCE = 500
LONGEST_ATTACHMENT = 5_000_000
"""Bytes; of a longer file the mail has only the link, since mail servers refuse such mails."""

PROJECTIONS = ("ledger", "orders", "positions")
KEPT = dt.timedelta(days=400)


def ask_for_statements(now: dt.datetime) -> int:
    """Have yesterday's statements made for all who want them and are not down for one yet. Answers how many."""
    if now.time() < DUE_AT:
        return 0
    day, asked = now.date() - dt.timedelta(days=1), 0
    accounts = wanting_statements().order_by("account_id").values_list("account_id", flat=True)
    page = list(accounts[:AT_ONCE])
    while page:
        asked += _ask([str(account_id) for account_id in page], day)
        page = list(accounts.filter(account_id__gt=page[-1])[:AT_ONCE])
    return asked


@transaction.atomic
def _ask(account_ids: list[str], day: dt.date) -> int:
    with connection.cursor() as cursor:
        reached = {
            account_id
            for account_id, wishes in read_wishes(cursor, account_ids).items()
            if wishes.has_email and wishes.wants(STATEMENT, EMAIL)
        }
        cursor.execute(
            "INSERT INTO accounts_dailystatement (account_id, day) SELECT id, %s FROM unnest(%s::uuid[]) AS id "
            "ON CONFLICT DO NOTHING RETURNING account_id::text",
            [day, sorted(reached)],
        )
        jobs = [_job(account_id, day) for (account_id,) in cursor.fetchall()]
        insert_jobs(cursor, jobs)
    transaction.on_commit(lambda: hint(jobs))
    return len(jobs)


def _job(account_id: str, day: dt.date) -> NewJob:
    payload = {"account": account_id, "day": day.isoformat()}
    return new_job(SEND_STATEMENT, payload, key=f"statement:{account_id}:{day}")


def send_statement(payload: dict[str, Any]) -> None:
    """Make one statement and mail it. Raises GiveUp, with what is wrong, where it does not add up."""
    account_id, day = payload["account"], dt.date.fromisoformat(payload["day"])
    row = DailyStatement.objects.filter(account_id=account_id, day=day, mailed_at=None).first()
    user = User.objects.filter(account_id=account_id, is_active=True).first()
    if row is None or user is None or not addresses.is_confirmed(user):
        return  # It was mailed, or there is nobody to mail it to by now.
    try:
        wait_for_the_log(PROJECTIONS)
        statement = make_statement(account_id, day, now=timezone.now(), anchor=_anchor(account_id, day))
    except DoesNotAddUp as error:
        raise GiveUp(error.detail) from error
    except (ReadLag, Overloaded) as error:
        raise NotYet(error.detail, retry_in_s=30) from None
    except (NotKept, ArchivedEvents) as error:
        raise GiveUp(error.detail) from error
    with statement.file:
        message = _message(user.email, statement, unsubscribe.link(account_id, STATEMENT))
        _hand_over(message, row, statement)


def _hand_over(message: EmailMultiAlternatives, row: DailyStatement, statement: Statement) -> None:
    rows = DailyStatement.objects.filter(pk=row.pk)

    def claim() -> EmailMultiAlternatives | None:
        proven = {"mailed_at": timezone.now(), "closing_pips": statement.closing_pips}
        return message if rows.filter(mailed_at=None).update(**proven) else None

    def release() -> None:
        rows.update(mailed_at=None)

    hand_over(claim, release=release)


def forget_old_statements() -> int:
    """Delete rows of days that are long past. Answers how many."""
    old = DailyStatement.objects.filter(day__lt=timezone.now().date() - KEPT)
    return old.delete()[0]


def _anchor(account_id: str, day: dt.date) -> Anchor:
    """What the newest earlier statement has closed with."""
    row = (
        DailyStatement.objects.filter(account_id=account_id, day__lt=day, closing_pips__isnull=False)
        .order_by("-day")
        .first()
    )
    if row is None or row.closing_pips is None:
        return NOTHING_YET
    return Anchor(dt.datetime.combine(row.day + dt.timedelta(days=1), dt.time(), dt.UTC), row.closing_pips)


def _message(address: str, statement: Statement, link: str) -> EmailMultiAlternatives:
    content = statement.file.read(LONGEST_ATTACHMENT + 1)
    is_attached = len(content) <= LONGEST_ATTACHMENT
    context = {"statement": statement, "is_attached": is_attached, "site": settings.SITE_URL, "link": link}
    message = EmailMultiAlternatives(
        f"Statement of {statement.day}",
        render_to_string("accounts/statement.txt", context),
        to=[address],
        headers={"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )
    if is_attached:
        # Base64, so that no mail server changes line ends or encodings.
        part = MIMEBase("text", "csv", charset="utf-8")
        part.set_payload(content)
        encode_base64(part)
        part.add_header("Content-Disposition", "attachment", filename=statement.name)
        message.attach(part)
    return message
