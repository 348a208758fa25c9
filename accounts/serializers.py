"""The shapes of the account API: strict request bodies in, rows of keys and notifications out."""

from typing import Any

from rest_framework import serializers

from accounts.models import ApiKey, Notification
from accounts.services import KEY_LIFETIME_DAYS, MAX_ALLOWLIST, MAX_KEY_LIFETIME_DAYS
from trading.api.strict import (
    ClientIdField,
    PipsField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
)
from trading.cash import MAX_AMOUNT_PIPS
from trading.principal import SCOPES

MAX_IDS = 500


class StrictEmailField(serializers.EmailField):
    """An e-mail address, as a JSON string; may be empty."""

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictUUIDField(serializers.UUIDField):
    """An id, as a JSON string."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not str:
            self.fail("invalid", value=repr(data)[:64])
        return super().to_internal_value(data)


class RegistrationSerializer(StrictSerializer):
    """Who wants to trade. What a username and a password must be is judged by the service."""

    username = StrictCharField(max_length=150, trim_whitespace=False)
    # Hashing reads all of it, so its length is bounded.
    password = StrictCharField(max_length=256, trim_whitespace=False)
    email = StrictEmailField(required=False, allow_blank=True, max_length=254, default="")


class RegisteredSerializer(serializers.Serializer):
    """The new user; `api_key` is shown this once."""

    user_id = serializers.CharField()
    account_id = serializers.UUIDField()
    username = serializers.CharField()
    api_key = serializers.CharField()


class KeyRequestSerializer(StrictSerializer):
    """A key that is wanted."""

    name = StrictCharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), allow_empty=False, max_length=len(SCOPES)
    )
    expires_in_days = StrictIntegerField(
        min_value=1, max_value=MAX_KEY_LIFETIME_DAYS, default=KEY_LIFETIME_DAYS
    )
    ip_allowlist = serializers.ListField(
        child=StrictCharField(max_length=64), max_length=MAX_ALLOWLIST, required=False, default=list
    )


class KeySerializer(serializers.ModelSerializer):
    """A key as lists show it: never the key itself."""

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "prefix", "scopes", "tier", "ip_allowlist", "created_at", "expires_at", "last_used_at"
        )  # fmt: skip


class FreshKeySerializer(KeySerializer):
    """A key just made; `key` is shown this once."""

    key = serializers.CharField()

    class Meta:
        model = ApiKey
        fields = (*KeySerializer.Meta.fields, "key")


class KeyListSerializer(serializers.Serializer):
    """One page of keys."""

    results = KeySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class AccountSerializer(serializers.Serializer):
    """An account's money, each amount with four decimals."""

    account_id = serializers.UUIDField()
    cash = serializers.CharField(help_text="free")
    reserved = serializers.CharField(help_text="in open and in-flight orders")
    positions_value = serializers.CharField(help_text="at the best bid, else the last price")
    equity = serializers.CharField()
    debt = serializers.CharField()
    fees_paid = serializers.CharField()
    as_of = serializers.CharField()


class MoneySerializer(StrictSerializer):
    """Play money to move. `client_id` makes it happen once, however often it is sent."""

    amount = PipsField(min_pips=1, max_pips=MAX_AMOUNT_PIPS)
    client_id = ClientIdField(required=False, allow_null=True, default=None)


class CashSerializer(serializers.Serializer):
    """Free cash after the movement."""

    cash = serializers.CharField()
    as_of = serializers.CharField()


class TicketSerializer(serializers.Serializer):
    """A one-time ticket for the socket's `auth`."""

    ticket = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class NotificationSerializer(serializers.ModelSerializer):
    """Something that happened to the account."""

    class Meta:
        model = Notification
        fields = ("id", "kind", "title", "body", "data", "created_at", "read_at")


class NotificationListSerializer(serializers.Serializer):
    """One page of notifications and how many are unread in all."""

    results = NotificationSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    unread = serializers.IntegerField()


class RankedSerializer(serializers.Serializer):
    """A user's place on the leaderboard."""

    rank = serializers.IntegerField()
    username = serializers.CharField()
    value = serializers.CharField(
        help_text="money, or the mean Brier score: 0.0000 to 1.0000, lower is better"
    )


class LeaderboardSerializer(serializers.Serializer):
    """The first users; there is no page after them."""

    results = RankedSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="always null")
    as_of = serializers.CharField()


class MarkReadSerializer(StrictSerializer):
    """Which notifications were read; all of them if `ids` is left out."""

    ids = serializers.ListField(child=StrictUUIDField(), max_length=MAX_IDS, required=False, default=None)


class MarkedReadSerializer(serializers.Serializer):
    """How many went from unread to read."""

    read = serializers.IntegerField()
