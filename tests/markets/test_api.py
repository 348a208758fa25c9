"""The catalogue API on a running exchange: the way of a market from its making to its settlement."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.running_exchange import RunningExchange

CLOSES_AT = "2040-01-01T12:00:00Z"
FIELDS = {
    "market_id", "slug", "question", "description", "resolution_criteria", "category", "outcomes", "status", "tick",
    "taker_fee", "maker_fee", "created_at", "opens_at", "closes_at", "resolved_at", "volume", "volume_24h",
    "trade_count", "trader_count", "open_interest", "resolution", "seq", "as_of",
}  # fmt: skip


@pytest.fixture(scope="module")
def anyone(exchange: RunningExchange) -> httpx.Client:
    return httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30)


@pytest.fixture(scope="module")
def staff(exchange: RunningExchange) -> httpx.Client:
    return httpx.Client(base_url=f"{exchange.http}/api/v1", headers=exchange.staff_headers(), timeout=30)


def body(**changes: Any) -> dict[str, Any]:
    return {
        "question": f"Will the catalogue know {secrets.token_hex(4)}?",
        "resolution_criteria": "Yes if it answers.",
        "category": "api tests",
        "outcomes": ["Yes", "No"],
        "closes_at": CLOSES_AT,
        **changes,
    }


@pytest.fixture
def make(staff: httpx.Client) -> Callable[..., dict[str, Any]]:
    def make(**changes: Any) -> dict[str, Any]:
        answer = staff.post("/markets", json=body(**changes))
        assert answer.status_code == 201, answer.text
        return answer.json()

    return make


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_made_market_is_answered_whole_and_read_the_same(anyone: httpx.Client, make: Any) -> None:
    made = make(tick="0.0050", taker_fee=0.07, outcomes=["A", "B", "C"])
    assert made.keys() == FIELDS
    assert (made["tick"], made["taker_fee"], made["maker_fee"]) == ("0.0050", "0.0700", "0.0000")
    assert (made["status"], made["volume"], made["resolution"]) == ("open", "0.0000", None)
    assert made["outcomes"][1] == {
        "name": "B", "last_price": None, "price_change_24h": None, "best_bid": None, "best_ask": None,
    }  # fmt: skip
    assert made["closes_at"] == "2040-01-01T12:00:00.000000Z"
    for name in (made["market_id"], made["slug"]):
        read = anyone.get(f"/markets/{name}", params={"min_as_of": made["as_of"]}).json()
        assert {**read, "as_of": ""} == {**made, "as_of": ""}


def test_list_finds_it_by_words_category_and_status_with_all_its_fields(
    anyone: httpx.Client, make: Any
) -> None:
    word = "z" + secrets.token_hex(5)
    made = make(question=f"Will {word} be found?", category=word)
    for parameters in (
        {"q": word},
        {"category": word, "status": "open"},
        {"q": word[:8], "ordering": "volume"},
    ):
        found = anyone.get("/markets", params={**parameters, "min_as_of": made["as_of"]}).json()
        assert [row["market_id"] for row in found["results"]] == [made["market_id"]]
        assert found["next"] is None
        assert found["results"][0].keys() == FIELDS - {"as_of"}
    assert anyone.get("/markets", params={"q": word, "status": "resolved"}).json()["results"] == []


def test_list_is_paged_by_cursor(anyone: httpx.Client, make: Any) -> None:
    category = secrets.token_hex(5)
    made = [make(category=category)["market_id"] for _ in range(5)]
    found, parameters = [], {"category": category, "limit": 2}
    while True:
        page = anyone.get("/markets", params=parameters).json()
        found += [row["market_id"] for row in page["results"]]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    assert found == made[::-1]


@pytest.mark.parametrize(
    "parameters",
    [
        {"status": "nonsense"}, {"ordering": "x"}, {"limit": "0"}, {"limit": "501"}, {"limit": "1.5"}, {"limit": "٣"},
        {"cursor": "x"}, {"cursor": ""}, {"q": "a\0b"}, {"category": "\0"}, {"min_as_of": "x"}, {"unknown": "1"},
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(anyone: httpx.Client, parameters: dict[str, str]) -> None:
    assert code_of(anyone.get("/markets", params=parameters)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"outcomes": ["Yes"]}, {"outcomes": ["Yes", "YES"]}, {"outcomes": ["Yes", 1]}, {"outcomes": "Yes,No"},
        {"outcomes": ["Yes", "volume"]}, {"outcomes": ["a" * 101, "b"]}, {"outcomes": None},
        {"outcomes": [str(n) for n in range(51)]}, {"outcomes": {"Yes": 1, "No": 2}},
        {"question": "short"}, {"question": 5}, {"question": "x" * 501}, {"question": "Two\nlines are here?"},
        {"closes_at": "2020-01-01T00:00:00Z"}, {"closes_at": "tomorrow"}, {"closes_at": "2040-01-01"},
        {"closes_at": "2040-01-01T00:00:00"}, {"closes_at": "9999-12-31T23:59:59-14:00"}, {"closes_at": 5},
        {"closes_at": "2040-02-30T00:00:00Z"}, {"opens_at": "2041-01-01T00:00:00Z"},
        {"tick": "0.0003"}, {"tick": "0"}, {"tick": "1.0000"}, {"tick": True}, {"tick": None},
        {"taker_fee": "1.0001"}, {"taker_fee": "-0.01"}, {"maker_fee": "0.00001"}, {"maker_fee": "\u0660.01"},
        {"category": ""}, {"category": "x" * 51}, {"resolution_criteria": ""}, {"resolution_criteria": None},
        {"description": ["x"]}, {"slug": "my-own"}, {"market_id": "x"},
    ],
)  # fmt: skip
def test_malformed_market_is_refused_and_nothing_is_made(
    anyone: httpx.Client, staff: httpx.Client, changes: dict[str, Any]
) -> None:
    before = anyone.get("/markets", params={"limit": 1}).json()["results"]
    answer = staff.post("/markets", json=body(**changes))
    assert code_of(answer) == (400, "invalid_request")
    assert set(answer.json()["errors"]) & {each.split(".")[0] for each in changes} or "outcomes" in changes
    assert anyone.get("/markets", params={"limit": 1}).json()["results"] == before


def test_control_characters_and_nul_are_refused(staff: httpx.Client) -> None:
    for text in ("with a \\u0000 inside it", "with a \\u001b[31m inside"):
        raw = '{"question": "' + text + '"}'
        answer = staff.post("/markets", content=raw, headers={"Content-Type": "application/json"})
        assert code_of(answer) == (400, "invalid_request")


def test_lifecycle_is_for_staff_alone(anyone: httpx.Client, exchange: RunningExchange, make: Any) -> None:
    market = make()["slug"]
    trader = exchange.new_trader(cash="1.0000")
    calls = [
        ("/markets", body()), (f"/markets/{market}/suspend", {}), (f"/markets/{market}/resume", {}),
        (f"/markets/{market}/resolve", {"outcome": "Yes", "evidence": "x"}),
        (f"/markets/{market}/void", {"evidence": "x"}),
    ]  # fmt: skip
    for path, content in calls:
        assert code_of(anyone.post(path, json=content)) == (401, "not_authenticated")
        assert code_of(anyone.post(path, json=content, headers=trader.headers)) == (403, "permission_denied")


def test_suspended_market_refuses_orders_until_it_is_resumed(
    exchange: RunningExchange, staff: httpx.Client, make: Any
) -> None:
    market = make()
    trader = exchange.new_trader()
    order = {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 1}
    path = f"{exchange.http}/api/v1/markets/{market['market_id']}/orders"
    suspended = staff.post(f"/markets/{market['slug']}/suspend", json={"reason": "a look"})
    assert (suspended.status_code, suspended.json()["status"]) == (200, "suspended")
    assert code_of(httpx.post(path, json=order, headers=trader.headers)) == (422, "market_not_open")
    assert code_of(staff.post(f"/markets/{market['slug']}/suspend", json={})) == (422, "market_not_open")
    resumed = staff.post(f"/markets/{market['slug']}/resume", json={})
    assert (resumed.status_code, resumed.json()["status"]) == (200, "open")
    assert httpx.post(path, json=order, headers=trader.headers).status_code == 201


@pytest.mark.parametrize(
    "resolution",
    [
        {}, {"outcome": "Yes"}, {"evidence": "x"}, {"outcome": "Maybe", "evidence": "x"},
        {"outcome": "Yes", "payouts": {"Yes": "1"}, "evidence": "x"}, {"payouts": {}, "evidence": "x"},
        {"payouts": {"Yes": "0.5000", "No": "0.4999"}, "evidence": "x"}, {"payouts": {"Yes": 1.5}, "evidence": "x"},
        {"payouts": {"Maybe": "1"}, "evidence": "x"}, {"payouts": [1, 0], "evidence": "x"},
        {"outcome": "Yes", "evidence": "x", "force": True}, {"outcome": True, "evidence": "x"},
    ],
)  # fmt: skip
def test_malformed_resolution_is_refused(staff: httpx.Client, make: Any, resolution: dict[str, Any]) -> None:
    market = make()
    assert code_of(staff.post(f"/markets/{market['slug']}/resolve", json=resolution)) == (
        400,
        "invalid_request",
    )
    assert staff.get(f"/markets/{market['slug']}").json()["status"] == "open"


def settled(client: httpx.Client, settlement_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        answer = client.get(f"/settlements/{settlement_id}")
        assert answer.status_code == 200, answer.text
        if answer.json()["status"] == "done":
            return answer.json()
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("resolution", "outcome", "payouts", "cash"),
    [
        ({"outcome": "Yes"}, "Yes", ["1.0000", "0.0000"], ("160.0000", "40.0000")),
        ({"payouts": {"Yes": "0.5000", "No": "0.5000"}}, None, ["0.5000", "0.5000"], ("110.0000", "90.0000")),
    ],
    ids=["winner", "tie"],
)  # fmt: skip
def test_resolved_market_pays_and_says_how_it_ended(
    anyone: httpx.Client, exchange: RunningExchange, staff: httpx.Client, make: Any,
    resolution: Any, outcome: Any, payouts: Any, cash: Any,
) -> None:  # fmt: skip
    market = make()
    buyer, seller = exchange.new_trader("100.0000"), exchange.new_trader("100.0000")
    for trader, side in ((seller, "sell"), (buyer, "buy")):
        order = {"outcome": "Yes", "side": side, "price": "0.4000", "quantity": 100}
        placed = anyone.post(f"/markets/{market['slug']}/orders", json=order, headers=trader.headers)
        assert placed.status_code == 201, placed.text
    answer = staff.post(f"/markets/{market['slug']}/resolve", json={**resolution, "evidence": "As seen."})
    assert answer.status_code == 202, answer.text
    done = settled(anyone, answer.json()["settlement_id"])
    assert (done["accounts_paid"], done["paid"], done["collateral"]) == (
        done["accounts_total"],
        "100.0000",
        "100.0000",
    )
    read = anyone.get(f"/markets/{market['slug']}").json()
    assert (read["status"], read["resolution"]["outcome"], list(read["resolution"]["payouts"].values())) == (
        "resolved", outcome, payouts,
    )  # fmt: skip
    assert (read["trade_count"], read["trader_count"], read["volume"], read["volume_24h"]) == (
        1,
        2,
        "40.0000",
        "40.0000",
    )
    held = [anyone.get("/account", headers=trader.headers).json()["cash"] for trader in (buyer, seller)]
    assert tuple(held) == cash
    again = staff.post(
        f"/markets/{market['slug']}/resolve", json={"outcome": "No", "evidence": "Changed my mind."}
    )
    assert code_of(again) == (422, "market_not_open")


def test_voided_market_gives_back_what_was_paid_in(
    anyone: httpx.Client, exchange: RunningExchange, staff: httpx.Client, make: Any
) -> None:
    market = make(taker_fee="0.0700")
    traders = [exchange.new_trader("100.0000") for _ in range(2)]
    for trader, side in zip(traders, ("sell", "buy"), strict=True):
        order = {"outcome": "Yes", "side": side, "price": "0.4000", "quantity": 100}
        anyone.post(f"/markets/{market['slug']}/orders", json=order, headers=trader.headers)
    answer = staff.post(f"/markets/{market['slug']}/void", json={"evidence": "Asked by mistake."})
    assert answer.status_code == 202, answer.text
    settled(anyone, answer.json()["settlement_id"])
    assert anyone.get(f"/markets/{market['slug']}").json()["resolution"]["kind"] == "void"
    for trader in traders:
        assert anyone.get("/account", headers=trader.headers).json()["cash"] == "100.0000"


@pytest.mark.parametrize(
    "path", ["/markets/none", "/markets/01890a5d-ac96-774b-bcce-b302099a8057", "/settlements/x"]
)
def test_what_is_not_there_is_not_found(anyone: httpx.Client, path: str) -> None:
    assert code_of(anyone.get(path)) == (404, "not_found")


@pytest.mark.slow
def test_demo_is_seeded_once(exchange: RunningExchange, anyone: httpx.Client) -> None:
    from markets.demo import demo_markets

    count = len(demo_markets())
    assert f"{count} of {count} demo markets created" in exchange.manage("seed_demo").stdout
    assert f"0 of {count} demo markets created" in exchange.manage("seed_demo").stdout
    asked = demo_markets()[0].question
    found = anyone.get("/markets", params={"q": f'"{asked}"'}).json()["results"]
    assert [row["question"] for row in found] == [asked]
