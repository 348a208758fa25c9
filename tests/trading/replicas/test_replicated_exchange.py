"""A running exchange with a replica: who answers, and that no answer is older than was promised."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.running_exchange import RunningExchange, Trader
from tests.trading.replicas.conftest import Pair, eventually

pytestmark = pytest.mark.slow

REPLICA = "replica_0"
READERS = 4


class Replicated:
    """The exchange, a market in it with a trader, and how often each server has answered."""

    def __init__(self, exchange: RunningExchange, api: httpx.Client) -> None:
        self.exchange, self.api = exchange, api
        self.trader: Trader = exchange.new_trader()
        self.market_id = self.new_market()

    def new_market(self) -> str:
        body = {
            "question": "Will the replica follow?", "resolution_criteria": "It does.", "category": "tests",
            "outcomes": ["Yes", "No"], "closes_at": "2060-01-01T00:00:00Z",
        }  # fmt: skip
        made = self.api.post("/markets", json=body, headers=self.exchange.staff_headers())
        assert made.status_code == 201, made.text
        return str(made.json()["market_id"])

    def place(self) -> dict[str, Any]:
        """An order that rests."""
        body = {"outcome": "Yes", "side": "buy", "price": "0.0100", "quantity": 1}
        path = f"/markets/{self.market_id}/orders"
        placed = self.api.post(path, json=body, headers=self.trader.headers)
        assert placed.status_code == 201, placed.text
        found: dict[str, Any] = placed.json()
        return found

    def read(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.api.get(path, params=query, headers=self.trader.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def own_orders(self, **query: str) -> list[str]:
        return [row["order_id"] for row in self.read("/portfolio/orders", limit="500", **query)["results"]]

    def answers(self, server: str) -> float:
        """How many answers the server has given."""
        figures = httpx.get(f"{self.exchange.http}/metrics", timeout=10).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(figures)
            for sample in family.samples
            if sample.name == "exchange_replica_reads_total" and sample.labels["server"] == server
        )

    def health(self) -> dict[str, Any]:
        """What one of the web processes thinks of the replica."""
        report = httpx.get(f"{self.exchange.http}/health/deep", timeout=10).json()
        found: dict[str, Any] = report["dependencies"][REPLICA]
        return found

    def wait_for_answers(self, server: str) -> None:
        """Until the server answers twenty reads in a row, so that each web process has been asked."""

        def answers_twenty() -> bool:
            before = self.answers(server)
            for _ in range(20):
                self.read("/markets")
            return self.answers(server) == before + 20

        eventually(answers_twenty, what=f"{server} to answer")


@pytest.fixture(scope="module")
def exchange(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    running = RunningExchange(tmp_path_factory.mktemp("replicated"), database_url=pair.primary.url())
    name = psycopg.conninfo.conninfo_to_dict(running.database_url)["dbname"]
    running.env["REPLICA_URLS"] = pair.replica.url(str(name))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def replicated(exchange: RunningExchange) -> Iterator[Replicated]:
    # A connection that is kept would lead to the same web process always.
    closing = {"Connection": "close"}
    with httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30, headers=closing) as api:
        yield Replicated(exchange, api)


@pytest.fixture
def paused(pair: Pair, replicated: Replicated) -> Iterator[None]:
    replicated.wait_for_answers(REPLICA)
    pair.pause()
    try:
        yield
    finally:
        pair.resume()


def test_reads_are_the_replicas_and_health_tells_its_lag(replicated: Replicated) -> None:
    replicated.place()
    replicated.wait_for_answers(REPLICA)
    health = replicated.health()
    assert health["status"] == "ok"
    assert 0 <= health["lag_s"] < 2
    market = f"/markets/{replicated.market_id}"
    lists = ("", "/positions", "/orders", "/fills", "/settlements")
    paths = [
        "/markets", market, f"{market}/trades", f"{market}/orderbook", f"{market}/price", "/events",
        *(f"/portfolio{each}" for each in lists),
    ]  # fmt: skip
    before = replicated.answers(REPLICA)
    for path in paths:
        replicated.read(path)
    assert replicated.answers(REPLICA) == before + len(paths)


def test_pages_are_the_replicas_too_and_the_account_is_the_primarys(replicated: Replicated) -> None:
    replicated.wait_for_answers(REPLICA)
    slug = replicated.read(f"/markets/{replicated.market_id}")["slug"]
    before = replicated.answers(REPLICA), replicated.answers("primary")
    for page in ("/", f"/markets/{slug}"):
        assert httpx.get(f"{replicated.exchange.http}{page}").status_code == 200
    replicated.read("/account")
    assert (replicated.answers(REPLICA), replicated.answers("primary")) == (before[0] + 2, before[1])


def test_market_that_is_too_new_for_the_replica_is_found(replicated: Replicated, paused: None) -> None:
    market_id = replicated.new_market()
    for path in ("", "/trades", "/orderbook", "/price"):
        replicated.read(f"/markets/{market_id}{path}")


def test_paused_replica_is_left_out_and_comes_back(pair: Pair, replicated: Replicated, paused: None) -> None:
    eventually(lambda: replicated.health()["status"] == "behind", what="the replica to be left out")
    assert replicated.health()["lag_s"] > 2
    replicated.wait_for_answers("primary")
    pair.resume()
    replicated.wait_for_answers(REPLICA)


def test_what_was_written_is_seen_at_once_with_require_fresh_or_min_as_of(
    pair: Pair, replicated: Replicated
) -> None:
    """The replica stands still and is believed for an hour: what does not ask for more shows the past."""
    exchange = replicated.exchange
    exchange.kill("web")
    exchange.start_process("web", REPLICA_MAX_LAG="3600")
    exchange.wait_healthy()
    replicated.wait_for_answers(REPLICA)
    pair.pause()
    try:
        for _ in range(15):
            order = replicated.place()
            assert order["order_id"] not in replicated.own_orders()
            assert order["order_id"] in replicated.own_orders(require_fresh="true")
            assert order["order_id"] in replicated.own_orders(min_as_of=order["as_of"])
            book = replicated.read(f"/markets/{replicated.market_id}/orderbook", min_as_of=order["as_of"])
            assert book["seq"] >= order["seq"]
            events = replicated.read(
                "/events", stream=replicated.market_id, min_as_of=order["as_of"], after="0"
            )
            slot, offset = order["as_of"].split("-")
            assert int(events["as_of"].removeprefix(f"{slot}-")) >= int(offset)
        assert replicated.answers("primary") > 0
        unwritten = replicated.api.get("/markets", params={"min_as_of": f"{slot}-999999999"})
        assert (unwritten.status_code, unwritten.json()["code"]) == (400, "invalid_request")
    finally:
        pair.resume()
        exchange.restart("web")


@pytest.mark.parametrize(
    ("break_it", "mend_it"), [(Pair.kill, Pair.restart), (Pair.freeze, Pair.thaw)], ids=["killed", "frozen"]
)
def test_replica_that_breaks_costs_no_read_and_comes_back(
    pair: Pair, replicated: Replicated, break_it: Callable[[Pair], None], mend_it: Callable[[Pair], None]
) -> None:
    replicated.wait_for_answers(REPLICA)
    stop = threading.Event()
    failed, served = list[tuple[int, str]](), list[int]()
    paths = ["/markets", "/portfolio/orders", f"/markets/{replicated.market_id}/trades", "/portfolio"]

    def read_on(number: int) -> None:
        with httpx.Client(base_url=replicated.api.base_url, timeout=30) as api:
            count = 0
            while not stop.is_set():
                path = paths[(number + count) % len(paths)]
                answer = api.get(path, headers=replicated.trader.headers)
                if answer.status_code != 200:
                    failed.append((answer.status_code, answer.text))
                count += 1
            served.append(count)

    readers = [threading.Thread(target=read_on, args=[number]) for number in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        before = replicated.answers(REPLICA)
        eventually(lambda: replicated.answers(REPLICA) > before + 50, what="readers to read from the replica")
        break_it(pair)
        primarys = replicated.answers("primary")
        eventually(lambda: replicated.answers("primary") > primarys + 200, what="the primary to answer")
        eventually(lambda: replicated.health()["status"] != "ok", what="health to tell")
        mend_it(pair)
        before = replicated.answers(REPLICA)
        eventually(lambda: replicated.answers(REPLICA) > before + 50, what="the replica to come back")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failed == []
    assert len(served) == READERS
    eventually(lambda: replicated.health()["status"] == "ok", what="health to tell that it is back")
