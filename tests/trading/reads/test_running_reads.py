"""The read side of a running exchange: it keeps up, agrees with the answers, and with a replay of the log."""

import random
import signal
import threading
import time

import httpx
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(exchange):
    with httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30) as client:
        yield client


def new_market(api, exchange, outcomes):
    body = {
        "question": "Will the read side agree with the log?", "resolution_criteria": "It does.", "category": "tests",
        "outcomes": outcomes, "closes_at": "2060-01-01T00:00:00Z", "taker_fee": "0.0200",
    }  # fmt: skip
    made = api.post("/markets", json=body, headers=exchange.staff_headers())
    assert made.status_code == 201, made.text
    return made.json()["market_id"]


def trade(api, traders, market_id, outcomes, seed):
    """Random batches; answers every order's id with its last answered state."""
    chance, orders = random.Random(seed), {}
    for _ in range(6):
        trader = chance.choice(traders)
        batch = [
            {
                "market_id": market_id, "outcome": chance.choice(outcomes), "side": chance.choice(("buy", "sell")),
                "price": f"0.{chance.randrange(40, 60)}00", "quantity": chance.randrange(1, 50),
            }
            for _ in range(50)
        ]  # fmt: skip
        answer = api.post("/orders/batch", json={"orders": batch}, headers=trader.headers)
        assert answer.status_code == 200, answer.text
        for item in answer.json()["results"]:
            if item["status"] == 201:
                orders[item["order"]["order_id"]] = (trader, item["order"])
    return orders


def all_pages(api, path, trader, **query):
    rows, cursor = [], {}
    while True:
        page = api.get(path, params={**query, **cursor, "limit": 100}, headers=trader.headers)
        assert page.status_code == 200, page.text
        rows += page.json()["results"]
        if page.json()["next"] is None:
            return rows
        cursor = {"cursor": page.json()["next"]}


def settled(api, exchange, market_id, how, body):
    """Ends a market and waits until everybody has been paid."""
    answer = api.post(f"/markets/{market_id}/{how}", json=body, headers=exchange.staff_headers())
    assert answer.status_code == 202, answer.text
    path, deadline = f"/settlements/{answer.json()['settlement_id']}", time.monotonic() + 60
    while time.monotonic() < deadline:
        found = api.get(path, headers=exchange.staff_headers())
        if found.status_code == 200 and found.json()["status"] in ("done", "failed"):
            return found.json()
        time.sleep(0.1)
    raise AssertionError(
        f"the settlement did not end: {found.text}\n{exchange.log('settlement')}\n{exchange.log('projector')}"
    )


def test_reads_follow_trading_settlement_and_a_replay(exchange, api):
    traders = [exchange.new_trader() for _ in range(3)]
    names = (["Yes", "No"], ["Red", "Green", "Blue"])
    markets = [new_market(api, exchange, outcomes) for outcomes in names]
    for seed, (market_id, outcomes) in enumerate(zip(markets, names, strict=True)):
        orders = trade(api, traders, market_id, outcomes, seed)
        assert orders
        # Every order's last answer is a lower bound of what the read model shows once it is as far.
        newest = max(
            (order["as_of"] for _, order in orders.values()), key=lambda token: int(token.split("-")[1])
        )
        for trader in traders:
            query = {"status": "all", "market_id": market_id, "min_as_of": newest}
            shown = {row["order_id"]: row for row in all_pages(api, "/portfolio/orders", trader, **query)}
            own = {order_id: order for order_id, (owner, order) in orders.items() if owner is trader}
            assert shown.keys() == own.keys()
            for order_id, order in own.items():
                assert shown[order_id]["filled"] >= order["filled"]
                assert shown[order_id]["filled"] == sum(fill["quantity"] for fill in shown[order_id]["fills"])
    exchange.manage("reconcile")
    book = api.get(f"/markets/{markets[0]}/orderbook", params={"depth": 500}).json()
    levels = [*book["bids"], *book["asks"]]
    open_quantity = sum(
        row["remaining"]
        for trader in traders
        for row in all_pages(api, "/portfolio/orders", trader, market_id=markets[0])
    )
    assert sum(quantity for _, quantity in levels) == open_quantity

    resolved = settled(api, exchange, markets[0], "resolve", {"outcome": "Yes", "evidence": "seen"})
    assert (resolved["status"], resolved["paid"]) == ("done", resolved["collateral"])
    voided = settled(api, exchange, markets[1], "void", {"evidence": "a mistake"})
    assert voided["status"] == "done"
    exchange.manage("reconcile")
    exchange.manage("verify_log")
    exchange.manage("rebuild_projections", "--check")
    exchange.manage("rebuild_projections")
    exchange.manage("reconcile")
    for trader in traders:
        assert all_pages(api, "/portfolio/positions", trader) == []
        account = api.get("/account", headers=trader.headers).json()
        portfolio = api.get("/portfolio", headers=trader.headers).json()
        assert account["equity"] == portfolio["equity"] == account["cash"]
        shown = {row["market_id"]: row for row in all_pages(api, "/portfolio/settlements", trader)}
        assert {row["status"] for row in shown.values()} == {"done"}


def test_a_killed_projector_takes_up_where_it_was(exchange, api):
    traders = [exchange.new_trader() for _ in range(2)]
    market_id = new_market(api, exchange, ["Yes", "No"])
    for seed, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
        sender = threading.Thread(target=trade, args=[api, traders, market_id, ["Yes", "No"], seed])
        sender.start()
        time.sleep(0.05 * seed)  # Each time at another moment; none of them matters.
        exchange.restart("projector", number)
        sender.join()
    exchange.manage("reconcile")
    exchange.manage("rebuild_projections", "--check")
