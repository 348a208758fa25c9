"""In real processes: an address is confirmed, the mail server goes away, and each mail comes once when it is back."""

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ops.embedded.process import free_port
from tests.accounts.smtp_server import mail_server
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.slow

FILLS = 7
MAILS_LEFT = "SELECT count(*) FROM job WHERE name = 'accounts.send_email'"
MAILS_SET_ASIDE = "SELECT count(*) FROM dead_letter WHERE job_name = 'accounts.send_email'"


@pytest.fixture
def smtp_port() -> int:
    return free_port()


@pytest.fixture
def mailing(exchange: RunningExchange, smtp_port: int) -> Iterator[RunningExchange]:
    """The exchange, whose mails go to that port."""
    with exchange.running_as("notify", EMAIL_URL=f"smtp://127.0.0.1:{smtp_port}"):
        yield exchange


def until(check: Any, *, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_no_mail_is_lost_or_doubled_by_a_mail_server_that_is_away(mailing, smtp_port):
    http, name = f"{mailing.http}/api/v1", f"mia_{secrets.token_hex(4)}"
    with mail_server(smtp_port) as smtp:
        body = {"username": name, "password": "correct horse battery", "email": f"{name}@mail.example"}
        key = httpx.post(f"{http}/register", json=body).json()["api_key"]
        with smtp.came:
            assert smtp.came.wait_for(lambda: smtp.mails, timeout=20)
    text = smtp.mails[0].get_payload(decode=True).decode()
    path = next(line for line in text.splitlines() if "/account/email/" in line).partition("/account/")[2]
    with httpx.Client(base_url=mailing.http) as browser:
        page = browser.get(f"/account/{path}")
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        assert browser.post(page.url, data={"csrfmiddlewaretoken": token}).status_code == 200

    mia = httpx.Client(base_url=http, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    preferences = mia.patch(
        "/notification-preferences", json={"kinds": {"order_filled": {"email": True}}}
    ).json()
    assert preferences["email_confirmed"]
    mia.post("/account/deposit", json={"amount": "1000"})
    market = httpx.post(
        f"{http}/markets",
        json={
            "question": "Will mail come?", "resolution_criteria": "It does.", "category": "mail",
            "outcomes": ["Yes", "No"], "closes_at": "2040-01-01T12:00:00Z",
        },
        headers=mailing.staff_headers(),
    ).json()  # fmt: skip
    other = mailing.new_trader()
    seller = httpx.Client(base_url=http, headers=other.headers)
    for side, client in (("buy", mia), ("sell", seller)):
        for cents in range(FILLS):
            price = f"0.5{cents}00" if side == "buy" else "0.5000"
            order = {"outcome": "Yes", "side": side, "price": price, "quantity": 1}
            assert client.post(f"/markets/{market['market_id']}/orders", json=order).status_code == 201

    def is_open() -> bool:
        return httpx.get(f"{mailing.http}/health/deep").json()["breakers_open"]["mail"] == 1

    until(is_open, timeout_s=30)
    with mail_server(smtp_port) as back:

        def all_came() -> bool:
            end_rest(mailing)
            return len(back.mails) >= FILLS

        until(all_came, timeout_s=60)
    subjects = Counter(mail["Subject"] for mail in back.mails)
    assert subjects == {f"Bought 1 Yes at $0.5{cents}00": 1 for cents in range(FILLS)}
    with mailing.connect() as connection:
        until(lambda: connection.execute(MAILS_LEFT).fetchone() == (0,), timeout_s=10)
        assert connection.execute(MAILS_SET_ASIDE).fetchone() == (0,)


def end_rest(exchange: RunningExchange) -> None:
    """The breaker leaves the server alone for half a minute, and jobs wait so long; that is over now."""
    with exchange.valkey() as valkey, exchange.connect() as connection:
        if valkey.hexists("breaker:mail", "until_ms"):
            valkey.hset("breaker:mail", "until_ms", "1")
        connection.execute("UPDATE job SET due_at = now() WHERE queue = 'notify' AND claimed_until IS NULL")
