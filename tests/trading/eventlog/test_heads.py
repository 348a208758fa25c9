"""Published heads: once a minute, signed, and no log that was cut or rewritten agrees with them."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from msgspec.structs import astuple

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading import tasks
from trading.eventlog import heads
from trading.eventlog.append import EMPTY, Head, encode_row, write_stream_heads
from trading.eventlog.codec import canonical_json, timestamp_text
from trading.eventlog.read import read_slot_as_stored
from trading.eventlog.signing import UnusableKey, is_signed_by, public_hex, signing_key
from trading.ids import market_slot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

MINUTE_US = 60_000_000
NOON_US = 1_782_000_000_000_000


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.HEADS_DIR, settings.HEADS_KEY_FILE = tmp_path / "heads", tmp_path / "heads_key"
    settings.HEADS_KEY, settings.HEADS_PUBLIC_KEYS = "", []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM published_head")
    yield settings.HEADS_DIR
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM published_head")


@pytest.fixture
def key(settings):
    return signing_key(given="", file=settings.HEADS_KEY_FILE)


@pytest.fixture
def publish(key, folder):
    def run(minute=0):
        return heads.publish(key, folder, now_us=NOON_US + minute * MINUTE_US)

    return run


@pytest.fixture
def market():
    written = WrittenMarket(taker_fee_e4=70)
    written.trade_randomly([funded_account() for _ in range(3)], 40, seed=5)
    return written


def lines(folder):
    return [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def broken(capsys, *options):
    with pytest.raises(CommandError, match="the log is broken in 1 of"):
        call_command("verify_log", *options)
    return capsys.readouterr().err.splitlines()[-1]


def rewrite(slot, market_id, *, first, end):
    """What somebody with all rights does: other events from `first` on, with chains and head rows that fit."""
    with connection.cursor() as cursor:
        events = read_slot_as_stored(cursor, slot=slot, from_offset=0, limit=10_000)
    kept, changed = events[:first], events[first:end]
    head = Head(kept[-1].version, kept[-1].hash) if kept else EMPTY
    with all_rights() as cursor:
        cursor.execute("DELETE FROM event WHERE slot = %s AND slot_offset >= %s", [slot, first])
        for index, event in enumerate(changed):
            metadata = event.metadata | ({"actor": "nobody"} if index == 0 else {})
            row, head = encode_row(
                slot=slot, slot_offset=event.slot_offset, stream_id=market_id, head=head, type=event.type,
                data=canonical_json(event.data), metadata=canonical_json(metadata),
                recorded_at=timestamp_text(event.recorded_us),
            )  # fmt: skip
            cursor.execute(
                "INSERT INTO event (slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [*astuple(row)[:5], row.data.decode(), row.metadata.decode(), row.hash, row.recorded_at],
            )
        write_stream_heads(cursor, slot=slot, heads={market_id: head})
        cursor.execute("UPDATE slot SET next_offset = %s WHERE slot = %s", [end, slot])


def test_the_heads_of_a_minute_are_published_once(publish, folder):
    assert [publish(), publish(), publish(1), publish(), publish(1)] == [True, False, True, False, False]
    assert [json.loads(line)["signed"]["published_at"] for line in lines(folder)] == [
        timestamp_text(NOON_US), timestamp_text(NOON_US + MINUTE_US),
    ]  # fmt: skip


def test_two_beats_at_once_make_no_doubles(publish, folder):
    def run(_):
        try:
            return publish()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(run, range(8))) == [False] * 7 + [True]
    assert len(lines(folder)) == 1


def test_anybody_can_check_a_line_with_the_public_key(publish, folder, key, market):
    publish()
    line = json.loads(lines(folder)[0])
    content = json.dumps(line["signed"], sort_keys=True, separators=(",", ":")).encode()
    assert line["public_key"] == public_hex(key)
    assert is_signed_by(line["public_key"], line["signature"], content)
    assert not is_signed_by(line["public_key"], line["signature"], content.replace(b'"slot":3', b'"slot":4'))
    (row,) = [row for row in line["signed"]["heads"] if row["slot"] == market_slot(market.market_id)]
    assert row["next_offset"] == market.state.seq


def test_lines_that_a_folder_lacks_come_with_the_next(publish, folder):
    publish()
    publish(1)
    (file,) = folder.glob("*.jsonl")
    first = file.read_text().splitlines()[0]
    file.write_text(first + "\n" + '{"public_key":"torn by a cra')
    publish(2)
    assert lines(folder)[0] == first
    assert len(lines(folder)) == 3
    call_command("verify_log")


def test_the_task_makes_a_key_for_its_owner_alone(settings, folder):
    assert tasks.publish_heads() is True
    assert stat.S_IMODE(settings.HEADS_KEY_FILE.stat().st_mode) == 0o600
    settings.HEADS_KEY_FILE.chmod(0o640)
    with pytest.raises(UnusableKey, match="may be read by others"):
        tasks.publish_heads()


def test_a_key_can_be_given_and_one_that_is_none_is_refused(settings, tmp_path):
    assert public_hex(signing_key(given="07" * 32, file=tmp_path / "none")) == public_hex(
        signing_key(given="07" * 32, file=tmp_path / "none")
    )
    assert not (tmp_path / "none").exists()
    with pytest.raises(UnusableKey, match="64 hexadecimal digits"):
        signing_key(given="not a key", file=tmp_path / "none")


def test_a_log_that_went_on_agrees_with_what_was_published(publish, market, capsys):
    publish()
    market.trade_randomly([funded_account()], 20, seed=6)
    publish(1)
    market.trade_randomly([funded_account()], 20, seed=7)
    call_command("verify_log")
    said = capsys.readouterr().out
    assert "as it was written" in said
    assert "no published heads" not in said


def test_without_published_heads_it_says_what_would_not_show(market, capsys):
    call_command("verify_log")
    assert "no published heads to compare with" in capsys.readouterr().out


def test_a_log_cut_at_its_end_with_its_head_rows_is_named(publish, market, capsys):
    publish()
    slot, end = market_slot(market.market_id), market.state.seq
    rewrite(slot, market.market_id, first=end - 3, end=end - 3)
    said = broken(capsys)
    assert said.startswith(f"event {slot}-{end - 3}, ")
    assert f"the log ends here, and had {end} events when its heads were published" in said


def test_a_log_rewritten_with_its_head_rows_is_named_with_the_place(publish, market, capsys):
    publish()
    slot, agreed = market_slot(market.market_id), market.state.seq
    market.trade_randomly([funded_account()], 30, seed=8)
    publish(1)
    end = market.state.seq
    rewrite(slot, market.market_id, first=agreed + 4, end=end)
    said = broken(capsys)
    assert said.startswith(f"event {slot}-{agreed}, ")
    assert f"between here and offset {end} the log is not the one whose heads were published" in said


def test_a_log_cut_and_grown_again_to_its_old_length_is_named(publish, market, capsys):
    publish()
    slot, end = market_slot(market.market_id), market.state.seq
    rewrite(slot, market.market_id, first=5, end=end)
    call_command("verify_log", "--slot", str((slot + 1) % 16))
    assert f"event {slot}-0, " in broken(capsys, "--slot", str(slot))


def test_a_walk_of_a_part_still_sees_a_cut(publish, market, capsys):
    publish()
    slot, end = market_slot(market.market_id), market.state.seq
    rewrite(slot, market.market_id, first=end - 3, end=end - 3)
    assert "the log ends here" in broken(capsys, "--since", timestamp_text(0))


@pytest.mark.parametrize("change", [('"next_offset":', '"next_offset":1'), ('"digest":"', '"digest":"0')])
def test_an_altered_heads_file_is_refused(publish, folder, change):
    publish()
    (file,) = folder.glob("*.jsonl")
    file.write_text(file.read_text().replace(*change, 1))
    with pytest.raises(CommandError, match=r"line 1: its signature does not fit: it was altered"):
        call_command("verify_log")


def test_heads_that_are_signed_with_another_key_are_refused_unless_it_is_trusted(
    folder, settings, market, tmp_path
):
    other = signing_key(given="", file=tmp_path / "other")
    heads.publish(other, folder, now_us=NOON_US)
    with pytest.raises(
        CommandError, match=f"signed with the key {public_hex(other)}, which is not one to trust"
    ):
        call_command("verify_log")
    call_command("verify_log", "--public-key", public_hex(other))
    settings.HEADS_PUBLIC_KEYS = [public_hex(other)]
    call_command("verify_log", "--heads", str(folder))


def test_a_heads_file_of_nonsense_and_a_folder_without_any_are_refused(folder, tmp_path):
    folder.mkdir()
    (folder / "heads-2026-06.jsonl").write_text('{"signed": 3}\n')
    with pytest.raises(CommandError, match="it is not a line of published heads"):
        call_command("verify_log")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="there are no published heads in"):
        call_command("verify_log", "--heads", str(tmp_path / "empty"))
