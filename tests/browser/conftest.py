"""People with a browser, and markets for them; nothing here is rolled back."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.running_exchange import RunningExchange

expect.set_options(timeout=15_000)

PASSWORD = "correct-horse-battery"
CLOSES_AT = "2040-01-01T12:00:00Z"


@dataclass(frozen=True)
class Person:
    """A user who can sign in, with a key to look at the account from outside."""

    username: str
    client: httpx.Client

    def order(self, market: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Place an order through the API."""
        answer = self.client.post(f"/markets/{market['market_id']}/orders", json={"side": "buy", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def make_person(exchange: RunningExchange) -> Callable[..., Person]:
    def make(cash: str | None = "1000.0000") -> Person:
        client = httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30)
        name = f"person_{secrets.token_hex(4)}"
        made = client.post("/register", json={"username": name, "password": PASSWORD})
        assert made.status_code == 201, made.text
        client.headers["Authorization"] = f"Bearer {made.json()['api_key']}"
        if cash is not None:
            assert client.post("/account/deposit", json={"amount": cash}).status_code == 201
        return Person(name, client)

    return make


@pytest.fixture(scope="session")
def staff(exchange: RunningExchange) -> httpx.Client:
    return httpx.Client(base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers(), timeout=30)


@pytest.fixture(scope="session")
def make_market(staff: httpx.Client) -> Callable[..., dict[str, Any]]:
    def make(
        question: str | None = None, outcomes: tuple[str, ...] = ("Yes", "No"), **more: Any
    ) -> dict[str, Any]:
        body = {
            "question": question or f"Will the pages show {secrets.token_hex(4)}?",
            "resolution_criteria": "Yes if this browser says so.",
            "category": "browser",
            "outcomes": list(outcomes),
            "closes_at": CLOSES_AT,
            **more,
        }
        answer = staff.post("/markets", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return make


@pytest.fixture
def market(make_market: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return make_market()


@pytest.fixture
def maker(make_person: Callable[..., Person], market: dict[str, Any]) -> Person:
    """Somebody who offers 100 Yes at 40¢ and 50 at 42¢, and bids 36¢ for 80."""
    person = make_person()
    person.order(market, outcome="Yes", side="sell", price="0.4000", quantity=100)
    person.order(market, outcome="Yes", side="sell", price="0.4200", quantity=50)
    person.order(market, outcome="Yes", side="buy", price="0.3600", quantity=80)
    return person


@pytest.fixture
def person(make_person: Callable[..., Person]) -> Person:
    return make_person()


@pytest.fixture
def sign_in(exchange: RunningExchange, page: Page) -> Callable[[Person], None]:
    def sign_in(someone: Person) -> None:
        page.goto(f"{exchange.http}/sign-in")
        page.get_by_label("Username").fill(someone.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.locator("main").get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()

    return sign_in


@pytest.fixture
def faults(page: Page) -> list[str]:
    """What went wrong in the page: uncaught errors, and answers of the server's fault."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("response", lambda answer: found.append(answer.url) if answer.status >= 500 else None)
    return found
