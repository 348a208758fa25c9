"""Who acts, and what trading needs of authentication and throttling, as protocols.

`accounts` and `ops` implement the protocols and `pmarket` plugs them in; this module imports nothing of
theirs.
"""

from dataclasses import dataclass
from typing import Protocol

from trading.errors import NotAuthenticated, PermissionDenied

READ = "read"
TRADE = "trade"
ADMIN = "admin"
SCOPES = (READ, TRADE, ADMIN)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `key_id` is None for a session; `tier` scales the rate limits."""

    account_id: str
    user_id: int
    key_id: str | None
    scopes: frozenset[str]
    is_staff: bool
    tier: str = "standard"

    def require(self, scope: str) -> None:
        """Raise PermissionDenied unless the scope is held; `admin` counts for staff only."""
        if scope not in self.scopes:
            raise PermissionDenied(f"This needs the scope {scope!r}.")
        if scope == ADMIN and not self.is_staff:
            raise PermissionDenied("This is for staff.")

    @property
    def is_admin(self) -> bool:
        """Whether staff paths are open: a staff member, with a session or a key of scope `admin`."""
        return self.is_staff and ADMIN in self.scopes

    @property
    def actor(self) -> str:
        """Who acted, as events' metadata names it, and whose bucket pays: the key, or the user of a session."""
        return f"key:{self.key_id}" if self.key_id is not None else f"user:{self.user_id}"


def require_principal(candidate: object) -> Principal:
    """The Principal itself, or NotAuthenticated; made for `request.auth`, which is None without credentials."""
    if isinstance(candidate, Principal):
        return candidate
    raise NotAuthenticated()


@dataclass(frozen=True, slots=True)
class Allowance:
    """A throttle's answer: `remaining` whole tokens of `limit` (the burst), and when to come again if refused."""

    allowed: bool
    remaining: int
    limit: int
    retry_after_s: int

    @property
    def headers(self) -> dict[str, str]:
        """The rate-limit headers of a response; Retry-After only with a refusal."""
        headers = {"X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(self.remaining)}
        if not self.allowed:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class Authenticator(Protocol):
    """Turns credentials into a Principal; every call raises NotAuthenticated for credentials that do not count."""

    async def authenticate(self, authorization: str | bytes | None, ip: str | None) -> Principal | None:
        """The caller behind an `Authorization` header; None if there is no header."""

    async def authenticate_key(self, key: str, ip: str | None) -> Principal:
        """The caller behind a bare API key (`pm_…`), as a socket's `auth` frame carries it."""

    async def redeem_ticket(self, ticket: str) -> Principal:
        """The caller behind a one-time socket ticket, which is used up by this."""

    async def person(self, user_id: int) -> Principal:
        """Whoever came with a ticket, as he stands now: a socket outlives it by far."""


class Throttle(Protocol):
    """Counts requests. Classes: `order`, `cancel`, `data`, `general`, `sign_in`."""

    async def take(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        """Take `cost` tokens from the principal's bucket of that class, or from the IP's if there is no principal."""

    def take_blocking(
        self, class_name: str, *, principal: Principal | None, ip: str | None, cost: int = 1
    ) -> Allowance:
        """The same, for a thread."""
