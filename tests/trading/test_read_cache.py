"""Remembered answers: where they come from, when they stop counting, and who works them out."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from trading import read_cache as module
from trading.errors import Overloaded
from trading.ids import new_id
from trading.read_cache import Answer, ReadCache, _Shared, answer_of, tell_changed

PATIENCE_S = 10.0


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _listening(settings: Any) -> None:
    settings.READ_CACHE = True
    until(lambda: module.shared.news.generation("markets") is not None)


class Source:
    """What an answer is worked out from."""

    def __init__(self) -> None:
        self.asked = 0
        self.body = b"one"
        self.gate: threading.Event | None = None

    def work_out(self) -> Answer:
        self.asked += 1
        body = self.body
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        return answer_of("1-1", body)


def a_cache(*, l1_s: float = 60.0, l2_s: float = 60.0, name: str | None = None) -> ReadCache:
    """As a process has it; two with one name are two processes' view of one cache."""
    return ReadCache(name or new_id(), l1_s=l1_s, l2_s=l2_s, topic="markets")


def test_an_answer_is_worked_out_once_and_then_remembered():
    source, answers = Source(), a_cache()
    bodies = {answers.read("k", source.work_out).body for _ in range(5)}
    assert (bodies, source.asked) == ({b"one"}, 1)


def test_another_key_is_another_answer():
    source, answers = Source(), a_cache()
    answers.read("k", source.work_out)
    source.body = b"two"
    assert answers.read("l", source.work_out).body == b"two"


def test_another_process_finds_the_answer_in_valkey():
    source, name = Source(), new_id()
    a_cache(name=name).read("k", source.work_out)
    assert a_cache(name=name).read("k", source.work_out).body == b"one"
    assert source.asked == 1


def test_both_memories_end_with_time():
    source, answers = Source(), a_cache(l1_s=0.0, l2_s=0.05)
    answers.read("k", source.work_out)
    source.body = b"two"
    until(lambda: answers.read("k", source.work_out).body == b"two")
    assert source.asked == 2


def test_news_of_the_topic_end_the_answer_in_every_process():
    source, name = Source(), new_id()
    here, there = a_cache(name=name), a_cache(name=name)
    for answers in (here, there):
        answers.read("k", source.work_out)
    source.body = b"two"
    tell_changed(["other"])
    assert there.read("k", source.work_out).body == b"one"
    tell_changed(["markets"])
    for answers in (here, there):
        until(lambda answers=answers: answers.read("k", source.work_out).body == b"two")
    assert source.asked == 2


def test_an_answer_worked_out_while_its_topic_changed_is_not_remembered():
    source, name = Source(), new_id()
    source.gate = threading.Event()
    answers = a_cache(name=name)
    slow = threading.Thread(target=answers.read, args=("k", source.work_out))
    slow.start()
    until(lambda: source.asked == 1)
    before = module.shared.news.generation("markets")
    tell_changed(["markets"])
    until(lambda: module.shared.news.generation("markets") != before)
    source.body = b"two"
    source.gate.set()
    slow.join()
    assert answers.read("k", source.work_out).body == b"two"
    assert a_cache(name=name).read("k", source.work_out).body == b"two"


@pytest.mark.parametrize("processes", [1, 2])
def test_many_who_ask_at_once_cost_one_answer(processes):
    source, name = Source(), new_id()
    source.gate = threading.Event()
    caches = [a_cache(name=name) for _ in range(processes)]
    bodies: list[bytes] = []

    def ask(answers: ReadCache) -> None:
        bodies.append(answers.read("k", source.work_out).body)

    threads = [threading.Thread(target=ask, args=(caches[n % processes],)) for n in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: source.asked == 1)
    source.gate.set()
    for thread in threads:
        thread.join()
    assert (bodies, source.asked) == ([b"one"] * 20, 1)


def test_one_who_looked_before_another_had_ended_works_out_nothing(monkeypatch):
    source, name = Source(), new_id()
    first, second = a_cache(name=name), a_cache(name=name)
    call = module.shared.call

    def add_late(operation: Callable[..., Any], *arguments: Any) -> Any:
        if operation.__name__ == "add":
            monkeypatch.setattr(module.shared, "call", call)
            first.read("k", source.work_out)
        return call(operation, *arguments)

    monkeypatch.setattr(module.shared, "call", add_late)
    assert (second.read("k", source.work_out).body, source.asked) == (b"one", 1)


