"""Bad input: each request is answered 4xx with its code, changes nothing, and the connection goes on."""

from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.api.bot import Bot, Lane, Market, document
from tests.api.conftest import MakeMarket
from tests.api.hostile import ALL, Hostile, batch_items
from tests.running_exchange import RunningExchange, Trader

# Everything that could have changed: the markets' events, the accounts' cash, claims and what is in flight.
_STATE = """
SELECT (SELECT sum(version) FROM stream WHERE id = ANY(%(markets)s::uuid[])),
       (SELECT count(*) FROM client_order WHERE account_id = ANY(%(accounts)s::uuid[])),
       (SELECT sum(cash_pips) FROM cash_account WHERE account_id = ANY(%(accounts)s::uuid[])),
       (SELECT sum(reserved_pips) FROM cash_account WHERE account_id = ANY(%(accounts)s::uuid[])),
       (SELECT count(*) FROM batch), (SELECT count(*) FROM dead_letter)
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """What hostile requests are thrown at."""

    names: dict[str, str]
    markets: list[str]
    accounts: list[str]
    database: psycopg.Connection[Any]

    def state(self) -> tuple[int, ...]:
        row = self.database.execute(_STATE, {"markets": self.markets, "accounts": self.accounts}).fetchone()
        assert row is not None
        return tuple(int(value or 0) for value in row)


@pytest.fixture(scope="module")
def keys(exchange: RunningExchange, traders: list[Trader]) -> dict[str, str]:
    """Keys of the first trader that do not count, or not for everything."""
    made = {}
    with httpx.Client(base_url=f"{exchange.http}/api/v1", headers=traders[0].headers) as client:
        for name, scopes in (
            ("reader", ["read"]),
            ("revoked", ["read", "trade"]),
            ("expired", ["read", "trade"]),
        ):
            answer = client.post("/keys", json={"name": name, "scopes": scopes}).json()
            made[name] = answer["key"]
            if name == "revoked":
                assert client.delete(f"/keys/{answer['id']}").status_code == 204
            if name == "expired":
                with exchange.connect() as database:
                    database.execute(
                        "UPDATE accounts_apikey SET expires_at = now() - interval '1 s' WHERE id = %s",
                        [answer["id"]],
                    )
    return made


@pytest.fixture(scope="module")
def ground(
    exchange: RunningExchange,
    staff: httpx.Client,
    make_market: MakeMarket,
    alice: Bot,
    bob: Bot,
    keys: dict[str, str],
) -> Any:
    markets = {name: make_market() for name in ("open", "elsewhere", "ended", "suspended")}
    assert (
        staff.post(f"/markets/{markets['suspended'].market_id}/suspend", json={"reason": "x"}).status_code
        == 200
    )
    ending = {"outcome": "Yes", "evidence": "x"}
    assert staff.post(f"/markets/{markets['ended'].market_id}/resolve", json=ending).status_code == 202
    names = {name: market.market_id for name, market in markets.items()}
    names["own"] = alice.buy(markets["open"], "0.1000", 10)["order_id"]
    names["foreign"] = bob.buy(markets["open"], "0.1000", 10)["order_id"]
    names |= {**keys, "key": alice.trader.key, "cut": alice.trader.key[:-1]}
    alice.look(names["own"])
    with httpx.Client(base_url=f"{exchange.http}/api/v1") as client:
        accounts = [
            client.get("/account", headers=bot.trader.headers).json()["account_id"] for bot in (alice, bob)
        ]
    with exchange.connect() as database:
        yield Ground(names, [market.market_id for market in markets.values()], accounts, database)


@pytest.mark.parametrize("hostile", ALL, ids=lambda hostile: ascii(hostile.what)[1:-1])
def test_request_is_refused_and_changes_nothing(
    lane: Lane, alice: Bot, ground: Ground, hostile: Hostile
) -> None:
    before = ground.state()
    response = throw(alice, ground, hostile)
    answer = document(response)
    assert (response.status_code, answer["code"]) == hostile.answer, response.text[:500]
    assert len(response.content) < 10_000
    after = ground.state()
    if hostile.may_log:
        events, claims = after[0] - before[0], after[1] - before[1]
        assert events <= 1
        assert claims == events
        before = (*after[:2], *before[2:])
    assert after == before
    still = alice.look(ground.names["own"])
    assert (still["status"], still["remaining"]) == ("open", 10)


def test_batch_answers_each_hostile_item_as_the_single_call_would(alice: Bot, market: Market) -> None:
    cases = batch_items()
    before = alice.money()
    results = alice.batch(*[{**body, "market_id": market.market_id} for _, body in cases])
    for (hostile, _), result in zip(cases, results, strict=True):
        assert (result["status"], result["code"]) == hostile.answer, hostile.what
    assert len(cases) > 60
    assert alice.money() == before


def test_list_is_long_enough_and_repeats_nothing() -> None:
    assert len(ALL) > 200
    assert len({each.what for each in ALL}) == len(ALL)


def throw(bot: Bot, ground: Ground, hostile: Hostile) -> httpx.Response:
    """The request as it is written, over the bot's connection."""
    headers = {"Authorization": f"Bearer {bot.trader.key}"}
    if hostile.body is not None:
        headers["Content-Type"] = "application/json"
    for name, value in hostile.headers.items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = fill(value, ground.names)
    body = hostile.body
    if body is not None and b"{open}" in body:
        body = fill(body.decode(), ground.names).encode()
    url = f"{bot.lane.url}/api/v1{fill(hostile.path, ground.names)}"
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    request = httpx.Request(hostile.method, url, headers=raw, content=body)
    return bot.client.send(request)


def fill(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def test_refused_body_does_not_cost_the_connection(lane: Lane, market: Market) -> None:
    # A server that answers before it has read the body may cut the connection under the next request.
    with httpx.Client(base_url=f"{lane.url}/api/v1") as client:
        for _ in range(150):
            response = client.post(f"/markets/{market.market_id}/orders", json={"outcome": "Yes"})
            assert response.status_code == 401
