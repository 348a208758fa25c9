"""A market's life in the admin, as two members of staff do it in their browsers, and what a holder sees of it."""

import os
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.markets.reviewers import wait_until
from tests.running_exchange import RunningExchange

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "correct-horse-battery"
QUESTION = "Will two people agree on this?"
# Where to leave pictures for whoever wants to look; nowhere by default.
PICTURES = os.environ.get("PICTURES")


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def signed_in(browser: Browser, exchange: RunningExchange, username: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{exchange.http}/sign-in")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{exchange.http}/")
    return page


def trader(exchange: RunningExchange) -> tuple[str, httpx.Client]:
    client = httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30)
    name = f"holder_{secrets.token_hex(3)}"
    made = client.post("/register", json={"username": name, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {made.json()['api_key']}"
    assert client.post("/account/deposit", json={"amount": "1000.0000"}).status_code == 201
    return name, client


def set_aside(exchange: RunningExchange) -> str:
    """A dead letter of work whose cause is mended by now; answers its job's key."""
    with exchange.connect() as connection:
        row = connection.execute(
            "INSERT INTO dead_letter (id, source, payload, error, trace, job_name, job_queue, job_key, tries) "
            "SELECT gen_random_uuid(), 'job', jsonb_build_object('settlement', settlement_id, 'share', 9), "
            "'The database was away.', 'Traceback: …', 'trading.settle', 'settlement', "
            "'settle:' || settlement_id || ':9', 6 FROM settlement WHERE status = 'done' LIMIT 1 RETURNING job_key"
        ).fetchone()
    assert row is not None
    return str(row[0])


def jobs_of(exchange: RunningExchange, key: str) -> int:
    with exchange.connect() as connection:
        row = connection.execute("SELECT count(*) FROM job WHERE key = %s", [key]).fetchone()
    assert row is not None
    return int(row[0])


def order(client: httpx.Client, slug: str, **fields: Any) -> None:
    answer = client.post(f"/markets/{slug}/orders", json={"outcome": "Yes", "price": "0.6000", **fields})
    assert answer.status_code == 201, answer.text


def test_a_market_is_made_halted_proposed_disputed_upheld_paid_and_undone(
    browser: Browser, reviewed: RunningExchange
) -> None:
    exchange = reviewed
    ann, bea = (signed_in(browser, exchange, exchange.new_colleague("staff", PASSWORD)) for _ in range(2))
    name, holder_api = trader(exchange)
    _, other_api = trader(exchange)
    # ann makes a market.
    ann.goto(f"{exchange.http}/admin/markets/market/add/")
    ann.locator("#id_question").fill(QUESTION)
    ann.locator("#id_category").fill("browser")
    ann.locator("#id_resolution_criteria").fill("Whatever two people agree on.")
    ann.locator("#id_closes_at_0").fill("2040-01-01")
    ann.locator("#id_closes_at_1").fill("12:00:00")
    ann.get_by_role("button", name="Save", exact=True).click()
    expect(ann.locator(".messagelist")).to_contain_text("was created")
    slug = "will-two-people-agree-on-this"
    order(holder_api, slug, side="sell", quantity=40)
    order(other_api, slug, side="buy", quantity=30)
    # She halts it and lets it go on, for orders that do not trade at first.
    ann.get_by_role("link", name="Suspend").click()
    ann.get_by_label("Code").select_option("news")
    ann.get_by_label("Reason").fill("Something has been announced.")
    picture(ann, "01-suspend")
    ann.get_by_role("button", name="Suspend").click()
    expect(ann.locator(".messagelist")).to_contain_text("is suspended")
    ann.get_by_role("link", name="Resume").click()
    ann.get_by_label("At first").select_option("post_only")
    ann.get_by_label("for so many seconds").fill("60")
    picture(ann, "02-resume")
    ann.get_by_role("button", name="Resume").click()
    expect(ann.locator(".messagelist")).to_contain_text("is open again")
    # She proposes how it ends, and cannot approve that herself.
    ann.get_by_role("link", name="Propose result").click()
    ann.get_by_label("No", exact=True).check()
    ann.get_by_label("Evidence").fill("It was on the news: https://example.org/news")
    picture(ann, "03-propose")
    ann.get_by_role("button", name="Propose").click()
    expect(ann.locator("#current")).to_contain_text("No: proposed")
    expect(ann.locator("#preview")).to_contain_text("adds up")
    picture(ann, "04-proposed")
    ann.get_by_role("button", name="Approve").click()
    expect(ann.locator(".messagelist")).to_contain_text("somebody else")
    # bea approves it; holders may object now.
    resolution_page = ann.url
    bea.goto(resolution_page)
    bea.get_by_role("button", name="Approve").click()
    expect(bea.locator(".messagelist")).to_contain_text("You have approved it")
    expect(bea.locator("#current")).to_contain_text("No: approved")
    picture(bea, "05-approved")
    # A holder sees it on the market's page, and objects.
    holder = signed_in(browser, exchange, name)
    holder.goto(f"{exchange.http}/markets/{slug}")
    expect(holder.locator("#review")).to_contain_text("A result is proposed: No")
    expect(holder.locator("#history")).to_contain_text("Trading suspended (news)")
    picture(holder, "06-holder")
    holder.get_by_label("Is that wrong? Say why.").fill("The count is not over.")
    holder.get_by_role("button", name="Dispute").click()
    expect(holder.locator("#review")).to_contain_text("The proposed result is disputed")
    picture(holder, "07-disputed")
    # bea upholds it, and watches the bar until all are paid.
    bea.reload()
    expect(bea.locator("#current")).to_contain_text("Disputed by 1 holder")
    expect(bea.locator("#content")).to_contain_text("The count is not over.")
    bea.get_by_role("button", name="Uphold").click()
    settlement = bea.locator("[data-settlement]").first
    expect(settlement).to_have_attribute("data-status", "done")
    expect(settlement).to_contain_text("2 of 2 accounts, $30.0000")
    expect(bea.locator("#market-status")).to_have_text("Resolved")
    picture(bea, "08-settled")
    # A dead letter whose cause is mended is requeued, runs, and leaves nothing behind.
    key = set_aside(exchange)
    bea.goto(f"{exchange.http}/admin/trading/deadletter/")
    bea.get_by_role("link", name="trading.settle").first.click()
    expect(bea.locator("#content")).to_contain_text("The database was away.")
    picture(bea, "11-dead-letter")
    bea.get_by_role("button", name="Requeue").click()
    expect(bea.locator(".messagelist")).to_contain_text("is a job again")
    expect(bea.locator("#content")).to_contain_text("requeued by")
    picture(bea, "12-requeued")
    wait_until(lambda: jobs_of(exchange, key) == 0, "the job has run")
    # Two persons undo it.
    for person, told in ((bea, "You have asked"), (ann, "It is being undone")):
        person.goto(resolution_page)
        person.get_by_label("Why is it undone?").fill("The recount says Yes.")
        person.get_by_role("button", name="Undo the result").click()
        expect(person.locator(".messagelist")).to_contain_text(told)
    expect(ann.locator("[data-settlement]").first).to_have_attribute("data-status", "done")
    expect(ann.locator("#market-status")).to_have_text("Reversed")
    picture(ann, "09-undone")
    holder.goto(f"{exchange.http}/markets/{slug}")
    expect(holder.locator("#verdict")).to_contain_text("The result was undone")
    picture(holder, "10-holder-undone")
