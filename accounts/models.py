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

    Written by `accounts.notifications`; `idempotency_key` makes telling the same twice harmless. `in_app` and
    `by_email` are what the owner wanted at that moment; `mailed_at` is when it was first given to the mail server.
    """

    class Kind(models.TextChoices):
        """What happened."""

        ORDER_FILLED = "order_filled"
        ORDER_CANCELLED = "order_cancelled"
        ORDER_EXPIRED = "order_expired"
        MARKET_CLOSING = "market_closing"
        RESOLUTION_PROPOSED = "resolution_proposed"
        MARKET_RESOLVED = "market_resolved"
        MARKET_VOIDED = "market_voided"
        MARKET_REVERSED = "market_reversed"
        DEPOSIT = "deposit"
        SIGN_IN = "sign_in"
        PRICE_ALERT = "price_alert"
        WEBHOOK_OFF = "webhook_off"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    account_id = models.UUIDField()
    kind = models.CharField(max_length=32, choices=Kind.choices)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    in_app = models.BooleanField(default=True)
    by_email = models.BooleanField(default=False)
    mailed_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=100, unique=True)

    class Meta:
        indexes = [
            models.Index(fields=["account_id", "-id"], name="accounts_note_of_account"),
            models.Index(
                fields=["account_id"], name="accounts_note_unread", condition=models.Q(read_at__isnull=True)
            ),
            models.Index(
                fields=["account_id"],
                name="accounts_note_to_mail",
                condition=models.Q(by_email=True, mailed_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.title


class NotificationPreferences(models.Model):
    """What an account has chosen otherwise than the defaults of `accounts.notifications.preferences`."""

    class Digest(models.TextChoices):
        """How e-mails are gathered."""

        OFF = "off"
        HOURLY = "hourly"
        DAILY = "daily"

    account_id = models.UUIDField(primary_key=True)
    choices = models.JSONField(default=dict)
    digest = models.CharField(max_length=8, choices=Digest.choices, default=Digest.OFF)
    # Nothing but the question whether it is theirs is mailed to an address that its owner has not confirmed.
    confirmed_email = models.CharField(max_length=254, default="", blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "notification preferences"

    def __str__(self) -> str:
        return str(self.account_id)


class Webhook(models.Model):
    """A URL of a user's program that is told of notifications of some kinds.

    The secret is kept as it is, since signing takes it; the one before it counts until `previous_until`.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    account_id = models.UUIDField(db_index=True)
    url = models.CharField(max_length=500)
    kinds = ArrayField(models.CharField(max_length=32))
    secret = models.CharField(max_length=64, editable=False)
    previous_secret = models.CharField(max_length=64, default="", blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    is_on = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One try to deliver something to a webhook; `delivery_id` is the same in all tries of one delivery."""

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    delivery_id = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=32)
    try_number = models.SmallIntegerField()
    at = models.DateTimeField(db_index=True)
    duration_ms = models.IntegerField()
    status_code = models.SmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes = [models.Index(fields=["webhook", "-id"], name="accounts_delivery_of_webhook")]

    def __str__(self) -> str:
        return f"{self.delivery_id} try {self.try_number}"


class PriceAlert(models.Model):
    """A price at which an account wants to be told, once; it is spent with `fired_at`."""

    class Direction(models.TextChoices):
        """From which side the price comes."""

        AT_OR_ABOVE = "at_or_above"
        AT_OR_BELOW = "at_or_below"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    account_id = models.UUIDField()
    market_id = models.UUIDField()
    outcome = models.SmallIntegerField()
    price_pips = models.IntegerField()
    direction = models.CharField(max_length=16, choices=Direction.choices)
    created_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["account_id", "-id"], name="accounts_alert_of_account"),
            models.Index(
                fields=["market_id", "outcome"],
                name="accounts_alert_armed",
                condition=models.Q(fired_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.price_pips} pips"


class KnownPlace(models.Model):
    """A browser and network from which a user has signed in: only the keyed hash of both."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="known_places")
    place_hash = models.BinaryField(max_length=32)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "place_hash"], name="accounts_place_of_user")]

    def __str__(self) -> str:
        return f"since {self.first_seen_at:%Y-%m-%d}"


class ToldMarket(models.Model):
    """A market of whose closing soon its holders have been told, or are being told."""

    market_id = models.UUIDField(primary_key=True)
    told_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.market_id)


class DailyStatement(models.Model):
    """A UTC day's statement that an account is to be mailed, or was.

    The row is there before it is made, so that nobody asks for it twice. `closing_pips` is what it has proven.
    """

    account_id = models.UUIDField()
    day = models.DateField()
    mailed_at = models.DateTimeField(null=True, blank=True)
    closing_pips = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account_id", "day"], name="accounts_statement_of_day")
        ]
        indexes = [models.Index(fields=["day"], name="accounts_statement_age")]

    def __str__(self) -> str:
        return f"{self.day} of {self.account_id}"
