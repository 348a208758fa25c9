"""Token buckets: the same answers from Valkey's clock, from this process, and over HTTP."""

import asyncio

import pytest
import redis
from django.conf import settings as django_settings
from django.http import HttpResponse
from django.test import RequestFactory

from ops import throttle as throttle_module
from ops.throttle import (
    LocalBuckets,
    RateLimitMiddleware,
    TokenBuckets,
    TokenBucketThrottle,
    take_of,
)
from trading.api.status import StatusView
from trading.ids import new_id
from trading.order_request import cost_of_batch
from trading.principal import Principal
from trading.rates import RATES, TIER_FACTORS, Rate

PUBLISHED = {"order": (5, 10), "cancel": (50, 500), "data": (30, 60), "general": (10, 20), "sign_in": (1, 5)}


def someone(tier="standard", key_id=None):
    return Principal(
        account_id=new_id(),
        user_id=1,
        key_id=key_id or new_id(),
        scopes=frozenset({"read"}),
        is_staff=False,
        tier=tier,
    )


@pytest.mark.django_db
def test_the_rates_are_those_that_are_published():
    assert {name: (rate.per_second, rate.burst) for name, rate in RATES.items()} == PUBLISHED
    tiers = StatusView.as_view()(RequestFactory().get("/api/v1/status")).data["tiers"]
    assert tiers.keys() == TIER_FACTORS.keys()
    for tier, classes in tiers.items():
        assert classes.keys() == PUBLISHED.keys()
        for name, published in classes.items():
            rate = take_of(name, someone(tier), None, 1).rate
            assert published == {"per_second": rate.per_second, "burst": rate.burst}


@pytest.fixture(autouse=True)
def _slow_refill(request, monkeypatch):
    """One token a second, the burst as it is: a busy machine must not refill a bucket between two lines."""
    if request.node.name != "test_the_rates_are_those_that_are_published":
        for name, (_, burst) in PUBLISHED.items():
            monkeypatch.setitem(RATES, name, Rate(per_second=1, burst=burst))


@pytest.fixture
def buckets():
    return TokenBuckets(django_settings.VALKEY_URL)


@pytest.fixture
def without_valkey():
    return TokenBuckets("redis://127.0.0.1:1/0")


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def test_a_burst_passes_and_the_next_request_is_told_when_to_come(buckets):
    who = someone()
    answers = [buckets.take_blocking("order", principal=who, ip=None) for _ in range(11)]
    assert [answer.allowed for answer in answers] == [True] * 10 + [False]
    assert [answer.remaining for answer in answers[:10]] == list(range(9, -1, -1))
    assert answers[10].headers == {
        "X-RateLimit-Limit": "10",
        "X-RateLimit-Remaining": "0",
        "Retry-After": "1",
    }


def test_a_bucket_fills_at_its_rate_and_never_over_its_burst():
    clock = Clock()
    local = LocalBuckets(clock)
    take = take_of("order", someone(), None, 1)
    assert [local.take(take).allowed for _ in range(11)] == [True] * 10 + [False]
    clock.now += 1
    assert [local.take(take).allowed for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [local.take(take).allowed for _ in range(11)] == [True] * 10 + [False]


def test_valkey_refills_by_its_own_clock(buckets, monkeypatch):
    monkeypatch.setitem(RATES, "order", Rate(per_second=1_000_000, burst=1))
    who = someone()
    # A microsecond a token: by the time of the second call the bucket is full again.
    assert all(buckets.take_blocking("order", principal=who, ip=None).allowed for _ in range(5))


def test_each_class_and_each_key_has_its_own_bucket(buckets):
    one, other = someone(), someone()
    for _ in range(10):
        assert buckets.take_blocking("order", principal=one, ip="1.2.3.4").allowed
    assert not buckets.take_blocking("order", principal=one, ip="1.2.3.4").allowed
    assert buckets.take_blocking("order", principal=other, ip="1.2.3.4").allowed
    assert buckets.take_blocking("cancel", principal=one, ip="1.2.3.4").allowed
    assert buckets.take_blocking("order", principal=None, ip=f"1.2.3.4-{new_id()}").allowed


def test_an_address_pays_only_for_those_who_are_not_authenticated(buckets):
    address = f"address-{new_id()}"
    for _ in range(5):
        assert buckets.take_blocking("sign_in", principal=None, ip=address).allowed
    assert not buckets.take_blocking("sign_in", principal=None, ip=address).allowed
    assert buckets.take_blocking("sign_in", principal=someone(), ip=address).allowed


def test_one_ipv6_customer_is_one_address():
    names = {
        take_of("data", None, ip, 1).name for ip in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    }
    assert names == {"throttle:data:ip:2001:db8::/64", "throttle:data:ip:2001:db8:0:1::/64"}


def test_a_batch_of_500_costs_the_whole_burst(buckets):
    costs = [cost_of_batch({"orders": [{}] * items}) for items in (0, 1, 50, 51, 500)]
    assert costs == [1, 1, 1, 2, 10]
    assert cost_of_batch({"orders": "all"}) == cost_of_batch("all") == 1
    who = someone()
    assert buckets.take_blocking("order", principal=who, ip=None, cost=costs[-1]).remaining == 0
    refused = buckets.take_blocking("order", principal=who, ip=None, cost=costs[-1])
    assert (refused.allowed, refused.retry_after_s) == (False, 10)


def test_a_higher_tier_has_more(buckets):
    assert buckets.take_blocking("order", principal=someone("professional"), ip=None).limit == 100


async def test_requests_that_wait_share_a_call_and_never_get_more_than_the_burst(buckets, monkeypatch):
    who = someone()
    await buckets.take("data", principal=who, ip=None)
    calls = []
    script = buckets._async_script

    async def counted(**arguments):
        calls.append(len(arguments["keys"]))
        return await script(**arguments)

    monkeypatch.setattr(buckets, "_async_script", counted)
    answers = await asyncio.gather(*(buckets.take("order", principal=who, ip=None) for _ in range(40)))
    assert sum(answer.allowed for answer in answers) == 10
    assert len(calls) < 5
    assert sum(calls) == 40


async def test_both_faces_draw_on_one_bucket(buckets):
    who = someone()
    for _ in range(5):
        assert (await buckets.take("order", principal=who, ip=None)).allowed
        assert buckets.take_blocking("order", principal=who, ip=None).allowed
    assert not (await buckets.take("order", principal=who, ip=None)).allowed


async def test_a_caller_that_goes_away_does_not_disturb_the_others(buckets):
    who = someone()
    gone = asyncio.ensure_future(buckets.take("order", principal=who, ip=None))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await buckets.take("order", principal=who, ip=None)).allowed


