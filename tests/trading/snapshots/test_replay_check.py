"""replay_check: today's rules over yesterday's commands, and the first event that would come out differently."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.crash.conftest import stage, valkey_server
from tests.crash.stage import sealed
from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import append, funded_account
from tests.trading.snapshots.conftest import RecordedMarket
from tests.trading.snapshots.session import random_session
from trading.engine import commands as cmd
from trading.engine import decide, lifecycle, matching
from trading.engine.rejection import RejectReason
from trading.eventlog.codec import timestamp_text
from trading.ids import new_id
from trading.snapshots.check import check_market
from trading.snapshots.take import take_snapshot

__all__ = ["stage", "valkey_server"]
pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])
UNCHANGED = "today's code decides as the log says"


def check(capsys, *options):
    call_command("replay_check", *options)
    return capsys.readouterr().out


def differences(capsys, *options):
    with pytest.raises(CommandError, match="would have gone another way"):
        call_command("replay_check", *options)
    return capsys.readouterr().err


def version_of(kind):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT version, slot || '-' || slot_offset FROM event WHERE type = %s ORDER BY version", [kind]
        )
        return cursor.fetchone()


def test_unchanged_code_decides_as_a_random_session_was_recorded(stage, capsys, monkeypatch):
    monkeypatch.setattr(lifecycle, "SWEEP_SIZE", 2)
    kept, resolved, voided = stage.market(), stage.market("A", "B", "C"), stage.market()
    random_session(stage, [kept, resolved, voided], commands=260, seed=11)
    with connection.cursor() as cursor:
        take_snapshot(cursor, resolved)
    random_session(stage, [kept, resolved, voided], commands=60, seed=12)
    stage.do(sealed(cmd.SuspendMarket(kept, "a look")))
    stage.do(sealed(cmd.ResumeMarket(kept)))
    stage.do(sealed(cmd.ResolveMarket(resolved, (0, 10_000, 0), new_id(), "seen")))
    stage.do(sealed(cmd.VoidMarket(voided, new_id(), "seen")))
    stage.quiet()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE metadata->'command'->>0 = 'sweep_orders') FROM event "
            "WHERE slot < 16"
        )
        events, swept = cursor.fetchone()
    assert swept > 2, "the sweeps that the shard made of itself are judged, too"
    assert f"{UNCHANGED}: {events} events, 3 markets" in check(capsys)


def test_a_changed_fee_names_the_first_fill(traded, capsys, monkeypatch):
    assert UNCHANGED in check(capsys)
    version, event_id = version_of("order_matched/1")
    monkeypatch.setattr(matching, "fee_pips", lambda numerator: -(-numerator // 100_000_000) + 1)
    said = differences(capsys, "--market", traded.market_id)
    assert f"event {event_id}, market {traded.market_id}, version {version}\n" in said
    recorded, today = said.split("  recorded  ")[1].split("\n  today     ")
    assert recorded.startswith("order_matched/1 {")
    assert today.startswith("order_matched/1 {")
    assert '"place"' in said
    assert str(10**12) in said


def test_each_market_has_a_first_difference(traded, capsys, monkeypatch):
    other = RecordedMarket()
    other.trade_randomly([funded_account() for _ in range(2)], 20, seed=2)
    monkeypatch.setattr(decide, "MAX_OPEN_ORDERS", 0)
    said = differences(capsys)
    assert said.count("\n  today     order_rejected/1") == 2
    assert said.count(RejectReason.EXCEEDS_LIMITS.value) == 2


def test_a_rule_that_writes_less_or_more_is_seen(capsys, monkeypatch):
    maker, taker = funded_account(), funded_account()
    market = RecordedMarket()
    market.place(maker, "sell", 0, 6000, 10)
    market.place(taker, "buy", 0, 6000, 4)
    real = decide.match
    monkeypatch.setattr(decide, "match", lambda *args: iter(()))
    with connection.cursor() as cursor:
        less = check_market(cursor, market.market_id)
    assert (less.recorded.partition(" ")[0], less.today) == ("position_opened/1", "nothing")

    def more(market, order, now_us):
        yield from real(market, order, now_us)
        if order.remaining_shares:
            yield matching.cancelled(market, order, "self_trade")

    monkeypatch.setattr(decide, "match", more)
    with connection.cursor() as cursor:
        found = check_market(cursor, market.market_id)
    assert (found.version, found.recorded) == (3, "nothing after this event")
    assert found.today.startswith("order_cancelled/1 ")


def test_rules_that_fail_are_a_difference(traded, monkeypatch):
    def fail(*args):
        raise AssertionError("an invariant")
        yield

    monkeypatch.setattr(decide, "match", fail)
    with connection.cursor() as cursor:
        found = check_market(cursor, traded.market_id)
    assert found.today == "today's code fails: AssertionError('an invariant')"


def test_a_command_that_cannot_be_read_is_named(traded, capsys):
    append(traded.market_id, ("market_suspended/1", {"reason": "a look"}), metadata={"actor": "somebody"})
    said = differences(capsys)
    assert f"version {traded.state.seq + 1}\n" in said
    assert "the command cannot be read: ValidationError(" in said


def test_an_event_that_no_code_knows_is_named(traded, capsys):
    append(
        traded.market_id,
        ("order_invented/1", {}),
        metadata={"command": ["open_market", traded.market_id], "granted": 0, "at_us": 1},
    )
    assert "today's code fails: KeyError('order_invented/1')" in differences(capsys)


def test_only_what_was_recorded_since_a_time_can_be_judged(traded, capsys, monkeypatch):
    with connection.cursor() as cursor:
        take_snapshot(cursor, traded.market_id)
    since_us = traded.now_us + 1
    traded.trade_randomly([funded_account() for _ in range(2)], 30, seed=4)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM event WHERE stream_id = %s AND recorded_at >= %s",
                       [traded.market_id, timestamp_text(since_us)])  # fmt: skip
        (events,) = cursor.fetchone()
    assert f"{events} events, 1 markets" in check(capsys, "--since", timestamp_text(since_us))
    monkeypatch.setattr(matching, "fee_pips", lambda numerator: -(-numerator // 100_000_000) + 1)
    said = differences(capsys, "--since", timestamp_text(since_us))
    assert int(said.split("version ")[1].split()[0]) > traded.state.seq - events
    assert "0 events" in check(capsys, "--since", timestamp_text(traded.now_us + 1))


def test_a_missing_event_is_named(traded, capsys):
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE stream_id = %s AND version = 9", [traded.market_id])
    assert "event 9 of market" in differences(capsys)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(CommandError, match="no market"):
        call_command("replay_check", "--market", new_id())
    with pytest.raises(CommandError, match="is not a time"):
        call_command("replay_check", "--since", "yesterday")
