"""A market's audit file: everything is in it, it proves itself offline, and whatever is done to it shows, and where."""

import gzip
import json
import random
import tracemalloc

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.trading.eventlog.test_archive import (  # noqa: F401  (fixtures: months, a clock and a market of three)
    JANUARY,
    _months,
    clock,
)
from tests.trading.eventlog.test_archive import market as market_of_months  # noqa: F401
from tests.trading.projections.written_log import WrittenMarket, append, append_to_account, funded_account
from trading.connection import own_connection
from trading.errors import ArchivedEvents, NotFound
from trading.eventlog import audit, heads
from trading.eventlog.archive_file import manifest_path
from trading.eventlog.audit_file import BadAudit, audit_path, verify_audit
from trading.eventlog.codec import canonical_json, chain_hash, timestamp_text
from trading.eventlog.read import read_stream
from trading.eventlog.signing import public_hex, signing_key
from trading.ids import new_id
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.settlement import settle

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

KEY = signing_key(given="07" * 32, file=None)
OTHER_KEY = signing_key(given="08" * 32, file=None)
TRUSTED = frozenset([public_hex(KEY)])


@pytest.fixture(autouse=True)
def _places(settings, tmp_path, monkeypatch):
    settings.ARCHIVE_DIR, settings.HEADS_DIR = tmp_path / "archive", tmp_path / "heads"
    settings.AUDIT_DIR = tmp_path / "audits"
    settings.HEADS_KEY, settings.HEADS_KEY_FILE = "07" * 32, tmp_path / "none"
    settings.PROJECTIONS = [name for name in settings.PROJECTIONS if name.startswith("trading.")]
    monkeypatch.setattr("trading.projections.markets.hint", lambda jobs: None)
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM published_head")


def project():
    projector = Projector(load_projections())
    try:
        while projector.round():
            pass
    finally:
        projector.close()


@pytest.fixture
def market():
    """A market that has been paid out, beside another one of the same people."""
    accounts = [funded_account() for _ in range(4)]
    written, other = WrittenMarket(taker_fee_e4=70), WrittenMarket()
    written.accounts = accounts
    for each, seed in ((written, 5), (other, 6)):
        each.trade_randomly(accounts, 40, seed=seed)
        each.resolve((10_000, 0))
    project()
    for each in (other, written):
        assert settle(each.settlement_id) == "done"
    return written


@pytest.fixture
def make(tmp_path, settings):
    """Make a market's file, and answer its path."""

    def made(market_id, key=KEY):
        with own_connection("tests") as log:
            audit.make_audit(log, market_id, tmp_path, archives=settings.ARCHIVE_DIR, key=key)
        return audit_path(tmp_path, market_id)

    return made


def lines_of(path):
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def write_lines(path, lines):
    path.write_bytes(gzip.compress(b"".join(lines)))


def sign_again(path, key=KEY, **changes):
    """What somebody with the key would do."""
    manifest = manifest_path(path)
    signed = json.loads(manifest.read_bytes())["signed"] | changes
    document = {
        "public_key": public_hex(key), "signature": key.sign(canonical_json(signed)).hex(), "signed": signed,
    }  # fmt: skip
    manifest.write_bytes(canonical_json(document) + b"\n")


def wrong(path, trusted=TRUSTED):
    with pytest.raises(BadAudit) as told:
        verify_audit(path, trusted=trusted)
    return str(told.value)


def test_all_events_of_the_market_and_those_that_settled_it_are_in_the_file_and_no_others(market, make):
    path = make(market.market_id)
    rows = [json.loads(line)[2] for line in lines_of(path)[1:]]
    with connection.cursor() as cursor:
        own = list(read_stream(cursor, stream_id=market.market_id))
        cursor.execute(
            "SELECT stream_id::text, version FROM event WHERE slot >= 16 AND data->>'market' = %s ORDER BY 1, 2",
            [market.market_id],
        )
        settling = cursor.fetchall()
    assert len(settling) > 4
    assert [(row[2], row[3]) for row in rows] == [
        (event.stream_id, event.version) for event in own
    ] + settling
    assert [row[7] for row in rows[: len(own)]] == [event.hash.hex() for event in own]
    manifest = verify_audit(path, trusted=TRUSTED)
    assert manifest.market_events == (len(own), own[0].hash.hex(), own[-1].hash.hex(), 0)
    assert (manifest.account_events.events, manifest.account_events.unproven) == (len(settling), 0)


def test_pages_of_two_events_and_one_account_give_the_same_file(market, make, monkeypatch):
    before = make(market.market_id).read_bytes()
    monkeypatch.setattr(audit, "PAGE_EVENTS", 2)
    monkeypatch.setattr(audit, "ACCOUNTS_AT_ONCE", 1)
    assert make(market.market_id).read_bytes() == before


