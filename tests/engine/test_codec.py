"""Stored names and fields of events and commands: fixed, versioned, and the same after JSON and msgpack."""

import json
from typing import get_args

import msgspec
import pytest

from tests.engine.sayings import (
    amend,
    amended,
    cancel,
    cancel_all,
    cancelled,
    close,
    create,
    leg,
    matched,
    opened,
    place,
    placed,
    refused,
    rejected,
    resolve,
    resume,
    suspend,
    sweep,
    void,
)
from trading.engine import codec
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.eventlog.codec import canonical_json

ORDER = place("o", "ann", "buy", 3, 6000, client="mine")
EVENTS: list[ev.Event] = [
    ev.MarketCreated("m", "Will it?", ("Yes", "No"), "tests", 100, 700, 250, None, 2, 1),
    ev.MarketOpened(),
    ev.MarketSuspended("news"),
    ev.MarketResumed(),
    ev.MarketClosed("time", None, None, ""),
    ev.MarketClosed("resolution", (10_000, 0), "s", "seen"),
    ev.MarketResolved((2_500, 7_500), "s", "seen", 4, 5),
    ev.MarketVoided("s", "unclear", 4, 5),
    placed(ORDER, reserved=18_000),
    rejected(ORDER, "off_tick"),
    matched("t", "buy", 3, 6000,
        leg("a", "bob", "maker", "buy", 3, 4000, outcome=1, cash=0, reserved=0),
        leg("o", "ann", "taker", "buy", 3, 6000, cash=0, reserved=0, fee=1, delivered=1, netted=1)),
    cancelled("o", "ann", "by_owner", 3, cash=18_000),
    amended("o", "ann", 2, cash=6_000, reserved=12_000),
    refused(None, "suspend", None, "market_not_open"),
    opened("ann"),
]  # fmt: skip
COMMANDS: list[cmd.Command] = [
    ORDER, cancel("ann", "o"), amend("ann", client="mine", by=1), cancel_all("ann", side="buy"),
    create(outcomes=("A", "B", "C")), cmd.OpenMarket("m"), suspend(), resume(), close(), resolve(2_500, 7_500),
    void(), sweep(),
]  # fmt: skip
# Stored for ever: a name may be added, none may change or go.
EVENT_FIELDS = {
    "market_created/1": "market question outcomes category tick taker_fee_e4 maker_fee_e4 opens_us closes_us "
    "created_us",
    "market_opened/1": "",
    "market_suspended/1": "reason",
    "market_resumed/1": "",
    "market_closed/1": "reason payouts settlement evidence",
    "market_resolved/1": "payouts settlement evidence sets fees",
    "market_voided/1": "settlement evidence sets fees",
    "order_placed/1": "order account client_order_id outcome side type price quantity tif stp covered reserved cash",
    "order_rejected/1": "order account client_order_id outcome side type price quantity tif reason",
    "order_matched/1": "trade outcome price quantity taker_side legs",
    "order_cancelled/1": "order account reason quantity released netted cash",
    "order_amended/1": "order account quantity released netted cash reserved",
    "command_refused/1": "account command order reason",
    "position_opened/1": "account",
}
LEG_FIELDS = "order account role outcome side price quantity fee delivered netted cash reserved"


def name_of(thing: ev.Event | cmd.Command) -> str:
    return type(thing).__name__


@pytest.mark.parametrize("event", EVENTS, ids=name_of)
def test_an_event_is_the_same_after_json(event: ev.Event) -> None:
    stored = json.loads(json.dumps(codec.event_data(event)))
    back = codec.event_from(codec.EVENT_NAMES[type(event)], stored)
    assert (type(back), back) == (type(event), event)
    assert codec.event_data(back) == codec.event_data(event)


@pytest.mark.parametrize("event", EVENTS, ids=name_of)
def test_an_event_is_stored_as_canonical_json(event: ev.Event) -> None:
    assert codec.event_json(event) == canonical_json(codec.event_data(event))


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_command_is_the_same_after_msgpack_and_json(command: cmd.Command) -> None:
    data = codec.command_data(command)
    for back in (json.loads(json.dumps(data)), msgspec.msgpack.decode(msgspec.msgpack.encode(data))):
        again = codec.command_from(back)
        assert (type(again), again) == (type(command), command)


def test_every_event_and_command_has_a_name_of_its_own() -> None:
    assert set(codec.EVENT_NAMES) == set(get_args(ev.Event)) == {type(event) for event in EVENTS}
    assert set(codec.COMMAND_NAMES) == set(get_args(cmd.Command)) == {type(command) for command in COMMANDS}
    assert len(set(codec.EVENT_NAMES.values())) == len(codec.EVENT_NAMES)
    assert len(set(codec.COMMAND_NAMES.values())) == len(codec.COMMAND_NAMES)


def test_stored_names_and_fields_are_what_they_always_were() -> None:
    for name, fields in EVENT_FIELDS.items():
        assert " ".join(codec.EVENT_TYPES[name]._fields) == fields
    assert " ".join(ev.Leg._fields) == LEG_FIELDS


@pytest.mark.parametrize("name", ["order_placed", "order_placed/2", "OrderPlaced", ""])
def test_an_event_name_that_is_not_known_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        codec.event_from(name, {})


def test_an_event_with_a_field_missing_or_too_many_is_an_error() -> None:
    with pytest.raises(TypeError):
        codec.event_from("position_opened/1", {})
    with pytest.raises(TypeError):
        codec.event_from("position_opened/1", {"account": "ann", "cash": 1})
