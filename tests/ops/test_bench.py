"""The benchmark's own arithmetic: flow, figures, table, counts. What it measures is not judged here."""

import json
from itertools import islice

import msgspec
import pytest

from ops.bench import suite
from ops.bench.commit_path import FRAME_COMMANDS, array_length, flow_frames
from ops.bench.flow import Cancel, Place, mixed_flow
from ops.bench.holders import pair_frames
from ops.bench.report import Count, Figure, Report
from trading.engine.commands import CancelOrder, PlaceOrder
from trading.ids import market_slot, new_id
from trading.wire import command_stream, decode_frame


def test_flow_has_the_shares_it_promises():
    steps = list(islice(mixed_flow(markets=4, accounts=9, seed=1), 20_000))
    cancels = [step for step in steps if isinstance(step, Cancel)]
    middle_of = {}
    for step in islice(mixed_flow(markets=4, accounts=9, seed=1), 20_000):
        if isinstance(step, Place):
            low, high = middle_of.get(step.market, (10_000, 0))
            if step.quantity > 30:  # only resting orders are that large
                low, high = min(low, step.price_pips), max(high, step.price_pips)
            middle_of[step.market] = low, high
    crossing = [
        step
        for step in steps
        if isinstance(step, Place)
        and (step.price_pips - sum(middle_of[step.market]) // 2) * (1 if step.side == "buy" else -1) > 0
    ]
    assert len(cancels) / len(steps) == pytest.approx(0.15, abs=0.01)
    assert len(crossing) / len(steps) == pytest.approx(0.25, abs=0.01)


def test_flow_follows_from_its_seed():
    def first(seed: int) -> list[object]:
        return list(islice(mixed_flow(markets=4, accounts=9, seed=seed), 500))

    assert first(1) == first(1) != first(2)


def test_cancels_name_orders_that_were_placed_once_and_before():
    placed: set[int] = set()
    cancelled: set[int] = set()
    for step in islice(mixed_flow(markets=4, accounts=9, seed=3), 5_000):
        if isinstance(step, Place):
            placed.add(step.number)
        else:
            assert step.number in placed
            assert step.number not in cancelled
            cancelled.add(step.number)


def test_frames_hold_the_flow_in_order_for_each_slot():
    markets, accounts = [new_id() for _ in range(8)], [new_id() for _ in range(5)]
    placed = set()
    for frame in flow_frames("gateway", markets, accounts, most=2_000, seed=1):
        gateway_id, envelopes = decode_frame(frame.body)
        assert gateway_id == "gateway"
        assert len(envelopes) == frame.commands == FRAME_COMMANDS
        for envelope in envelopes:
            assert command_stream(market_slot(envelope.command.market_id)) == frame.stream
            if isinstance(envelope.command, PlaceOrder):
                placed.add(envelope.command.order_id)
                assert envelope.key == envelope.command.client_order_id
            else:
                assert isinstance(envelope.command, CancelOrder)
                assert envelope.command.order_id in placed


@pytest.mark.parametrize("length", [0, 1, 15, 16, 500, 65_535, 65_536])
def test_length_of_an_array_is_read_off_its_head(length):
    assert array_length(msgspec.msgpack.encode([None] * length)) == length


def test_length_of_anything_else_is_refused():
    with pytest.raises(ValueError):
        array_length(msgspec.msgpack.encode({"a": 1}))


def test_figure_is_compared_with_its_yardstick_by_the_medians():
    plain = Figure("plain", "orders/s", [1_000.0, 1_200.0, 900.0])
    engine = Figure("engine", "orders/s", [9_000.0, 8_000.0, 10_000.0], yardstick=plain, aim=8_500)
    assert engine.ratio == 9.0
    assert engine.meets_aim is True
    assert plain.ratio is None
    assert plain.meets_aim is None


def test_figure_that_nothing_could_measure_says_so(tmp_path):
    figure = Figure(
        "fast lane", "requests/s", yardstick=Figure("idle", "requests/s"), aim=5_000, note="no wrk"
    )
    report = Report({"THROTTLE": "0"}, [figure])
    report.write(tmp_path / "bench.json")
    assert "not measured" in report.table()
    (written,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert written["value"] == "not measured"
    assert written["aim_met"] is None


def test_without_wrk_every_http_figure_says_not_measured(monkeypatch):
    monkeypatch.setattr(suite, "wrk_is_installed", lambda: False)
    report = Report({})
    suite._http_parts(None, suite.Options(parts=("http", "batch")), report, print)
    assert {figure.document()["value"] for figure in report.figures} == {"not measured"}
    assert {figure.note for figure in report.figures} == {suite.NO_WRK}
    assert len(report.figures) == 21


@pytest.mark.parametrize(
    ("acknowledged", "committed", "in_flight", "right"),
    [
        (5, 5, 0, True),
        (5, 4, 0, False),
        (5, 6, 0, False),
        (5, 6, 1, True),
        (5, 7, 1, False),
        (5, 4, 9, False),
    ],
)
def test_every_acknowledged_order_must_be_committed(acknowledged, committed, in_flight, right):
    report = Report({}, counts=[Count("part", acknowledged, committed, in_flight)])
    assert report.is_right is right
    assert ("WRONG" in report.table()) is not right


def test_holders_are_made_in_pairs_whose_prices_make_a_dollar():
    market_id, accounts = new_id(), [new_id() for _ in range(60)]
    frames = list(pair_frames("gateway", market_id, accounts, seed=1))
    orders = [envelope.command for frame in frames for envelope in decode_frame(frame.body)[1]]
    assert {frame.stream for frame in frames} == {command_stream(market_slot(market_id))}
    assert [order.account_id for order in orders] == accounts
    for yes, no in zip(orders[::2], orders[1::2], strict=True):
        assert (yes.outcome, no.outcome, yes.side, no.side) == (0, 1, "buy", "buy")
        assert yes.price_pips + no.price_pips == 10_000
        assert yes.quantity_shares == no.quantity_shares >= 1
