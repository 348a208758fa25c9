"""A service that keeps failing is left alone by everybody, tried by one, and called again once it is well."""

import threading
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings as django_settings

from trading.outside import breaker as module
from trading.outside.breaker import Breaker, BreakerOpen, open_services


@pytest.fixture(autouse=True)
def valkey() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(django_settings.VALKEY_URL) as client:
        for key in client.scan_iter("breaker*"):
            client.delete(key)
        yield client
        for key in client.scan_iter("breaker*"):
            client.delete(key)


def fail(breaker: Breaker, times: int = 5) -> None:
    for _ in range(times):
        breaker.ask()
        breaker.failed()


def rest_is_over(valkey: redis.Redis, service: str) -> None:
    valkey.hset(f"breaker:{service}", "until_ms", 1)


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    fail(Breaker("mail"), 4)
    Breaker("mail").ask()
    Breaker("mail").failed()
    with pytest.raises(BreakerOpen) as refused:
        Breaker("mail").ask()
    assert 29 < refused.value.retry_in_s <= 30
    Breaker("webhook:other:80").ask()


def test_a_success_between_them_begins_the_count_anew() -> None:
    breaker = Breaker("mail")
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    breaker.ask()


def test_after_the_rest_one_of_many_threads_tries_it(valkey: redis.Redis) -> None:
    fail(Breaker("mail"))
    rest_is_over(valkey, "mail")
    allowed, start = [], threading.Barrier(8)

    def ask() -> None:
        start.wait(5)
        try:
            Breaker("mail").ask()
            allowed.append(1)
        except BreakerOpen:
            pass  # Seven of eight are to wait.

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(allowed) == 1


def test_the_try_closes_it_or_opens_it_for_another_rest(valkey: redis.Redis) -> None:
    breaker = Breaker("mail")
    fail(breaker)
    rest_is_over(valkey, "mail")
    breaker.ask()
    breaker.failed()
    with pytest.raises(BreakerOpen) as refused:
        breaker.ask()
    assert refused.value.retry_in_s > 29
    rest_is_over(valkey, "mail")
    with breaker.guarding(OSError):
        pass
    fail(breaker, 4)
    breaker.ask()


def test_only_the_named_exceptions_count_as_its_failure() -> None:
    breaker = Breaker("mail")
    for _ in range(5):
        with pytest.raises(ValueError), breaker.guarding(OSError):
            raise ValueError
    for _ in range(5):
        with pytest.raises(ConnectionError), breaker.guarding(OSError):
            raise ConnectionError
    with pytest.raises(BreakerOpen), breaker.guarding(OSError):
        pytest.fail("it was called")


def test_an_emptied_valkey_counts_every_service_as_well(valkey: redis.Redis) -> None:
    fail(Breaker("mail"))
    valkey.flushall()
    Breaker("mail").ask()
    fail(Breaker("mail"))
    with pytest.raises(BreakerOpen):
        Breaker("mail").ask()


def test_without_valkey_services_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    down = redis.Redis.from_url("redis://127.0.0.1:1/0")
    monkeypatch.setattr(module, "valkey", lambda: down)
    module._scripts.cache_clear()
    fail(Breaker("mail"), 9)
    Breaker("mail").ask()
    module._scripts.cache_clear()


def test_open_services_are_counted_by_kind() -> None:
    assert open_services() == {}
    for service in ("mail", "webhook:a.example:443", "webhook:b.example:443"):
        fail(Breaker(service))
    assert open_services() == {"mail": 1, "webhook": 2}
    Breaker("webhook:a.example:443").succeeded()
    assert open_services() == {"mail": 1, "webhook": 1}
