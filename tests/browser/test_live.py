"""Pages move by themselves, and know when they cannot."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.conftest import Person
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.browser

CONNECTION = "#connection"


def levels(page: Page, side: str) -> list[str]:
    return page.locator(f"#book .{side} .level").all_inner_texts()


def visit(page: Page, exchange: RunningExchange, market: dict[str, Any]) -> None:
    page.goto(f"{exchange.http}/markets/{market['slug']}")
    expect(page.locator(CONNECTION)).to_have_attribute("data-state", "live")


def test_card_and_page_move_when_somebody_trades(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, faults: list[str]
) -> None:
    page.goto(f"{exchange.http}/?q={market['question'].split()[-1].rstrip('?')}")
    card = page.locator(f".market-card[data-market='{market['market_id']}']")
    expect(card).to_contain_text("Yes 40¢")
    person.order(market, outcome="Yes", side="buy", price="0.4200", quantity=120)
    expect(card).to_contain_text("42%")
    expect(card).to_contain_text("Yes 42¢")
    card.get_by_role("link").click()
    expect(page.locator("#trades tbody tr")).to_have_count(2)
    expect(page.locator("#book .asks .level").first).to_have_text("42¢")
    person.order(market, outcome="Yes", side="buy", price="0.3700", quantity=5)
    expect(page.locator("#book .bids .level").first).to_have_text("37¢")
    assert faults == []


def test_line_begins_with_candles_where_the_tape_is_longer_than_a_page_keeps(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, person: Person, faults: list[str]
) -> None:
    def keep_only_the_newest(route: Route) -> None:
        tape = route.fetch().json()
        route.fulfill(json={**tape, "results": tape["results"][:1], "next": "more"})

    person.order(market, outcome="Yes", side="buy", price="0.4000", quantity=100)
    token = person.order(market, outcome="Yes", side="buy", price="0.4200", quantity=5)["as_of"]
    person.get(f"/markets/{market['market_id']}/candles", min_as_of=token)
    page.route("**/api/v1/markets/*/trades?limit=500", keep_only_the_newest)
    # Without a feed nothing but the answers above is known.
    page.route_web_socket("**/ws/v1", lambda socket: None)
    page.goto(f"{exchange.http}/markets/{market['slug']}")
    expect(page.locator("#chart svg")).to_have_attribute("aria-label", "Yes: from 40% to 42%")
    assert faults == []


def test_second_outcome_of_a_binary_market_shows_the_mirrored_book(
    page: Page, exchange: RunningExchange, market: Any, maker: Person
) -> None:
    visit(page, exchange, market)
    expect(page.locator("#book .asks .level")).to_have_text(["42¢", "40¢"])
    page.get_by_label("Outcome of the book").select_option("No")
    expect(page.locator("#book .asks .level")).to_have_text(["64¢"])
    expect(page.locator("#book .bids .level")).to_have_text(["60¢", "58¢"])


def test_lost_connection_is_shown_and_made_again_with_the_book_as_it_is_then(
    page: Page, exchange: RunningExchange, market: Any, maker: Person
) -> None:
    visit(page, exchange, market)
    expect(page.locator("#book .bids .level")).to_have_text(["36¢"])
    exchange.kill("live")
    expect(page.locator(CONNECTION)).to_have_attribute("data-state", "reconnecting")
    maker.order(market, outcome="Yes", side="buy", price="0.3500", quantity=7)
    # Without a feed the book is asked for.
    expect(page.locator("#book .bids .level")).to_have_text(["36¢", "35¢"])
    exchange.start_process("live")
    exchange.wait_healthy()
    expect(page.locator(CONNECTION)).to_have_attribute("data-state", "live", timeout=30_000)
    maker.order(market, outcome="Yes", side="buy", price="0.3400", quantity=7)
    expect(page.locator("#book .bids .level")).to_have_text(["36¢", "35¢", "34¢"])


@pytest.mark.parametrize("fault", ["lost", "foul"])
def test_delta_that_is_lost_or_does_not_add_up_brings_a_new_snapshot(
    page: Page, exchange: RunningExchange, market: Any, maker: Person, fault: str
) -> None:
    subscribed: list[str] = []
    harmed: list[int] = []

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def up(message: str | bytes) -> None:
            asked = json.loads(message)
            if asked.get("channel") == "book":
                subscribed.append(asked["op"])
            server.send(message)

        def down(message: str | bytes) -> None:
            frame = json.loads(message)
            is_delta = frame.get("channel") == "book" and frame.get("data", {}).get("type") == "delta"
            if is_delta and not harmed:
                harmed.append(frame["seq"])
                if fault == "lost":
                    return
                frame["data"]["changes"] = []
                message = json.dumps(frame)
            route.send(message)

        route.on_message(up)
        server.on_message(down)

    page.route_web_socket("**/ws/v1", between)
    visit(page, exchange, market)
    expect(page.locator("#book .bids .level")).to_have_text(["36¢"])
    maker.order(market, outcome="Yes", side="buy", price="0.3500", quantity=7)
    maker.order(market, outcome="Yes", side="buy", price="0.3400", quantity=7)
    expect(page.locator("#book .bids .level")).to_have_text(["36¢", "35¢", "34¢"])
    assert len(harmed) == 1
    assert len(subscribed) >= 2
    page.unroute_all(behavior="ignoreErrors")


def test_suspension_and_result_reach_a_page_that_is_open(
    page: Page,
    exchange: RunningExchange,
    market: Any,
    maker: Person,
    staff: Any,
    person: Person,
    sign_in: Callable[[Person], None],
) -> None:
    person.order(market, outcome="Yes", side="buy", price="0.4000", quantity=10)
    sign_in(person)
    visit(page, exchange, market)
    assert staff.post(f"/markets/{market['slug']}/suspend", json={"reason": "a test"}).status_code == 200
    expect(page.locator("#status")).to_have_text("suspended", timeout=10_000)
    expect(page.locator("#ticket-closed")).to_contain_text("suspended")
    expect(page.locator("#send")).to_be_hidden()
    body = {"outcome": "Yes", "evidence": "https://example.org/log"}
    assert staff.post(f"/markets/{market['slug']}/resolve", json=body).status_code == 202
    expect(page.locator("#verdict")).to_contain_text("Resolved: Yes", timeout=10_000)
    page.get_by_role("button", name="Notifications").click()
    expect(page.locator("#bell-panel")).to_contain_text("Market resolved: you were paid $10.0000")
    expect(page.locator("#book")).to_have_count(0)
    assert person.get("/account")["cash"] == "1006.0000"
