"""One person, one browser: from the list of markets to a fill, and what is told on the way."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Person
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.browser

SignIn = Callable[[Person], None]


def open_market(page: Page, exchange: RunningExchange, market: dict[str, Any]) -> None:
    page.goto(f"{exchange.http}/markets/{market['slug']}")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#book .asks .level").first).to_be_visible()


def summary(page: Page) -> dict[str, str]:
    """What the ticket says of the order."""
    rows = page.locator("#summary > div").all()
    return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}


def test_ticket_says_cost_fee_and_payout_and_the_order_does_just_that(
    page: Page,
    exchange: RunningExchange,
    make_market: Any,
    make_person: Any,
    sign_in: SignIn,
    faults: list[str],
) -> None:
    market = make_market(taker_fee="0.0700")
    seller, buyer = make_person(), make_person()
    seller.order(market, outcome="Yes", side="sell", price="0.4000", quantity=100)
    seller.order(market, outcome="Yes", side="sell", price="0.4200", quantity=50)
    sign_in(buyer)
    open_market(page, exchange, market)
    page.get_by_label("Limit price").fill("42")
    page.get_by_label("Shares", exact=True).fill("120")
    # 100 at 40¢ and 20 at 42¢; the fee is 7 % of p × (1 − p) a share, rounded up once.
    expect(page.locator("#summary")).to_contain_text("120 at 40.33¢ avg")
    told = summary(page)
    assert told["Fee"] == "$2.0211"
    assert told["Cost"] == "$50.4211"
    assert told["Pay-out if Yes"] == "$120.00"
    page.get_by_role("button", name="Buy 120 × Yes at 42¢").click()
    expect(page.locator("#toasts")).to_contain_text("Bought 120 Yes at 40.33¢")
    expect(page.locator("#mine")).to_contain_text("120 Yes")
    expect(page.locator("#mine")).to_contain_text("$949.5789 free")
    assert buyer.get("/account")["cash"] == "949.5789"
    assert faults == []


def test_fill_of_a_waiting_order_is_told_by_toast_and_bell(
    page: Page,
    exchange: RunningExchange,
    market: Any,
    maker: Person,
    person: Person,
    make_person: Any,
    sign_in: SignIn,
) -> None:
    sign_in(person)
    open_market(page, exchange, market)
    page.get_by_label("Limit price").fill("38")
    page.get_by_role("button", name="Buy 10 × Yes at 38¢").click()
    expect(page.locator("#toasts")).to_contain_text("wait in the book")
    expect(page.locator("#mine")).to_contain_text("Buy 10 Yes at 38¢")
    expect(page.locator("#book .bids tr.own .level")).to_have_text("38¢")
    make_person().order(market, outcome="No", side="buy", price="0.6200", quantity=10)
    expect(page.locator("#toasts")).to_contain_text("Bought 10 Yes")
    expect(page.locator(".bell-count")).to_have_text("2")  # and the deposit
    page.get_by_role("button", name="Notifications").click()
    expect(page.locator("#bell-panel")).to_contain_text(market["question"])
    expect(page.locator(".bell-count")).to_be_hidden()
    expect(page.locator("#mine")).to_contain_text("10 Yes")


def test_selling_more_than_one_holds_says_what_is_sold_and_what_is_put_up(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, sign_in: SignIn
) -> None:
    person.order(market, outcome="Yes", side="buy", price="0.4000", quantity=25)
    sign_in(person)
    open_market(page, exchange, market)
    expect(page.locator("#mine")).to_contain_text("25 Yes")
    page.get_by_role("radio", name="Sell").check()
    page.get_by_role("radio", name="Market").check()
    page.get_by_label("Shares", exact=True).fill("30")
    expect(page.locator("#summary")).to_contain_text("From your shares")
    told = summary(page)
    # 25 sold at 36¢ bring $9.00; 5 more cost 64¢ each and pay $1 each if it does not happen.
    assert told["You receive"] == "$5.80"
    assert told["Pay-out if not Yes"] == "$5.00"
    before = float(person.get("/account")["cash"])
    page.get_by_role("button", name="Sell 30 × Yes").click()
    expect(page.locator("#mine")).to_contain_text("5 No")
    assert float(person.get("/account")["cash"]) == pytest.approx(before + 5.8)


def test_open_order_is_cancelled_from_the_page(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, sign_in: SignIn
) -> None:
    order = person.order(market, outcome="Yes", side="buy", price="0.0500", quantity=40)
    sign_in(person)
    page.goto(f"{exchange.http}/portfolio")
    page.get_by_role("button", name="Cancel: buy 40 Yes").click()
    expect(page.locator("#toasts")).to_contain_text("Order cancelled")
    expect(page.locator("#portfolio")).to_contain_text("No open orders")
    assert person.get(f"/orders/{order['order_id']}")["status"] == "cancelled"


def test_refusal_is_explained_and_nothing_is_kept_as_pending(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, make_person: Any, sign_in: SignIn
) -> None:
    sign_in(make_person(cash=None))
    open_market(page, exchange, market)
    expect(page.locator("#ticket-warning")).to_contain_text("you have $0.00 free")
    page.locator("#send").click()
    expect(page.locator("#ticket-state")).to_contain_text("not have enough free cash")
    assert page.evaluate("Object.values(localStorage)") == ["[]"]


def test_lost_answer_is_looked_up_by_client_id_and_the_order_is_there_once(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, sign_in: SignIn
) -> None:
    sign_in(person)
    open_market(page, exchange, market)
    sent: list[str] = []

    def lose_the_answer(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_json["client_order_id"])
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/api/v1/markets/*/orders", lose_the_answer)
    page.locator("#send").click()
    expect(page.locator("#ticket-state")).to_contain_text("unknown, checking")
    expect(page.locator("#toasts")).to_contain_text("Bought 10 Yes")
    orders = person.get("/portfolio/orders", status="all")["results"]
    assert [order["client_order_id"] for order in orders] == sent
    assert len(sent) == 1


def test_order_whose_answer_was_lost_with_its_page_is_looked_up_by_the_next_page(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, sign_in: SignIn
) -> None:
    sign_in(person)
    open_market(page, exchange, market)
    arrived: list[int] = []
    # The exchange answers, and the page never hears of it.
    page.route("**/api/v1/markets/*/orders", lambda route: arrived.append(route.fetch().status))
    page.locator("#send").click()
    while not arrived:
        page.wait_for_timeout(20)
    assert arrived == [201]
    page.reload()
    expect(page.locator("#toasts")).to_contain_text("Bought 10 Yes")
    assert len(person.get("/portfolio/orders", status="all")["results"]) == 1
    assert page.evaluate("Object.values(localStorage)") == ["[]"]


def test_order_that_never_left_is_reported_as_not_placed(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, sign_in: SignIn
) -> None:
    page.clock.install()
    sign_in(person)
    open_market(page, exchange, market)
    page.route("**/api/v1/markets/*/orders", lambda route: route.abort("failed"))
    page.locator("#send").click()
    expect(page.locator("#ticket-state")).to_contain_text("unknown, checking")
    # Longer than any order may be on its way.
    page.clock.fast_forward(20_000)
    expect(page.locator("#toasts")).to_contain_text("Not placed")
    assert person.get("/portfolio/orders", status="all")["results"] == []


def test_signed_out_visitor_sees_the_cost_and_is_sent_to_sign_in_and_back(
    page: Page, exchange: RunningExchange, market: Any, maker: Person
) -> None:
    open_market(page, exchange, market)
    expect(page.locator("#summary")).to_contain_text("$4.00")
    page.get_by_role("link", name="Sign in to trade").click()
    expect(page).to_have_url(f"{exchange.http}/sign-in?next=/markets/{market['slug']}")
