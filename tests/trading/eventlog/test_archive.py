"""Archive: months leave the table as proven files and come back byte for byte, wherever a run was interrupted."""

import datetime as dt
import gzip
import itertools
import json
from contextlib import nullcontext

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from tests.trading.projections import written_log
from tests.trading.projections.emptied import CHECKS, all_rights
from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.connection import own_connection
from trading.errors import ArchivedEvents
from trading.eventlog import archive as steps
from trading.eventlog import archive_file, heads
from trading.eventlog.codec import to_us
from trading.eventlog.partitions import KEY, make_partitions
from trading.eventlog.read import read_creations, read_slot, read_slots, read_stream
from trading.eventlog.signing import signing_key
from trading.ids import account_slot, market_slot, new_id
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.selectors.history import events_page
from trading.shard.process import Shard
from trading.snapshots.reach import MarketsOutOfReach, refuse_out_of_reach
from trading.snapshots.take import take_snapshot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

JANUARY, FEBRUARY = "event_2026_01", "event_2026_02"


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.ARCHIVE_DIR, settings.HEADS_DIR = tmp_path / "archive", tmp_path / "heads"
    settings.HEADS_KEY, settings.HEADS_KEY_FILE = "07" * 32, tmp_path / "none"
    settings.PROJECTIONS = [name for name in settings.PROJECTIONS if name.startswith("trading.")]


@pytest.fixture(autouse=True)
def _months():
    for month in (1, 2):
        with transaction.atomic(), connection.cursor() as cursor:
            make_partitions(cursor, months_ahead=0, today=dt.datetime(2026, month, 1, tzinfo=dt.UTC))
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('market_snapshot') IS NULL")
        (stand_in,) = cursor.fetchone()
        if stand_in:
            cursor.execute("CREATE TABLE market_snapshot (market_id uuid NOT NULL, version bigint NOT NULL)")
    yield
    with connection.cursor() as cursor:
        for month, table in itertools.product(("01", "02"), KEY):
            cursor.execute(f'DROP TABLE IF EXISTS "{table}_2026_{month}"')
        cursor.execute("DELETE FROM event_archive")
        cursor.execute("DELETE FROM archived_creation")
        cursor.execute("DROP TABLE market_snapshot" if stand_in else "DELETE FROM market_snapshot")


@pytest.fixture
def clock(monkeypatch):
    """The time at which events are recorded; it goes on by a second an event."""

    class Clock:
        us = 0

        def set(self, *moment):
            self.us = to_us(dt.datetime(*moment, tzinfo=dt.UTC))

        def __call__(self):
            self.us += 1_000_000
            return self.us

    made = Clock()
    monkeypatch.setattr(written_log, "now_us", made)
    return made


@pytest.fixture
def market(clock):
    """A market that began in January, traded on in February and in March, when the table has this month's partition."""
    clock.set(2026, 1, 10)
    written = WrittenMarket(taker_fee_e4=70)
    written.accounts = [funded_account() for _ in range(3)]
    written.trade_randomly(written.accounts, 30, seed=5)
    written.january = written.state.seq
    clock.set(2026, 2, 10)
    written.trade_randomly(written.accounts, 30, seed=6)
    written.february = written.state.seq
    clock.us = to_us(dt.datetime.now(dt.UTC)) - 10_000_000
    written.trade_randomly(written.accounts, 20, seed=7)
    project()
    snapshot(written)
    return written


def project():
    projector = Projector(load_projections())
    try:
        while projector.round():
            pass
    finally:
        projector.close()


def snapshot(market):
    """Keeps the market's state as it is now."""
    with own_connection("pmarket-test") as log, log.cursor() as cursor:
        take_snapshot(cursor, market.market_id)


def rows(table="event"):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT e::text FROM {table} e ORDER BY slot, slot_offset")
        return [row for (row,) in cursor.fetchall()]


def place(partition):
    with connection.cursor() as cursor:
        return steps.place_of(cursor, partition)


def run(capsys=None):
    call_command("archive", "--before", "2026-03", "--wait", "0")


def refused(*arguments):
    with pytest.raises(CommandError) as error:
        call_command(*arguments)
    return str(error.value)


def path(settings, partition=JANUARY):
    return settings.ARCHIVE_DIR / f"{partition}.jsonl.gz"


def test_a_month_goes_and_comes_back_byte_for_byte(market, settings, capsys):
    before = rows()
    heads.publish(
        signing_key(given="07" * 32, file=None), settings.HEADS_DIR, now_us=to_us(dt.datetime.now(dt.UTC))
    )
    run()
    assert [place(JANUARY), place(FEBRUARY)] == ["gone", "gone"]
    assert 0 < len(rows()) < len(before)
    call_command("verify_log")
    files = [path(settings, each).read_bytes() for each in (JANUARY, FEBRUARY)]
    call_command("archive", "--list")
    assert "event_2026_01" in capsys.readouterr().out
    call_command("archive", "--restore", str(path(settings, FEBRUARY)))
    call_command("archive", "--restore", path(settings).name)
    assert rows() == before
    call_command("verify_log")
    run()
    assert [path(settings, each).read_bytes() for each in (JANUARY, FEBRUARY)] == files


