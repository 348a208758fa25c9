"""The fast lane's authenticator: one read a key and two seconds, together for all who wait."""

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.utils import timezone

from accounts import authentication, key_usage, services, tickets
from accounts.authentication import KeyAuthenticator, principal_of_user
from accounts.models import ApiKey
from tests.accounts.callers import PASSWORD
from trading.errors import NotAuthenticated
from trading.live.blocking import in_thread
from trading.principal import ADMIN

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=False)


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(authentication.time, "monotonic", clock)
    return clock


@pytest.fixture
def issued():
    user = services.register(username="bot", password=PASSWORD)
    return services.issue_key(user=user, name="bot", scopes=["read", "trade"])


@pytest.fixture
def reads(monkeypatch):
    """Every read of keys' rows, as a list that grows by the keys of each."""
    seen, find = [], authentication.find_keys

    def counted(digests):
        seen.append(digests)
        return find(digests)

    monkeypatch.setattr(authentication, "find_keys", counted)
    return seen


async def elsewhere(write):
    """A write of another process, as it were: in a thread whose connection is closed after it."""

    def run():
        write()
        connection.close()

    await asyncio.to_thread(run)


def header(issued):
    return b"Bearer " + issued.secret.encode()


async def test_many_callers_at_once_share_one_read(issued, reads):
    door = KeyAuthenticator()
    found = await asyncio.gather(*(door.authenticate(header(issued), "127.0.0.1") for _ in range(50)))
    assert {principal.account_id for principal in found} == {str(issued.row.user.account_id)}
    assert found[0].scopes == {"read", "trade"}
    assert len(reads) == 1


async def test_the_row_is_read_again_after_two_seconds_and_not_before(issued, reads, clock):
    door = KeyAuthenticator()
    for moved, expected in ((0, 1), (1.9, 1), (0.2, 2)):
        clock.now += moved
        await door.authenticate(header(issued), None)
        assert len(reads) == expected


async def test_a_revoked_key_ends_within_two_seconds(issued, clock):
    door = KeyAuthenticator()
    await door.authenticate(header(issued), None)
    await elsewhere(lambda: ApiKey.objects.update(revoked_at=timezone.now()))
    clock.now += 2.1
    with pytest.raises(NotAuthenticated):
        await door.authenticate(header(issued), None)


async def test_a_remembered_key_still_ends_when_it_expires(issued, monkeypatch):
    door = KeyAuthenticator()
    await door.authenticate(header(issued), None)
    late = issued.row.expires_at.timestamp()
    monkeypatch.setattr(authentication.time, "time", lambda: late)
    with pytest.raises(NotAuthenticated):
        await door.authenticate(header(issued), None)


async def test_an_unknown_key_is_looked_up_once_too(reads):
    door = KeyAuthenticator()
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await door.authenticate_key("pm_" + "x" * 43, None)
    assert len(reads) == 1


@pytest.mark.parametrize(
    "bad", ["", "Bearer", "Bearer x", "Basic abc", b"\xff\x00", b"Bearer pm_\xff", "Bearer pm_" + "x" * 999]
)
async def test_a_header_of_another_form_asks_no_database(bad, reads):
    with pytest.raises(NotAuthenticated):
        await KeyAuthenticator().authenticate(bad, None)
    assert reads == []


async def test_no_header_is_nobody(reads):
    assert await KeyAuthenticator().authenticate(None, None) is None
    assert reads == []


async def test_each_caller_is_judged_by_its_own_address(issued):
    await elsewhere(lambda: ApiKey.objects.update(ip_allowlist=["10.0.0.0/8", "2001:db8::/32"]))
    door = KeyAuthenticator()
    for good in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
        assert await door.authenticate(header(issued), good)
    for bad in ("11.0.0.1", "2001:db9::1", None, "nonsense"):
        with pytest.raises(NotAuthenticated):
            await door.authenticate(header(issued), bad)


async def test_the_memory_for_keys_is_bounded(monkeypatch, issued):
    monkeypatch.setattr(authentication, "CACHE_ENTRIES", 5)
    door = KeyAuthenticator()
    for number in range(12):
        with pytest.raises(NotAuthenticated):
            await door.authenticate_key(f"pm_{number}", None)
    assert len(door._known._known) <= 5


async def test_keys_that_come_while_a_read_is_under_way_share_the_next_one(issued, reads):
    door = KeyAuthenticator()
    keys = [issued.secret, *(f"pm_{number}" for number in range(9))]
    calls = [asyncio.create_task(door.authenticate_key(key, None)) for key in keys * 2]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, NotAuthenticated) for answer in answers] == [False, *[True] * 9] * 2
    assert answers[0].key_id == answers[10].key_id == str(issued.row.id)
    assert len(reads) <= 2
    assert sorted(digest for digests in reads for digest in digests) == sorted(
        {door._digest(key) for key in keys}
    )


async def test_a_read_that_fails_fails_those_who_wait_and_nobody_after_them(issued, monkeypatch):
    door = KeyAuthenticator()

    def fail(digests):
        raise OSError("no database")

    with monkeypatch.context() as patch:
        patch.setattr(authentication, "find_keys", fail)
        answers = await asyncio.gather(
            *(door.authenticate(header(issued), None) for _ in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [OSError] * 3
    assert await door.authenticate(header(issued), None)


async def test_a_ticket_lets_its_owner_in_once(issued):
    principal = principal_of_user(issued.row.user)
    ticket = await asyncio.to_thread(tickets.issue, principal)
    door = KeyAuthenticator()
    assert await door.redeem_ticket(ticket) == principal
    for spent in (ticket, "", "never made", "é", "x" * 1000):
        with pytest.raises(NotAuthenticated):
            await door.redeem_ticket(spent)


async def test_a_person_who_is_shut_out_counts_no_more(issued, monkeypatch):
    monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)
    user, door = issued.row.user, KeyAuthenticator()
    assert await door.person(user.pk) == principal_of_user(user)
    user.is_staff = True
    await in_thread(user.save)
    assert ADMIN in (await door.person(user.pk)).scopes
    user.is_active = False
    await in_thread(user.save)
    for nobody in (user.pk, 2**31 - 1):
        with pytest.raises(NotAuthenticated):
            await door.person(nobody)


async def test_a_person_is_read_once_in_a_moment(issued, monkeypatch):
    user, door = issued.row.user, KeyAuthenticator()
    principal = await door.person(user.pk)
    monkeypatch.setattr(authentication, "find_person", lambda user_id: pytest.fail("read again"))
    assert await door.person(user.pk) == principal


def test_the_last_use_is_written_once_a_minute(issued, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(key_usage.time, "monotonic", clock)
    with ThreadPoolExecutor(1) as writer:
        monkeypatch.setattr(key_usage, "_writer", writer)
        key_id = str(issued.row.id)
        key_usage.note_use(key_id).result()
        issued.row.refresh_from_db()
        first = issued.row.last_used_at
        assert timezone.now() - first < dt.timedelta(seconds=10)
        assert key_usage.note_use(key_id) is None
        # Another process noted it less than a minute ago: nothing is written.
        clock.now += 61
        key_usage.note_use(key_id).result()
        issued.row.refresh_from_db()
        assert issued.row.last_used_at == first
