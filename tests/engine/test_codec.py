"""Stored names and fields of events and commands: fixed, versioned, and the same after JSON and msgpack."""

import json
from typing import get_args

import msgspec
import pytest

from tests.engine.sayings import (
    amend,
    amended,
    approve,
    cancel,
    cancel_all,
    cancelled,
    close,
    closed,
    create,
    created,
    dispute,
    expire,
    expired,
    fenced,
    leg,
    matched,
    opened,
    place,
    placed,
    propose,
    refused,
    rejected,
    resolve,
    resolved,
    resume,
    reverse,
    settle,
    suspend,
    sweep,
    void,
    voided,
    withdraw,
)
from trading.engine import codec
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.eventlog.codec import canonical_json

ORDER = place("o", "ann", "buy", 3, 6000, client="mine")
EVERYTHING = place(
    "o", "ann", "buy", 3, 6000, client="mine", stp="cancel_both", by="key", post_only=True, reduce_only=True,
    on_suspend="cancel", expires_us=9, valid_until_us=8, max_cost=7,
)  # fmt: skip
EVENTS: list[ev.Event] = [
    created(create(outcomes=("A", "B", "C"), tick=100, taker=700, maker=250, opens_us=1), at_us=1),
    ev.MarketOpened(),
    ev.MarketSuspended(reason="news"),
    ev.MarketSuspended(reason="news", code="news"),
    ev.MarketResumed(),
    ev.MarketResumed(phase="post_only", until_us=9),
    ev.ResolutionProposed(approvals=1, by="user:1", evidence="seen", resolution="r", window_us=5),
    ev.ResolutionProposed(approvals=0, by="user:1", evidence="seen", payouts=(4_000, 6_000), resolution="r",
                          until_us=9, window_us=5),
    ev.ResolutionApproved(by="user:2", resolution="r"),
    ev.ResolutionApproved(by="user:2", resolution="r", until_us=9),
    ev.ResolutionDisputed(account="ann", reason="not so", resolution="r"),
    ev.ResolutionWithdrawn(by="user:1", reason="early", resolution="r", status="suspended"),
    ev.ReversalRequested(approvals=1, by="user:1", evidence="wrong"),
    ev.ResolutionReversed(by="user:2", evidence="wrong", reverses="r", settlement="u", sets=4),
    closed("time"),
    closed("resolution", 10_000, 0),
    resolved(2_500, 7_500, sets=4, fees=5),
    voided(sets=4, fees=5),
    placed(ORDER, reserved=18_000),
    placed(EVERYTHING, reserved=18_000, covered=1, quantity=2),
    rejected(ORDER, "off_tick"),
    rejected(EVERYTHING, "reduce_only"),
    matched("t", "buy", 3, 6000,
        leg("a", "bob", "maker", "buy", 3, 4000, outcome=1, cash=0, reserved=0),
        leg("o", "ann", "taker", "buy", 3, 6000, cash=0, reserved=0, fee=1, delivered=1, netted=1)),
    cancelled("o", "ann", "by_owner", 3, cash=18_000, released=1, netted=1),
    expired("o", "ann", 3, cash=18_000),
    amended("o", "ann", 2, 6000, cash=6_000, reserved=12_000),
    amended("o", "ann", 2, 6000, cash=6_000, reserved=12_000, covered=1, netted=1, requeued=True),
    fenced("ann", "f"),
    fenced("ann", "f", outcome=1, side="buy", by="key"),
    refused(None, "suspend", None, "market_not_open"),
    opened("ann"),
]  # fmt: skip
COMMANDS: list[cmd.Command] = [
    ORDER, EVERYTHING, cancel("ann", "o"), amend("ann", client="mine", by=1), amend("ann", "o", price=5),
    cancel_all("ann", side="buy"), cancel_all("ann", by="key", fence="f", until_us=3, reason="heartbeat"),
    create(outcomes=("A", "B", "C")), cmd.OpenMarket("m"), suspend(), resume(), close(), resolve(2_500, 7_500),
    void(), resume("post_only", 7), propose(), propose(4_000, 6_000, window_us=5), approve("bea"), dispute("ann"),
    withdraw(), settle(), reverse("bea", approvals=1, reverses="r"), sweep(), expire(),
]  # fmt: skip
# Stored for ever: a name may be added, none may change or go.
EVENT_FIELDS = {
    "market_created/1": "category closes_us created_us maker_fee_e4 market opens_us outcomes question "
    "taker_fee_e4 tick",
    "market_opened/1": "",
    "market_suspended/1": "code reason",
    "market_resumed/1": "phase until_us",
    "market_closed/1": "evidence payouts reason settlement",
    "market_resolved/1": "evidence fees payouts sets settlement",
    "market_voided/1": "evidence fees sets settlement",
    "resolution_proposed/1": "approvals by evidence payouts resolution until_us window_us",
    "resolution_approved/1": "by resolution until_us",
    "resolution_disputed/1": "account reason resolution",
    "resolution_withdrawn/1": "by reason resolution status",
    "reversal_requested/1": "approvals by evidence",
    "resolution_reversed/1": "by evidence reverses sets settlement",
    "order_placed/1": "account by cash client_order_id covered expires_us max_cost on_suspend order outcome "
    "post_only price quantity reduce_only reserved side stp tif type",
    "order_rejected/1": "account by client_order_id expires_us max_cost on_suspend order outcome post_only price "
    "quantity reason reduce_only side stp tif type",
    "order_matched/1": "legs outcome price quantity taker_side trade",
    "order_cancelled/1": "account cash netted order quantity reason released",
    "order_expired/1": "account cash netted order quantity released",
    "order_amended/1": "account cash covered netted order price quantity requeued reserved",
    "cancel_all_fence/1": "account by fence outcome side",
    "command_refused/1": "account command order reason",
    "position_opened/1": "account",
}
LEG_FIELDS = "account cash delivered fee netted order outcome price quantity reserved role side"
COMMAND_FIELDS = {
    "place": "market_id account_id order_id outcome side order_type price_pips quantity_shares time_in_force "
    "self_trade_prevention client_order_id by post_only reduce_only on_suspend expires_us valid_until_us "
    "max_cost_pips",
    "cancel": "market_id account_id order_id client_order_id",
    "amend": "market_id account_id order_id client_order_id quantity_shares reduce_by_shares price_pips",
    "cancel_orders": "market_id account_id outcome side by reason fence placed_until_us",
}


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


