"""Several shards in this process: who may take which slot, and that nothing of a slot's former owner remains."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.crash.stage import SHARD_ID, Stage, SteppedShard, events, place, query, unstorable, view
from tests.engine.digest import state_digest
from trading.connection import own_connection
from trading.ids import MARKET_SLOTS, market_slot, new_id
from trading.shard import slots as slots_module
from trading.shard import tenure
from trading.shard.commit import CommitPlan
from trading.shard.commit import commit as real_commit
from trading.shard.slots import THIS_HOST, heartbeat, let_go, roster, take_slots
from trading.wire import Envelope

OTHER_ID = "elsewhere:2:b"
ALL = range(MARKET_SLOTS)


@pytest.fixture
def database() -> Iterator[psycopg.Connection[Any]]:
    with own_connection("pmarket-tests") as connection:
        yield connection


def owners() -> dict[int, str | None]:
    return dict(query("SELECT slot, owner FROM slot WHERE kind = 'market'"))


def owned_by(shard_id: str) -> set[int]:
    return {slot for slot, owner in owners().items() if owner == shard_id}


def fall_silent(shard_id: str) -> None:
    query("UPDATE shard SET heartbeat_at = now() - interval '6 s' WHERE shard_id = %s RETURNING 1", shard_id)


def second_shard(stage: Stage) -> SteppedShard:
    """Another shard beside the first, once each has its half."""
    other = stage.new_shard(OTHER_ID)
    stage.beside.append(other)
    for _ in range(3):
        for shard in stage.shards:
            shard.look()
    assert len(owned_by(SHARD_ID)) == len(owned_by(OTHER_ID)) == MARKET_SLOTS // 2
    return other


def leave_to(stage: Stage, heir: SteppedShard) -> None:
    """The heir is the only one left, and has every slot."""
    stage.shard, stage.beside = heir, []
    for _ in range(MARKET_SLOTS + 1):
        heir.look()
    assert owned_by(heir.shard_id) == set(ALL)


def market_of(stage: Stage, shard: SteppedShard) -> str:
    """A market in one of the shard's slots."""
    while market_slot(market_id := stage.market()) not in shard.tenure.slots:
        continue
    return market_id


# Who may take what ---------------------------------------------------------------------------------


def test_only_free_slots_and_those_of_the_dead_are_taken(
    stage: Stage, database: psycopg.Connection[Any]
) -> None:
    heartbeat(database, SHARD_ID, "running")
    heartbeat(database, OTHER_ID, "running")
    assert take_slots(database, SHARD_ID, [0, 1, 2]).in_doubt is False
    taken = take_slots(database, OTHER_ID, [2, 3])
    assert (list(taken.slots), taken.in_doubt) == ([3], False)
    assert take_slots(database, OTHER_ID, [0, 1]).slots == {}
    let_go(database, SHARD_ID, take_slots(database, SHARD_ID, [0]).slots.values())
    assert list(take_slots(database, OTHER_ID, [0, 1]).slots) == [0]
    fall_silent(SHARD_ID)
    taken = take_slots(database, OTHER_ID, [0, 1, 2])
    assert (sorted(taken.slots), taken.in_doubt) == ([0, 1, 2], True)
    assert [owners()[slot] for slot in range(4)] == [OTHER_ID] * 4


def test_process_that_is_gone_from_this_machine_is_dead_at_once(
    stage: Stage, database: psycopg.Connection[Any]
) -> None:
    name, boot, namespace = THIS_HOST.split("/")
    gone, container = f"{THIS_HOST}:999999999:c", f"{name}/{boot}/1:999999999:c"
    machine = f"{name}/0fedcba9/{namespace}:999999999:c"
    for shard_id in (gone, container, machine):
        heartbeat(database, shard_id, "running")
    # A container or machine of the same name has processes of its own: of those nothing is known here.
    assert roster(database).live == {container, machine}


