"""What `play_tape` may take from the database where it runs beside the exchange: keys, a better tier, accounts."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from accounts.keys import key_digest
from accounts.models import ApiKey, User
from accounts.services import issue_key
from trading.principal import ADMIN, READ, TRADE

OPENED_AT_ONCE = 100


@contextmanager
def local_staff_key() -> Iterator[str]:
    """A key of a staff member of this database, revoked at the end."""
    user = User.objects.filter(is_staff=True, is_active=True).order_by("id").first()
    if user is None:
        user = User.objects.create_user(f"tape-staff-{secrets.token_hex(4)}", is_staff=True)
    issued = issue_key(user=user, name="play_tape", scopes=[READ, TRADE, ADMIN], expires_in_days=1)
    try:
        yield issued.secret
    finally:
        ApiKey.objects.filter(pk=issued.row.pk).update(revoked_at=timezone.now())


def raise_tier(secret: str) -> None:
    """Ten times the ordinary rate limits for a key, for recordings are longer than patience."""
    ApiKey.objects.filter(key_hash=key_digest(secret)).update(tier=ApiKey.Tier.PROFESSIONAL)


def open_accounts(usernames: Sequence[str]) -> list[str]:
    """A key each for new users who have no password, marked as simulated: a crowd that registers would hash for
    minutes."""
    keys = []
    for start in range(0, len(usernames), OPENED_AT_ONCE):
        with transaction.atomic():
            for username in usernames[start : start + OPENED_AT_ONCE]:
                user = User.objects.create_user(username, is_simulated=True)
                issued = issue_key(user=user, name="play_tape", scopes=[READ, TRADE], expires_in_days=1)
                raise_tier(issued.secret)
                keys.append(issued.secret)
    return keys
