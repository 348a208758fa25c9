"""Snapshots of markets: taken from the committed log, used only where they agree with it, thinned out with age."""

import logging

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import append, funded_account
from tests.trading.snapshots.conftest import RecordedMarket
from trading.engine.market import Market
from trading.engine.snapshot import FORMAT, encode_state, state_hash
from trading.eventlog.append import Head
from trading.shard.markets import Markets
from trading.snapshots import replay, store, take
from trading.snapshots.replay import LogUnusable, State, current_state, nearest_state
from trading.snapshots.store import newest_snapshots, thin_out
from trading.snapshots.take import due_markets, take_snapshot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


@pytest.fixture
def cursor():
    with connection.cursor() as made:
        yield made


def full_replay(cursor, market):
    return replay.replay(cursor, State(Market(market.market_id)), upto_version=market.state.seq)


def more(market, commands=30, seed=8):
    market.trade_randomly([funded_account() for _ in range(3)], commands, seed=seed)


def loaded_by_a_shard(market):
    markets = Markets(connection=lambda: connection, keep_alive=lambda: None)
    state = markets.get(market.market_id)
    return state, markets.heads[market.market_id]


def log_head(cursor, market):
    cursor.execute("SELECT version, hash FROM stream WHERE id = %s", [market.market_id])
    version, digest = cursor.fetchone()
    return Head(version, bytes(digest))


def same(*markets):
    return len({state_hash(encode_state(market)) for market in markets}) == 1


def test_a_snapshot_holds_what_a_full_replay_gives(cursor, traded):
    assert take_snapshot(cursor, traded.market_id) == traded.state.seq
    (snapshot,) = newest_snapshots(cursor, traded.market_id)
    replayed = full_replay(cursor, traded)
    assert (
        snapshot.state_hash
        == state_hash(encode_state(replayed.market))
        == state_hash(encode_state(traded.state))
    )
    assert snapshot.head == replayed.head == log_head(cursor, traded)
    assert (snapshot.slot_offset, snapshot.recorded_us) == (replayed.slot_offset, replayed.recorded_us)


def test_a_shard_opens_a_market_from_its_snapshot_and_the_tail(cursor, traded, monkeypatch):
    taken = take_snapshot(cursor, traded.market_id)
    more(traded)
    read = []
    real = replay.read_tail
    monkeypatch.setattr(
        replay,
        "read_tail",
        lambda *args, **names: read.append(names["after_version"]) or real(*args, **names),
    )
    state, head = loaded_by_a_shard(traded)
    assert read == [taken]
    assert same(state, traded.state)
    assert head == log_head(cursor, traded)
    assert state.touched == set()


def test_a_shard_opens_a_market_without_events_and_one_without_a_snapshot(traded):
    unborn = Markets(connection=lambda: connection, keep_alive=lambda: None)
    assert unborn.get("01999999-0000-7000-8000-000000000000").seq == 0
    assert same(loaded_by_a_shard(traded)[0], traded.state)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("payload = set_byte(payload, 40, (get_byte(payload, 40) + 1) % 256)", "payload"),
        ("payload = substring(payload from 1 for 30)", "payload"),
        ("state_hash = decode(repeat('00', 32), 'hex')", "its payload has another hash"),
        ("version = version - 1", "its payload is of another state"),
        ("event_hash = decode(repeat('00', 32), 'hex')", "the log has another event in its place"),
        ("slot_offset = slot_offset + 1", "the log has another event in its place"),
    ],
)
def test_a_damaged_snapshot_is_passed_over_with_a_warning(cursor, traded, caplog, damage, said):
    take_snapshot(cursor, traded.market_id)
    cursor.execute(f"UPDATE market_snapshot SET {damage}")
    with caplog.at_level(logging.WARNING, "trading.snapshots.replay"):
        state, head = loaded_by_a_shard(traded)
    assert said in caplog.text
    assert same(state, traded.state)
    assert head == log_head(cursor, traded)


def test_a_snapshot_that_this_code_cannot_read_is_passed_over(cursor, traded, caplog, monkeypatch):
    take_snapshot(cursor, traded.market_id)

    def fail(payload):
        raise KeyError("a field")

    monkeypatch.setattr(store, "decode_state", fail)
    assert same(loaded_by_a_shard(traded)[0], traded.state)
    assert "its payload cannot be read: KeyError('a field')" in caplog.text


