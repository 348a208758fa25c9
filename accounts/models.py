"""Users, their API keys and their notifications. Cash is not here: `trading.cash` owns it.

A user owns one account, named by `account_id`, which is all that trading knows of a user.
"""

import uuid
from typing import ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Upper

from trading import cash
from trading.ids import new_id

USERNAME_RULE = (
    "3 to 64 characters: ASCII letters, digits, dots, hyphens and underscores; the first a letter or a digit."
)
username_validator = RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{2,63}\Z", message=USERNAME_RULE)


def new_uuid() -> uuid.UUID:
    """A fresh UUIDv7, as Django's UUIDField holds it."""
    return uuid.UUID(new_id())


class UserManager(DjangoUserManager["User"]):
    """The one door by which users come to be: each opens its cash account in the same transaction."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Sign-in does not mind upper and lower case, as uniqueness does not."""
        return self.get(username__iexact=username)

    def _create_user(self, username: str, email: str | None, password: str | None, **extra: object) -> "User":
        with transaction.atomic(using=self._db):
            # Private to Django, but the one place where all its ways to create a user meet.
            user: User = super()._create_user(username, email, password, **extra)  # type: ignore[misc]
            cash.open_account(str(user.account_id))
        return user

    async def _acreate_user(
        self, username: str, email: str | None, password: str | None, **extra: object
    ) -> "User":
        return await sync_to_async(self._create_user)(username, email, password, **extra)


class User(AbstractUser):
    """Someone who may sign in and trade; `is_simulated` marks the demo's own crowd."""

    username = models.CharField(
        max_length=64, unique=True, validators=[username_validator], help_text=USERNAME_RULE
    )
    account_id = models.UUIDField(unique=True, default=new_uuid, editable=False)
    is_simulated = models.BooleanField(default=False)

    objects: ClassVar[UserManager] = UserManager()

    class Meta(AbstractUser.Meta):
        constraints = [
            # UPPER, because that is how PostgreSQL is asked for __iexact: one index for both.
            models.UniqueConstraint(
                Upper("username"),
                name="accounts_user_username_any_case",
                violation_error_message="A user with that username already exists.",
            ),
        ]


class ApiKey(models.Model):
    """A key of a user, without the key: only its SHA-256.

    A key carries 256 random bits, so it can be neither guessed nor looked up in a table; the slow, salted
    hashes that passwords need would only make each request slow.
    """

    class Tier(models.TextChoices):
        """How many times the ordinary rate limits a key has; see ops.throttle."""

        STANDARD = "standard"
        PROFESSIONAL = "professional"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    key_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=16))
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.STANDARD)
    ip_allowlist = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes = [models.Index(fields=["user", "-id"], name="accounts_key_of_user")]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"


class Notification(models.Model):
    """Something that happened to an account while its owner may have looked elsewhere.

    Written by `accounts.notifications` from the event log; `idempotency_key` makes reading an event twice
    harmless.
    """

    class Kind(models.TextChoices):
        """What happened."""

        ORDER_FILLED = "order_filled"
        ORDER_CANCELLED = "order_cancelled"
        MARKET_RESOLVED = "market_resolved"
        MARKET_VOIDED = "market_voided"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    account_id = models.UUIDField()
    kind = models.CharField(max_length=32, choices=Kind.choices)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=100, unique=True)

    class Meta:
        indexes = [
            models.Index(fields=["account_id", "-id"], name="accounts_note_of_account"),
            models.Index(
                fields=["account_id"], name="accounts_note_unread", condition=models.Q(read_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.title