def test_the_file_can_be_read_with_zcat(market, settings):
    january = rows(JANUARY)
    run()
    header, *events = map(json.loads, gzip.decompress(path(settings).read_bytes()).splitlines())
    assert header["format"] == "pmarket event archive/1"
    assert header["partition"] == JANUARY
    assert len(events) == len(january)
    manifest = json.loads((settings.ARCHIVE_DIR / "event_2026_01.manifest.json").read_text())
    assert manifest["events"] == len(events)


def test_a_restored_month_is_guarded_like_the_others(market, settings):
    run()
    call_command("archive", "--restore", str(path(settings, FEBRUARY)))
    for statement in (f"TRUNCATE {FEBRUARY}", f"DELETE FROM {FEBRUARY}", f"UPDATE {FEBRUARY} SET type = 'x'",
                      "DELETE FROM event", "UPDATE event SET type = 'x'"):  # fmt: skip
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attstattarget = 0 ORDER BY 1",
            [FEBRUARY],
        )
        assert cursor.fetchall() == [("data",), ("hash",), ("metadata",)]
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass EXCEPT "
            "SELECT replace(tgname, '2026_01', '2026_02') FROM pg_trigger WHERE tgrelid = 'event'::regclass",
            [FEBRUARY],
        )
        assert cursor.fetchall() == [(f"{FEBRUARY}_is_not_truncated",)]
        cursor.execute(
            "SELECT conname, coninhcount FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c' "
            "ORDER BY conname",
            [FEBRUARY],
        )
        assert cursor.fetchall() == [(name, 1) for name in sorted(CHECKS.CHECKS)]


def test_the_newest_month_comes_back_first(market, settings):
    run()
    assert "event_2026_02 has to come back first" in refused("archive", "--restore", str(path(settings)))


# Who still needs a month --------------------------------------------------------------------------


def test_a_month_stays_as_long_as_a_market_has_no_snapshot_beyond_it(market):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE market_snapshot SET version = %s", [market.february - 1])
    assert f"event_2026_02 stays, and what is newer: market {market.market_id}" in refused(
        "archive", "--before", "2026-03"
    )
    assert [place(JANUARY), place(FEBRUARY)] == ["gone", "attached"]


def test_a_month_stays_as_long_as_a_projection_has_not_folded_everything(market):
    market.trade_randomly(market.accounts, 3, seed=8)
    said = refused("archive", "--before", "2026-03", "--wait", "0")
    assert "projection orders has not folded all events" in said
    assert place(JANUARY) == "attached"


def test_a_month_stays_as_long_as_a_settlement_that_began_in_it_is_not_done(clock, market):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO settlement (settlement_id, market_id, kind, status, cause_slot, cause_offset, created_at) "
            "VALUES (%s, %s, 'void', 'failed', %s, 3, now())",
            [market.settlement_id, market.market_id, market_slot(market.market_id)],
        )
    said = f"settlement {market.settlement_id} began in it, or undoes one that did, and is not done"
    assert said in refused("archive", "--before", "2026-03")


def test_a_month_stays_as_long_as_what_undoes_its_settlement_is_not_done(clock, market):
    slot, undoing = market_slot(market.market_id), new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO settlement (settlement_id, market_id, kind, status, cause_slot, cause_offset, created_at, "
            "reverses) VALUES (%(end)s, %(market)s, 'void', 'done', %(slot)s, 3, now(), NULL), "
            "(%(undoing)s, %(market)s, 'reverse', 'running', %(slot)s, 1000000, now(), %(end)s)",
            {"end": market.settlement_id, "market": market.market_id, "slot": slot, "undoing": undoing},
        )
    said = f"settlement {undoing} began in it, or undoes one that did, and is not done"
    assert said in refused("archive", "--before", "2026-03")


def test_months_that_are_not_over_and_nonsense_are_refused():
    assert "only months that are over" in refused("archive", "--before", "2999-01")
    assert "is not a month" in refused("archive", "--before", "January")


# Interrupted --------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