def test_the_snapshot_before_a_damaged_one_serves(cursor, traded, caplog):
    first = take_snapshot(cursor, traded.market_id)
    more(traded)
    take_snapshot(cursor, traded.market_id)
    cursor.execute("UPDATE market_snapshot SET state_hash = ''::bytea WHERE version > %s", [first])
    assert nearest_state(cursor, traded.market_id).head.version == first


def test_a_snapshot_of_another_format_is_not_even_looked_at(cursor, traded, caplog):
    take_snapshot(cursor, traded.market_id)
    cursor.execute("UPDATE market_snapshot SET format = '0-00000000', payload = 'rubbish'::bytea")
    assert nearest_state(cursor, traded.market_id).head.version == 0
    assert same(loaded_by_a_shard(traded)[0], traded.state)
    assert "passed over" not in caplog.text
    assert due_markets(cursor, least_tail=1) == [traded.market_id]


def test_a_snapshot_beyond_the_end_of_a_log_that_was_set_back_is_passed_over(cursor, traded):
    take_snapshot(cursor, traded.market_id)
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE version = %s", [traded.state.seq])
        rights.execute(
            "UPDATE stream SET version = version - 1, hash = (SELECT hash FROM event WHERE version = %s)",
            [traded.state.seq - 1],
        )
    assert loaded_by_a_shard(traded)[0].seq == traded.state.seq - 1


def test_a_snapshot_serves_where_the_events_before_it_have_been_archived(cursor, traded):
    taken = take_snapshot(cursor, traded.market_id)
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE stream_id = %s", [traded.market_id])
    assert same(loaded_by_a_shard(traded)[0], traded.state)
    more(traded)
    assert same(loaded_by_a_shard(traded)[0], traded.state)
    with pytest.raises(LogUnusable, match=r"event 1 of market .* archived or lost"):
        full_replay(cursor, traded)
    cursor.execute("DELETE FROM market_snapshot WHERE version = %s", [taken])
    with pytest.raises(LogUnusable):
        loaded_by_a_shard(traded)


def test_no_snapshot_is_taken_of_a_log_that_was_changed(cursor, traded):
    with all_rights() as rights:
        rights.execute(
            'UPDATE event SET metadata = \'{"actor": "somebody else"}\' WHERE stream_id = %s AND version = 7',
            [traded.market_id],
        )
    with pytest.raises(LogUnusable, match=r"event 7 of market .* is not as it was written"):
        take_snapshot(cursor, traded.market_id)
    assert newest_snapshots(cursor, traded.market_id) == []


def test_a_snapshot_is_proved_where_it_joins_the_next_events(cursor, traded):
    take_snapshot(cursor, traded.market_id)
    joint = traded.state.seq
    more(traded)
    with all_rights() as rights:
        rights.execute("UPDATE event SET hash = ''::bytea WHERE version = %s", [joint + 1])
    with pytest.raises(LogUnusable, match=f"event {joint + 1} "):
        take_snapshot(cursor, traded.market_id)


def test_a_long_way_to_the_first_snapshot_leaves_some_on_its_side(cursor, traded, monkeypatch):
    monkeypatch.setattr(take, "EVENTS_BETWEEN", 70)
    monkeypatch.setattr(store, "EVENTS_BETWEEN", 70)
    last = take_snapshot(cursor, traded.market_id)
    assert last > 140
    assert kept(cursor) == [*range(70, last, 70), last]


def test_markets_are_due_by_the_length_of_their_tails(cursor, traded):
    other = RecordedMarket()
    assert due_markets(cursor, least_tail=2) == [traded.market_id, other.market_id]
    assert due_markets(cursor, least_tail=traded.state.seq + 1) == []
    take_snapshot(cursor, traded.market_id)
    assert due_markets(cursor, least_tail=2) == [other.market_id]
    assert due_markets(cursor) == []


def keep(cursor, market_id, *rows, format_=FORMAT, age_days=0):
    for version, day in rows:
        cursor.execute(
            "INSERT INTO market_snapshot (market_id, version, format, slot_offset, event_hash, recorded_at, "
            "state_hash, payload, created_at) "
            "VALUES (%s, %s, %s, 0, '', %s, '', '', now() - %s * interval '1 day')",
            [market_id, version, format_, f"2026-11-{day:02} 12:00:00+00", age_days],
        )