async def test_without_valkey_cancels_pass_and_the_rest_is_counted_here(without_valkey):
    who = someone()
    for _ in range(600):
        assert (await without_valkey.take("cancel", principal=who, ip=None)).allowed
    answers = [(await without_valkey.take("order", principal=who, ip=None)).allowed for _ in range(11)]
    assert answers == [True] * 10 + [False]
    assert not without_valkey.take_blocking("order", principal=who, ip=None).allowed


def test_valkey_is_asked_again_after_a_while(buckets, monkeypatch):
    who, clock = someone(), Clock()
    monkeypatch.setattr(throttle_module.time, "monotonic", clock)
    asked = []

    def broken(**arguments):
        asked.append(arguments)
        raise redis.ConnectionError("gone")

    script = buckets._script
    monkeypatch.setattr(buckets, "_script", broken)
    buckets.take_blocking("order", principal=who, ip=None)
    buckets.take_blocking("order", principal=who, ip=None)
    assert len(asked) == 1
    monkeypatch.setattr(buckets, "_script", script)
    clock.now += 1.1
    assert buckets.take_blocking("order", principal=who, ip=None).remaining == 9


def test_a_valkey_that_forgot_the_script_is_taught_again(buckets):
    who = someone()
    buckets.take_blocking("order", principal=who, ip=None)
    redis.Redis.from_url(django_settings.VALKEY_URL).script_flush()
    assert buckets.take_blocking("order", principal=who, ip=None).remaining in (8, 9)


class _View:
    throttle_class_name = {"GET": "data", "DELETE": "cancel", "POST": "order"}

    @staticmethod
    def throttle_cost(request):
        return 7 if request.method == "POST" else 1


def drf_request(method, principal):
    from rest_framework.request import Request

    request = Request(RequestFactory().generic(method, "/api/v1/x"))
    request.auth = principal
    return request


def test_drf_views_name_a_class_a_method_and_a_cost(settings):
    settings.THROTTLE = True
    who = someone()
    for method, limit, remaining in (("GET", 60, 59), ("DELETE", 500, 499), ("POST", 10, 3), ("PUT", 20, 13)):
        request = drf_request(method, who)
        if method == "PUT":
            # Not named: the general class, and this view's cost of one.
            remaining = 19
        assert TokenBucketThrottle().allow_request(request, _View())
        allowance = request._request.rate_limit
        assert (allowance.limit, allowance.remaining) == (limit, remaining)
    refused = TokenBucketThrottle()
    assert not refused.allow_request(drf_request("POST", who), _View())
    assert refused.wait() == 4


def test_throttle_0_switches_it_off(settings):
    settings.THROTTLE = False
    who = someone()
    assert all(TokenBucketThrottle().allow_request(drf_request("POST", who), _View()) for _ in range(50))
    assert throttle_module.throttle().take_blocking("order", principal=who, ip=None).allowed


def test_answers_carry_the_limit_and_guessing_keys_runs_dry(settings):
    settings.THROTTLE = True

    def refuse(request):
        return HttpResponse(status=401)

    address = f"2001:db8:{new_id()[-4:]}:{new_id()[-4:]}::1"
    answers = [
        RateLimitMiddleware(refuse)(RequestFactory().get("/api/v1/account", REMOTE_ADDR=address))
        for _ in range(22)
    ]
    assert answers[0].status_code == 401
    assert answers[0]["X-RateLimit-Remaining"] == "19"
    assert answers[-1].status_code == 429
    assert answers[-1]["Retry-After"] == "1"
    assert answers[-1]["Content-Type"] == "application/problem+json"
