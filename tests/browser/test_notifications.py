"""Price alerts on a market's page, and the account page's choices and webhooks, with a real receiver."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Person
from tests.browser.test_trading import SignIn, open_market
from tests.running_exchange import RunningExchange
from tests.trading.outside.local_server import local_server

pytestmark = pytest.mark.browser


def test_an_alert_is_set_on_the_markets_page_and_told_of_when_the_price_is_reached(
    page: Page, exchange: RunningExchange, market: dict[str, Any], maker: Person, make_person: Any, sign_in: SignIn,
    faults: list[str], tmp_path: Any,
) -> None:  # fmt: skip
    watcher, taker = make_person(), make_person()
    sign_in(watcher)
    open_market(page, exchange, market)
    box = page.locator("#price-alerts")
    box.get_by_label("Price of the alert").fill("0")
    box.get_by_role("button", name="Tell me").click()
    expect(box.locator("#alert-error")).to_contain_text("between 0.01 and 99.99")
    box.get_by_label("Price of the alert").fill("40")
    box.get_by_role("button", name="Tell me").click()
    expect(box.locator("#alert-list")).to_contain_text("Yes at or above 40¢")
    box.scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / "market.png"))
    taker.order(market, outcome="Yes", side="buy", price="0.4000", quantity=5)
    expect(page.locator("#toasts")).to_contain_text("Yes traded at $0.4000, at or above $0.4000")
    expect(box.locator("#alert-list")).to_be_hidden()
    page.goto(f"{exchange.http}/account")
    expect(page.locator("section", has=page.locator("#alerts"))).to_contain_text("fired")
    assert faults == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_account_page_shows_choices_and_webhooks_and_sends_a_test(
    page: Page, exchange: RunningExchange, person: Person, sign_in: SignIn, faults: list[str], width: int, tmp_path: Any
) -> None:  # fmt: skip
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(person)
    with local_server() as server:
        page.goto(f"{exchange.http}/account")
        page.get_by_label("Order filled by e-mail").check()
        page.get_by_label("E-mails", exact=True).select_option("daily")
        page.get_by_role("button", name="Save choices").click()
        expect(page.get_by_label("Order filled by e-mail")).to_be_checked()
        page.get_by_text("New webhook").click()
        page.get_by_label("URL").fill(f"{server.url}/hook")
        page.get_by_role("button", name="Create webhook").click()
        expect(page.locator("[data-webhook-secret]")).to_contain_text("whsec_")
        page.get_by_role("button", name="Send a test").click()
        with server.came:
            assert server.came.wait_for(lambda: server.asked, timeout=15)
        for _ in range(50):
            page.goto(f"{exchange.http}/account")
            if page.locator(".deliveries").count():
                break
        expect(page.locator(".deliveries tbody tr").first).to_contain_text("200")
        page.screenshot(path=str(tmp_path / f"account-{width}.png"), full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "the page scrolls sideways"
    assert faults == []
