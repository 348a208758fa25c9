"""Sockets that are watched: renewed together, settled as they end, and told if their switch has lapsed all the same."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError

from tests.trading.live.conftest import ANSWER_SECONDS, LiveServer, close_code, until
from trading import dead_man
from trading.errors import Overloaded
from trading.ids import new_id
from trading.live import disconnects
from trading.live.desk import Desk
from trading.live.disconnects import Disconnects
from trading.principal import TRADE, Principal

BOT = Principal(new_id(), 1, "k", frozenset({TRADE}), is_staff=False)


class Rows:
    """The table of switches, without a database."""

    def __init__(self) -> None:
        self.standing: set[str] = set()
        self.settled: dict[str, str] = {}
        self.renewals = 0
        self.is_down = False

    def watch_connection(self, switch_id: str, *, account_id: str, by: str | None, timeout_s: int) -> None:
        if self.is_down:
            raise OperationalError("no PostgreSQL")
        self.standing.add(switch_id)

    def renew_connections(self, switch_ids: list[str], *, timeout_s: int) -> set[str]:
        self.renewals += 1
        if self.is_down:
            raise OperationalError("no PostgreSQL")
        return self.standing & set(switch_ids)

    def forget_connection(self, switch_id: str) -> None:
        if self.is_down:
            raise OperationalError("no PostgreSQL")
        self.settled[switch_id] = "forgotten"

    def lapse_connection(self, switch_id: str) -> None:
        self.settled[switch_id] = "left to the engines"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    table = Rows()
    for name in ("watch_connection", "renew_connections", "forget_connection", "lapse_connection"):
        monkeypatch.setattr(dead_man, name, getattr(table, name))
    monkeypatch.setattr(disconnects, "RENEW_EVERY_S", 0.01)
    return table


class OneDesk:
    """A desk that cancels, does not know whether it has, or fails."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer

    async def cancel_of_the_gone(self, principal: Principal) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("answer", "then"),
    [(True, "forgotten"), (False, "left to the engines"), (OSError("no Valkey"), "left to the engines")],
)
async def test_socket_that_ended_is_settled_here_or_left_to_the_engines(rows: Rows, answer: Any, then: str):
    watch = Disconnects(OneDesk(answer))  # type: ignore[arg-type]
    switch_id = await watch.watch(BOT, nothing)
    await watch.gone(BOT, switch_id)
    assert rows.settled == {switch_id: then}


async def test_switches_are_renewed_as_long_as_there_are_any(rows: Rows):
    watch = Disconnects(OneDesk())  # type: ignore[arg-type]
    first, second = [await watch.watch(BOT, nothing) for _ in range(2)]
    await until(lambda: rows.renewals > 2)
    rows.is_down = True  # an outage is outlived
    seen = rows.renewals
    await until(lambda: rows.renewals > seen + 2)
    with pytest.raises(Overloaded):
        await watch.watch(BOT, nothing)
    rows.is_down = False
    await watch.withdraw(first)
    await watch.gone(BOT, second)
    task = watch._renewing
    assert task is not None
    await asyncio.wait_for(task, ANSWER_SECONDS)
    assert rows.settled == {first: "forgotten", second: "forgotten"}
    await watch.watch(BOT, nothing)
    seen = rows.renewals
    await until(lambda: rows.renewals > seen)


async def test_switch_that_cannot_be_withdrawn_stands_and_is_renewed(live: LiveServer, rows: Rows):
    async with live.client() as client:
        await client.ask("auth", key="pm_trader", cancel_on_disconnect=True)
        rows.is_down = True
        refused = await client.ask("auth", key="pm_trader", cancel_on_disconnect=False)
        assert refused["error"]["code"] == "overloaded"
        rows.is_down = False
        seen = rows.renewals
        await until(lambda: rows.renewals > seen + 1)
        assert (await client.ask("auth", key="pm_trader"))["cancel_on_disconnect"] is True
        assert not (await client.ask("auth", key="pm_trader", cancel_on_disconnect=False))[
            "cancel_on_disconnect"
        ]
        assert list(rows.settled.values()) == ["forgotten"]


async def test_socket_whose_switch_lapsed_is_closed_since_its_orders_are_gone(
    live: LiveServer, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    ended = []

    async def cancel(self: Desk, principal: Principal) -> bool:
        ended.append(principal)
        return True

    monkeypatch.setattr(Desk, "cancel_of_the_gone", cancel)
    async with live.client() as other, live.client() as client:
        assert (await other.ask("auth", key="pm_trader"))["cancel_on_disconnect"] is False
        assert (await client.ask("auth", key="pm_trader", cancel_on_disconnect=True))["cancel_on_disconnect"]
        await until(lambda: rows.renewals > 1)
        rows.standing.clear()
        assert await close_code(client.connection) == 1012
        await until(lambda: ended == [live.keys.trader])
        assert (await other.ask("ping"))["ok"]


async def test_what_is_in_flight_as_a_socket_ends_comes_before_its_cancel(
    live: LiveServer, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    ended = asyncio.Event()

    async def cancel(self: Desk, principal: Principal) -> bool:
        ended.set()
        return True

    async def slow(self: Desk, caller: Any, body: object) -> Any:
        await live.gateway.outcome
        raise Overloaded()

    monkeypatch.setattr(Desk, "cancel_of_the_gone", cancel)
    monkeypatch.setattr(Desk, "heartbeat", slow)
    async with live.client() as client:
        await client.ask("auth", key="pm_trader", cancel_on_disconnect=True)
        await client.connection.send('{"id": 9, "op": "heartbeat", "timeout_s": 5}')
        await client.ask("ping")
    await until(lambda: client.connection.close_code is not None)
    assert not ended.is_set()
    assert rows.settled == {}
    live.gateway.outcome.set_result("count")
    await asyncio.wait_for(ended.wait(), ANSWER_SECONDS)
    await until(lambda: list(rows.settled.values()) == ["forgotten"])