@pytest.mark.parametrize("step", ["write_archive", "_difference", "note_archived", "_detach", "_patiently"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_run_is_simply_run_again(market, settings, monkeypatch, step, when):
    before, real = rows(), getattr(steps, step)

    def dying(*arguments, **named):
        if when == "after":
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(steps, step, dying)
        with pytest.raises(Killed):
            run()
    call_command("verify_log")
    run()
    call_command("verify_log")
    assert [place(JANUARY), place(FEBRUARY)] == ["gone", "gone"]
    for partition in (FEBRUARY, JANUARY):
        call_command("archive", "--restore", str(path(settings, partition)))
    assert rows() == before


@pytest.mark.parametrize("step", ["make_aside", "_copy", "_difference", "attach", "note_restored"])
def test_an_interrupted_return_is_simply_run_again(market, settings, monkeypatch, step):
    before = rows(FEBRUARY)
    run()
    calls, real = itertools.count(), getattr(steps, step)

    def dying(*arguments, **named):
        if next(calls) == 1 or step != "_copy":
            raise Killed
        return real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(steps, step, dying)
        patched.setattr(steps, "PAGE_EVENTS", 10)
        with pytest.raises(Killed):
            call_command("archive", "--restore", str(path(settings, FEBRUARY)))
    call_command("verify_log")
    call_command("archive", "--restore", str(path(settings, FEBRUARY)))
    assert rows(FEBRUARY) == before
    call_command("verify_log")


def test_a_detach_that_somebody_stands_in_the_way_of_is_finished_by_the_next_run(market, monkeypatch):
    monkeypatch.setattr(steps, "LOCK_ATTEMPTS", 1)
    with own_connection("a long reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM event")
        assert "is in constant use" in refused("archive", "--before", "2026-03")
        assert place(JANUARY) == "detaching"
    run()
    assert [place(JANUARY), place(FEBRUARY)] == ["gone", "gone"]


def test_a_detached_month_that_is_not_dropped_yet_refuses_changes(market, monkeypatch):
    def dying(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(steps, "_patiently", dying)
        with pytest.raises(Killed):
            run()
    assert place(JANUARY) == "aside"
    for statement in (f"TRUNCATE {JANUARY}", f"DELETE FROM {JANUARY}", f"UPDATE {JANUARY} SET type = 'x'"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    # The triggers refuse by themselves, without the rights that were taken away.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"GRANT UPDATE, DELETE, TRUNCATE ON {JANUARY} TO CURRENT_USER")
    for statement in (f"TRUNCATE {JANUARY}", f"DELETE FROM {JANUARY}"):
        with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(statement)


# Altered ------------------------------------------------------------------------------------------


def test_an_altered_file_is_caught_by_all_who_read_it(market, settings):
    run()
    raw = bytearray(path(settings).read_bytes())
    raw[len(raw) // 2] ^= 1
    path(settings).write_bytes(raw)
    for arguments in (["verify_log"], ["archive", "--restore", str(path(settings))]):
        assert "was altered: its SHA-256" in refused(*arguments)


def forge(settings, market):
    """A file with another event in it, and a manifest that fits."""
    (archive,) = [each for each in opened(settings) if each.month.partition == FEBRUARY]
    events = list(archive_file.read_events(archive))
    victim = next(event for event in events if event.stream_id == market.market_id)
    events[events.index(victim)] = victim._replace(data=victim.data | {"forged": 1})
    grouped = [(slot, list(group)) for slot, group in itertools.groupby(events, lambda event: event.slot)]
    return archive_file.write_archive(settings.ARCHIVE_DIR, archive.month, grouped), victim


def opened(settings):
    with own_connection("tests") as own:
        return steps.open_archived(own, settings.ARCHIVE_DIR)


def test_a_file_that_was_made_anew_with_its_manifest_is_not_the_one_that_was_noted(market, settings):
    run()
    forge(settings, market)
    for arguments in (["verify_log"], ["archive", "--restore", str(path(settings, FEBRUARY))]):
        assert "is not the file that was archived" in refused(*arguments)


def test_a_file_that_was_made_anew_with_manifest_and_note_breaks_the_chain(market, settings, capsys):
    run()
    forged, victim = forge(settings, market)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE event_archive SET sha256 = decode(%s, 'hex') WHERE partition = %s",
            [forged.sha256, FEBRUARY],
        )
    assert "the log is broken in 1 of 32 slots" in refused("verify_log")
    assert f"event {victim.event_id}, " in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named_and_can_be_done_without(market, settings, capsys):
    run()
    path(settings).rename(settings.ARCHIVE_DIR / "elsewhere")
    assert "event_2026_01.jsonl.gz cannot be read" in refused("verify_log")
    call_command("verify_log", "--table-only")
    with all_rights() as cursor:
        cursor.execute(
            "UPDATE event SET metadata = '{\"x\": 1}' WHERE stream_id = %s AND version = %s",
            [market.market_id, market.february + 5],
        )
    assert "the log is broken in 1 of 32 slots" in refused("verify_log", "--table-only")


def test_nothing_is_dropped_whose_file_is_not_as_it_was_proven(market, settings, monkeypatch):
    real = steps._detach

    def detach_and_damage(connection, partition):
        real(connection, partition)
        path(settings).write_bytes(path(settings).read_bytes()[:-9])

    with monkeypatch.context() as patched:
        patched.setattr(steps, "_detach", detach_and_damage)
        assert "was altered" in refused("archive", "--before", "2026-03")
    assert place(JANUARY) == "aside"
    run()
    assert place(JANUARY) == "gone"
    call_command("verify_log")


# Life without them --------------------------------------------------------------------------------


def test_whoever_needs_archived_events_is_told_so(market):
    run()
    slot, account = market_slot(market.market_id), market.accounts[0]
    with connection.cursor() as cursor:
        for read in (
            lambda: list(read_stream(cursor, stream_id=market.market_id)),
            lambda: list(read_stream(cursor, stream_id=account)),
            lambda: list(read_stream(cursor, stream_id=market.market_id, after_version=market.january)),
            lambda: read_slot(cursor, slot=slot, from_offset=0, limit=5),
            lambda: read_slots(cursor, [(slot, 0, 5)]),
            lambda: read_slots(cursor, [(account_slot(account), 0, 1)]),
            lambda: events_page(market.market_id, after=0, limit=10, only_public=False),
        ):
            with pytest.raises(ArchivedEvents, match=r"archived,? in"):
                read()
        later = list(read_stream(cursor, stream_id=market.market_id, after_version=market.february))
    assert later[-1].version == market.state.seq
    assert "the whole log is needed. Events" in refused("reconcile")
    assert "are archived in event_2026_0" in refused("rebuild_projections", "--only", "orders")


def test_a_market_whose_beginning_is_archived_trades_on(market):
    run()
    market.trade_randomly(market.accounts, 20, seed=9)
    project()
    with connection.cursor() as cursor:
        assert read_creations(cursor, [market.market_id])[market.market_id]["outcomes"] == ["Yes", "No"]
        cursor.execute("SELECT sum(next_offset) = (SELECT sum(next_offset) FROM slot) FROM projection_checkpoint "
                       "WHERE projection = 'positions'")  # fmt: skip
        assert cursor.fetchone()[0]
    append_to_account(
        market.accounts[0], ("funds_deposited/1", {"amount": 1, "client_id": None, "repaid": 0})
    )
    call_command("verify_log")
    call_command("verify_log", "--table-only")


def test_a_restored_log_reconciles_again(market, settings):
    run()
    for partition in (FEBRUARY, JANUARY):
        call_command("archive", "--restore", str(path(settings, partition)))
    call_command("reconcile")


def test_a_gap_in_a_slot_is_not_archived(market):
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE stream_id = %s AND version = 5", [market.market_id])
    assert "is missing; see verify_log" in refused("archive", "--before", "2026-03")
    assert place(JANUARY) == "attached"


def engine_start():
    """What an engine process asks before it takes slots."""
    with own_connection("pmarket-test") as log:
        refuse_out_of_reach(log)


def test_engine_refuses_to_begin_where_no_snapshot_of_its_format_reaches_an_archived_market(market, settings):
    with own_connection("pmarket-test") as log:
        clean = WrittenMarket()
        project()
        run()
        engine_start()
        log.execute("UPDATE market_snapshot SET format = 'of the release before'")
    with pytest.raises(MarketsOutOfReach) as refusal:
        engine_start()
    told = str(refusal.value)
    assert market.market_id in told
    assert clean.market_id not in told
    february, january = (told.index(f"--restore {each}.jsonl.gz") for each in (FEBRUARY, JANUARY))
    assert february < january
    for partition in (FEBRUARY, JANUARY):
        call_command("archive", "--restore", path(settings, partition).name)
    engine_start()


def test_engine_begins_from_a_snapshot_of_its_format_only_if_the_events_after_it_are_in_the_table(market):
    run()
    for version, is_enough in ((market.february, True), (market.january, False), (market.state.seq, True)):
        with own_connection("pmarket-test") as log:
            log.execute("UPDATE market_snapshot SET version = %s", [version])
        with nullcontext() if is_enough else pytest.raises(MarketsOutOfReach):
            engine_start()


def test_engine_that_refuses_ends_before_it_takes_a_slot(market):
    run()
    with own_connection("pmarket-test") as log:
        log.execute("DELETE FROM market_snapshot")
    # It does not come as far as to need Valkey.
    nothing = redis.Redis(host="nowhere.invalid")
    shard = Shard(
        shard_id="elsewhere:1:a", connect=lambda: own_connection("pmarket-test"), bus=nothing, feed=nothing
    )
    with pytest.raises(MarketsOutOfReach, match=market.market_id):
        shard.run()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM slot WHERE owner = %s UNION ALL SELECT count(*) FROM shard WHERE shard_id = %s",
            [shard.shard_id, shard.shard_id],
        )
        assert cursor.fetchall() == [(0,), (0,)]
