"""Staff gives a market a resolver, tries it, and finds what is due, in a browser."""

import datetime as dt
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.running_exchange import RunningExchange
from tests.trading.outside.local_server import LocalServer, local_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Where to leave pictures for whoever wants to look; nowhere by default.
PICTURES = os.environ.get("PICTURES")


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:

        def answer(request: object) -> None:
            body = b'{"match": {"id": 4711, "result": "home", "goals": [3, 1]}}'
            request.send_response(200)  # type: ignore[attr-defined]
            request.send_header("Content-Type", "application/json")  # type: ignore[attr-defined]
            request.send_header("Content-Length", str(len(body)))  # type: ignore[attr-defined]
            request.end_headers()  # type: ignore[attr-defined]
            request.wfile.write(body)  # type: ignore[attr-defined]

        running.answer = answer
        yield running


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def new_market(exchange: RunningExchange, question: str, *, open_for: dt.timedelta) -> str:
    headers = exchange.staff_headers()
    closes_at = dt.datetime.now(dt.UTC) + open_for
    body = {
        "question": question, "resolution_criteria": "The league's result.", "category": "resolvers",
        "outcomes": ["Yes", "No"], "closes_at": closes_at.isoformat(),
    }  # fmt: skip
    made = httpx.post(f"{exchange.http}/api/v1/markets", json=body, headers=headers)
    assert made.status_code == 201, made.text
    return str(made.json()["market_id"])


def test_staff_tries_and_saves_a_resolver_and_sees_what_is_due(
    exchange: RunningExchange, page: Page, server: LocalServer
) -> None:
    tag, password = secrets.token_hex(3), secrets.token_urlsafe(12)
    due = f"Will {tag} be due?"
    new_market(exchange, due, open_for=dt.timedelta(seconds=3))
    market_id = new_market(exchange, f"Will the home team {tag} win?", open_for=dt.timedelta(days=30))
    page.goto(f"{exchange.http}/admin/")
    page.get_by_label("Username").fill(exchange.new_colleague("ann", password))
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()

    page.goto(f"{exchange.http}/admin/markets/market/{market_id}/change/")
    page.get_by_role("link", name="Resolver", exact=True).click()
    page.get_by_role("link", name="A value in a JSON document at a URL").click()
    page.get_by_label("URL:", exact=True).fill(f"{server.url}/matches/4711")
    page.get_by_label("Path").fill("$.match.result")
    page.get_by_label("Values").fill("home => Yes\naway => No\ndraw => No")
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text("It would propose Yes")).to_be_visible()
    picture(page, "resolver-trial")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("is asked once the market has closed")).to_be_visible()
    picture(page, "resolver-saved")

    page.get_by_role("link", name="A price at or after a time").click()
    page.get_by_label("Symbol").fill("BTC USD")
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text("Please correct what is marked below.")).to_be_visible()
    picture(page, "resolver-price")

    page.goto(f"{exchange.http}/admin/markets/awaitingmarket/?q={tag}")
    while not page.get_by_role("link", name=due).is_visible():
        page.reload()  # Until its time is over; the test's own limit ends a wait that is in vain.
    picture(page, "resolutions-due")
    page.get_by_role("link", name="Propose", exact=True).click()
    expect(page.get_by_role("heading", name=due)).to_be_visible()
