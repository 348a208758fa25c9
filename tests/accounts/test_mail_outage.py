"""In real processes: an address is confirmed, the mail server goes away, and each mail comes once when it is back."""

import os
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from ops.embedded.process import free_port
from tests.accounts.smtp_server import mail_server
from tests.conftest import POSTGRES_VARIABLE
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.slow

FILLS = 7


@pytest.fixture
def smtp_port() -> int:
    return free_port()


@pytest.fixture
def own_exchange(tmp_path: Any, smtp_port: int) -> Any:
    database_url, email_url = os.environ[POSTGRES_VARIABLE], f"smtp://127.0.0.1:{smtp_port}"
    with RunningExchange.running(tmp_path, database_url=database_url, EMAIL_URL=email_url) as running:
        yield running


def until(check: Any, *, timeout_s: float) -> None:
    """Ask until the answer is yes; asking takes its time."""
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "it did not come to that"


def test_no_mail_is_lost_or_doubled_by_a_mail_server_that_is_away(own_exchange, smtp_port):
    http = f"{own_exchange.http}/api/v1"
    with mail_server(smtp_port) as smtp:
        body = {"username": "mia", "password": "correct horse battery", "email": "mia@mail.example"}
        key = httpx.post(f"{http}/register", json=body).json()["api_key"]
        with smtp.came:
            assert smtp.came.wait_for(lambda: smtp.mails, timeout=20)
    text = smtp.mails[0].get_payload(decode=True).decode()
    path = next(line for line in text.splitlines() if "/account/email/" in line).partition("/account/")[2]
    with httpx.Client(base_url=own_exchange.http) as browser:
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
        headers=own_exchange.staff_headers(),
    ).json()  # fmt: skip
    other = own_exchange.new_trader()
    seller = httpx.Client(base_url=http, headers=other.headers)
    for side, client in (("buy", mia), ("sell", seller)):
        for cents in range(FILLS):
            price = f"0.5{cents}00" if side == "buy" else "0.5000"
            order = {"outcome": "Yes", "side": side, "price": price, "quantity": 1}
            assert client.post(f"/markets/{market['market_id']}/orders", json=order).status_code == 201

    def is_open() -> bool:
        return httpx.get(f"{own_exchange.http}/health/deep").json()["breakers_open"]["mail"] == 1

    until(is_open, timeout_s=30)
    with mail_server(smtp_port) as back, back.came:
        assert back.came.wait_for(lambda: len(back.mails) >= FILLS, timeout=90)
    subjects = Counter(mail["Subject"] for mail in back.mails)
    assert subjects == {f"Bought 1 Yes at $0.5{cents}00": 1 for cents in range(FILLS)}
    with own_exchange.connect() as connection:
        until(lambda: connection.execute("SELECT count(*) FROM job").fetchone() == (0,), timeout_s=10)
        assert connection.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)
