"""The projector: batches, checkpoints, rivals, poison, loss of its servers."""

import threading
import time
from types import SimpleNamespace

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from prometheus_client import CollectorRegistry, Histogram

from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import WrittenMarket, append, funded_account
from trading import metrics
from trading.connection import own_connection
from trading.projections import runner
from trading.projections.follower import share_out, whole_commands
from trading.projections.projection import NotReady, load_projections
from trading.projections.runner import POLL_S, Projector, WakeHint
from trading.wake import wake_readers

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

NAMES = ("orders", "trades", "positions", "ledger", "books", "candles", "markets")


def checkpoints(name):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot, next_offset FROM projection_checkpoint WHERE projection = %s AND next_offset > 0",
            [name],
        )
        return dict(cursor.fetchall())


def heads():
    with connection.cursor() as cursor:
        cursor.execute("SELECT slot, next_offset FROM slot WHERE next_offset > 0")
        return dict(cursor.fetchall())


def trade_a_while(commands=60, seed=1):
    accounts = [funded_account() for _ in range(3)]
    markets = [WrittenMarket(taker_fee_e4=70), WrittenMarket(("A", "B", "C"))]
    for market in markets:
        market.trade_randomly(accounts, commands, seed)
    return markets


def test_every_projection_reaches_the_heads(project):
    trade_a_while()
    project()
    for name in NAMES:
        assert checkpoints(name) == heads()
        assert metrics.PROJECTION_LAG_EVENTS.labels(name)._value.get() == 0


def test_staleness_is_the_way_of_an_event_and_the_work_on_it(project, monkeypatch):
    # One of its own: the process's may hold sums so large that a difference is lost in them.
    staleness = Histogram("staleness", "", ["projection", "part"], registry=CollectorRegistry())
    monkeypatch.setattr(metrics, "STALENESS_SECONDS", staleness)
    trade_a_while()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT recorded_at) FROM event")
        (batches,) = cursor.fetchone()
    project()
    grown = {
        part: {sample.name: sample.value for sample in staleness.labels("orders", part)._samples()}
        for part in ("way", "work", "whole")
    }
    assert [grown[part]["_count"] for part in ("way", "work", "whole")] == [batches] * 3
    assert grown["way"]["_sum"] >= 0
    assert grown["work"]["_sum"] > 0
    assert grown["whole"]["_sum"] == pytest.approx(grown["way"]["_sum"] + grown["work"]["_sum"])


def test_small_batches_end_where_large_ones_do(project, projector):
    markets = trade_a_while()
    projector._limit = 3
    while projector.round():
        projector._limit = 3
    small = read_tables()
    assert {row[0] for row in small["market"]} >= {row[0] for row in small["market_summary"]}
    assert len(small["market"]) == len(markets)
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    project()
    assert read_tables() == small


def test_two_projectors_at_once_apply_each_event_once():
    markets = trade_a_while(commands=100)
    stop = threading.Event()

    def follow():
        rival = Projector(load_projections())
        rival._limit = 7
        try:
            while not stop.is_set():
                rival.round()
                rival._limit = 7
        finally:
            rival.close()

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(checkpoints(name) != heads() for name in NAMES):
        stop.wait(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert checkpoints("positions") == heads()
    with connection.cursor() as cursor:
        for market in markets:
            cursor.execute(
                "SELECT volume_pips, open_interest_sets FROM market_summary WHERE market_id = %s",
                [market.market_id],
            )
            assert cursor.fetchone() == (market.state.volume_pips, market.state.sets)
            cursor.execute(
                "SELECT count(*) FROM \"order\" WHERE market_id = %s AND status = 'open'",
                [market.market_id],
            )
            assert cursor.fetchone() == (len(market.state.orders),)


def test_an_unknown_event_stops_the_projection_and_is_told(project, caplog):
    market = WrittenMarket()
    project()
    before = checkpoints("orders")
    append(market.market_id, ("market_renamed/1", {"name": "x"}))
    market.state.seq += 1
    project()
    assert "unknown type 'market_renamed/1'" in caplog.text
    assert checkpoints("orders") == before
    assert metrics.PROJECTION_HALTED.labels("orders")._value.get() == 1
    assert metrics.PROJECTION_LAG_EVENTS.labels("orders")._value.get() == 1


def test_a_projection_that_fails_does_not_hold_the_others_up(project, projector, monkeypatch, caplog):
    market = WrittenMarket()
    projector.round()
    trades = projector._projections[1]
    monkeypatch.setattr(trades, "apply", lambda cursor, events: 1 / 0)
    market.place(funded_account(), "buy", 0, 4000, 1)
    project()
    assert checkpoints("orders") == checkpoints("markets") == heads()
    assert checkpoints("trades") != heads()
    monkeypatch.undo()
    projector._halted_until.clear()
    project()
    assert checkpoints("trades") == heads()
    assert metrics.PROJECTION_HALTED.labels("trades")._value.get() == 0


def test_projections_go_on_together_again_once_they_stand_at_one_place(project, projector, monkeypatch):
    market = WrittenMarket()
    projector.round()
    assert [follower.names for follower in projector._followers] == [projector._names]
    trades = projector._projections[1]
    monkeypatch.setattr(trades, "apply", lambda cursor, events: 1 / 0)
    market.place(funded_account(), "buy", 0, 4000, 1)
    project()
    assert [follower.names for follower in projector._followers] == [[name] for name in projector._names]
    # It rests after its failure, and the others do not wait for it.
    projector._refresh_at = 0.0
    market.place(funded_account(), "buy", 0, 4000, 1)
    project()
    assert sorted(len(follower.names) for follower in projector._followers) == [1, len(projector._names) - 1]
    monkeypatch.undo()
    projector._halted_until.clear()
    project()
    projector._refresh_at = 0.0
    project()
    assert [follower.names for follower in projector._followers] == [projector._names]
    assert checkpoints("trades") == checkpoints("orders") == heads()


def test_it_rests_the_longer_the_longer_a_round_took_but_never_long(projector, monkeypatch):
    rests = []
    moments = iter([0.0, 0.015, 1.0, 1.045, 2.0, 8.0, 10.0, 10.001])

    def rest(seconds):
        rests.append(round(seconds, 6))
        projector.stopping = len(rests) == 4

    monkeypatch.setattr(projector, "round", lambda: True)
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(moments), sleep=rest))
    projector.run(SimpleNamespace(close=lambda: None))
    assert rests == [0.0075, 0.0675, 0.1, 0.004]


