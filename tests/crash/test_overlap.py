"""Batches that overlap (one is matched while its neighbours commit and reserve) end as batches in turn would."""

import random
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.crash.stage import Stage, events, place, query, refusal, sealed, unstorable, view
from trading.engine import commands as cmd
from trading.shard import inbox, tenure
from trading.shard.commit import CommitPlan
from trading.shard.commit import commit as real_commit
from trading.shard.reserve import Reservation, reserve
from trading.shard.tenure import Intake, Matched, Tenure
from trading.wire import Envelope

BATCH = 4


@pytest.fixture(autouse=True)
def overlaps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """Small batches, of which all overlap that can; answers what the writers were given to commit and to reserve."""
    monkeypatch.setattr(tenure, "LONG_QUEUE", 1)
    monkeypatch.setattr(inbox, "MAX_BATCH_COMMANDS", BATCH)
    written: list[tuple[bool, bool]] = []
    real_start = Tenure._start_writing

    def start(self: Tenure, matched: Matched | None, following: Intake | None) -> None:
        if matched is not None or following is not None:
            written.append((matched is not None, following is not None))
        real_start(self, matched, following)

    monkeypatch.setattr(Tenure, "_start_writing", start)
    return written


def send_one_by_one(stage: Stage, *envelopes: Envelope) -> None:
    for envelope in envelopes:
        stage.sender.send(envelope)


def in_batches(stage: Stage, *envelopes: Envelope) -> list[Any]:
    """A frame each, so that the shard may cut batches where it likes; the answers."""
    send_one_by_one(stage, *envelopes)
    return stage.until_answered(*envelopes)


def test_long_queue_is_worked_with_a_batch_in_every_step(
    stage: Stage, overlaps: list[tuple[bool, bool]]
) -> None:
    market_id, account_id = stage.market(), stage.account(100_000_000)
    overlaps.clear()
    orders = [place(market_id, account_id, "buy", 1000 + 100 * n, 1) for n in range(6 * BATCH)]
    answers = in_batches(stage, *orders)
    sequence = [view(answer).seq for answer in answers]
    assert sequence == sorted(sequence)
    assert len(set(sequence)) == len(orders)
    assert overlaps == [(False, True), *[(True, True)] * 4, (True, False)]


def test_cash_that_the_batch_before_frees_serves_the_next(stage: Stage) -> None:
    market_id, account_id = stage.market(taker_fee_e4=0), stage.account(1_000_000)
    first = place(market_id, account_id, "buy", 5000, 200)
    stage.do(first)
    fillers = [place(market_id, stage.account(), "buy", 100, 1) for _ in range(2 * BATCH - 1)]
    cancel = sealed(cmd.CancelOrder(market_id, account_id, first.command_id, None))
    again = [place(market_id, account_id, "buy", 2500, 100) for _ in range(5)]
    answers = in_batches(stage, *fillers[:BATCH], cancel, *fillers[BATCH:], *again)
    assert [answer.kind for answer in answers[-5:]] == ["order"] * 4 + ["refused"]
    assert stage.money(account_id) == (0, 1_000_000)


def test_cash_that_the_batch_before_holds_and_does_not_need_serves_the_next(stage: Stage) -> None:
    market_id, account_id = stage.market(taker_fee_e4=0), stage.account(1_000_000)
    # Reserved for all four at first, though only the first can be placed.
    orders = [place(market_id, account_id, "buy", 9000, 60) for _ in range(BATCH)]
    after = [place(market_id, account_id, "buy", 2000, 100) for _ in range(BATCH)]
    answers = in_batches(stage, *orders, *after)
    assert [answer.kind for answer in answers] == ["order"] + ["refused"] * 3 + ["order"] * 2 + [
        "refused"
    ] * 2
    assert stage.money(account_id) == (60_000, 940_000)


def test_account_without_cash_stops_nobody(stage: Stage, overlaps: list[tuple[bool, bool]]) -> None:
    market_id, poor, rich = stage.market(), stage.account(0), stage.account(100_000_000)
    overlaps.clear()
    orders = [place(market_id, poor if n % BATCH == 0 else rich, "buy", 1000, 1) for n in range(4 * BATCH)]
    answers = in_batches(stage, *orders)
    assert [answer.kind for answer in answers] == ["refused", "order", "order", "order"] * 4
    assert overlaps == [(False, True), *[(True, True)] * 2, (True, False)]


def test_batch_reserved_too_late_goes_on_without_what_is_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    market_id, account_id = stage.market(), stage.account(100_000_000)
    orders = [place(market_id, account_id, "buy", 1000 + 100 * n, 1) for n in range(3 * BATCH)]
    late = orders[BATCH + 1]
    orders = [o if o is late else replace(o, deadline_us=o.deadline_us + 60_000_000) for o in orders]
    times: list[str] = []

    def slow(connection: Any, **work: Any) -> Reservation:
        reservation = reserve(connection, **work)
        if late.key in {claim.key for claim in work["claims"]}:
            times.append(reservation.batch_id)
            stage.clock.ahead_us = 6_000_000
        return reservation

    monkeypatch.setattr(tenure, "reserve", slow)
    send_one_by_one(stage, *orders)
    stage.until_answered(*[order for order in orders if order is not late])
    assert (len(times), stage.shard.failures) == (1, [])
    assert late.command_id not in stage.sender.outcomes
    assert query("SELECT count(*) FROM client_order WHERE key = %s", late.key) == [(0,)]


