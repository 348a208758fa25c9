"""Who sends a request: API keys for bots, the session cookie with CSRF for pages, one Principal for both.

    KeyAuthenticator        the fast lane and the sockets
    ApiKeyAuthentication    DRF, `Authorization: Bearer pm_…`
    SessionAuthentication   DRF, the session cookie

A key's row is read at most once in 2 s and process, and again after any revocation.

Whatever is wrong with a credential, the answer is 401 with the same words: it tells nobody whether a key
exists.
"""

import asyncio
import datetime as dt
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection
from django.http import HttpRequest
from rest_framework import authentication as drf_authentication
from rest_framework import exceptions as drf
from rest_framework.request import Request

from accounts import tickets
from accounts.client_ip import Network, client_ip, is_within, parse_address
from accounts.key_usage import note_use
from accounts.keys import key_digest, looks_like_key
from accounts.models import User
from accounts.revocations import revocations
from trading.errors import NotAuthenticated
from trading.generations import Generation
from trading.principal import ADMIN, READ, TRADE, Principal

CACHE_SECONDS = 2.0
# Random keys must not fill the memory: past this the cache starts afresh.
CACHE_ENTRIES = 20_000

Sought = TypeVar("Sought")
Found = TypeVar("Found")

BAD_HEADER = "The Authorization header must be 'Bearer pm_…'."
BAD_KEY = "This API key does not count: unknown, expired, revoked, or not for this address."


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What is remembered of a key's row: enough to judge a request without the database."""

    principal: Principal
    user_values: tuple[Any, ...]  # of _USER_FIELDS
    key_id: str
    expires_at: float
    networks: tuple[Network, ...]

    @property
    def user(self) -> User:
        """The key's user; what is not remembered of him is read when it is asked for."""
        return User.from_db(connection.alias, _USER_FIELDS, self.user_values)

    def counts_for(self, ip: str | None) -> bool:
        """Whether it may be used now from that address."""
        if time.time() >= self.expires_at:
            return False
        if not self.networks:
            return True
        address = parse_address(ip)
        return address is not None and is_within(address, self.networks)


def principal_of_user(user: User) -> Principal:
    """A signed-in person's Principal: everything the person may do."""
    scopes = {READ, TRADE, ADMIN} if user.is_staff else {READ, TRADE}
    return Principal(
        account_id=str(user.account_id),
        user_id=user.pk,
        key_id=None,
        scopes=frozenset(scopes),
        is_staff=user.is_staff,
    )


def bearer_key(authorization: str | bytes) -> str:
    """The key in an Authorization header. Raises NotAuthenticated for any other header."""
    text = authorization.decode("latin-1") if isinstance(authorization, bytes) else authorization
    scheme, _, key = text.strip().partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not looks_like_key(key):
        raise NotAuthenticated(BAD_HEADER)
    return key


# In the model's order, as from_db wants them.
_USER_FIELDS = [
    field.attname
    for field in User._meta.concrete_fields
    if field.attname in ("id", "username", "account_id", "is_staff", "is_active")
]
# Read with every request of a bot: the ORM takes half of such a request's time to write this same statement.
_LIVE_KEYS = f"""
SELECT k.key_hash, k.id::text, k.scopes, k.tier, k.ip_allowlist, k.expires_at,
       {", ".join(f"u.{name}" for name in _USER_FIELDS)}
FROM accounts_apikey k JOIN accounts_user u ON u.id = k.user_id
WHERE k.key_hash = ANY(%s) AND k.revoked_at IS NULL AND k.expires_at > now() AND u.is_active
"""  # noqa: S608


def find_keys(digests: Sequence[bytes]) -> dict[bytes, KnownKey]:
    """The live keys among those hashes, of active users."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_KEYS, [list(digests)])
        return {bytes(digest): _known(*row) for digest, *row in cursor.fetchall()}


def find_person(user_id: int) -> Principal | None:
    """An active user's Principal."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return principal_of_user(user) if user is not None else None


def _known(
    key_id: str, scopes: list[str], tier: str, allowlist: list[str], expires_at: dt.datetime, *values: Any
) -> KnownKey:
    user = User.from_db(connection.alias, _USER_FIELDS, values)
    principal = Principal(
        account_id=str(user.account_id),
        user_id=user.pk,
        key_id=key_id,
        scopes=frozenset(scopes),
        is_staff=user.is_staff,
        tier=tier,
    )
    networks = tuple(ipaddress.ip_network(text) for text in allowlist)
    return KnownKey(principal, values, key_id, expires_at.timestamp(), networks)


class KnownKeys:
    """Keys by their hash, as they were read a moment ago; None for a hash that no live key has."""

    def __init__(
        self, generation: Callable[[], Generation | None] = lambda: revocations().generation()
    ) -> None:
        self._generation = generation
        self._known: dict[bytes, tuple[float, Generation, KnownKey | None]] = {}

    def get(self, digest: bytes) -> tuple[KnownKey | None] | None:
        """What is remembered of a key, in a tuple; None if it has to be read."""
        entry = self._known.get(digest)
        if entry is None or entry[0] <= time.monotonic() or entry[1] != self._generation():
            return None
        return (entry[2],)

    def generation(self) -> Generation | None:
        """To be asked before rows are read, and given to `note` with them."""
        return self._generation()

    def note(
        self, digests: Sequence[bytes], found: dict[bytes, KnownKey], generation: Generation | None
    ) -> None:
        """Remembers what was read; nothing without a generation."""
        if generation is None:
            return
        if len(self._known) + len(digests) > CACHE_ENTRIES:
            self._known.clear()
        for digest in digests:
            self._known[digest] = (time.monotonic() + CACHE_SECONDS, generation, found.get(digest))


