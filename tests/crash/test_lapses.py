"""Clients that were not heard of in time: what their lapses end, what they spare, and what a look at them costs."""

import uuid
from typing import Any

import pytest
from msgspec.structs import replace

from tests.crash.stage import Stage, events, place, query, refusal, view
from trading.dead_man import Lapse
from trading.engine import commands as cmd
from trading.engine.market import Market
from trading.ids import new_id
from trading.shard import lapses as lapses_module
from trading.shard import markets as markets_module
from trading.shard.lapses import Lapses
from trading.shard.markets import Markets
from trading.wire import Envelope


def let_lapse(
    account_id: str, *, by: str | None = None, reason: str = "heartbeat", ago_s: float = 0.0
) -> int:
    """A switch that lapsed some seconds ago; answers when that was, in µs."""
    ((due_us,),) = query(
        "INSERT INTO dead_man_switch (id, account_id, by, reason, due_at) "
        "VALUES (%s, %s, %s, %s, clock_timestamp() - make_interval(secs => %s)) "
        "RETURNING (extract(epoch FROM due_at) * 1000000)::bigint",
        new_id(), account_id, by, reason, ago_s,
    )  # fmt: skip
    return int(due_us)


def order_of(market_id: str, account_id: str, *, by: str = "", order_id: str | None = None) -> Envelope:
    envelope = place(market_id, account_id, "buy", 1000, 1, order_id=order_id)
    return replace(envelope, command=replace(envelope.command, by=by))


def status(market: Market, order_id: str) -> str:
    return market.orders[order_id].status if order_id in market.orders else "gone"


def id_at(moment_us: int) -> str:
    """An order id that was made then."""
    return str(uuid.UUID(int=(uuid.UUID(new_id()).int & ((1 << 80) - 1)) | (moment_us // 1000) << 80))


# Orders on their way ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "key:k"])
def test_order_that_was_sent_before_the_lapse_and_waited_for_an_engine_is_refused(
    stage: Stage, by: str | None
) -> None:
    market_id, account_id = stage.market(), stage.account()
    due_us = let_lapse(account_id, by=by, ago_s=1)
    stage.shard.crash()
    late = [
        order_of(market_id, account_id, by="key:k", order_id=id_at(due_us - ms * 1000)) for ms in (2, 1, 0)
    ]
    younger = order_of(market_id, account_id, by="key:k", order_id=id_at(due_us + 1000))
    other = order_of(market_id, account_id, by="key:other", order_id=id_at(due_us - 2000))
    answers = stage.do_all(*late, younger, other)
    assert [refusal(answer) for answer in answers[:3]] == ["cancelled_by_owner"] * 3
    assert [answer.kind for answer in answers[3:]] == ["order", "refused" if by is None else "order"]
    assert events(market_id).count("cancel_all_fence") == 1


def test_order_that_was_sent_before_the_lapse_and_matched_before_anybody_saw_it_is_cancelled(
    stage: Stage,
) -> None:
    market_id, account_id = stage.market(), stage.account()
    stage.shard.look_away()
    due_us = let_lapse(account_id, by="key:k")
    sent_before, sent_after = (
        order_of(market_id, account_id, by="key:k", order_id=id_at(due_us + after_us))
        for after_us in (-1000, 1000)
    )
    assert [view(outcome).status for outcome in stage.do_all(sent_before, sent_after)] == ["open", "open"]
    market = stage.shard.market(market_id)
    assert market.orders[sent_before.command_id].created_us > due_us
    stage.shard.look()
    stage.quiet()
    assert status(market, sent_before.command_id) == "gone"
    assert status(market, sent_after.command_id) == "open"


# What a look costs --------------------------------------------------------------------------------


class Watched(dict[str, Any]):
    """The orders of an account: whether they were walked through."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        return super().values()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Lapse], list[int]]:
    """The lapses there are, to be filled in by the test, and from when on each look has asked for them."""
    there: list[Lapse] = []
    since: list[int] = []

    def lapsed(connection: Any, *, since_us: int = 0) -> list[Lapse]:
        since.append(since_us)
        return [lapse for lapse in there if lapse.due_us >= since_us]

    monkeypatch.setattr(lapses_module, "lapsed", lapsed)
    return there, since


def test_each_look_asks_from_a_minute_before_the_last_lapse_and_anew_when_slots_have_come(
    asked: tuple[list[Lapse], list[int]],
) -> None:
    there, since = asked
    markets, lapses = Markets(connection=lambda: None, keep_alive=lambda: None), Lapses()
    day_us = 24 * 3_600_000_000
    there += [Lapse(new_id(), new_id(), None, n * day_us // 10, "heartbeat") for n in range(1, 10)]
    for slots in ([1], [1], [1], [1, 2]):
        lapses.commands(None, markets, slots)
    assert since == [0, *[9 * day_us // 10 - lapses_module.LATE_US] * 2, 0]


def test_only_orders_of_those_concerned_are_walked_through_and_those_once(
    asked: tuple[list[Lapse], list[int]],
) -> None:
    there, _ = asked
    silent = [new_id() for _ in range(50)]
    there += [Lapse(new_id(), account_id, None, 1, "heartbeat") for account_id in silent]
    market, concerned, other = Market(new_id()), Watched(), Watched()
    market.orders_of = {new_id(): other, silent[7]: concerned}
    markets, lapses = Markets(connection=lambda: None, keep_alive=lambda: None), Lapses()
    markets.loaded = {market.market_id: market}
    for _ in range(3):
        lapses.commands(None, markets, [1])
    assert (concerned.walks, other.walks) == (1, 0)


def test_cancels_of_many_lapses_are_spread_over_batches_and_commands_of_others_go_on_in_between(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markets_module, "ASKED_AT_ONCE", 2)
    market_id, other = stage.market(), stage.account()
    accounts = [stage.account() for _ in range(7)]
    orders = [order_of(market_id, account_id) for account_id in accounts]
    stage.do_all(*orders)
    for account_id in accounts:
        let_lapse(account_id)
    stage.sender.send(order := order_of(market_id, other))
    stage.shard.look()
    market = stage.shard.market(market_id)
    assert len(market.orders) == 5 + 1
    assert status(market, order.command_id) == "open"
    stage.quiet()
    assert list(market.orders) == [order.command_id]
    reasons = query(
        "SELECT data->>'reason' FROM event WHERE stream_id = %s AND type = 'order_cancelled/1'", market_id
    )
    assert reasons == [("heartbeat",)] * 7


def test_cancels_that_wait_go_with_the_slot_they_are_for() -> None:
    markets = Markets(connection=lambda: None, keep_alive=lambda: None)
    markets.ask([cmd.CancelOrders(new_id(), new_id(), None, None)])
    markets.drop(range(16))
    assert not markets.has_chores(0)
