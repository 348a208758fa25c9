"""What stands in the command streams: twice, garbage, poison, or nothing any more because Valkey was lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ops.embedded import ValkeyServer
from tests.crash.stage import (
    CLOSES_US,
    PATIENCE_S,
    Stage,
    events,
    gateway_of,
    place,
    query,
    sealed,
    unstorable,
    view,
)
from trading.engine import commands as cmd
from trading.ids import market_slot, new_id
from trading.shard import batch as batch_module
from trading.snapshots import replay
from trading.wire import FRAME_FIELD, encode_frame

pack = msgspec.msgpack.encode


def test_frame_that_stands_twice_is_done_once(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    orders = [place(market_id, account_id, "buy", 5000, 1, client_id=new_id()) for _ in range(5)]
    for _ in range(3):
        stage.sender.send(*orders)
    stage.until_answered(*orders)
    stage.sender.send(*orders)
    stage.quiet()
    assert events(market_id).count("order_placed") == 5
    for order in orders:
        first, *others = stage.sender.outcomes[order.command_id]
        assert (first.kind, {other.kind for other in others}) == ("order", {"repeat"})


def test_command_that_stands_twice_in_one_batch_is_done_once(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    order = place(market_id, account_id, "buy", 5000, 1, client_id="mine")
    other = place(market_id, account_id, "buy", 5000, 2, client_id="mine")
    stage.sender.send(order, order, other, order)
    stage.until_answered(order, other)
    kinds = [outcome.kind for outcome in stage.sender.outcomes[order.command_id]]
    assert (sorted(kinds), view(stage.sender.outcomes[order.command_id][0]).quantity_shares) == (
        ["order", "repeat", "repeat"], 1,
    )  # fmt: skip
    assert stage.sender.outcomes[other.command_id][0].payload == [order.command_id, market_id, False, None]


def wrong_frames(stage: Stage, market_id: str, account_id: str) -> Iterator[dict[bytes, bytes]]:
    """Entries that no gateway writes."""
    good = place(market_id, account_id, "buy", 5000, 1)
    row = msgspec.to_builtins(good)
    yield {b"noop": b""}
    yield {b"x": b"y", b"z": b""}
    for frame in (
        b"", b"\xc1", b"not msgpack at all", pack([]), pack(["g"]), pack(["g", "rows"]), pack(["g", [1, 2]]),
        pack({"gateway": "g"}), pack(["g", [[]]]), pack(["g", [["only", "two"]]]), pack(["g", [[*row[:-1], []]]]),
        pack(["g", [[*row[:-1], ["explode", market_id]]]]), pack(["g", [[*row[:-1], ["place", market_id]]]]),
        pack(["g", [row[:-2]]]), pack(["g", [[*row, "more"]]]), pack(["g", []]),
    ):  # fmt: skip
        yield {FRAME_FIELD: frame}
    stray = next(each for each in iter(new_id, "") if market_slot(each) != market_slot(market_id))
    yield {FRAME_FIELD: encode_frame(stage.sender.gateway_id, [place(stray, account_id, "buy", 5000, 1)])}


def test_garbage_in_a_stream_is_passed_over(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    before = view(stage.do(place(market_id, account_id, "buy", 1000, 1)))
    for fields in wrong_frames(stage, market_id, account_id):
        stage.sender.raw(market_slot(market_id), fields)
    after = view(stage.do(place(market_id, account_id, "buy", 1000, 1)))
    assert after.seq == before.seq + 1
    assert stage.shard.failures == []


# Poison --------------------------------------------------------------------------------------------


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Orders at which the engine breaks."""
    ids: set[str] = set()
    sound = batch_module.decide

    def decide(market: Any, command: Any, **given: Any) -> Any:
        assert getattr(command, "order_id", None) not in ids, "poison"
        return sound(market, command, **given)

    monkeypatch.setattr(batch_module, "decide", decide)
    return ids


def letters() -> list[str]:
    return [str(command_id) for (command_id,) in query("SELECT payload->>'command_id' FROM dead_letter")]


