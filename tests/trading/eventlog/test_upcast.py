"""Old stored forms are read as today's, step by step; what is stored stays; what is newer is refused by name."""

import re
from pathlib import Path

import pytest
from django.db import connection

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import WrittenMarket, append, append_to_account, funded_account
from trading.engine.apply import apply
from trading.engine.codec import event_from
from trading.engine.market import Market
from trading.eventlog.read import read_creations, read_slot, read_slot_as_stored, read_slots, read_stream
from trading.eventlog.upcast import CURRENT_NAMES, UPCASTERS, UnknownVersion, stored_names, upcast
from trading.ids import account_slot, market_slot, new_id
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.reconcile import reconcile

PROJECT = Path(__file__).resolve().parents[3]


def rename(old, new):
    """What makes a field's old name its new one."""

    def change(data):
        return {new if name == old else name: value for name, value in data.items()}

    return change


@pytest.fixture
def older_forms(monkeypatch):
    """Two made-up older forms of a deposit, and one of a market's creation."""
    steps = {
        "funds_deposited/0a": ("funds_deposited/0b", rename("pips", "sum")),
        "funds_deposited/0b": (
            "funds_deposited/1",
            lambda data: rename("sum", "amount")(data) | {"repaid": 0},
        ),
        "market_created/0": ("market_created/1", rename("answers", "outcomes")),
    }
    for name, step in steps.items():
        monkeypatch.setitem(UPCASTERS, name, step)


def test_an_old_form_becomes_todays_step_by_step(older_forms):
    name, data = upcast("funds_deposited/0a", {"pips": 5, "client_id": None}, event_id="16-0")
    assert (name, data) == ("funds_deposited/1", {"amount": 5, "client_id": None, "repaid": 0})


def test_a_form_that_newer_code_has_written_is_an_error_that_names_the_event():
    with pytest.raises(
        UnknownVersion, match=r"event 3-17 is stored as order_placed/2; this code reads order_placed/1"
    ):
        upcast("order_placed/2", {}, event_id="3-17")


def test_an_old_form_without_an_upcaster_is_an_error_too():
    with pytest.raises(UnknownVersion, match="event 3-17 is stored as order_placed/0"):
        upcast("order_placed/0", {}, event_id="3-17")


def test_a_statement_can_look_for_every_form_of_an_event(older_forms):
    assert stored_names("funds_deposited/1") == [
        "funds_deposited/1",
        "funds_deposited/0b",
        "funds_deposited/0a",
    ]


def test_upcasters_lead_to_todays_names_and_change_none_of_them():
    for old in UPCASTERS:
        assert old not in CURRENT_NAMES
        name = old
        for _ in UPCASTERS:
            name = UPCASTERS[name][0] if name in UPCASTERS else name
        assert name in CURRENT_NAMES, f"{old} leads to {name}, which nobody reads"


def test_readers_name_no_form_but_todays():
    """When a form changes, its name changes wherever code waits for it."""
    kinds = {name.partition("/")[0] for name in CURRENT_NAMES}
    for folder in ("trading", "accounts", "markets", "ops"):
        for path in (PROJECT / folder).rglob("*.py"):
            if path.name == "upcast.py":
                continue
            for name in re.findall(r"[\"']([a-z_]+/\d+)[\"']", path.read_text()):
                assert name in CURRENT_NAMES or name.partition("/")[0] not in kinds, f"{path}: {name}"


pytest_db = pytest.mark.django_db(transaction=True, available_apps=["trading"])


@pytest_db
def test_every_reader_takes_the_old_form_and_the_log_keeps_it(older_forms):
    from django.core.management import call_command

    account = funded_account(1)
    append_to_account(account, ("funds_deposited/0a", {"pips": 70_000, "client_id": None}))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cash_account SET cash_pips = 70001 WHERE account_id = %s", [account])
    market = written_in_the_old_form()
    slot, offset = account_slot(account), 1
    with connection.cursor() as cursor:
        (read,) = read_slot(cursor, slot=slot, from_offset=offset, limit=1)
        (logged,) = read_slots(cursor, [(slot, offset, 1)])[slot]
        streamed = list(read_stream(cursor, stream_id=account))[1]
        (stored,) = read_slot_as_stored(cursor, slot=slot, from_offset=offset, limit=1)
        assert read_creations(cursor, [market])[market]["outcomes"] == ["Yes", "No"]
        loaded = Market(market)
        for event in read_stream(cursor, stream_id=market):
            apply(loaded, event_from(event.type, event.data), event.recorded_us)
    assert loaded.outcomes == ("Yes", "No")
    for event in (read, logged, streamed):
        assert event.type == "funds_deposited/1"
        assert event.data == {"amount": 70_000, "client_id": None, "repaid": 0}
    assert stored.type == "funds_deposited/0a"
    assert read.hash == stored.hash
    call_command("verify_log")
    projector = Projector(load_projections())
    try:
        while projector.round():
            pass
    finally:
        projector.close()
    assert reconcile(begin=lambda events: None, progress=lambda events: None).differences == []


def written_in_the_old_form():
    """A market whose creation is stored as it would have been before `answers` became `outcomes`."""
    with connection.cursor() as cursor:
        model = WrittenMarket()
        (creation,) = read_slot_as_stored(cursor, slot=market_slot(model.market_id), from_offset=0, limit=1)
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE stream_id = %s", [model.market_id])
        cursor.execute("DELETE FROM stream WHERE id = %s", [model.market_id])
        cursor.execute("UPDATE slot SET next_offset = 0 WHERE slot = %s", [market_slot(model.market_id)])
    market_id = new_id()
    data = rename("outcomes", "answers")(creation.data) | {"market": market_id}
    append(market_id, ("market_created/0", data))
    return market_id


@pytest_db
def test_a_log_from_the_future_stops_its_readers():
    market = WrittenMarket()
    append(market.market_id, ("order_placed/7", {}))
    slot = market_slot(market.market_id)
    with connection.cursor() as cursor:
        with pytest.raises(UnknownVersion, match=rf"event {slot}-\d+ is stored as order_placed/7"):
            list(read_stream(cursor, stream_id=market.market_id))
        with pytest.raises(UnknownVersion):
            read_slot(cursor, slot=slot, from_offset=0, limit=10)
        with pytest.raises(UnknownVersion):
            read_slots(cursor, [(slot, 0, 10)])