class KeyAuthenticator:
    """Keys for the fast lane (implements trading.principal.Authenticator).

    Unknown keys are remembered too, so that a flood of one bad key costs one read. Calls for the same key wait for
    one read together, and what is asked for while a read is under way is read by the next one. Not for use from
    several event loops at once.
    """

    def __init__(self) -> None:
        self._known = KnownKeys()
        self._awaited: dict[bytes, asyncio.Future[KnownKey | None]] = {}
        self._unread: list[bytes] = []
        self._reader: asyncio.Task[None] | None = None
        self._people: dict[int, tuple[float, Principal | None]] = {}

    async def authenticate(self, authorization: str | bytes | None, ip: str | None) -> Principal | None:
        """The caller behind an Authorization header; None if there is no header."""
        if authorization is None:
            return None
        return await self.authenticate_key(bearer_key(authorization), ip)

    async def authenticate_key(self, key: str, ip: str | None) -> Principal:
        """The caller behind a bare key."""
        digest = self._digest(key)
        remembered = self._known.get(digest)
        if remembered is not None:
            return self._judge(remembered[0], ip)
        return self._judge(await self._shared_read(digest), ip)

    async def redeem_ticket(self, ticket: str) -> Principal:
        """The caller behind a one-time ticket."""
        return await asyncio.to_thread(tickets.redeem, ticket)

    async def person(self, user_id: int) -> Principal:
        """A signed-in person as he stands now, or at most CACHE_SECONDS ago."""
        read_until, principal = self._people.get(user_id, (0.0, None))
        if read_until <= time.monotonic():
            principal = await asyncio.to_thread(_released, find_person, user_id)
            if len(self._people) >= CACHE_ENTRIES:
                self._people.clear()
            self._people[user_id] = (time.monotonic() + CACHE_SECONDS, principal)
        if principal is None:
            raise NotAuthenticated("This person may not sign in any more.")
        return principal

    @staticmethod
    def _digest(key: str) -> bytes:
        if not looks_like_key(key):
            raise NotAuthenticated(BAD_KEY)
        return key_digest(key)

    @staticmethod
    def _judge(known: KnownKey | None, ip: str | None) -> Principal:
        if known is None or not known.counts_for(ip):
            raise NotAuthenticated(BAD_KEY)
        note_use(known.key_id)
        return known.principal

    async def _shared_read(self, digest: bytes) -> KnownKey | None:
        answer = self._awaited.get(digest)
        if answer is None:
            answer = self._awaited[digest] = asyncio.get_running_loop().create_future()
            self._unread.append(digest)
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read_all())
        # Shielded: one caller that goes away must not cancel the read of the others.
        return await asyncio.shield(answer)

    async def _read_all(self) -> None:
        while self._unread:
            digests, self._unread = self._unread, []
            generation = self._known.generation()
            try:
                found = await asyncio.to_thread(_released, find_keys, digests)
            except Exception as error:
                for digest in digests:
                    answer = self._awaited.pop(digest)
                    answer.set_exception(error)
                    answer.exception()  # Those who wait see it; if all have gone away, nobody need be told.
                continue
            self._known.note(digests, found, generation)
            for digest in digests:
                self._awaited.pop(digest).set_result(found.get(digest))


def _released(find: Callable[[Sought], Found], sought: Sought) -> Found:
    try:
        return find(sought)
    finally:
        # This thread belongs to no request, so nobody else gives its connection back.
        connection.close()


class ApiKeyAuthentication(drf_authentication.BaseAuthentication):
    """DRF's door for keys: `request.user` is the key's user, `request.auth` the Principal."""

    _known = KnownKeys()

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        authorization = request.META.get("HTTP_AUTHORIZATION")
        if authorization is None:
            return None
        # DRF handles its own exceptions here; ours would escape again from every later look at request.user.
        try:
            digest = key_digest(bearer_key(authorization))
        except NotAuthenticated as error:
            raise drf.AuthenticationFailed(error.detail) from None
        known = self._look_up(digest)
        if known is None or not known.counts_for(client_ip(request)):
            raise drf.AuthenticationFailed(BAD_KEY)
        note_use(known.key_id)
        return known.user, known.principal

    def _look_up(self, digest: bytes) -> KnownKey | None:
        remembered = self._known.get(digest)
        if remembered is not None:
            return remembered[0]
        generation = self._known.generation()
        found = find_keys([digest])
        self._known.note([digest], found, generation)
        return found.get(digest)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(drf_authentication.SessionAuthentication):
    """DRF's door for pages: Django's session, with CSRF enforced on every method that writes."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        return found[0], principal_of_user(found[0])


def principal_of_page(request: HttpRequest) -> Principal:
    """The Principal of a signed-in page request; guard the view with login_required."""
    assert isinstance(request.user, User)
    return principal_of_user(request.user)