def test_a_market_that_goes_on_has_a_file_without_accounts(make):
    going_on = WrittenMarket()
    going_on.trade_randomly([funded_account()], 5, seed=1)
    manifest = verify_audit(make(going_on.market_id), trusted=TRUSTED)
    assert (manifest.market_events.events, manifest.account_events.events) == (going_on.state.seq, 0)


def test_a_market_that_there_is_not_has_no_file(make):
    with pytest.raises(NotFound):
        make(new_id())
    with pytest.raises(NotFound):
        make(funded_account())


def test_a_reversal_is_in_the_file(market, make):
    winner = market.accounts[0]
    append_to_account(
        winner,
        (
            "payout_reversed/2",
            {"market": market.market_id, "settlement": new_id(), "amount": 5, "kind": "win", "owed": 0},
        ),
    )
    types = {json.loads(line)[2][4] for line in lines_of(make(market.market_id))[1:]}
    assert {"position_closed/1", "payout_issued/1", "payout_reversed/2"} <= types


# What is done to a file -----------------------------------------------------------------------------


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_byte_that_is_changed_shows(market, make, tmp_path, data):
    path = tmp_path / "audit.flip"
    made = audit_path(tmp_path, market.market_id)
    if not made.exists():
        make(market.market_id)
    target = data.draw(st.sampled_from([made, manifest_path(made)]))
    sound = target.read_bytes()
    place = data.draw(st.integers(0, len(sound) - 1))
    flipped = bytearray(sound)
    flipped[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(flipped)
    path.replace(target)
    try:
        assert wrong(made)
    finally:
        target.write_bytes(sound)


@hypothesis_settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_done_to_lines_is_told_with_the_first_line_that_is_wrong(market, make, tmp_path, data):
    made = audit_path(tmp_path, market.market_id)
    if not made.exists():
        make(market.market_id)
    sound = made.read_bytes()
    lines = lines_of(made)
    at = data.draw(st.integers(1, len(lines) - 2))
    match data.draw(st.sampled_from(["drop", "swap", "twice", "edit", "cut"])):
        case "drop":
            changed = lines[:at] + lines[at + 1 :]
        case "swap":
            changed = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        case "twice":
            changed = [*lines[: at + 1], *lines[at:]]
            at += 1
        case "cut":
            changed, at = lines[:at], at - 1
        case _:
            row = json.loads(lines[at])
            row[2][5]["forged"] = 1
            changed = [*lines[:at], canonical_json(row) + b"\n", *lines[at + 1 :]]
    write_lines(made, changed)
    try:
        assert wrong(made).startswith(f"line {at + 1}")
    finally:
        made.write_bytes(sound)


def test_a_manifest_that_says_the_same_in_other_bytes_is_not_the_exchanges(market, make):
    path = make(market.market_id)
    manifest = manifest_path(path)
    sound = manifest.read_bytes()
    for changed in (sound + b" ", sound[:-1] + b" ", sound.replace(b"{", b"{ ", 1), b" " + sound):
        manifest.write_bytes(changed)
        assert "not a manifest as the exchange writes it" in wrong(path)


def numbered(lines):
    """Lines that somebody has numbered anew."""
    rows = [json.loads(line) for line in lines]
    return [canonical_json([number, *row[1:]]) + b"\n" for number, row in enumerate(rows, start=1)]


def test_a_market_event_that_was_removed_and_numbered_over_breaks_the_chain_there(market, make):
    path = make(market.market_id)
    header, *lines = lines_of(path)
    write_lines(path, [header, *numbered(lines[:6] + lines[7:])])
    assert wrong(path).startswith("line 8, event ")
    assert "version 7 of the market was to come" in wrong(path)


def test_an_account_event_that_was_removed_and_numbered_over_is_missed(market, make):
    path = make(market.market_id)
    header, *lines = lines_of(path)
    write_lines(path, [header, *numbered(lines[:-2] + lines[-1:])])
    assert "the events of the accounts end after" in wrong(path)


def test_an_account_event_that_was_forged_with_a_fitting_hash_differs_from_what_was_signed(market, make):
    path = make(market.market_id)
    lines = lines_of(path)
    number, previous, row = json.loads(lines[-1])
    row[5]["forged"] = 1
    row[7] = chain_hash(
        bytes.fromhex(previous), row[2], row[3], row[4], canonical_json(row[5]), canonical_json(row[6]), row[8]
    ).hex()  # fmt: skip
    write_lines(path, [*lines[:-1], canonical_json([number, previous, row]) + b"\n"])
    assert "the events of the accounts end after" in wrong(path)
    sign_again(
        path,
        account_events=json.loads(manifest_path(path).read_bytes())["signed"]["account_events"]
        | {"last_hash": row[7]},
    )
    assert "not the one that was signed" in wrong(path)


def test_a_file_in_another_ones_place_is_seen(market, make, tmp_path):
    path, other = make(market.market_id), make(WrittenMarket().market_id)
    path.write_bytes(other.read_bytes())
    assert wrong(path) == "line 1: it is not the header of this market's file"


def test_what_another_key_has_signed_is_not_believed(market, make):
    path = make(market.market_id)
    sign_again(path, OTHER_KEY)
    assert "is not one to trust" in wrong(path)
    manifest_path(path).unlink()
    assert "cannot be read" in wrong(path)


def test_a_manifest_that_counts_otherwise_is_contradicted_by_its_file(market, make):
    path = make(market.market_id)
    sign_again(path, market_events={"events": 3, "first_hash": None, "last_hash": None, "unproven": 0})
    assert wrong(path).startswith("line 5, event ")


def test_a_file_that_is_no_gzip_or_endless_is_refused(market, make):
    path = make(market.market_id)
    path.write_bytes(b"no gzip")
    assert "cannot be read" in wrong(path)
    write_lines(path, [b"[" * 10_000_000])
    assert wrong(path) == "line 1: it is not the header of this market's file"


# Commands and archived months -----------------------------------------------------------------------


def test_commands_write_the_file_and_prove_it_without_the_database(market, tmp_path, capsys, settings):
    heads.publish(KEY, settings.HEADS_DIR, now_us=1_900_000_000_000_000)
    call_command("audit_market", market.market_id, "--to", str(tmp_path))
    path = audit_path(tmp_path, market.market_id)
    assert f"{market.state.seq} events of the market" in capsys.readouterr().out
    with connection.execute_wrapper(refuse):
        call_command("verify_log", "--file", str(path))
    said = capsys.readouterr().out
    assert f"{market.state.seq} events in one chain" in said
    assert "no heads had been published" not in said
    settings.HEADS_KEY = "08" * 32
    with pytest.raises(CommandError, match="not one to trust"):
        call_command("verify_log", "--file", str(path))
    call_command("verify_log", "--file", str(path), "--public-key", public_hex(KEY))
    with pytest.raises(CommandError, match="there is no market"):
        call_command("audit_market", "no-such-market", "--to", str(tmp_path))


def refuse(execute, sql, params, many, context):
    raise AssertionError("verify_log --file asks no database")


def test_archived_months_of_the_market_are_read_from_their_files(market_of_months, make, settings):  # noqa: F811
    before = make(market_of_months.market_id).read_bytes()
    call_command("archive", "--before", "2026-03")
    path = make(market_of_months.market_id)
    assert path.read_bytes() == before
    verify_audit(path, trusted=TRUSTED)
    (settings.ARCHIVE_DIR / f"{JANUARY}.jsonl.gz").unlink()
    with pytest.raises(Exception, match="cannot be read"):
        make(market_of_months.market_id)


def test_a_settlement_in_an_archived_month_is_told_and_not_left_out(market, make, monkeypatch):
    from trading.eventlog.archived import ArchivedMonth

    gone = ArchivedMonth("event_2999_01", "event_2999_01.jsonl.gz", "", ())
    monkeypatch.setattr(audit, "missing_months", lambda log: [gone])
    with pytest.raises(ArchivedEvents, match="event_2999_01"):
        make(market.market_id)


def test_an_account_event_whose_predecessor_is_archived_is_counted_as_not_proven(market, make, monkeypatch):
    taken = random.Random(1)
    found = audit._previous
    monkeypatch.setattr(
        audit, "_previous", lambda event, hash_: None if taken.random() < 0.5 else found(event, hash_)
    )
    manifest = verify_audit(make(market.market_id), trusted=TRUSTED)
    assert 0 < manifest.account_events.unproven < manifest.account_events.events


def test_times_are_as_the_log_has_them(market, make):
    with connection.cursor() as cursor:
        first = next(read_stream(cursor, stream_id=market.market_id))
    row = json.loads(lines_of(make(market.market_id))[1])[2]
    assert row[8] == timestamp_text(first.recorded_us)


def test_a_long_market_is_written_and_checked_in_bounded_memory(make):
    long = WrittenMarket()
    halt = ("market_suspended/1", {"reason": "x" * 200})
    for _ in range(15):
        append(long.market_id, *[halt] * 2000)
    make(WrittenMarket().market_id)
    tracemalloc.start()
    try:
        path = make(long.market_id)
        manifest = verify_audit(path, trusted=TRUSTED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert manifest.market_events.events == 30_002
    assert peak < 12_000_000