def status(stage: Stage, market_id: str) -> str:
    return stage.shard.market(market_id).status


def test_poisoned_command_becomes_a_dead_letter_and_the_others_go_on(
    stage: Stage, poisoned: set[str]
) -> None:
    account_id = stage.account()
    sick, well = stage.market(), stage.market()
    before, poison, after = (place(sick, account_id, "buy", price, 1) for price in (1000, 2000, 3000))
    elsewhere = place(well, account_id, "buy", 2000, 1)
    poisoned.add(poison.command_id)
    answers = stage.do_all(before, poison, after, elsewhere)
    assert [answer.kind for answer in answers] == ["order", "failed", "refused", "order"]
    assert answers[2].payload[0] == "market_not_open"
    assert (status(stage, sick), status(stage, well)) == ("suspended", "open")
    assert letters() == [poison.command_id]
    assert view(stage.do(place(well, account_id, "buy", 2000, 1))).status == "open"
    stage.quiet()
    assert letters() == [poison.command_id]
    # Its cash and its key were given back; after a person has looked, the market goes on.
    assert query("SELECT count(*) FROM client_order WHERE key = %s", poison.key) == [(0,)]
    poisoned.clear()
    stage.do(sealed(cmd.ResumeMarket(sick)))
    assert view(stage.do(place(sick, account_id, "buy", 2000, 1))).status == "open"


def test_poison_that_its_gateway_sends_again_is_one_dead_letter(
    stage: Stage, poisoned: set[str], valkey_server: ValkeyServer
) -> None:
    account_id, sick, well = stage.account(), stage.market(), stage.market()
    poison, sound = place(sick, account_id, "buy", 2000, 1), place(well, account_id, "buy", 2000, 1)
    poisoned.add(poison.command_id)
    with gateway_of(valkey_server) as gateway, stage.running():
        kinds = [outcome.kind for outcome in gateway.send([poison, sound]) if outcome is not None]
        assert kinds in (["failed", "order"], ["failed", "repeat"])
        (later,) = gateway.send([place(well, account_id, "buy", 1000, 1)])
    assert view(later).status == "open"
    stage.quiet()
    assert letters() == [poison.command_id]
    assert events(well).count("order_placed") == 2


