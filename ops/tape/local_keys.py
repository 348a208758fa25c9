"""What `play_tape` may take from the database where it runs beside the exchange: a staff key, a better tier."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils import timezone

from accounts.keys import key_digest
from accounts.models import ApiKey, User
from accounts.services import issue_key
from trading.principal import ADMIN, READ, TRADE


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
