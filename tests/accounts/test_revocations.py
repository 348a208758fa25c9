"""Keys are remembered for a moment, and forgotten at once when one is revoked, in this process or another."""

import time

import pytest
from django.conf import settings

from accounts import authentication, services
from accounts.authentication import ApiKeyAuthentication, KnownKeys, principal_of_user
from accounts.revocations import CHANNEL, announce
from tests.accounts.callers import PASSWORD, Caller
from trading.generations import Generations

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=False)
PATIENCE_S = 10.0


@pytest.fixture
def heard(monkeypatch):
    """A listener of its own that is heard, as the memory of the DRF lane uses it."""
    listener = Generations(settings.VALKEY_URL, CHANNEL)
    until(lambda: listener.generation() is not None)
    monkeypatch.setattr(ApiKeyAuthentication, "_known", KnownKeys(listener.generation))
    return listener


@pytest.fixture
def reads(monkeypatch):
    seen, find = [], authentication.find_keys
    monkeypatch.setattr(authentication, "find_keys", lambda digests: seen.append(digests) or find(digests))
    return seen


def until(done):
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_key_is_read_once_for_many_requests(heard, reads):
    user = services.register(username="bot", password=PASSWORD)
    caller = Caller(services.issue_key(user=user, name="bot", scopes=["read"]).secret)
    assert [caller.get("/account").status_code for _ in range(5)] == [200] * 5
    assert len(reads) == 1


def test_a_revoked_key_stops_counting_at_once(heard):
    user = services.register(username="bot", password=PASSWORD)
    issued = services.issue_key(user=user, name="bot", scopes=["read"])
    caller = Caller(issued.secret)
    assert caller.get("/account").status_code == 200
    services.revoke_key(user=user, key_id=str(issued.row.id), by=principal_of_user(user))
    assert caller.get("/account").status_code == 401


def test_an_announcement_is_heard_by_every_listener(heard):
    other = Generations(settings.VALKEY_URL, CHANNEL)
    until(lambda: other.generation() is not None)
    before = heard.generation(), other.generation()
    announce()
    until(lambda: heard.generation() != before[0] and other.generation() != before[1])


def test_who_cannot_listen_remembers_nothing(monkeypatch, reads):
    monkeypatch.setattr(
        ApiKeyAuthentication, "_known", KnownKeys(Generations("redis://127.0.0.1:1/0", CHANNEL).generation)
    )
    user = services.register(username="bot", password=PASSWORD)
    caller = Caller(services.issue_key(user=user, name="bot", scopes=["read"]).secret)
    assert [caller.get("/account").status_code for _ in range(3)] == [200] * 3
    assert len(reads) == 3
