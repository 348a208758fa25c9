"""The shard between its two transactions: what is in doubt is given back, and everything happens exactly once."""

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.crash.stage import Stage, events, place, query, refusal, sealed, view
from tests.engine.digest import state_digest
from trading.connection import own_connection
from trading.engine import commands as cmd
from trading.ids import market_slot, new_id
from trading.shard import tenure
from trading.shard.commit import CommitPlan
from trading.shard.commit import commit as real_commit
from trading.shard.faults import SlotLost
from trading.shard.reserve import claim_of, reserve
from trading.shard.slots import take_slots
from trading.wire import Envelope

Commit = Callable[[Any, CommitPlan], None]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Commit], None]:
    """Puts something in the place of the next T2 that writes events; those after it are real again."""

    def put(other: Commit) -> None:
        def once(connection: Any, plan: CommitPlan) -> None:
            if not plan.rows:
                real_commit(connection, plan)
                return
            monkeypatch.setattr(tenure, "commit", real_commit)
            other(connection, plan)

        monkeypatch.setattr(tenure, "commit", once)

    return put


# T2 fails ------------------------------------------------------------------------------------------


def test_connection_lost_before_the_commit_gives_everything_back_and_the_command_runs_once(
    stage: Stage, instead: Callable[[Commit], None]
) -> None:
    market_id, account_id = stage.market(), stage.account(1_000_000)
    taken: list[Any] = []

    def lose_connection(connection: Any, plan: CommitPlan) -> None:
        taken.append((stage.money(account_id), query("SELECT accounts::text[], claim_keys FROM batch")))
        with own_connection("pmarket-tests") as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        real_commit(connection, plan)

    instead(lose_connection)
    order = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    answer = view(stage.do(order))
    # Between the two transactions the cash was in the batch's row: 50.0000 and the fee.
    assert taken == [((1_000_000 - 517_500, 0), [([account_id], ["mine"])])]
    assert isinstance(stage.shard.failures[0], psycopg.OperationalError)
    assert (answer.order_id, answer.status) == (order.command_id, "open")
    assert events(market_id) == ["market_created", "market_opened", "order_placed"]
    assert stage.money(account_id) == (1_000_000 - 517_500, 517_500)
    assert query("SELECT key FROM client_order WHERE account_id = %s", account_id) == [("mine",)]


def test_commit_whose_answer_was_lost_is_not_done_again(
    stage: Stage, instead: Callable[[Commit], None]
) -> None:
    market_id, account_id = stage.market(), stage.account()

    def commit_in_silence(connection: Any, plan: CommitPlan) -> None:
        real_commit(connection, plan)
        raise psycopg.OperationalError("the answer of a commit was lost")

    instead(commit_in_silence)
    order = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    stage.sender.send(order)
    stage.quiet()
    assert stage.sender.outcomes.get(order.command_id) is None
    # The gateway sends again what nobody answered.
    repeated = stage.do(order)
    assert (repeated.kind, repeated.payload) == ("repeat", [order.command_id, market_id, True, None])
    assert events(market_id).count("order_placed") == 1


