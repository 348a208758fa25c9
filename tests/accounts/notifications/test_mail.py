"""E-mail over the wire: once, when the server is well; single or as a digest; with a link that ends it."""

import datetime as dt
import email.header
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client

from tests.accounts.smtp_server import MailServer, mail_server
from tests.trading.projections.written_log import WrittenMarket
from trading.jobs import NotYet

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def use(settings: Any, port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, 5


@pytest.fixture
def smtp(settings: Any) -> Iterator[MailServer]:
    with mail_server() as running:
        use(settings, running.port)
        yield running


@pytest.fixture
def sold(someone, follow) -> Any:
    """`sold(1)`: mia, who has fills mailed, sells something so many times."""
    from accounts.notifications.preferences import change

    mia, max_ = someone("mia", email="mia@mail.example"), someone("max")
    change(mia, cells={"order_filled": {"email": True}})
    market = WrittenMarket()

    def sell(times: int = 1) -> str:
        for _ in range(times):
            market.place(max_, "buy", 0, 6000, 2)
            market.place(mia, "sell", 0, 6000, 2)
        follow()
        return mia

    return sell


def subject(mail: Any) -> str:
    return str(email.header.make_header(email.header.decode_header(mail["Subject"])))


def text_of(mail: Any) -> str:
    part = mail.get_payload()[0] if mail.is_multipart() else mail
    return part.get_payload(decode=True).decode()


def link_of(mail: Any) -> str:
    """The path that ends these e-mails."""
    return "".join(mail["List-Unsubscribe"].split()).strip("<>").removeprefix("http://localhost:8000")


def test_a_notification_is_mailed_once_to_its_owner(sold, run_jobs, smtp, read_again, follow):
    sold()
    assert run_jobs() == [("accounts.send_email", "done")]
    (mail,) = smtp.mails
    assert (mail["To"], subject(mail)) == ("mia@mail.example", "Sold 2 Yes at $0.6000")
    assert "Will it?" in text_of(mail)
    assert "http://localhost:8000/markets/" in text_of(mail)
    read_again()
    assert run_jobs() == []
    assert len(smtp.mails) == 1


def test_a_mail_whose_worker_died_after_handing_it_over_is_not_sent_again(sold, run_jobs, smtp, jobs):
    from accounts.notifications.mail import send_email

    sold()
    ((_, payload),) = jobs()
    send_email(payload)  # The worker dies here, so the row stays, and the lease brings the job back.
    assert run_jobs() == [("accounts.send_email", "done")]
    assert len(smtp.mails) == 1


def test_a_server_that_hangs_up_after_the_mail_may_have_it_so_it_is_not_sent_again(sold, run_jobs, smtp):
    smtp.hang_up = True
    sold()
    assert run_jobs() == [("accounts.send_email", "done")]
    smtp.hang_up = False
    assert run_jobs(HOUR) == []
    assert len(smtp.mails) == 1


def test_a_dead_server_opens_the_breaker_and_mails_wait_and_go_once_when_it_is_back(
    sold, run_jobs, settings, monkeypatch
):
    from trading.jobs.run import MOST_RUNS
    from trading.outside.breaker import BreakerOpen
    from trading.outside.mail import MAIL

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    use(settings, port)
    sold(3)
    later = dt.timedelta()
    # Many more failures than a job has tries: none of them is one.
    for _ in range(MOST_RUNS + 2):
        assert {outcome for _, outcome in run_jobs(later)} == {"postponed"}
        later += dt.timedelta(minutes=2)
    with pytest.raises(BreakerOpen):
        MAIL.ask()
    with mail_server(port) as back:
        assert {outcome for _, outcome in run_jobs(later)} == {"postponed"}
        assert back.connections == 0  # It is left alone.
        with redis.Redis.from_url(django_settings.VALKEY_URL) as valkey:
            valkey.hset("breaker:mail", "until_ms", 1)  # The rest is over.
        assert [outcome for _, outcome in run_jobs(later + HOUR)] == ["done"] * 3
        assert run_jobs(later + DAY) == []
        assert [subject(mail) for mail in back.mails] == ["Sold 2 Yes at $0.6000"] * 3


def test_a_refusal_for_now_is_tried_again_and_one_for_good_is_not(sold, run_jobs, smtp, caplog):
    smtp.replies["RCPT"] = "451 later"
    sold()
    assert run_jobs() == [("accounts.send_email", "postponed")]
    assert run_jobs(dt.timedelta(minutes=4)) == [], "it is left alone for a while"
    smtp.replies["RCPT"] = "550 nobody here"
    assert run_jobs(HOUR) == [("accounts.send_email", "done")]
    assert "refuses a mail" in caplog.text
    assert smtp.mails == []


def test_a_digest_gathers_everything_since_the_last_one(sold, run_jobs, smtp, jobs):
    from accounts.notifications.preferences import change

    mia = sold(0)
    change(mia, digest="hourly")
    sold(3)
    assert [name for name, _ in jobs()] == ["accounts.send_digest"]
    assert run_jobs() == []
    assert run_jobs(HOUR) == [("accounts.send_digest", "done")]
    (mail,) = smtp.mails
    assert subject(mail) == "3 notifications"
    assert text_of(mail).count("Sold 2 Yes at $0.6000") == 3
    sold(1)
    run_jobs(2 * HOUR)
    assert [subject(each) for each in smtp.mails] == ["3 notifications", "Sold 2 Yes at $0.6000"]


def test_what_waits_is_not_mailed_once_its_kind_is_switched_off(sold, run_jobs, smtp):
    from accounts.notifications.preferences import change, end_email

    account_id = sold()
    change(account_id, cells={"order_filled": {"email": False}})
    assert run_jobs() == [("accounts.send_email", "done")]
    change(account_id, cells={"order_filled": {"email": True}}, digest="hourly")
    sold(2)
    end_email(account_id, None)
    assert run_jobs(2 * HOUR) == [("accounts.send_digest", "done")]
    assert smtp.mails == []


def test_a_digest_beside_a_single_mail_tells_nothing_twice_and_frees_nothing_of_the_others(
    sold, run_jobs, smtp, monkeypatch
):
    from accounts.models import Notification
    from accounts.notifications import mail
    from accounts.notifications.preferences import change

    account_id = sold()
    change(account_id, digest="hourly")
    sold(2)
    real, single = mail.hand_over, Notification.objects.filter(account_id=account_id).order_by("id")[0]

    def after_the_other(claim, *, release):
        monkeypatch.setattr(mail, "hand_over", real)
        mail.send_email({"notification": str(single.id)})
        smtp.replies["RCPT"] = "451 later"
        real(claim, release=release)

    monkeypatch.setattr(mail, "hand_over", after_the_other)
    with pytest.raises(NotYet):
        mail.send_digest({"account": account_id})
    smtp.replies.clear()
    assert Notification.objects.exclude(mailed_at=None).get(kind="order_filled") == single
    mail.send_digest({"account": account_id})
    assert [subject(each) for each in smtp.mails] == ["Sold 2 Yes at $0.6000", "2 notifications"]


def test_a_mail_program_ends_a_kind_by_one_post_and_a_person_by_a_button(sold, run_jobs, smtp):
    from accounts.notifications.preferences import grid_of

    mia = sold()
    run_jobs()
    (mail,) = smtp.mails
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = link_of(mail)
    client = Client(enforce_csrf_checks=True)
    page = client.get(path)
    assert page.status_code == 200
    assert "Unsubscribe" in page.content.decode()
    assert grid_of(mia)[0]["order_filled"]["email"]  # Looking at it ends nothing.
    assert client.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert not grid_of(mia)[0]["order_filled"]["email"]
    assert grid_of(mia)[0]["market_resolved"]["email"]
    sold()
    assert run_jobs() == []


def test_a_digests_link_ends_all_e_mails_and_a_forged_link_none(sold, run_jobs, smtp):
    from accounts.notifications.preferences import change, grid_of

    mia = sold(0)
    change(mia, digest="daily")
    sold()
    run_jobs(DAY)
    path = link_of(smtp.mails[0])
    for forged in (
        path[:-1] + ("A" if path[-1] != "A" else "B"),
        "/account/unsubscribe/x",
        path.replace(":", "."),
    ):
        assert Client().post(forged).status_code == 404
    assert grid_of(mia)[0]["order_filled"]["email"]
    assert Client().post(path).status_code == 200
    assert not any(cells["email"] for cells in grid_of(mia)[0].values())


def test_nothing_but_a_question_goes_to_an_address_until_its_owner_says_yes(nobody, run_jobs, smtp):
    from accounts.models import User
    from accounts.notifications.addresses import is_confirmed

    body = {"username": "mia", "password": "correct horse battery", "email": "mia@mail.example"}
    assert nobody.post("/register", body).status_code == 201
    user = User.objects.get(username="mia")
    assert run_jobs() == [("accounts.confirm_email", "done")]
    (mail,) = smtp.mails
    assert (mail["To"], subject(mail)) == ("mia@mail.example", "Is this your address?")
    text = text_of(mail)
    path = next(line for line in text.splitlines() if "/account/email/" in line).removeprefix(
        "http://localhost:8000"
    )
    assert Client().get(path).status_code == 200
    assert not is_confirmed(user)
    assert Client().post(path).status_code == 200
    assert is_confirmed(user)
    User.objects.filter(pk=user.pk).update(email="other@mail.example")
    user.refresh_from_db()
    assert not is_confirmed(user)
    assert Client().post(path).status_code == 404
    assert Client().get("/account/email/x:y").status_code == 404


def test_a_title_of_two_lines_makes_no_second_header(someone, run_jobs, smtp):
    from accounts.notifications.texts import Note
    from accounts.notifications.writing import tell

    mia = someone("mia", email="mia@mail.example")
    tell([Note(mia, "market_resolved", "Resolved\r\nBcc: all@mail.example", "<b>x</b>", {}, 1, "k")])
    run_jobs()
    (mail,) = smtp.mails
    assert (subject(mail), mail["Bcc"]) == ("Resolved Bcc: all@mail.example", None)
    html = mail.get_payload()[1].get_payload(decode=True).decode()
    assert "&lt;b&gt;x&lt;/b&gt;" in html