def test_lost_slot_is_not_let_go_for_its_new_owner(stage: Stage, database: psycopg.Connection[Any]) -> None:
    former = take_slots(database, SHARD_ID, [5]).slots
    take_slots(database, OTHER_ID, [5])  # the former has no heartbeat at all
    let_go(database, SHARD_ID, former.values())
    assert owners()[5] == OTHER_ID


def test_taking_waits_for_a_rival_and_believes_what_that_one_wrote(
    stage: Stage, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw the slots free; the first to lock their rows has them."""
    heartbeat(database, SHARD_ID, "running")
    before = roster(database)
    take_slots(database, SHARD_ID, list(ALL))
    seen = iter([before])
    monkeypatch.setattr(slots_module, "roster", lambda connection: next(seen, None) or roster(connection))
    with own_connection("pmarket-tests") as rival:
        assert take_slots(rival, OTHER_ID, list(ALL)).slots == {}
    assert owned_by(SHARD_ID) == set(ALL)


# Moves ---------------------------------------------------------------------------------------------


def test_second_shard_gets_half_of_the_slots_and_the_first_keeps_its_memory(stage: Stage) -> None:
    account_id = stage.account()
    markets = [stage.market() for _ in range(12)]
    orders = [place(market_id, account_id, "buy", 4000, 10) for market_id in markets]
    stage.do_all(*orders)
    first = stage.shard
    before, connection = dict(first.markets), first.backend
    epochs = {slot: owned.epoch for slot, owned in first.tenure.slots.items()}
    other = second_shard(stage)

    assert first.backend is connection
    assert {market_slot(each) for each in first.markets} <= owned_by(SHARD_ID)
    assert all(first.markets[each] is before[each] for each in first.markets)
    assert all(first.tenure.slots[slot].epoch == epochs[slot] for slot in owned_by(SHARD_ID))
    assert all(other.tenure.slots[slot].epoch == epochs[slot] + 1 for slot in owned_by(OTHER_ID))
    moved = set(before) - set(first.markets)
    assert set(other.markets) == moved
    assert {each: state_digest(other.markets[each]) for each in moved} == {
        each: state_digest(before[each]) for each in moved
    }
    answers = stage.do_all(*[place(market_id, account_id, "sell", 4000, 10) for market_id in markets])
    assert {view(answer).filled_shares for answer in answers} == {0}  # nobody trades with himself
    assert first.failures == other.failures == []


def test_commands_that_wait_while_their_owner_stops_are_done_once_by_the_next(stage: Stage) -> None:
    first, other = stage.shard, second_shard(stage)
    market_id, account_id = market_of(stage, first), stage.account()
    orders = [place(market_id, account_id, "buy", 1000 + 100 * n, 1, client_id=new_id()) for n in range(10)]
    first.stopping = True
    stage.sender.send(*orders)
    first.run()
    leave_to(stage, other)
    stage.until_answered(*orders)
    assert events(market_id).count("order_placed") == 10
    assert all(len(stage.sender.outcomes[order.command_id]) == 1 for order in orders)


def test_what_was_read_ahead_of_a_slot_that_leaves_is_its_new_owners(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = stage.account()
    markets = [stage.market() for _ in range(12)]
    first = stage.shard
    orders = [place(market_id, account_id, "buy", 2000, 1) for market_id in markets]
    stage.sender.send(*orders)
    first._inbox._read(None)
    assert sum(len(entry.envelopes) for entry in first._inbox._waiting) == 12
    second_shard(stage)
    stage.until_answered(*orders)
    assert all(len(stage.sender.outcomes[order.command_id]) == 1 for order in orders)
    assert [events(market_id).count("order_placed") for market_id in markets] == [1] * 12


def test_clean_stop_frees_the_slots_at_once(stage: Stage) -> None:
    other = second_shard(stage)
    first = stage.shard
    first.stopping = True
    first.run()
    assert owned_by(SHARD_ID) == set()
    assert query("SELECT shard_id FROM shard") == [(OTHER_ID,)]
    leave_to(stage, other)
    assert other.failures == []


def test_shard_without_slots_waits_and_lives(stage: Stage, database: psycopg.Connection[Any]) -> None:
    """More shards than slots: those that get none stand by."""
    stage.market()
    for n in range(MARKET_SLOTS):
        heartbeat(database, f"elsewhere:{n}:x", "running")
    stage.shard.look()
    standing_by = stage.new_shard("elsewhere:99:z")
    for _ in range(3):
        standing_by.look()
    assert standing_by.failures == []
    query("DELETE FROM shard WHERE shard_id LIKE 'elsewhere:%%' RETURNING 1")
    standing_by.crash()


# Takeover ------------------------------------------------------------------------------------------


def test_silent_owner_is_replaced_and_its_open_batch_given_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped between its transactions, as by SIGSTOP, and wakes when the other has done its work."""
    first, other = stage.shard, second_shard(stage)
    market_id, account_id = market_of(stage, first), stage.account(1_000_000)
    order = place(market_id, account_id, "buy", 5000, 100, client_id="mine")
    frozen: list[Exception] = []

    def freeze(connection: Any, plan: CommitPlan) -> None:
        monkeypatch.setattr(tenure, "commit", real_commit)
        fall_silent(SHARD_ID)
        for _ in range(MARKET_SLOTS):
            other.look()
        assert owned_by(OTHER_ID) == set(ALL)
        stage.sender.hear()
        try:
            real_commit(connection, plan)
        except Exception as error:
            frozen.append(error)
            raise

    monkeypatch.setattr(tenure, "commit", freeze)
    stage.sender.send(order)
    first.step()
    # Its connections were ended for it; the other has placed the order.
    assert isinstance(frozen[0], psycopg.OperationalError)
    stage.until_answered(order)
    assert events(market_id).count("order_placed") == 1
    assert stage.money(account_id) == (482_500, 517_500)
    # It goes on with what it can get.
    for _ in range(3):
        for shard in stage.shards:
            shard.look()
    assert len(owned_by(SHARD_ID)) == len(owned_by(OTHER_ID)) == MARKET_SLOTS // 2


def test_owner_that_wakes_before_it_has_published_writes_no_old_book_over_the_new(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = stage.shard, second_shard(stage)
    market_id, account_id = market_of(stage, first), stage.account()
    order = place(market_id, account_id, "buy", 5000, 100)
    later = place(market_id, account_id, "buy", 5000, 11)

    def freeze(connection: Any, plan: CommitPlan) -> None:
        monkeypatch.setattr(tenure, "commit", real_commit)
        real_commit(connection, plan)
        fall_silent(SHARD_ID)
        for _ in range(MARKET_SLOTS):
            other.look()
        stage.sender.send(later)
        other.step()

    monkeypatch.setattr(tenure, "commit", freeze)
    stage.sender.send(order)
    first.step()
    stage.sender.hear()
    assert view(stage.sender.outcomes[later.command_id][0]).status == "open"
    assert len(first.failures) == 1
    book: Any = stage.valkey.hgetall(f"book:{market_id}")
    assert (book[b"0|bid|5000"], book[b"seq"]) == (b"111", b"4")


def test_owner_that_wakes_while_it_loads_its_markets_writes_no_old_book_over_the_new(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    market_id, account_id = stage.market(), stage.account()
    stage.do(place(market_id, account_id, "buy", 5000, 100))
    stage.shard.crash()
    sleeper, heir = stage.new_shard(), stage.new_shard(OTHER_ID)
    sound = sleeper._publisher.rewrite
    order = place(market_id, account_id, "buy", 5000, 11)

    def freeze(*given: Any) -> None:
        monkeypatch.setattr(sleeper._publisher, "rewrite", sound)
        fall_silent(SHARD_ID)
        stage.shard = heir
        assert view(stage.do(order)).status == "open"
        sound(*given)

    monkeypatch.setattr(sleeper._publisher, "rewrite", freeze)
    sleeper.step()
    assert len(sleeper.failures) == 1
    book: Any = stage.valkey.hgetall(f"book:{market_id}")
    assert book[b"0|bid|5000"] == b"111"
    sleeper.crash()


def test_owner_that_is_replaced_in_some_slots_drops_those_alone(
    stage: Stage, database: psycopg.Connection[Any]
) -> None:
    account_id = stage.account()
    markets = [stage.market() for _ in range(12)]
    first = stage.shard
    lost = market_slot(markets[0])
    kept = [market_id for market_id in markets if market_slot(market_id) != lost]
    before = dict(first.markets)
    # Somebody held it for dead for a moment.
    database.execute("UPDATE slot SET owner = %s, epoch = epoch + 1 WHERE slot = %s", ["elsewhere:9:q", lost])
    heartbeat(database, "elsewhere:9:q", "running")
    query(
        "UPDATE shard SET heartbeat_at = now() - interval '4 s' WHERE shard_id = 'elsewhere:9:q' RETURNING 1"
    )
    first.look()
    assert lost not in first.tenure.slots
    assert first.failures == []
    still = set(first.markets)
    assert still <= set(kept)
    assert all(first.markets[each] is before[each] for each in still)
    order = place(next(iter(still)), account_id, "buy", 1000, 1)
    assert view(stage.do(order)).status == "open"
    query("DELETE FROM shard WHERE shard_id = 'elsewhere:9:q' RETURNING 1")


def test_batch_of_which_one_slot_was_lost_is_undone_as_a_whole(
    stage: Stage, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = stage.account()
    first, markets = stage.shard, [stage.market() for _ in range(12)]
    lost = market_slot(markets[0])

    def be_replaced(connection: Any, plan: CommitPlan) -> None:
        monkeypatch.setattr(tenure, "commit", real_commit)
        fall_silent(SHARD_ID)
        assert list(take_slots(database, OTHER_ID, [lost]).slots) == [lost]
        assert query("SELECT count(*) FROM batch") == [(0,)]
        assert stage.money(account_id) == (10_000_000, 0)
        heartbeat(database, SHARD_ID, "running")
        real_commit(connection, plan)

    monkeypatch.setattr(tenure, "commit", be_replaced)
    stage.sender.send(*[place(market_id, account_id, "buy", 1000, 1) for market_id in markets])
    first.step()
    assert len(first.failures) == 1
    assert all(events(market_id).count("order_placed") == 0 for market_id in markets)
    stage.quiet()  # the other owner has never had a heartbeat: the first takes everything again
    for _ in range(3):
        first.look()
    stage.quiet()
    assert [events(market_id).count("order_placed") for market_id in markets] == [1] * 12


def test_command_that_the_former_owner_set_aside_is_not_tried_again_by_the_next(stage: Stage) -> None:
    other = second_shard(stage)
    first, account_id = stage.shard, stage.account()
    market_id = market_of(stage, first)
    poison = unstorable(place(market_id, account_id, "buy", 1000, 1))
    assert stage.do(poison).kind == "failed"
    first.stopping = True
    first.run()
    leave_to(stage, other)
    other.failures.clear()
    stage.sender.send(poison)
    stage.quiet()
    assert other.failures == []
    assert [each.kind for each in stage.sender.outcomes[poison.command_id]] == ["failed", "failed"]
    assert query("SELECT count(*) FROM dead_letter") == [(1,)]


PATIENCE_US = 60_000_000


@pytest.mark.parametrize("seed", range(2))
def test_any_course_of_moves_takeovers_and_failures_does_everything_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Three shards, of which each may be held for dead, stop, die, or not know whether its commit happened."""
    chance = random.Random(seed)
    accounts = [stage.account(chance.choice([1_000_000, 9_000_000])) for _ in range(4)]
    markets = [stage.market() for _ in range(8)]
    stage.beside = [stage.new_shard(OTHER_ID), stage.new_shard("elsewhere:3:c")]
    sent: list[Envelope] = []
    disturbed: Counter[str] = Counter()

    def disturb() -> None:
        shard = chance.choice(stage.shards)
        what = chance.choice(["look", "silence", "crash", "stop"])
        disturbed[what] += 1
        if what == "look":
            shard.look()
        elif what == "silence":
            fall_silent(shard.shard_id)
        elif what == "crash":
            shard.crash()
        else:
            shard._sign_off()

    def commit(connection: Any, plan: CommitPlan) -> None:
        dice = chance.random()
        if dice < 0.1 and len(stage.shards) > 1:
            # It freezes here; another looks around meanwhile, and may hold it for dead.
            one, *others = chance.sample(stage.shards, 3)
            fall_silent(one.shard_id)
            for other in others:
                if not is_at_work[other.shard_id]:
                    step(other, look=True)
        if 0.1 < dice < 0.15:
            raise psycopg.OperationalError("the connection is gone")
        real_commit(connection, plan)
        if dice > 0.95:
            raise psycopg.OperationalError("the answer was lost")

    is_at_work: Counter[str] = Counter()

    def step(shard: SteppedShard, *, look: bool) -> None:
        is_at_work[shard.shard_id] += 1
        shard.look() if look else shard.step()
        is_at_work[shard.shard_id] -= 1

    monkeypatch.setattr(tenure, "commit", commit)
    monkeypatch.setattr("trading.shard.process.time.sleep", lambda _: None)
    for _ in range(60):
        orders = [
            place(chance.choice(markets), chance.choice(accounts), chance.choice(["buy", "sell"]),
                  chance.randrange(4000, 6001, 100), chance.randint(1, 20))
            for _ in range(chance.randint(0, 6))
        ]  # fmt: skip
        # However slow the machine is: a late order is refused, which is another test's.
        orders = [replace(order, deadline_us=order.deadline_us + PATIENCE_US) for order in orders]
        stage.sender.send(*orders)
        sent += orders
        for shard in chance.sample(stage.shards, chance.randint(1, 3)):
            step(shard, look=chance.random() < 0.5)
        if chance.random() < 0.3:
            disturb()
    monkeypatch.setattr(tenure, "commit", real_commit)
    for _ in range(2 * MARKET_SLOTS):
        for shard in stage.shards:
            shard.look()
        if all(shard._tenure and len(shard.tenure.slots) in (5, 6) for shard in stage.shards):
            break
    stage.quiet()
    assert {shard.shard_id: set(shard.tenure.slots) for shard in stage.shards} == {
        shard.shard_id: owned_by(shard.shard_id) for shard in stage.shards
    }
    assert set(owners().values()) == {shard.shard_id for shard in stage.shards}
    assert sum(disturbed.values()) > 5
    done = query(
        "SELECT metadata->'command'->>3 FROM event WHERE metadata->'command'->>0 = 'place' ORDER BY 1"
    )
    assert [order_id for (order_id,) in done] == sorted(order.command_id for order in sent)
    for market_id in markets:
        check_book(stage, market_id)


def check_book(stage: Stage, market_id: str) -> None:
    """The book in Valkey is that of its owner's memory."""
    (market,) = [shard.markets[market_id] for shard in stage.shards if market_id in shard.markets]
    found: Any = stage.valkey.hgetall(f"book:{market_id}")
    expected = {b"seq": market.seq}
    for side, levels in (("bid", market.books[0].bids), ("ask", market.books[0].asks)):
        expected |= {f"0|{side}|{price}".encode(): size for price, size in levels.depth()}
    assert {name: int(size) for name, size in found.items()} == expected


def test_shard_that_cannot_reach_valkey_does_not_call_itself_alive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.market()
    stage.shard.crash()
    query("DELETE FROM shard RETURNING 1")
    monkeypatch.setattr(stage.shard, "_run_ids", lambda: stage.valkey.execute_command("NO SUCH COMMAND"))
    stage.shard.step()
    assert len(stage.shard.failures) == 1
    assert query("SELECT count(*) FROM shard") == [(0,)]
    monkeypatch.undo()