def test_a_failure_reaches_who_asked_and_is_not_remembered():
    def fail() -> Answer:
        raise ValueError("no")

    source, answers = Source(), a_cache()
    with pytest.raises(ValueError, match="no"):
        answers.read("k", fail)
    assert answers.read("k", source.work_out).body == b"one"


def test_without_valkey_each_answer_is_worked_out(monkeypatch, settings):
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    deaf = _Shared()
    deaf._down_until = time.monotonic() + 60
    monkeypatch.setattr(module, "shared", deaf)
    source, answers = Source(), a_cache()
    assert [answers.read("k", source.work_out).body for _ in range(3)] == [b"one"] * 3
    assert source.asked == 3
    tell_changed(["markets"])


def test_a_process_remembers_a_bounded_number_of_answers(monkeypatch):
    monkeypatch.setattr(module, "MOST_L1", 3)
    source, answers = Source(), a_cache()
    for number in range(10):
        answers.read(str(number), source.work_out)
    assert list(answers._l1) == ["7", "8", "9"]


def test_equal_bodies_have_equal_tags():
    assert answer_of("1-1", b"x").etag == answer_of("2-2", b"x").etag != answer_of("1-1", b"y").etag


def test_a_slow_answer_is_still_worked_out_once_and_whoever_cannot_wait_is_told(monkeypatch):
    monkeypatch.setattr(module, "FLIGHT_S", 0.02)
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    source, answers = Source(), a_cache()
    source.gate = threading.Event()
    slow = threading.Thread(target=answers.read, args=("k", source.work_out))
    slow.start()
    until(lambda: source.asked == 1)
    with pytest.raises(Overloaded):
        answers.read("k", source.work_out)
    source.gate.set()
    slow.join()
    assert (answers.read("k", source.work_out).body, source.asked) == (b"one", 1)


def test_a_failure_reaches_all_who_wait_and_is_asked_for_once():
    gate, asked, told = threading.Event(), [], []
    answers = a_cache()

    def fail() -> Answer:
        asked.append(1)
        assert gate.wait(PATIENCE_S)
        raise ValueError("no")

    def ask() -> None:
        try:
            answers.read("k", fail)
        except ValueError as error:
            told.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    threads[0].start()
    until(lambda: len(asked) == 1)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(answers._flights["default", "k"].landed._cond._waiters) == 4)
    gate.set()
    for thread in threads:
        thread.join()
    assert (told, len(asked)) == (["no"] * 5, 1)


def test_a_failing_server_is_nothing_to_those_who_read_from_another(monkeypatch):
    gate, asked, told = threading.Event(), [], []
    source, answers, name = Source(), a_cache(), iter(["replica", "default"])
    monkeypatch.setattr(module, "current_alias", lambda: next(name))
    monkeypatch.setattr(module, "FLIGHT_S", 0.02)

    def fail() -> Answer:
        asked.append(1)
        assert gate.wait(PATIENCE_S)
        raise OSError("the replica is away")

    def ask() -> None:
        with pytest.raises(OSError, match="away"):
            answers.read("k", fail)
        told.append(1)

    failing = threading.Thread(target=ask)
    failing.start()
    until(lambda: len(asked) == 1)
    assert answers.read("k", source.work_out).body == b"one"
    gate.set()
    failing.join()
    assert told == [1]


def test_a_mark_without_a_time_counts_as_young():
    assert module._is_young("3fa85f64c0ffee00")
    assert not module._is_young("12.5:3fa8")
    assert not module._is_young(None)


def test_answers_whose_time_is_over_are_not_held():
    source, answers = Source(), a_cache(l1_s=0.01)
    for number in range(20):
        answers.read(str(number), source.work_out)
    until(lambda: answers._l1["19"][0] < time.monotonic())
    answers.read("k", source.work_out)
    assert list(answers._l1) == ["k"]


def test_what_a_replica_may_not_know_yet_is_worked_out_on_the_primary(monkeypatch, settings):
    left = []
    monkeypatch.setattr(module, "leave_replica", lambda: left.append(1))
    source = Source()
    tell_changed(["markets"])
    a_cache().read("k", source.work_out)
    assert left == [1]
    settings.REPLICA_MAX_LAG_S = -module.CLOCKS_DIFFER_S
    a_cache().read("k", source.work_out)
    assert left == [1]