def test_id_repeated_in_the_next_batches_is_answered_from_the_first(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    order = place(market_id, account_id, "buy", 1000, 10, client_id="mine")
    larger = sealed(
        cmd.AmendOrder(market_id, account_id, order.command_id, None, 1_000_000, None), client_id="larger"
    )
    others = [place(market_id, account_id, "buy", 500, 1) for _ in range(3 * BATCH)]
    send_one_by_one(stage, order, larger, *others[:6], order, larger, *others[6:], order, larger)
    stage.until_answered(order, larger, *others)
    stage.quiet()
    first, *later = stage.sender.outcomes[order.command_id]
    assert view(first).status == "open"
    assert [(each.kind, each.payload) for each in later] == [
        ("repeat", [order.command_id, market_id, True, None])
    ] * 2
    first, *later = stage.sender.outcomes[larger.command_id]
    assert refusal(first) == "exceeds_available_cash"
    assert [(each.kind, each.payload[3]) for each in later] == [("repeat", "exceeds_available_cash")] * 2
    assert events(market_id).count("order_placed") == 1 + len(others)


@pytest.mark.parametrize("is_durable", [False, True])
def test_batch_that_is_not_committed_takes_those_after_it_along(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_durable: bool
) -> None:
    """Whether the second of six batches was committed or not when its connection went: everything happens once."""
    market_id, account_id = stage.market(), stage.account(100_000_000)
    commits: list[int] = []

    def commit(connection: Any, plan: CommitPlan) -> None:
        commits.append(len(plan.rows))
        if len(commits) == 2:
            # Its own, that of the batch being matched, and perhaps that of the next.
            assert connection.execute("SELECT count(*) FROM batch").fetchone()[0] in (2, 3)
            if is_durable:
                real_commit(connection, plan)
            raise psycopg.OperationalError("the connection is gone")
        real_commit(connection, plan)

    monkeypatch.setattr(tenure, "commit", commit)
    orders = [place(market_id, account_id, "buy", 1000 + 100 * n, 1) for n in range(6 * BATCH)]
    send_one_by_one(stage, *orders)
    stage.shard.step()
    assert len(stage.shard.failures) == 1
    # Only the first batch was told of; of the others nobody can say yet.
    stage.sender.hear()
    told = stage.sender.outcomes.keys() & {order.command_id for order in orders}
    assert told <= {order.command_id for order in orders[:BATCH]}
    stage.quiet()
    placed = query(
        "SELECT data->>'order' FROM event WHERE stream_id = %s AND type = 'order_placed/1' ORDER BY version",
        market_id,
    )
    assert [order_id for (order_id,) in placed] == [order.command_id for order in orders]


def test_command_that_breaks_the_engine_is_set_aside_from_the_midst_of_a_long_queue(stage: Stage) -> None:
    market_id, account_id, other = stage.market(), stage.account(100_000_000), stage.market()
    orders = [place(market_id, account_id, "buy", 1000 + 100 * n, 1) for n in range(3 * BATCH)]
    poison = unstorable(place(other, account_id, "buy", 1000, 1))
    # Nobody has to ask again: what was committed beside it is told.
    answers = in_batches(stage, *orders[:6], poison, *orders[6:])
    assert [answer.kind for answer in answers] == ["order"] * 6 + ["failed"] + ["order"] * 6
    assert query("SELECT payload->>'command_id' FROM dead_letter") == [(poison.command_id,)]
    assert events(market_id).count("order_placed") == len(orders)


def test_any_course_of_trade_keeps_cash_and_log_whole_though_commits_fail(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(33)
    accounts = [stage.account(chance.choice([300_000, 1_000_000, 9_000_000])) for _ in range(5)]
    markets = [stage.market(), stage.market("Ann", "Ben", "Cid"), stage.market(taker_fee_e4=0)]

    def commit(connection: Any, plan: CommitPlan) -> None:
        dice = chance.random()
        if dice < 0.05:
            raise psycopg.OperationalError("the connection is gone")
        real_commit(connection, plan)
        if dice > 0.95:
            raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(tenure, "commit", commit)
    monkeypatch.setattr("trading.shard.process.time.sleep", lambda _: None)
    placed: list[tuple[str, str, str]] = []
    everything: list[Envelope] = []
    for _ in range(12):
        envelopes = []
        for _ in range(25):
            market_id, account_id = chance.choice(markets), chance.choice(accounts)
            if placed and chance.random() < 0.3:
                where, who, order_id = chance.choice(placed)
                envelopes.append(sealed(cmd.CancelOrder(where, who, order_id, None)))
                continue
            order = place(
                market_id, account_id, chance.choice(["buy", "sell"]), chance.randrange(3000, 7001, 100),
                chance.randint(1, 60), outcome=chance.randint(0, 1), tif=chance.choice(["GTC", "GTC", "IOC", "FOK"]),
            )  # fmt: skip
            placed.append((market_id, account_id, order.command_id))
            envelopes.append(order)
        send_one_by_one(stage, *envelopes)
        everything += envelopes
        stage.quiet()
        stage.check_balance()
    done = query(
        "SELECT metadata->'command'->>3 FROM event WHERE metadata->'command'->>0 = 'place' ORDER BY 1"
    )
    orders = sorted(e.command_id for e in everything if isinstance(e.command, cmd.PlaceOrder))
    assert [order_id for (order_id,) in done] == orders
    assert len(stage.shard.failures) > 5