def test_command_that_cannot_even_be_addressed_is_passed_over(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    slot = market_slot(market_id)
    nonsense = next(name for name in map(str, range(1000)) if market_slot(name) == slot)
    wrong = [
        replace(place(market_id, account_id, "buy", 5000, 1), account_id="nobody"),
        place(nonsense, account_id, "buy", 5000, 1),
        unstorable(place(market_id, account_id, "buy", 5000, 1)),
    ]
    answers = stage.do_all(*wrong)
    assert [answer.kind for answer in answers] == ["failed"] * 3
    assert sorted(letters()) == sorted(each.command_id for each in wrong)
    assert view(stage.do(place(stage.market(), account_id, "buy", 1000, 1))).status == "open"


def test_market_whose_log_cannot_be_applied_is_halted_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, sick, well = stage.account(), stage.market(), stage.market()
    sound = replay.event_from_json

    def event_from_json(kind: str, data: Any) -> Any:
        assert sick not in data, "event 3-14 is out of order"
        return sound(kind, data)

    monkeypatch.setattr(replay, "event_from_json", event_from_json)
    stage.shard.crash()
    answers = stage.do_all(place(sick, account_id, "buy", 1000, 1), place(well, account_id, "buy", 1000, 1))
    assert [answer.kind for answer in answers] == ["failed", "order"]
    assert letters() == []
    monkeypatch.undo()
    stage.shard.crash()
    stage.shard = stage.new_shard()
    assert view(stage.do(place(sick, account_id, "buy", 1000, 1))).status == "open"


def test_market_that_cannot_be_swept_is_halted_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id, sick, well = stage.account(), stage.market(), stage.market()
    stage.do_all(*[place(sick, account_id, "buy", 1000, 1) for _ in range(490)])
    stage.do_all(*[place(sick, account_id, "buy", 1000, 1) for _ in range(490)])
    sound = batch_module.decide

    def decide(market: Any, command: Any, **given: Any) -> Any:
        assert not isinstance(command, cmd.SweepOrders), "an order without remainder is open"
        return sound(market, command, **given)

    monkeypatch.setattr(batch_module, "decide", decide)
    stage.do(sealed(cmd.CloseMarket(sick)))
    assert view(stage.do(place(well, account_id, "buy", 1000, 1))).status == "open"
    stage.quiet()
    assert len(letters()) == 1
    monkeypatch.undo()
    stage.shard.crash()
    stage.shard = stage.new_shard()
    stage.quiet()
    assert events(sick).count("order_cancelled") == 980


# A lost Valkey -------------------------------------------------------------------------------------


def book(stage: Stage, market_id: str) -> dict[str, int]:
    found: Any = stage.valkey.hgetall(f"book:{market_id}")
    return {name.decode(): int(size) for name, size in found.items()}


def test_order_that_sweeps_thousands_of_levels_leaves_none_of_them_in_valkey(stage: Stage) -> None:
    market_id, buyer, seller = new_id(), stage.account(), stage.account(100_000_000)
    stage.do(sealed(cmd.CreateMarket(market_id, "?", ("Yes", "No"), "tests", 1, 0, 0, None, CLOSES_US)))
    levels = range(1, 2501)
    for start in range(0, len(levels), 400):
        stage.do_all(*[place(market_id, buyer, "buy", price, 1) for price in levels[start : start + 400]])
    assert book(stage, market_id).keys() == {"seq", *(f"0|bid|{price}" for price in levels)}
    swept = view(stage.do(place(market_id, seller, "sell", 1, len(levels) + 7)))
    assert (swept.filled_shares, swept.remaining_shares) == (len(levels), 7)
    assert book(stage, market_id) == {"seq": swept.seq, "0|ask|1": 7}


def test_valkey_that_comes_back_empty_is_filled_before_anything_is_answered(
    stage: Stage, valkey_server: ValkeyServer
) -> None:
    market_id, quiet_id, buyer, seller = stage.market(), stage.market(), stage.account(), stage.account()
    stage.do_all(
        place(market_id, buyer, "buy", 4000, 10), place(market_id, seller, "sell", 6000, 5),
        place(quiet_id, buyer, "buy", 3000, 7),
    )  # fmt: skip
    before = book(stage, market_id)
    assert before.keys() == {"seq", "0|bid|4000", "0|ask|6000"}
    valkey_server.stop()
    valkey_server.launch()
    assert book(stage, market_id) == {}
    order = place(market_id, buyer, "buy", 4500, 1)
    with gateway_of(valkey_server) as gateway, stage.running():
        (outcome,) = gateway.send([order])
    assert outcome is not None
    assert outcome.kind in ("order", "repeat")
    assert book(stage, market_id) == {
        "seq": before["seq"] + 1,
        "0|bid|4000": 10,
        "0|bid|4500": 1,
        "0|ask|6000": 5,
    }
    assert book(stage, quiet_id)["0|bid|3000"] == 7
    assert stage.valkey.exists(f"ticker:{market_id}")
    assert events(market_id).count("order_placed") == 3


def test_orders_sent_into_a_dead_valkey_are_done_once_when_it_is_back(
    stage: Stage, valkey_server: ValkeyServer
) -> None:
    market_id, account_id = stage.market(), stage.account()
    with gateway_of(valkey_server) as gateway, stage.running(), ThreadPoolExecutor(1) as pool:
        (first,) = gateway.send([place(market_id, account_id, "buy", 1000, 1)])
        assert view(first).status == "open"
        valkey_server.stop()
        orders = [place(market_id, account_id, "buy", 2000, 1, client_id=new_id()) for _ in range(20)]
        sent = pool.submit(gateway.send, orders)
        valkey_server.launch()
        outcomes = sent.result(PATIENCE_S)
    assert {outcome.kind for outcome in outcomes if outcome is not None} <= {"order", "repeat"}
    assert None not in outcomes
    assert events(market_id).count("order_placed") == 21
