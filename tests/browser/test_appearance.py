"""Pages on a phone and in the dark, for keyboards and screen readers, and under a strict content policy."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import PASSWORD, Person
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
STRICT = "default-src 'self'; connect-src 'self' ws://127.0.0.1:*; object-src 'none'; base-uri 'none'"

# Every control needs a name, every id must be one, and one heading says what the page is.
NAMELESS = """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]
    .filter((each) => each.checkVisibility())
    .filter((each) => !(each.labels?.length || each.getAttribute('aria-label') || each.title))
    .filter((each) => !each.textContent.trim())
    .map((each) => each.outerHTML)"""
DOUBLE_IDS = """() => { const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);
    return ids.filter((id, index) => ids.indexOf(id) !== index) }"""
WIDTH = "document.documentElement.scrollWidth"

# WCAG's contrast of every text with the nearest opaque background behind it.
POOR_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour.startsWith('rgb') && (parse(colour)[3] ?? 1) > 0.9) return parse(colour);
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const each = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !each.checkVisibility()) continue;
    if (each.closest('script, svg, option, :disabled, .visually-hidden, .depth, .flash-up, .flash-down')) continue;
    const [a, b] = [light(parse(getComputedStyle(each).color)), light(behind(each))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${each.className}: ${each.textContent.trim().slice(0, 40)}`);
  }
  return poor;
}"""


@pytest.fixture(scope="module")
def people_and_markets(make_person: Any, make_market: Any) -> tuple[Person, list[str]]:
    """Somebody who has traded, and the paths worth looking at."""
    binary = make_market(question="Will " + "a rather long question with many words " * 4 + "fit on a phone?")
    several = make_market(outcomes=("A name " * 12, *(f"Outcome {n}" for n in range(11))))
    trader, other = make_person(), make_person()
    for market, outcome in ((binary, "Yes"), (several, "Outcome 3")):
        other.order(market, outcome=outcome, side="sell", price="0.4000", quantity=500)
        trader.order(market, outcome=outcome, side="buy", price="0.4000", quantity=25)
        trader.order(market, outcome=outcome, side="buy", price="0.3100", quantity=15)
    return trader, [
        "/",
        f"/markets/{binary['slug']}",
        f"/markets/{several['slug']}",
        "/portfolio",
        "/account",
        "/leaderboard",
        "/leaderboard?by=accuracy&period=day",
    ]


def sign_in(page: Page, exchange: RunningExchange, person: Person) -> None:
    page.goto(f"{exchange.http}/sign-in")
    page.get_by_label("Username").fill(person.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desktop"])
def test_pages_fit_are_named_and_readable(
    browser: Browser,
    exchange: RunningExchange,
    people_and_markets: tuple[Person, list[str]],
    scheme: Any,
    size: Any,
) -> None:
    person, paths = people_and_markets
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, exchange, person)
    for path in paths:
        page.goto(f"{exchange.http}{path}")
        page.wait_for_timeout(700)
        assert page.evaluate(WIDTH) <= size["width"], path
        assert page.evaluate(NAMELESS) == [], path
        assert page.evaluate(DOUBLE_IDS) == [], path
        assert page.evaluate(POOR_CONTRAST) == [], path
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
    context.close()


def test_pages_keep_to_a_strict_content_policy(
    page: Page, exchange: RunningExchange, people_and_markets: tuple[Person, list[str]]
) -> None:
    person, paths = people_and_markets
    violations: list[str] = []
    page.on("console", lambda message: violations.append(message.text) if "Policy" in message.text else None)

    def with_policy(route: Route) -> None:
        if route.request.resource_type != "document":
            route.continue_()
            return
        answer = route.fetch(max_redirects=0)
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": STRICT})

    sign_in(page, exchange, person)
    page.route("**/*", with_policy)
    for path in [*paths, "/?q=nothing-like-this"]:
        page.goto(f"{exchange.http}{path}")
        page.wait_for_timeout(700)
    assert violations == []


def test_ticket_works_from_the_keyboard(
    page: Page, exchange: RunningExchange, people_and_markets: tuple[Person, list[str]]
) -> None:
    person, paths = people_and_markets
    sign_in(page, exchange, person)
    page.goto(f"{exchange.http}{paths[1]}")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_role("radio", name="Buy").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Sell")).to_be_checked()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("radio", name="Buy")).to_be_checked()
    page.get_by_label("Shares", exact=True).fill("1")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Bought 1 Yes")


def test_arithmetic_of_the_pages_is_the_engines(page: Page, exchange: RunningExchange) -> None:
    page.goto(exchange.http)
    checksum = (
        "import('/static/js/book.js').then(({ crc32 }) => crc32('Yes|bid|0.6500|120\\nYes|ask|0.6700|5'))"
    )
    assert page.evaluate(checksum) == 3479377447
    cases = [
        (700, 4000, 100),
        (700, 4200, 20),
        (1, 1, 1),
        (10_000, 5000, 1_000_000),
        (333, 9999, 7),
        (0, 5000, 9),
    ]
    fees = (
        "(cases) => import('/static/js/estimate.js').then(({ feeOf }) => cases.map((each) => feeOf([each])))"
    )
    expected = [-(-rate * price * (10_000 - price) * quantity // 10**8) for rate, price, quantity in cases]
    assert page.evaluate(fees, cases) == expected


@pytest.fixture
def operator(exchange: RunningExchange, page: Page) -> Callable[[str], None]:
    """Opens a page of the admin as the operator."""

    def open_page(path: str) -> None:
        page.goto(f"{exchange.http}/admin/{path}")
        if page.locator("#id_username").count():
            page.fill("#id_username", exchange.env["ADMIN_USERNAME"])
            page.fill("#id_password", exchange.env["ADMIN_PASSWORD"])
            page.click("[type=submit]")

    return open_page


def test_market_is_made_halted_resumed_and_resolved_in_the_admin(
    page: Page, operator: Callable[[str], None], exchange: RunningExchange
) -> None:
    operator("markets/market/add/")
    page.fill("#id_question", "Does the admin work from end to end?")
    page.fill("#id_category", "browser")
    page.fill("#id_outcomes", "Fully\nPartly\nNot at all")
    page.fill("#id_resolution_criteria", "By looking at it.")
    page.fill("[name=closes_at_0]", "2040-01-01")
    page.fill("[name=closes_at_1]", "12:00:00")
    page.fill("#id_tick", "0.3")
    page.click("[name=_save]")
    expect(page.locator(".errorlist")).to_contain_text("divide 1.0000 evenly")
    page.fill("#id_tick", "0.001")
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_contain_text("was created")
    page.get_by_role("link", name="Suspend").click()
    page.fill("#id_reason", "a look")
    page.get_by_role("button", name="Suspend").click()
    expect(page.locator(".messagelist")).to_contain_text("is suspended")
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".messagelist")).to_contain_text("is open again")
    page.get_by_role("link", name="Resolve", exact=True).click()
    page.get_by_label("Partly", exact=True).check()
    page.get_by_label("Evidence").fill("https://example.org/report")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator(".messagelist")).to_contain_text("is being settled")
    page.get_by_role("link", name="Does the admin work from end to end?").click()
    page.get_by_role("link", name="View page").click()
    expect(page.locator("#verdict")).to_contain_text("Resolved: Partly", timeout=20_000)
    operator("trading/event/?q=does-the-admin-work-from-end-to-end")
    expect(page.locator("#result_list")).to_contain_text("market_resolved/1")