def tag_of(kind: type) -> str:
    return str(kind.__struct_config__.tag)


def test_every_event_and_command_has_a_name_of_its_own() -> None:
    assert set(codec.EVENT_NAMES) == set(get_args(ev.Event)) == {type(event) for event in EVENTS}
    assert len(set(codec.EVENT_NAMES.values())) == len(codec.EVENT_NAMES)
    kinds = set(get_args(cmd.Command))
    assert kinds == {type(command) for command in COMMANDS}
    assert len({tag_of(kind) for kind in kinds}) == len(kinds)


def test_stored_names_and_fields_are_what_they_always_were() -> None:
    assert set(EVENT_FIELDS) == set(codec.EVENT_TYPES)
    for name, fields in EVENT_FIELDS.items():
        assert " ".join(codec.EVENT_TYPES[name].__struct_fields__) == fields
    assert " ".join(ev.Leg.__struct_fields__) == LEG_FIELDS


def test_fields_of_recorded_commands_keep_their_places() -> None:
    kinds = {tag_of(kind): kind for kind in get_args(cmd.Command)}
    for tag, fields in COMMAND_FIELDS.items():
        assert " ".join(kinds[tag].__struct_fields__) == fields


def test_a_command_recorded_before_a_field_was_added_is_still_read() -> None:
    old = ["place", "m", "ann", "o", 0, "buy", "limit", 6000, 3, "GTC"]
    assert codec.command_from(old) == place("o", "ann", "buy", 3, 6000)


@pytest.mark.parametrize("name", ["order_placed", "order_placed/2", "OrderPlaced", ""])
def test_an_event_name_that_is_not_known_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        codec.event_from(name, {})


def test_an_event_with_a_field_missing_or_too_many_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        codec.event_from("position_opened/1", {})
    with pytest.raises(msgspec.ValidationError):
        codec.event_from("position_opened/1", {"account": "ann", "cash": 1})