def kept(cursor, format_=FORMAT):
    cursor.execute("SELECT version FROM market_snapshot WHERE format = %s ORDER BY version", [format_])
    return [row[0] for row in cursor.fetchall()]


MARKET = "01999999-0000-7000-8000-000000000000"


def test_of_quiet_days_one_snapshot_is_kept_of_busy_ones_one_in_so_many_events(cursor):
    busy = [(version * 10_000, 3) for version in range(5, 16)]
    keep(cursor, MARKET, (10, 1), (20, 1), (30, 1), (40, 2), (45, 2), *busy)
    thin_out(cursor, MARKET)
    assert kept(cursor) == [10, 40, 45, 50_000, 90_000, 130_000, 140_000, 150_000]
    assert store.EVENTS_BETWEEN == 40_000
    assert thin_out(cursor, MARKET) == 0


def test_the_last_three_and_the_only_one_are_never_thinned_out(cursor):
    keep(cursor, MARKET, (10, 1))
    assert thin_out(cursor, MARKET) == 0
    keep(cursor, MARKET, (20, 1), (30, 1))
    assert thin_out(cursor, MARKET) == 0
    keep(cursor, MARKET, (40, 1), (50, 1))
    thin_out(cursor, MARKET)
    assert kept(cursor) == [10, 30, 40, 50]


def test_those_of_another_format_stay_until_they_are_old_and_this_one_has_its_own(cursor):
    keep(cursor, MARKET, (5, 1), format_="old", age_days=30)
    keep(cursor, MARKET, (6, 1), format_="older release still running")
    keep(cursor, MARKET, (10, 1), (20, 1))
    thin_out(cursor, MARKET)
    assert kept(cursor, "old") == [5]
    keep(cursor, MARKET, (30, 1))
    thin_out(cursor, MARKET)
    assert (kept(cursor, "old"), kept(cursor, "older release still running")) == ([], [6])
    assert kept(cursor) == [10, 20, 30]


def test_the_command_snapshots_markets_and_checks_them(cursor, traded, capsys):
    call_command("snapshot", "--market", traded.market_id)
    assert f"snapshot after event {traded.state.seq}" in capsys.readouterr().out
    call_command("snapshot")
    assert "no market is due" in capsys.readouterr().out
    other = RecordedMarket()
    call_command("snapshot", "--all", "--check")
    assert "2 markets" in capsys.readouterr().out
    assert newest_snapshots(cursor, other.market_id)[0].version == other.state.seq
    with pytest.raises(CommandError, match="no market"):
        call_command("snapshot", "--market", MARKET)


def test_the_command_fails_where_a_snapshot_is_not_what_the_log_gives(cursor, traded):
    take_snapshot(cursor, traded.market_id)
    traded.state.fees_pips += 1
    forged = store.snapshot_of(
        traded.state, slot_offset=traded.state.seq - 1, event_hash=log_head(cursor, traded).hash,
        recorded_us=traded.now_us,
    )  # fmt: skip
    cursor.execute("SELECT slot_offset FROM market_snapshot")
    store.write_snapshot(cursor, forged._replace(slot_offset=cursor.fetchone()[0]))
    assert nearest_state(cursor, traded.market_id).market.fees_pips == traded.state.fees_pips
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("snapshot", "--market", traded.market_id, "--check")


def test_a_market_whose_events_cannot_be_applied_keeps_no_other_from_its_snapshot(
    cursor, traded, monkeypatch, caplog
):
    from trading.tasks import take_snapshots

    append(traded.market_id, ("order_invented/1", {}))
    other = RecordedMarket()
    more(other)
    monkeypatch.setattr(take, "LEAST_TAIL", 20)
    assert take_snapshots() == 1
    assert newest_snapshots(cursor, other.market_id)[0].version == other.state.seq
    assert f"event {traded.state.seq + 1} of market {traded.market_id} cannot be applied" in caplog.text


def test_the_worker_takes_those_that_are_due(cursor, traded, monkeypatch):
    from trading.tasks import take_snapshots

    assert take_snapshots() == 0
    monkeypatch.setattr(take, "LEAST_TAIL", 50)
    assert take_snapshots() == 1
    assert current_state(cursor, traded.market_id).head == log_head(cursor, traded)
