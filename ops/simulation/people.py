"""The simulated users: made once, with a fresh key for each run of the simulation."""

import secrets

from asgiref.sync import sync_to_async
from django.db import close_old_connections, transaction
from django.utils import timezone

from accounts.models import ApiKey, User
from accounts.services import issue_key, register
from trading.principal import READ, TRADE

KEY_NAME = "simulation"
KEY_DAYS = 30
MAKER = "sim-maker"


def trader_name(number: int) -> str:
    """The username of the n-th trader of the crowd."""
    return f"sim-trader-{number:02}"


def _fresh_key(username: str, tier: ApiKey.Tier) -> str:
    close_old_connections()
    with transaction.atomic():
        user = User.objects.filter(username=username, is_simulated=True).first()
        if user is None:
            # Nobody signs in with this password: it is forgotten here.
            user = register(username=username, password=secrets.token_urlsafe(24), is_simulated=True)
        # A key is shown once, so each run makes its own and ends the one before.
        ApiKey.objects.filter(user=user, name=KEY_NAME, revoked_at=None).update(revoked_at=timezone.now())
        issued = issue_key(user=user, name=KEY_NAME, scopes=[READ, TRADE], expires_in_days=KEY_DAYS)
        ApiKey.objects.filter(pk=issued.row.pk).update(tier=tier)
    return issued.secret


async def maker_key() -> str:
    """The maker's key. It quotes every market, so it has the limits of a professional."""
    return await sync_to_async(_fresh_key)(MAKER, ApiKey.Tier.PROFESSIONAL)


async def trader_key(number: int) -> str:
    """The key of the n-th trader."""
    return await sync_to_async(_fresh_key)(trader_name(number), ApiKey.Tier.STANDARD)
