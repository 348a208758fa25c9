"""Writes of accounts: register, issue and revoke keys, move play money, mark notifications read.

Each checks what the caller may do and raises ExchangeErrors; the API, the pages and the commands call these
alike.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.keys import make_key
from accounts.models import ApiKey, Notification, User, username_validator
from accounts.notifications import addresses
from accounts.revocations import announce
from trading import cash
from trading.errors import InvalidRequest, NotFound, PermissionDenied, Refused
from trading.money import format_pips
from trading.principal import ADMIN, READ, SCOPES, TRADE, Principal

USERNAME_TAKEN = "This username is taken."
KEY_LIFETIME_DAYS = 365
MAX_KEY_LIFETIME_DAYS = 3650
MAX_LIVE_KEYS = 100
MAX_ALLOWLIST = 50


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key's row and, this once, the key itself."""

    row: ApiKey
    secret: str


def register(*, username: str, password: str, email: str = "", is_simulated: bool = False) -> User:
    """A new user with a cash account of 0. Raises InvalidRequest naming every field that will not do."""
    _check_registration(username, password, email)
    try:
        # A savepoint of its own: a name taken in the meantime must not break the caller's transaction.
        with transaction.atomic():
            user = User.objects.create_user(username, email, password, is_simulated=is_simulated)
            if user.email and not is_simulated:
                addresses.ask(user)
            return user
    except IntegrityError:
        raise InvalidRequest(errors={"username": [USERNAME_TAKEN]}) from None


@transaction.atomic
def register_with_key(*, username: str, password: str, email: str = "") -> tuple[User, IssuedKey]:
    """A new user and a first key that may read and trade."""
    user = register(username=username, password=password, email=email)
    return user, issue_key(user=user, name="first key", scopes=[READ, TRADE])


def _check_registration(username: str, password: str, email: str) -> None:
    errors: dict[str, list[str]] = {}
    try:
        username_validator(username)
    except ValidationError as error:
        errors["username"] = error.messages
    else:
        if User.objects.filter(username__iexact=username).exists():
            errors["username"] = [USERNAME_TAKEN]
    try:
        validate_password(password, User(username=username, email=email))
    except ValidationError as error:
        errors["password"] = error.messages
    if errors:
        raise InvalidRequest(errors=errors)


def issue_key(
    *,
    user: User,
    name: str,
    scopes: Sequence[str],
    expires_in_days: int = KEY_LIFETIME_DAYS,
    ip_allowlist: Sequence[str] = (),
    by: Principal | None = None,
) -> IssuedKey:
    """A new key for a user. `by` is who asks; without it the operator does, at the command line.

    A key hands on no scope that it lacks, and `admin` goes to staff only (PermissionDenied). A key that is
    bound to addresses hands its binding on: the new key's addresses lie within it.
    """
    wanted = [scope for scope in SCOPES if scope in scopes]
    networks = parse_networks(ip_allowlist)
    if by is not None:
        _check_grant(by, wanted)
        networks = _within_allowlist_of(by, networks)
    if ADMIN in wanted and not user.is_staff:
        raise PermissionDenied("A key with the scope 'admin' is for staff.")
    if by is not None and _live_keys(user) >= MAX_LIVE_KEYS:
        raise Refused("exceeds_limits", f"A user has at most {MAX_LIVE_KEYS} live keys; revoke one first.")
    # From here on the key must be made.
    fresh = make_key()
    row = ApiKey.objects.create(
        user=user,
        name=name,
        prefix=fresh.prefix,
        key_hash=fresh.digest,
        scopes=wanted,
        ip_allowlist=[str(network) for network in networks],
        expires_at=timezone.now() + dt.timedelta(days=expires_in_days),
    )
    return IssuedKey(row=row, secret=fresh.secret)


def revoke_key(*, user: User, key_id: str, by: Principal) -> None:
    """End a key of that user. NotFound for another's or a revoked one; a key ends only keys no mightier than itself."""
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().filter(id=key_id, user=user, revoked_at=None).first()
        if row is None:
            raise NotFound("There is no such key.")
        _check_grant(by, row.scopes)
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
    transaction.on_commit(announce)


def parse_networks(texts: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Addresses and networks of an allowlist. Raises InvalidRequest for what is neither."""
    if len(texts) > MAX_ALLOWLIST:
        raise InvalidRequest(errors={"ip_allowlist": [f"At most {MAX_ALLOWLIST} entries."]})
    try:
        return [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise InvalidRequest(errors={"ip_allowlist": [str(error)]}) from None


def _check_grant(by: Principal, scopes: Sequence[str]) -> None:
    missing = [scope for scope in scopes if scope not in by.scopes]
    if missing:
        raise PermissionDenied(f"A key cannot grant or revoke scopes it does not have: {', '.join(missing)}.")


def _within_allowlist_of(
    by: Principal, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    if by.key_id is None:
        return networks
    bounds = parse_networks(ApiKey.objects.values_list("ip_allowlist", flat=True).get(id=by.key_id))
    if not bounds or not networks:
        return networks or bounds
    for network in networks:
        # Networks of different versions cannot be compared, which the types do not know.
        if not any(network.version == bound.version and network.subnet_of(bound) for bound in bounds):  # type: ignore[arg-type]
            raise PermissionDenied("A key bound to addresses makes keys for those addresses only.")
    return networks


def _live_keys(user: User) -> int:
    return ApiKey.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now()).count()


def deposit(
    *, principal: Principal, amount_pips: int, client_id: str | None, request_id: str | None
) -> cash.CashAnswer:
    """Play money in. Over settings.FAUCET_LIMIT_PIPS only for staff, else Refused `exceeds_limits`."""
    limit_pips: int = settings.FAUCET_LIMIT_PIPS
    if amount_pips > limit_pips and not principal.is_admin:
        raise Refused("exceeds_limits", f"One deposit is at most {format_pips(limit_pips)}.")
    return cash.deposit(
        account_id=principal.account_id,
        amount_pips=amount_pips,
        client_id=client_id,
        actor=principal.actor,
        request_id=request_id,
    )


def withdraw(
    *, principal: Principal, amount_pips: int, client_id: str | None, request_id: str | None
) -> cash.CashAnswer:
    """Play money out, of free cash only: else Refused `exceeds_available_cash`."""
    return cash.withdraw(
        account_id=principal.account_id,
        amount_pips=amount_pips,
        client_id=client_id,
        actor=principal.actor,
        request_id=request_id,
    )


def mark_read(*, account_id: str, ids: Sequence[str] | None) -> int:
    """Mark notifications of an account read: those named, or all if `ids` is None. Returns how many were unread."""
    unread = Notification.objects.filter(account_id=account_id, in_app=True, read_at=None)
    if ids is not None:
        unread = unread.filter(id__in=ids)
    return unread.update(read_at=timezone.now())
