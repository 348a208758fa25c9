"""The recorded log of each released version is replayed for ever, by every reader.

`v1` and those after it are written by `python -m tests.golden.record 1`, once, at the release (see record.py).
"""

import datetime as dt
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from tests.golden.record import STATE, replayed
from tests.trading.projections.conftest import _empty
from trading.eventlog.append import EMPTY, EventRow, Head, copy_rows
from trading.eventlog.archive_file import open_archive, read_events
from trading.eventlog.codec import canonical_json, chain_hash, timestamp_text
from trading.eventlog.partitions import make_partitions
from trading.eventlog.upcast import CURRENT_NAMES, upcast
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.reconcile import reconcile

__all__ = ["_empty"]

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

VERSIONS = sorted(path for path in Path(__file__).parent.glob("v*") if path.is_dir())
versions = pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)


def events_of(folder):
    for path in sorted(folder.glob("*.jsonl.gz")):
        yield from read_events(open_archive(path))


def state_of(folder):
    return json.loads((folder / STATE).read_text())


@pytest.fixture
def projections(settings):
    """Those of this app: notifications need users, who are not in a log."""
    settings.PROJECTIONS = [name for name in settings.PROJECTIONS if name.startswith("trading.")]
    return load_projections()


def put_in(folder):
    """The log and its heads in the table, and the rows that are no read models."""
    state, heads, slots = state_of(folder), {}, {}
    events = list(events_of(folder))
    for path in folder.glob("*.jsonl.gz"):
        low = dt.datetime.fromisoformat(open_archive(path).month.low)
        with transaction.atomic(), connection.cursor() as cursor:
            make_partitions(cursor, months_ahead=0, today=low)
    with connection.cursor() as cursor:
        copy_rows(cursor, [row_of(event) for event in events])
        for event in events:
            heads[event.stream_id] = (event.slot, event.version, event.hash)
            slots[event.slot] = (event.slot_offset + 1, timestamp_text(event.recorded_us))
        for stream_id, head in heads.items():
            cursor.execute(
                "INSERT INTO stream (id, slot, version, hash) VALUES (%s, %s, %s, %s)", [stream_id, *head]
            )
        for slot, (offset, recorded_at) in slots.items():
            cursor.execute(
                "UPDATE slot SET next_offset = %s, recorded_at = %s WHERE slot = %s",
                [offset, recorded_at, slot],
            )
        for row in state["cash"]:
            cursor.execute(
                "INSERT INTO cash_account (account_id, cash_pips, reserved_pips, debt_pips, fees_paid_pips) "
                "VALUES (%s, %s, %s, %s, %s)",
                row,
            )
    return state


def row_of(event):
    return EventRow(
        event.slot, event.slot_offset, event.stream_id, event.version, event.type, canonical_json(event.data),
        canonical_json(event.metadata), event.hash, timestamp_text(event.recorded_us),
    )  # fmt: skip


@versions
def test_the_hashes_of_a_recorded_log_still_follow_from_what_it_says(folder):
    heads = {}
    for event in events_of(folder):
        head = heads.get(event.stream_id, EMPTY)
        digest = chain_hash(
            head.hash, event.stream_id, event.version, event.type, canonical_json(event.data),
            canonical_json(event.metadata), timestamp_text(event.recorded_us),
        )  # fmt: skip
        assert event.version == head.version + 1
        assert event.hash == digest, event.event_id
        heads[event.stream_id] = Head(event.version, digest)


@versions
def test_a_recorded_log_leads_every_reader_to_what_it_led_to_then(folder, projections):
    state = put_in(folder)
    call_command("verify_log")
    connection.ensure_connection()
    found = {market_id: replayed(connection.connection, market_id) for market_id in state["markets"]}
    assert found == state["markets"]
    projector = Projector(projections)
    try:
        while projector.round():
            pass
    finally:
        projector.close()
    with connection.cursor() as cursor:
        for settlement_id, status, paid_pips in state["settlements"]:
            cursor.execute(
                "UPDATE settlement SET status = %s, paid_pips = %s WHERE settlement_id = %s",
                [status, paid_pips, settlement_id],
            )
            assert cursor.rowcount == 1
    assert reconcile(begin=lambda events: None, progress=lambda events: None).differences == []


def test_the_recorded_logs_hold_every_event():
    """A new event, or a new form of one, is recorded with the release that brings it."""
    read = {upcast(e.type, e.data, event_id=e.event_id)[0] for folder in VERSIONS for e in events_of(folder)}
    assert read == CURRENT_NAMES
