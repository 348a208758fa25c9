"""verify_log: finds what somebody with all rights over the database has done to the log."""

import datetime as dt

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading.eventlog.codec import timestamp_text
from trading.eventlog.partitions import KEY, make_partitions
from trading.eventlog.read import read_stream
from trading.ids import market_slot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


@pytest.fixture
def market():
    written = WrittenMarket(taker_fee_e4=70)
    written.trade_randomly([funded_account() for _ in range(3)], 40, seed=5)
    return written


def verify(*options):
    call_command("verify_log", *options)


def broken(capsys, *options):
    """What the command says of a broken log."""
    with pytest.raises(CommandError, match="the log is broken in 1 of"):
        verify(*options)
    return capsys.readouterr().err.splitlines()[-1]


def slot_of(market):
    return market_slot(market.market_id)


def test_a_log_that_nobody_touched_is_fine(market, capsys):
    WrittenMarket(("A", "B", "C"))
    verify()
    assert "as it was written: 32 slots" in capsys.readouterr().out


def test_an_empty_log_is_fine():
    verify()


@pytest.mark.parametrize(
    "change",
    [
        """data = jsonb_set(data, '{quantity}', '999')""",
        """metadata = '{"actor": "somebody else"}'""",
        """type = 'order_rejected/1'""",
        """recorded_at = recorded_at + interval '1 microsecond'""",
        """hash = decode(repeat('00', 32), 'hex')""",
    ],
)
def test_an_altered_event_is_named(market, capsys, change):
    with all_rights() as cursor:
        cursor.execute(f"UPDATE event SET {change} WHERE slot = %s AND slot_offset = 7", [slot_of(market)])
    said = broken(capsys)
    assert said.startswith(f"event {slot_of(market)}-7, stream {market.market_id}, version 8: its content")


def test_an_event_that_was_altered_with_a_fitting_hash_breaks_the_next(market, capsys):
    from trading.eventlog.append import Head
    from trading.eventlog.read import read_slot
    from trading.eventlog.verify import _expected_hash

    with connection.cursor() as cursor:
        before, event = read_slot(cursor, slot=slot_of(market), from_offset=6, limit=2)
    forged = event._replace(data=event.data | {"forged": 1})
    digest = _expected_hash(forged, Head(before.version, before.hash))
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET data = data || '{\"forged\": 1}', hash = %s WHERE slot = %s AND slot_offset = 7",
            [digest, slot_of(market)],
        )
    assert broken(capsys).startswith(f"event {slot_of(market)}-8,")


def test_a_removed_event_is_missed(market, capsys):
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE slot = %s AND slot_offset = 7", [slot_of(market)])
    assert broken(capsys).startswith(
        f"event {slot_of(market)}-8, stream {market.market_id}, version 9: offset 7 of slot"
    )


def test_a_removed_event_whose_place_was_closed_is_missed(market, capsys):
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE slot = %s AND slot_offset = 7", [slot_of(market)])
        # In two steps, so that no two rows ever have the same offset.
        cursor.execute("UPDATE event SET slot_offset = -slot_offset WHERE slot = %s", [slot_of(market)])
        cursor.execute(
            "UPDATE event SET slot_offset = -slot_offset - (slot_offset < -7)::int WHERE slot = %s",
            [slot_of(market)],
        )
        cursor.execute("UPDATE slot SET next_offset = next_offset - 1 WHERE slot = %s", [slot_of(market)])
    assert "version 8 of its stream was to come" in broken(capsys)


def test_swapped_events_are_seen(market, capsys):
    slot = slot_of(market)
    with all_rights() as cursor:
        cursor.execute("UPDATE event SET slot_offset = -1 WHERE slot = %s AND slot_offset = 7", [slot])
        cursor.execute("UPDATE event SET slot_offset = 7 WHERE slot = %s AND slot_offset = 8", [slot])
        cursor.execute("UPDATE event SET slot_offset = 8 WHERE slot = %s AND slot_offset = -1", [slot])
    assert broken(capsys).startswith(f"event {slot}-7, stream {market.market_id}, version 9: version 8")


def test_a_cut_tail_is_seen(market, capsys):
    slot, last = slot_of(market), market.state.seq - 1
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE slot = %s AND slot_offset >= %s", [slot, last])
    said = broken(capsys)
    assert f"the slot's head counts {last + 1} events, the log has {last}" in said


def test_a_cut_tail_with_a_fitting_slot_head_is_seen_by_the_streams_head(market, capsys):
    slot, last = slot_of(market), market.state.seq - 1
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE slot = %s AND slot_offset >= %s", [slot, last])
        cursor.execute("UPDATE slot SET next_offset = %s WHERE slot = %s", [last, slot])
    assert f"the stream's head is version {last + 1}, the log ends with {last}" in broken(capsys)


