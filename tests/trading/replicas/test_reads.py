"""The block in which reads may lag: one server an answer, in turn, and the ways back to the primary."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import django.db
import pytest
from django.conf import settings
from django.http import Http404
from rest_framework.test import APIRequestFactory

from accounts.models import User
from markets.models import Market
from trading.api.query import FRESHNESS_NAMES, Query
from trading.errors import InvalidRequest, NotFound, ReadLag
from trading.live.blocking import in_thread
from trading.metrics import REPLICA_READS
from trading.models import Settlement
from trading.replicas import leave_replica, may_lag, on_replica, reads, wait_until
from trading.replicas.reads import current_alias
from trading.replicas.router import ReplicaRouter

PRIMARY = "default"


class StubWatch:
    """A replica that is fit until a read fails there, or a test says otherwise."""

    def __init__(self) -> None:
        self.fit = True

    def is_fit(self) -> bool:
        return self.fit

    def suspect(self) -> None:
        self.fit = False


@pytest.fixture(autouse=True)
def watches(monkeypatch: pytest.MonkeyPatch) -> dict[str, StubWatch]:
    """Two replicas, of which only the names and the watches are there: nothing here reads from one."""
    stubs = {"replica_0": StubWatch(), "replica_1": StubWatch()}
    monkeypatch.setattr(settings, "REPLICAS", list(stubs), raising=False)
    monkeypatch.setattr(reads, "watch_of", stubs.__getitem__)
    monkeypatch.setattr(reads, "connections", dict.fromkeys(stubs, django.db.connection))
    return stubs


def answers(server: str) -> float:
    return REPLICA_READS.labels(server=server)._value.get()


def test_answers_come_from_the_replicas_in_turn_and_each_from_one() -> None:
    servers = [on_replica(lambda: {current_alias() for _ in range(3)}) for _ in range(4)]
    assert all(len(each) == 1 for each in servers)
    assert servers[0] == servers[2] != servers[1] == servers[3]


def test_outside_a_block_and_after_it_everything_is_the_primarys() -> None:
    assert current_alias() == PRIMARY
    on_replica(current_alias)
    assert current_alias() == PRIMARY
    with pytest.raises(InvalidRequest):
        on_replica(refused)
    assert current_alias() == PRIMARY


def refused() -> None:
    raise InvalidRequest


def test_replica_that_is_not_fit_is_passed_over_and_without_any_the_primary_answers(
    watches: dict[str, StubWatch],
) -> None:
    watches["replica_0"].fit = False
    assert {on_replica(current_alias) for _ in range(4)} == {"replica_1"}
    watches["replica_1"].fit = False
    before = answers("primary")
    assert {on_replica(current_alias) for _ in range(4)} == {PRIMARY}
    assert answers("primary") == before + 4


def test_inner_block_belongs_to_the_outer_one() -> None:
    assert len(on_replica(lambda: {current_alias(), *(on_replica(current_alias) for _ in range(4))})) == 1


@pytest.mark.parametrize("error", [django.db.OperationalError("gone"), django.db.InterfaceError("closed")])
def test_read_that_fails_on_a_replica_is_made_on_the_primary_and_the_replica_left_out(
    watches: dict[str, StubWatch], error: Exception, db: None
) -> None:
    seen: list[str] = []

    @may_lag
    def read(name: str) -> str:
        seen.append(current_alias())
        if current_alias() != PRIMARY:
            raise error
        return name

    assert read("answer") == "answer"
    first, second = seen
    assert (second, watches[first].fit) == (PRIMARY, False)
    assert [alias for alias, watch in watches.items() if watch.fit] == [
        alias for alias in watches if alias != first
    ]


def test_read_that_fails_on_the_primary_too_is_not_made_again(db: None) -> None:
    seen: list[str] = []

    def read() -> None:
        seen.append(current_alias())
        raise django.db.OperationalError("gone")

    with pytest.raises(django.db.OperationalError):
        on_replica(read)
    assert [alias == PRIMARY for alias in seen] == [False, True]


@pytest.mark.parametrize("missing", [NotFound(), Http404()])
def test_what_a_replica_does_not_have_is_asked_of_the_primary(
    watches: dict[str, StubWatch], missing: Exception
) -> None:
    def read() -> str:
        if current_alias() != PRIMARY:
            raise missing
        return "found"

    assert on_replica(read) == "found"
    assert all(watch.fit for watch in watches.values())


def test_refusal_is_no_reason_to_ask_again() -> None:
    seen: list[str] = []

    def read() -> None:
        seen.append(current_alias())
        raise ReadLag

    with pytest.raises(ReadLag):
        on_replica(read)
    assert len(seen) == 1


def test_answer_may_end_on_the_primary_and_is_counted_there() -> None:
    def read() -> list[str]:
        before = current_alias()
        leave_replica()
        return [before, current_alias()]

    counted = answers("primary")
    before, after = on_replica(read)
    assert (before != PRIMARY, after) == (True, PRIMARY)
    assert answers("primary") == counted + 1


def test_what_a_replica_does_not_show_soon_is_waited_for_on_the_primary() -> None:
    assert on_replica(
        lambda: (wait_until(lambda: current_alias() == PRIMARY, timeout_s=5), current_alias())
    ) == (True, PRIMARY)
    assert not on_replica(lambda: wait_until(lambda: False, timeout_s=0.01))


def test_require_fresh_is_the_primarys_answer_and_takes_true_or_false_alone() -> None:
    def server(value: str) -> str:
        request = APIRequestFactory().get("/", {"require_fresh": value})
        request.query_params = request.GET  # type: ignore[attr-defined]
        return on_replica(lambda: Query(request, *FRESHNESS_NAMES) and current_alias())  # type: ignore[arg-type]

    assert server("true") == PRIMARY
    assert server("false") != PRIMARY
    for senseless in ("", "1", "TRUE", "yes", "true\0"):
        with pytest.raises(InvalidRequest):
            server(senseless)


# Threads and event loops --------------------------------------------------------------------------


def test_blocks_of_threads_do_not_see_each_other() -> None:
    both_inside = threading.Barrier(2)

    def read() -> tuple[str, str]:
        before = current_alias()
        both_inside.wait(10)
        return before, current_alias()

    with ThreadPoolExecutor(3) as pool:
        first, second = [pool.submit(on_replica, read) for _ in range(2)]
        assert pool.submit(current_alias).result() == PRIMARY
        assert {first.result(), second.result()} == {(name, name) for name in ("replica_0", "replica_1")}
        assert {pool.submit(current_alias).result() for _ in range(9)} == {PRIMARY}


async def test_blocks_in_threads_of_an_event_loop_do_not_see_each_other() -> None:
    both_inside = threading.Barrier(2)

    def read() -> tuple[str, str]:
        before = current_alias()
        both_inside.wait(10)
        return before, current_alias()

    found = await asyncio.gather(*(in_thread(lambda: on_replica(read)) for _ in range(2)))
    assert set(found) == {(name, name) for name in ("replica_0", "replica_1")}
    assert await in_thread(current_alias) == current_alias() == PRIMARY


# The ORM ------------------------------------------------------------------------------------------


def test_the_orm_reads_markets_and_read_models_where_the_block_does_and_writes_on_the_primary() -> None:
    router = ReplicaRouter()
    for model in (Market, Settlement):
        alias, read, written = on_replica(
            lambda model=model: (current_alias(), router.db_for_read(model), router.db_for_write(model))
        )
        assert (alias, written) == (read, PRIMARY)
        assert alias != PRIMARY
        assert router.db_for_read(model) == PRIMARY


def test_who_somebody_is_is_always_read_on_the_primary() -> None:
    from django.contrib.sessions.models import Session

    router = ReplicaRouter()
    for model in (User, Session):
        assert on_replica(lambda model=model: router.db_for_read(model)) == PRIMARY


def test_nothing_is_migrated_on_a_replica() -> None:
    router = ReplicaRouter()
    assert router.allow_migrate(PRIMARY, "trading")
    assert not router.allow_migrate("replica_0", "trading")
