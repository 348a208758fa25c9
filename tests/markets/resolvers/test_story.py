"""A market that finds out by itself how it has ended, in real processes: closed, asked, approved, and settled by the
clock once its holders had their time to object. Nobody says more than one "approved"."""

import datetime as dt
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.markets.reviewers import member_of_staff, trader, wait_until
from tests.running_exchange import RunningExchange

pytestmark = pytest.mark.slow


@pytest.fixture
def reviewed(exchange: RunningExchange) -> Iterator[RunningExchange]:
    """One person has to approve what the worker proposes, and holders have two seconds to object."""
    with exchange.running_as("market", RESOLUTION_APPROVALS="1", DISPUTE_WINDOW="2"):
        yield exchange


def configure(exchange: RunningExchange, market_id: str, url: str) -> None:
    exchange.manage(
        "shell", "-c",
        "from markets import selectors; from markets.resolvers import asking; "
        f"asking.configure(selectors.find({market_id!r}), 'json_url', "
        f"{{'url': {url!r}, 'path': '$.result', 'values': 'home => Yes', 'not_yet': 'playing'}})",
    )  # fmt: skip


def test_a_market_is_asked_about_approved_by_one_and_settled_by_the_clock(
    reviewed: RunningExchange, source: Any
) -> None:
    ann = member_of_staff(reviewed, "ann")
    yan, noa = trader(reviewed, "10.0000"), trader(reviewed, "10.0000")
    closes_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
    status, made = ann.post("/markets", {
        "question": f"Will the home team win {secrets.token_hex(4)}?", "resolution_criteria": "The result says.",
        "category": "resolvers", "outcomes": ["Yes", "No"], "closes_at": closes_at.isoformat(),
    })  # fmt: skip
    assert status == 201, made
    market_id = made["market_id"]
    for person, side in ((yan, "buy"), (noa, "sell")):
        order = {"outcome": "Yes", "side": side, "price": "0.6000", "quantity": 10}
        assert person.post(f"/markets/{market_id}/orders", order)[0] == 201
    source.says({"result": "playing"})
    configure(reviewed, market_id, source.url)
    with source.server.came:
        assert source.server.came.wait_for(lambda: len(source.server.asked) >= 1, timeout=60)
    assert dt.datetime.now(dt.UTC) >= closes_at
    assert ann.get(f"/markets/{market_id}/resolutions")[1]["results"] == []
    source.says({"result": "home"})
    wait_until(lambda: ask_now(reviewed, market_id), "it would be asked again after a minute; now will do")

    def resolutions() -> list[dict[str, Any]]:
        return list(ann.get(f"/markets/{market_id}/resolutions")[1]["results"])

    wait_until(lambda: bool(resolutions()), "the resolver has proposed")
    (proposed,) = resolutions()
    assert (proposed["status"], proposed["outcome"], proposed["proposed_by"]) == ("proposed", "Yes", "system")
    assert source.url in proposed["evidence"]
    run_the_job_again(reviewed, market_id)

    path = f"/markets/{market_id}/resolutions/{proposed['resolution_id']}"
    assert ann.post(f"{path}/approve")[0] == 202
    wait_until(lambda: resolutions()[0]["status"] == "settled", "the clock has settled it")
    assert len(resolutions()) == 1
    wait_until(lambda: yan.cash() == ("14.0000", "0.0000"), "yan has $10 of his shares")
    assert noa.cash() == ("6.0000", "0.0000")


def ask_now(exchange: RunningExchange, market_id: str) -> bool:
    """Whether there was an asking that waited for its time."""
    with exchange.connect() as database:
        changed = database.execute(
            "UPDATE job SET due_at = now() WHERE name = 'markets.ask_resolver' AND payload->>'market' = %s "
            "AND claimed_until IS NULL AND due_at > now()",
            [market_id],
        )
        return changed.rowcount == 1


def run_the_job_again(exchange: RunningExchange, market_id: str) -> None:
    """As after a worker that died when all but the deletion of the row was done."""
    exchange.manage(
        "shell", "-c",
        "from markets.models import MarketResolver; from markets.resolvers import asking; "
        f"row = MarketResolver.objects.get(market_id={market_id!r}); "
        "asking.ask({'market': str(row.market_id), 'revision': str(row.revision)})",
    )  # fmt: skip