def test_an_event_that_no_head_counts_is_seen(market, capsys):
    slot, last = slot_of(market), market.state.seq - 1
    with connection.cursor() as cursor:
        cursor.execute("UPDATE slot SET next_offset = %s WHERE slot = %s", [last, slot])
    assert broken(capsys) == f"event {slot}-{last}, stream -, version 0: the slot's head does not count it"


def test_a_stream_without_a_head_is_seen(market, capsys):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM stream WHERE id = %s", [market.market_id])
    assert "the stream has no head" in broken(capsys)


def test_an_event_put_in_twice_is_seen(market, capsys):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event SELECT slot, slot_offset, stream_id, version, type, data, metadata, hash, "
            "recorded_at + interval '1 second' FROM event WHERE slot = %s AND slot_offset = 7",
            [slot_of(market)],
        )
    assert f"offset 8 of slot {slot_of(market)} was to come" in broken(capsys)


SECOND_VERSION = (
    "INSERT INTO event SELECT %s, %s, stream_id, version, type, data, metadata, hash, "
    "recorded_at + interval '1 second' FROM event WHERE slot = %s AND slot_offset = 7"
)


@pytest.mark.parametrize(
    ("slot", "offset", "what"),
    [
        (99, 3, "there is no slot 99"),
        (-1, 0, "there is no slot -1"),
        (None, -5, "the table's part of its slot begins at 0"),
        (None, -(2**40), "the table's part of its slot begins at 0"),
    ],
)
def test_a_second_version_where_no_slot_is_walked_is_named_and_readers_of_its_stream_would_get_it(
    market, capsys, slot, offset, what
):
    slot = slot_of(market) if slot is None else slot
    with all_rights() as cursor:
        cursor.execute(SECOND_VERSION, [slot, offset, slot_of(market)])
        versions = [event.version for event in read_stream(cursor, stream_id=market.market_id)]
    assert versions.count(8) == 2
    assert broken(capsys) == f"event {slot}-{offset}, stream {market.market_id}, version 8: {what}"


@pytest.mark.parametrize(("slot", "offset"), [(99, 3), (-1, 0), (3, -5)])
def test_the_log_refuses_events_where_no_slot_is_walked(market, slot, offset):
    with pytest.raises(IntegrityError, match="check constraint"), connection.cursor() as cursor:
        cursor.execute(SECOND_VERSION, [slot, offset, slot_of(market)])


def test_new_months_refuse_them_too(market):
    with transaction.atomic(), connection.cursor() as cursor:
        make_partitions(cursor, months_ahead=0, today=dt.datetime(2031, 5, 1, tzinfo=dt.UTC))
    try:
        with pytest.raises(IntegrityError, match="event_version"), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO event VALUES (3, 0, gen_random_uuid(), 0, 'x/1', '{}', '{}', '', '2031-05-09')"
            )
    finally:
        with connection.cursor() as cursor:
            for table in KEY:
                cursor.execute(f'DROP TABLE "{table}_2031_05"')


def test_time_that_runs_backwards_is_seen(market, capsys):
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET recorded_at = recorded_at - interval '1 second' WHERE slot = %s AND slot_offset = 7",
            [slot_of(market)],
        )
    assert "recorded before its predecessor" in broken(capsys)


def test_only_what_was_recorded_since_a_time_or_one_slot_can_be_walked(market, capsys):
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET metadata = '{\"x\": 1}' WHERE slot = %s AND slot_offset = 2", [slot_of(market)]
        )
        cursor.execute(
            "SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint FROM event WHERE slot = %s AND slot_offset = 9",
            [slot_of(market)],
        )
        since = timestamp_text(cursor.fetchone()[0])
    verify("--since", since)
    verify("--since", (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat())
    verify("--slot", str((slot_of(market) + 1) % 16))
    assert broken(capsys, "--slot", str(slot_of(market))).startswith(f"event {slot_of(market)}-2,")
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET metadata = '{\"x\": 1}' WHERE slot = %s AND slot_offset = 12", [slot_of(market)]
        )
    assert broken(capsys, "--since", since).startswith(f"event {slot_of(market)}-12,")


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(CommandError, match="no slot 99"):
        verify("--slot", "99")
    for no_time in ("yesterday", "2026-13-01T00:00:00Z"):
        with pytest.raises(CommandError, match="is not a time"):
            verify("--since", no_time)


def test_the_log_refuses_changes_even_from_its_owner(market):
    from django.db import DatabaseError

    for statement in (
        "UPDATE event SET type = 'x'",
        "DELETE FROM event",
        "TRUNCATE event",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
