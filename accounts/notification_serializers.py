"""The shapes of the notification API: preferences, price alerts and webhooks; strict bodies in, rows out."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Notification, NotificationPreferences, PriceAlert, Webhook, WebhookDelivery
from accounts.notifications.alerts import outcome_name
from accounts.notifications.preferences import KINDS, channels_of
from trading.api.strict import PipsField, StrictBooleanField, StrictCharField, StrictSerializer
from trading.money import SHARE_PIPS
from trading.outside.address import MAX_URL


def _cells(kind: str) -> dict[str, Any]:
    return {"type": "object", "properties": {channel: {"type": "boolean"} for channel in channels_of(kind)}}


_GRID = {
    "type": "object",
    "properties": {kind: _cells(kind) for kind in KINDS},
    "example": {"market_resolved": {"in_app": True, "email": False, "webhook": True}},
}


class StrictChoiceField(serializers.ChoiceField):
    """One of some JSON strings."""

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("invalid_choice", input=repr(data)[:64])
        return super().to_internal_value(data)


@extend_schema_field(_GRID)
class GridField(serializers.Field):
    """Cells of the grid: `{kind: {channel: on}}`, with known kinds and channels."""

    def to_internal_value(self, data: Any) -> dict[str, dict[str, bool]]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object of kinds.")
        for kind, channels in data.items():
            if kind not in KINDS:
                raise serializers.ValidationError(f"There is no kind {str(kind)[:64]!r}.")
            if not isinstance(channels, dict):
                raise serializers.ValidationError(f"{kind} must be an object of channels.")
            for channel, is_on in channels.items():
                if channel not in channels_of(kind):
                    raise serializers.ValidationError(f"There is no channel {str(channel)[:64]!r}.")
                if type(is_on) is not bool:
                    raise serializers.ValidationError(f"{kind}.{channel} must be true or false.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class PreferencesRequestSerializer(StrictSerializer):
    """What is to change; the rest stays as it is."""

    kinds = GridField(required=False)
    digest = StrictChoiceField(choices=NotificationPreferences.Digest.choices, required=False)


class PreferencesSerializer(serializers.Serializer):
    """Who is told what, and where e-mails go."""

    kinds = GridField()
    digest = serializers.ChoiceField(choices=NotificationPreferences.Digest.choices)
    email = serializers.CharField(help_text="empty for none; it is changed on the account's page")
    email_confirmed = serializers.BooleanField(help_text="nothing is mailed before")


class PriceAlertRequestSerializer(StrictSerializer):
    """A price to be told of."""

    market = StrictCharField(max_length=200, help_text="id or slug")
    outcome = StrictCharField(max_length=200)
    direction = StrictChoiceField(choices=PriceAlert.Direction.choices)
    price = PipsField(min_pips=1, max_pips=SHARE_PIPS - 1)


class PriceAlertSerializer(serializers.ModelSerializer):
    """An alert; `fired_at` is when it was spent."""

    outcome = serializers.SerializerMethodField()
    price = PipsField(source="price_pips", read_only=True)

    class Meta:
        model = PriceAlert
        fields = ("id", "market_id", "outcome", "direction", "price", "created_at", "fired_at")

    def get_outcome(self, alert: PriceAlert) -> str:
        return outcome_name(alert)


class PriceAlertListSerializer(serializers.Serializer):
    """One page of alerts."""

    results = PriceAlertSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class _KindsField(serializers.ListField):
    """Kinds of notifications, each once or more."""

    child = StrictChoiceField(choices=Notification.Kind.choices)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_empty=False, max_length=len(Notification.Kind.values), **kwargs)


class WebhookRequestSerializer(StrictSerializer):
    """An endpoint that is wanted."""

    url = StrictCharField(max_length=MAX_URL)
    kinds = _KindsField()


class WebhookChangeSerializer(StrictSerializer):
    """What is to change of an endpoint; the rest stays as it is."""

    url = StrictCharField(max_length=MAX_URL, required=False)
    kinds = _KindsField(required=False)
    is_on = StrictBooleanField(required=False)


class WebhookSerializer(serializers.ModelSerializer):
    """An endpoint as lists show it: never its secret."""

    class Meta:
        model = Webhook
        fields = ("id", "url", "kinds", "is_on", "failing_since", "previous_until", "created_at")


class FreshWebhookSerializer(WebhookSerializer):
    """An endpoint with a new secret, which is shown this once."""

    secret = serializers.CharField()

    class Meta:
        model = Webhook
        fields = (*WebhookSerializer.Meta.fields, "secret")


class WebhookListSerializer(serializers.Serializer):
    """All endpoints of a user; there is no page after them."""

    results = WebhookSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="always null")


class WebhookDeliverySerializer(serializers.ModelSerializer):
    """One try; `delivery` is the same in all tries of one delivery, `status_code` null without an answer."""

    delivery = serializers.UUIDField(source="delivery_id")

    class Meta:
        model = WebhookDelivery
        fields = ("id", "delivery", "kind", "try_number", "at", "duration_ms", "status_code", "error")


class WebhookDeliveryListSerializer(serializers.Serializer):
    """One page of tries."""

    results = WebhookDeliverySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class WebhookTestSerializer(serializers.Serializer):
    """A test that will be delivered soon; its result is in the log under this id."""

    delivery = serializers.UUIDField()
