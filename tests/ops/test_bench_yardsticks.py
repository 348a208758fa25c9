"""The yardsticks' own arithmetic: one flow for all contestants, orders at a fixed rate, what cannot be measured."""

import asyncio
import json
import sys
import threading
from contextlib import contextmanager

import pytest

from ops.bench import interpreters
from ops.bench.contestants import engine
from ops.bench.interpreters import YardstickMissing, interpreter
from ops.bench.matching import contestant, matching_flow
from ops.bench.open_loop import offer, order_requests, percentile
from ops.bench.report import Figure, Report
from trading.engine.decide import run
from trading.engine.events import OrderCancelled

OPERATIONS = 3_000


def test_no_order_of_the_matching_flow_meets_its_own_account():
    flow, _ = matching_flow(operations=OPERATIONS, accounts=200, seed=1)
    market = engine.open_market()
    events = [
        event
        for step in flow
        for event in run(
            market, engine.command_of(step), budget_pips=engine.BUDGET_PIPS, now_us=engine.NOW_US
        )
    ]
    assert {event.reason for event in events if isinstance(event, OrderCancelled)} == {"by_owner"}


def test_matching_flow_follows_from_its_seed_and_has_the_shares_it_promises():
    flow, result = matching_flow(operations=OPERATIONS, accounts=200, seed=2)
    assert (flow, result) == matching_flow(operations=OPERATIONS, accounts=200, seed=2)
    assert sum(len(step) == 2 for step in flow) / OPERATIONS == pytest.approx(0.30, abs=0.03)


@pytest.mark.parametrize("depth", engine.DEPTHS)
def test_engine_comes_to_the_same_trades_at_every_depth(depth):
    flow, expected = matching_flow(operations=OPERATIONS, accounts=200, seed=3)
    assert expected.trades > 500
    assert engine.DEPTHS[depth](flow)()() == expected


def test_contestant_tells_its_seconds_and_result_as_one_line(tmp_path):
    flow, expected = matching_flow(operations=200, accounts=200, seed=4)
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow))
    found = contestant(sys.executable, "engine", str(file), "2", "book")
    assert len(found["seconds"]) == 2
    assert (found["trades"], found["volume_shares"]) == expected[:2]


def test_contestant_that_fails_is_missing_and_says_why(tmp_path):
    with pytest.raises(YardstickMissing, match="FileNotFoundError"):
        contestant(sys.executable, "engine", str(tmp_path / "none.json"), "1", "book")


def test_yardstick_without_its_python_is_missing_and_says_which(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(
        interpreters, "_candidates", lambda version: iter(["/no/such/python", sys.executable])
    )
    with pytest.raises(YardstickMissing, match=r"needs Python 3\.12"):
        interpreter("3.12")


def test_target_and_further_yardsticks_stand_in_table_and_document(tmp_path):
    copy, other = Figure("raw COPY", "events/s", [100.0]), Figure("recorder", "events/s")
    figure = Figure(
        "p99", "ms", [40.0], yardstick=copy, also=[other], target=50, aim=30, smaller_is_better=True
    )
    report = Report({}, [figure])
    table = report.table()
    assert "≤ 50.00 met" in table
    assert "≤ 30.00 missed" in table
    assert any(line.split() == ["recorder", "not", "measured"] for line in table.splitlines())
    document = figure.document()
    assert (document["target_met"], document["aim_met"]) == (True, False)
    assert document["also_beside"] == [{"yardstick": "recorder", "times": None}]


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (99, 10), (100, 10), (1, 1)])
def test_percentile_is_a_value_that_was_seen(percent, value):
    assert percentile([float(n) for n in range(10, 0, -1)], percent) == value


def test_orders_at_a_rate_have_ids_of_their_own_and_true_lengths():
    requests = order_requests("host:1", keys=["k"], markets=["m"], count=50, prefix="r")
    bodies = []
    for request in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        bodies.append(json.loads(body))
    assert len({body["client_order_id"] for body in bodies}) == 50


def test_latency_counts_from_when_an_order_was_due():
    """A server that answers one at a time in 20 ms is offered 100 a second: the queue is part of what they took."""
    with _server(answer_s=0.02) as url:
        run = offer(url, keys=["k"], markets=["m"], per_s=100, seconds=0.3, prefix="r")
    assert (run.offered, run.accepted, run.refused, run.lost) == (30, 30, 0, 0)
    assert run.p99_ms > 200  # 30 × 20 ms of work in 300 ms
    assert run.p50_ms < run.p99_ms


@contextmanager
def _server(*, answer_s):
    """Answers 201 to whatever comes, one request after the other."""
    loop, bound = asyncio.new_event_loop(), threading.Event()
    ports, one_at_a_time = [], asyncio.Lock()

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                async with one_at_a_time:
                    await asyncio.sleep(answer_s)
                writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    async def start():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        bound.set()

    async def stop():
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert bound.wait(10)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_what_never_came_is_null_in_the_document():
    document = Figure(
        "read models caught up", "s", [float("inf")], target=6, smaller_is_better=True
    ).document()
    assert json.loads(json.dumps(document, allow_nan=False))["median"] is None
    assert document["target_met"] is False
