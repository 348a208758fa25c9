"""A statement from the account page, an audit file and monthly totals from the admin, with the real processes."""

import csv
import datetime as dt
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Person
from tests.browser.test_trading import SignIn
from tests.running_exchange import OPERATOR, RunningExchange

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 390])
def test_a_statement_is_downloaded_from_the_account_page(
    page: Page, exchange: RunningExchange, market: dict[str, Any], maker: Person, person: Person, sign_in: SignIn,
    faults: list[str], width: int, tmp_path: Path,
) -> None:  # fmt: skip
    person.order(market, outcome="Yes", side="buy", price="0.4000", quantity=5)
    person.get("/account/ledger", require_fresh="true")
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(person)
    page.goto(f"{exchange.http}/account")
    expect(page.get_by_label("Daily statement by e-mail")).not_to_be_checked()
    expect(page.get_by_label("Daily statement by webhook")).to_have_count(0)
    form = page.locator(".statement-form")
    form.scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / f"account-{width}.png"), full_page=True)
    today = dt.datetime.now(dt.UTC).date().isoformat()
    form.get_by_label("Statement of a day, UTC").fill(today)
    with page.expect_download() as started:
        form.get_by_role("button", name="Download CSV").click()
    assert started.value.suggested_filename == f"statement-{today}.csv"
    rows = list(csv.DictReader(io.StringIO(started.value.path().read_text("utf-8-sig"), newline="")))
    (fill,) = [row for row in rows if row["record"] == "fill"]
    assert (fill["question"], fill["outcome"], fill["quantity"], fill["price"]) == (
        market["question"], "Yes", "5", "0.4000",
    )  # fmt: skip
    (held,) = [row for row in rows if row["record"] == "position"]
    assert (held["outcome"], held["quantity"]) == ("Yes", "5")
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, "the page scrolls sideways"
    assert faults == []


def test_an_operator_has_an_audit_file_made_and_looks_at_monthly_totals(
    page: Page, exchange: RunningExchange, market: dict[str, Any], maker: Person, faults: list[str], tmp_path: Path
) -> None:  # fmt: skip
    page.goto(f"{exchange.http}/admin/login/")
    page.get_by_label("Username").fill(OPERATOR)
    page.get_by_label("Password").fill(exchange.env["ADMIN_PASSWORD"])
    page.get_by_role("button", name="Log in").click()
    change = f"{exchange.http}/admin/markets/market/{market['market_id']}/change/"
    page.goto(change)
    page.get_by_role("button", name="Make audit file").click()
    for _ in range(100):
        page.goto(change)
        if page.get_by_role("link", name="signed manifest").count():
            break
    page.screenshot(path=str(tmp_path / "market.png"), full_page=True)
    field = page.locator(".field-audit_file")
    files = {}
    for name in ("events", "signed manifest"):
        with page.expect_download() as started:
            field.get_by_role("link", name=name).click()
        files[name] = tmp_path / started.value.suggested_filename
        started.value.save_as(files[name])
    lines = gzip.decompress(files["events"].read_bytes()).splitlines()
    assert len(lines) > 4
    said = exchange.manage("verify_log", "--file", str(files["events"]))
    assert f"{len(lines) - 1} events in one chain" in said.stdout
    page.goto(f"{exchange.http}/admin/ops/monthlytotal/")
    expect(page.locator("#result_list")).to_contain_text("Deposits")
    page.screenshot(path=str(tmp_path / "totals.png"), full_page=True)
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV").click()
    assert started.value.suggested_filename.startswith("monthly-totals-")
    assert faults == []
