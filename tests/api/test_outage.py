"""A database that does not answer is 503 at every door, and 504 for what may have been done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django.db
import psycopg
import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.test import Client
from psycopg_pool import PoolTimeout

from accounts import authentication
from accounts.keys import make_key
from tests.api.test_throttled import CALLER, ORDER_ID, Bucket, NoGateway, ask
from trading import orders
from trading.api.errors import as_exchange_error
from trading.engine.commands import CancelOrders
from trading.errors import ExchangeError, OutcomeUnknown, ReadLag
from trading.ids import new_id
from trading.live.desk import Desk
from trading.market_terms import MarketTerms
from trading.orders import Caller
from trading.outage import atomic, unexpected
from trading.wire import Envelope, Outcome

OUTAGES = [
    django.db.OperationalError("the connection is lost"),
    django.db.InterfaceError("connection already closed"),
    psycopg.OperationalError("server closed the connection unexpectedly"),
    PoolTimeout("couldn't get a connection after 10.00 sec"),
]
TERMS = MarketTerms(new_id(), ("Yes", "No"), 100, 0, 0, 2**60)
CALLED = Caller(CALLER, "r")
PLACE = {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 1, "client_order_id": "c"}


def failing(error: Exception) -> Any:
    def fail(*args: Any, **named: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__module__)
async def test_fast_lane_says_when_to_come_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "terms", staticmethod(failing(error)))
    status, headers, problem = await ask(Bucket(1), "POST", "/markets/m/orders", PLACE)
    assert (status, problem["code"], headers["retry-after"]) == (503, "overloaded", "1")


@pytest.mark.parametrize("path", ["/api/v1/account", "/api/v1/orders/batch"])
def test_drf_lane_says_so_where_the_key_cannot_be_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "find_keys", failing(OUTAGES[0]))
    client = Client(raise_request_exception=False)
    headers = {"Authorization": f"Bearer {make_key().secret}"}
    for response in (client.get(path, headers=headers), client.post(path, headers=headers)):
        assert (response.status_code, response.json()["code"]) == (503, "overloaded")
        assert response["Retry-After"] == "1"
        assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__module__)
def test_outage_that_middleware_meets_is_told_to_programs_and_people(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionMiddleware, "process_request", failing(error))
    client = Client(raise_request_exception=False)
    asked, ordered = client.get("/api/v1/account"), client.post("/api/v1/markets/m/orders", PLACE)
    assert (asked.status_code, asked.json()["code"], asked["Retry-After"]) == (503, "overloaded", "1")
    # Middleware also runs after the order.
    assert (ordered.status_code, ordered.json()["code"]) == (504, "outcome_unknown")
    page = client.get("/portfolio")
    assert page.status_code == 503
    assert b"cannot reach its database" in page.content
    monkeypatch.setattr(SessionMiddleware, "process_request", failing(KeyError("x")))
    assert client.get("/portfolio").status_code == 500


def test_bug_is_a_bug_still() -> None:
    for error in (KeyError("x"), django.db.IntegrityError("x"), django.db.ProgrammingError("x")):
        assert as_exchange_error(error) is None
        assert unexpected(error, "a test").status == 500


@pytest.mark.parametrize("error", [*OUTAGES, ReadLag()], ids=lambda error: type(error).__name__)
def test_repeated_order_that_cannot_be_read_is_in_doubt(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "find_order", failing(error))
    envelope = orders.place(CALLED, TERMS, PLACE)
    repeated = Outcome(envelope.command_id, "repeat", 3, 7, [ORDER_ID, TERMS.market_id, True, None])
    with pytest.raises(OutcomeUnknown) as raised:
        orders.looked_up(envelope, repeated, TERMS)
    assert raised.value.members == {"order_id": ORDER_ID}


async def test_batch_answers_each_of_its_items_when_one_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orders, "find_order", failing(OUTAGES[0]))

    class OneRepeats(NoGateway):
        async def send(self, envelopes: list[Envelope]) -> list[Any]:
            first, second = envelopes
            return [
                Outcome(first.command_id, "repeat", 3, 7, [ORDER_ID, TERMS.market_id, True, None]),
                Outcome(second.command_id, "count", 3, 8, 2),
            ]

    command = CancelOrders(TERMS.market_id, CALLER.account_id, None, None, fence=new_id())
    sent: list[orders.Prepared | ExchangeError] = [
        orders.Prepared(orders.place(CALLED, TERMS, PLACE), TERMS),
        orders.Prepared(orders.sealed(CALLED, command, new_id(), None), TERMS),
    ]
    answer = await Desk(OneRepeats()).batch(sent)  # type: ignore[arg-type]
    first, second = answer.body["results"]
    assert (first["status"], first["code"], first["order_id"]) == (504, "outcome_unknown", ORDER_ID)
    assert second["status"] == 200


def test_commit_without_an_answer_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def lost_at_the_commit() -> Iterator[None]:
        yield
        raise OUTAGES[0]

    monkeypatch.setattr("trading.outage.transaction.atomic", lost_at_the_commit)
    with pytest.raises(OutcomeUnknown), atomic():
        pass
    with pytest.raises(django.db.InterfaceError), atomic():
        raise OUTAGES[1]