def test_refused_command_stays_refused_when_its_reply_was_lost(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    order = place(market_id, account_id, "buy", 5000, 10)
    stage.do(order)
    larger = sealed(
        cmd.AmendOrder(market_id, account_id, order.command_id, None, 1_000_000, None), client_id="larger"
    )
    resume = sealed(cmd.ResumeMarket(market_id))
    # Twice in one batch, and once more after the commit.
    stage.do_all(larger, resume, larger, resume)
    stage.sender.send(larger, resume)
    stage.quiet()
    for envelope, code in ((larger, "exceeds_available_cash"), (resume, "market_not_open")):
        first, *others = stage.sender.outcomes[envelope.command_id]
        assert refusal(first) == code
        assert [(each.kind, each.payload[3]) for each in others] == [("repeat", code)] * 2


def test_failure_of_one_batch_takes_no_other_market_along(
    stage: Stage, instead: Callable[[Commit], None]
) -> None:
    account_id = stage.account()
    markets = [stage.market() for _ in range(3)]
    stage.do_all(*[place(market_id, account_id, "buy", 1000, 5) for market_id in markets])

    def fail(connection: Any, plan: CommitPlan) -> None:
        raise psycopg.OperationalError("no space left on device")

    instead(fail)
    answers = stage.do_all(*[place(market_id, account_id, "buy", 2000, 5) for market_id in markets])
    assert [view(answer).status for answer in answers] == ["open"] * 3
    assert [events(market_id).count("order_placed") for market_id in markets] == [2, 2, 2]


# Fences --------------------------------------------------------------------------------------------


def raise_epochs(connection: Any) -> None:
    connection.execute("UPDATE slot SET epoch = epoch + 1 WHERE kind = 'market'")


def test_owner_whose_epoch_was_raised_between_its_transactions_commits_nothing(
    stage: Stage, instead: Callable[[Commit], None]
) -> None:
    market_id, account_id = stage.market(), stage.account()
    seen: list[Any] = []

    def be_replaced(connection: Any, plan: CommitPlan) -> None:
        with own_connection("pmarket-tests") as other:
            raise_epochs(other)
        with pytest.raises(SlotLost):
            real_commit(connection, plan)
        seen.append((events(market_id), query("SELECT version FROM stream WHERE id = %s", market_id)))
        raise SlotLost("as it was")

    instead(be_replaced)
    stage.do(place(market_id, account_id, "buy", 5000, 100))
    assert seen == [(["market_created", "market_opened"], [(2,)])]
    assert events(market_id) == ["market_created", "market_opened", "order_placed"]


def test_owner_whose_epoch_was_raised_reserves_nothing(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    with own_connection("pmarket-tests") as other:
        raise_epochs(other)
    stage.sender.send(place(market_id, account_id, "buy", 5000, 100, client_id="mine"))
    with pytest.raises(SlotLost):
        stage.shard.turn()
    assert stage.money(account_id) == (10_000_000, 0)
    assert query("SELECT count(*) FROM client_order WHERE account_id = %s", account_id) == [(0,)]
    assert query("SELECT count(*) FROM batch") == [(0,)]


def test_successor_ends_the_former_owners_connection_and_takes_its_batch_back(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account(1_000_000)
    former, slot = stage.shard, market_slot(market_id)
    order = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    owned = former.tenure.slots[slot]
    reserve(former.backend, slots=[owned], claims=[claim_of(order)], needs={account_id: 517_500})
    assert stage.money(account_id) == (482_500, 0)

    with own_connection("pmarket-engine") as successor:
        # Its heart has stopped beating, but it does not know.
        query("UPDATE shard SET heartbeat_at = now() - interval '6 s' RETURNING 1")
        taken = take_slots(successor, "elsewhere:2:b", former.tenure.slots).slots
        assert (taken[slot].epoch, taken[slot].next_offset) == (owned.epoch + 1, owned.next_offset)
        assert stage.money(account_id) == (1_000_000, 0)
        assert query("SELECT count(*) FROM client_order WHERE account_id = %s", account_id) == [(0,)]
        stage.sender.send(order)
        with pytest.raises((psycopg.OperationalError, SlotLost)):
            former.turn()
    assert events(market_id) == ["market_created", "market_opened"]
    # Nor does the successor's heart beat: the former one takes over again.
    assert view(stage.do(order)).status == "open"


# Time and cash -------------------------------------------------------------------------------------


def test_command_past_its_deadline_is_consumed_unseen(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    late = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    stage.clock.ahead_us = 6_000_000
    on_time = place(market_id, account_id, "buy", 4000, 1)
    on_time = replace(on_time, deadline_us=on_time.deadline_us + 6_000_000)
    stage.sender.send(late)
    assert view(stage.do(on_time)).status == "open"
    assert late.command_id not in stage.sender.outcomes
    assert query("SELECT key FROM client_order WHERE account_id = %s", account_id) == [(on_time.key,)]
    assert events(market_id).count("order_placed") == 1
    # The id is free: the client may send it once more.
    again = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    assert view(stage.do(replace(again, deadline_us=again.deadline_us + 6_000_000))).status == "open"


def test_market_takes_no_orders_from_its_closing_time_on(stage: Stage) -> None:
    minute_us = 60_000_000

    def a_minute_later(envelope: Envelope) -> Envelope:
        return replace(envelope, deadline_us=envelope.deadline_us + minute_us)

    market_id, account_id = stage.market(closes_us=stage.clock() + minute_us), stage.account()
    assert view(stage.do(place(market_id, account_id, "buy", 1000, 1))).status == "open"
    stage.clock.ahead_us = minute_us
    late = place(market_id, account_id, "buy", 1000, 1)
    assert refusal(stage.do(a_minute_later(late))) == "market_not_open"
    stage.do(a_minute_later(sealed(cmd.CloseMarket(market_id))))
    assert events(market_id)[-2:] == ["market_closed", "order_cancelled"]


def test_recorded_time_never_runs_backwards(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    stage.do(place(market_id, account_id, "buy", 1000, 1))
    stage.clock.ahead_us = -3_600_000_000
    stage.do(place(market_id, account_id, "buy", 1000, 1))
    times = [
        at
        for (at,) in query("SELECT recorded_at FROM event WHERE stream_id = %s ORDER BY version", market_id)
    ]
    assert times == sorted(times)


def test_commands_of_one_batch_draw_on_the_accounts_cash_in_order(stage: Stage) -> None:
    market_id, account_id = stage.market(taker_fee_e4=0), stage.account(1_000_000)
    answers = stage.do_all(
        place(market_id, account_id, "buy", 6000, 100),
        place(market_id, account_id, "buy", 6000, 100),
        place(market_id, account_id, "buy", 4000, 100),
        place(market_id, account_id, "buy", 100, 1),
    )
    assert [answer.kind for answer in answers] == ["order", "refused", "order", "refused"]
    assert refusal(answers[1]) == refusal(answers[3]) == "exceeds_available_cash"
    assert stage.money(account_id) == (0, 1_000_000)


def test_cash_freed_in_a_batch_serves_the_commands_after_it(stage: Stage) -> None:
    market_id, account_id = stage.market(taker_fee_e4=0), stage.account(1_000_000)
    first = place(market_id, account_id, "buy", 5000, 200)
    stage.do(first)
    assert stage.money(account_id) == (0, 1_000_000)
    cancel = sealed(cmd.CancelOrder(market_id, account_id, first.command_id, None))
    answers = stage.do_all(cancel, place(market_id, account_id, "buy", 2500, 400))
    assert [view(answer).status for answer in answers] == ["cancelled", "open"]
    assert stage.money(account_id) == (0, 1_000_000)


def test_shares_held_are_sold_without_cash(stage: Stage) -> None:
    market_id, poor, rich = stage.market(taker_fee_e4=0), stage.account(400_000), stage.account()
    stage.do_all(place(market_id, rich, "buy", 6000, 100), place(market_id, poor, "sell", 6000, 100))
    assert stage.money(poor) == (0, 0)
    answer = stage.do(place(market_id, poor, "sell", 4000, 100, outcome=1))
    assert (view(answer).status, stage.money(poor)) == ("open", (0, 0))


def test_cash_and_reserves_are_the_engines_after_any_course_of_trade(stage: Stage) -> None:
    chance = random.Random(20_241_123)
    accounts = [stage.account(chance.choice([1_000_000, 9_000_000, 90_000_000])) for _ in range(5)]
    markets = [stage.market(), stage.market("Ann", "Ben", "Cid"), stage.market(taker_fee_e4=0)]
    placed: list[tuple[str, str, str]] = []
    for _ in range(25):
        envelopes = []
        for _ in range(12):
            market_id, account_id = chance.choice(markets), chance.choice(accounts)
            if placed and chance.random() < 0.3:
                where, who, order_id = chance.choice(placed)
                change = cmd.AmendOrder(where, who, order_id, None, None, chance.randint(1, 30))
                envelopes.append(sealed(chance.choice([cmd.CancelOrder(where, who, order_id, None), change])))
                continue
            order = place(
                market_id, account_id, chance.choice(["buy", "sell"]), chance.randrange(3000, 7001, 100),
                chance.randint(1, 60), outcome=chance.randint(0, 1), tif=chance.choice(["GTC", "GTC", "IOC", "FOK"]),
            )  # fmt: skip
            placed.append((market_id, account_id, order.command_id))
            envelopes.append(order)
        stage.do_all(*envelopes)
        stage.check_balance()
    assert sum(events(market_id).count("order_matched") for market_id in markets) > 30


# Restarts ------------------------------------------------------------------------------------------


def test_successor_has_the_same_markets_to_the_last_detail(stage: Stage) -> None:
    buyer, seller = stage.account(), stage.account()
    markets = [stage.market(), stage.market("Ann", "Ben", "Cid")]
    for market_id in markets:
        stage.do_all(
            *[place(market_id, buyer, "buy", price, 10, client_id=new_id()) for price in (3000, 4000, 5000)],
            *[place(market_id, seller, "sell", price, 7) for price in (5000, 5500, 6000)],
        )
    before = {market_id: state_digest(stage.shard.market(market_id)) for market_id in markets}
    stage.shard.crash()
    stage.shard = stage.new_shard()
    stage.shard.start()
    assert {market_id: state_digest(stage.shard.markets[market_id]) for market_id in markets} == before


def test_frames_that_came_while_nobody_was_there_are_done_in_order(stage: Stage) -> None:
    market_id, account_id = stage.market(), stage.account()
    stage.quiet()
    stage.shard.crash()
    orders = [place(market_id, account_id, "buy", price, 1) for price in (1000, 2000, 3000)]
    for order in orders:
        stage.sender.send(order)
    stage.shard = stage.new_shard()
    answers = stage.until_answered(*orders)
    sequence = [view(answer).seq for answer in answers]
    assert sequence == sorted(sequence)


def test_ended_markets_leave_the_memory_and_are_read_again_when_they_are_asked_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading.shard.markets.ENDED_KEPT", 1)
    account_id = stage.account()
    first, second, open_market = (stage.market() for _ in range(3))
    for market_id in (first, second):
        stage.do(sealed(cmd.ResolveMarket(market_id, (10_000, 0), new_id(), "so it was")))
    stage.quiet()
    assert set(stage.shard.markets) == {second, open_market}
    assert refusal(stage.do(place(first, account_id, "buy", 100, 1))) == "market_not_open"
    stage.quiet()
    assert set(stage.shard.markets) == {first, open_market}
    assert events(first)[-2:] == ["market_resolved", "order_rejected"]


@pytest.mark.parametrize("restart_after", [1, 2])
def test_resolution_cancels_a_long_book_in_steps_and_survives_a_restart(
    stage: Stage, restart_after: int
) -> None:
    market_id, account_id = stage.market(), stage.account(100_000_000)
    orders = [place(market_id, account_id, "buy", 100 + 100 * (n % 40), 1) for n in range(1200)]
    for start in range(0, 1200, 400):
        stage.do_all(*orders[start : start + 400])
    stage.do(sealed(cmd.ResolveMarket(market_id, (10_000, 0), new_id(), "so it was")))
    for _ in range(restart_after - 1):
        stage.shard.step()
    assert "market_resolved" not in events(market_id)
    left = len(stage.shard.market(market_id).orders)
    assert 0 < left < 1200
    assert refusal(stage.do(place(market_id, account_id, "buy", 100, 1))) == "market_not_open"

    stage.shard.crash()
    stage.shard = stage.new_shard()
    for _ in range(5):
        stage.shard.step()
    course = events(market_id)
    assert course[-1] == "market_resolved" or "market_resolved" in course[-3:]
    assert course.count("order_cancelled") == 1200
    assert course.count("market_resolved") == course.count("market_closed") == 1
    assert stage.money(account_id) == (100_000_000, 0)