def test_a_projection_may_wait_for_another_without_a_word(project, projector, monkeypatch, caplog):
    market = WrittenMarket()
    projector.round()
    trades = projector._projections[1]

    def wait(cursor, events):
        raise NotReady("the orders are not there")

    monkeypatch.setattr(trades, "apply", wait)
    market.place(funded_account(), "buy", 0, 4000, 1)
    project()
    assert checkpoints("trades") != heads()
    monkeypatch.undo()
    project()
    assert checkpoints("trades") == heads()
    assert "has stopped" not in caplog.text


def test_a_hole_in_the_log_is_not_jumped(project, caplog):
    WrittenMarket()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE slot SET next_offset = next_offset + 1 WHERE next_offset > 0")
    project()
    assert "does not hold offsets" in caplog.text
    assert checkpoints("orders") == {}


def test_a_lost_connection_is_made_again(project, projector):
    trade_a_while(commands=10)
    projector.round()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [projector._connection.info.backend_pid])
    trade_a_while(commands=10)
    with pytest.raises(psycopg.OperationalError):
        projector.round()
    projector._reconnect_later()
    project()
    assert checkpoints("positions") == heads()


def test_a_locked_table_of_one_projection_does_not_hold_the_others_up(projector):
    projector.round()
    market, trader, other = WrittenMarket(), funded_account(), funded_account()
    market.place(trader, "buy", 0, 4000, 1)
    market.place(other, "sell", 0, 4000, 1)
    with own_connection("holder") as holder, holder.transaction():
        holder.execute("LOCK TABLE trade IN ACCESS EXCLUSIVE MODE")
        deadline = time.monotonic() + 20
        while checkpoints("markets") != heads() and time.monotonic() < deadline:
            try:
                projector._connected().execute("SET transaction_timeout = '200ms'")
                projector.round()
            except psycopg.Error:
                projector._reconnect_later()
        assert checkpoints("orders") == checkpoints("positions") == checkpoints("markets") == heads()
        assert checkpoints("trades") != heads()
        assert halted("trades") == 1
        assert halted("orders") == 0
    projector._halted_until.clear()
    while projector.round():
        pass
    assert checkpoints("trades") == heads()
    assert halted("trades") == 0


def halted(name):
    return metrics.PROJECTION_HALTED.labels(name)._value.get()


def test_checkpoints_that_were_dropped_are_made_again(project, projector):
    trade_a_while(commands=10)
    project()
    with connection.cursor() as cursor:
        forget_everything(cursor)
        cursor.execute("DELETE FROM projection_checkpoint WHERE projection = 'orders'")
    projector._refresh_at = 0.0
    project()
    assert checkpoints("orders") == heads()


def test_it_rests_while_one_projection_waits_for_another(projector, monkeypatch):
    market = WrittenMarket()
    projector.round()

    def wait(cursor, events):
        raise NotReady("the orders are not there")

    monkeypatch.setattr(projector._projections[1], "apply", wait)
    market.place(funded_account(), "buy", 0, 4000, 1)
    assert projector.round()
    assert not projector._is_far_behind


def test_a_hint_wakes_it_and_stop_ends_it():
    projector = Projector(load_projections())
    thread = threading.Thread(target=projector.run, args=[WakeHint(settings.VALKEY_URL)])
    thread.start()
    try:
        trade_a_while(commands=10)
        wake_readers()
        deadline = time.monotonic() + 10
        while checkpoints("markets") != heads() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert checkpoints("markets") == heads()
    finally:
        projector.stopping = True
        thread.join(timeout=5)
    assert not thread.is_alive()


def test_without_valkey_it_looks_by_the_clock():
    hint = WakeHint("redis://127.0.0.1:1/0")
    started = time.monotonic()
    hint.wait(POLL_S)
    assert time.monotonic() - started >= POLL_S


def test_a_rounds_events_are_shared_out_over_the_slots():
    assert share_out({1: 5, 2: 0, 3: 7}, 100) == {1: 5, 3: 7}
    assert share_out({1: 900, 2: 100}, 100) == {1: 90, 2: 10}
    assert share_out({1: 9999, 2: 1}, 10) == {1: 9, 2: 1}


def test_a_slice_ends_with_a_whole_command():
    class Event:
        def __init__(self, begins_command):
            self.begins_command = begins_command

    first, second, third = Event(True), Event(False), Event(True)
    assert whole_commands([first, second, third]) == [first, second]
    assert whole_commands([first, second]) == [first, second]
