"""Order requests and answers as drf-spectacular shows them. trading.order_request reads them."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers


class PlaceSchema(serializers.Serializer):
    """An order request; prices are strings with at most four decimals."""

    outcome = serializers.CharField()
    side = serializers.ChoiceField(["buy", "sell"])
    type = serializers.ChoiceField(["limit", "market"], default="limit")
    price = serializers.CharField(
        required=False, help_text="0.0001 to 0.9999; the worst price of a market order"
    )
    quantity = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text="required, but for a market order with max_cost",
    )
    max_cost = serializers.CharField(
        required=False, help_text="to buy at the market: what it may cost at most, fees included"
    )
    time_in_force = serializers.ChoiceField(
        ["GTC", "GTD", "IOC", "FOK"], required=False, help_text="GTC; a market order is IOC"
    )
    expires_at = serializers.DateTimeField(required=False, help_text="of a GTD order")
    valid_until = serializers.DateTimeField(
        required=False, help_text="an order that arrives later is refused: `expired`"
    )
    post_only = serializers.BooleanField(
        default=False, help_text="refused (`would_cross`) if it would trade at once"
    )
    reduce_only = serializers.BooleanField(
        default=False, help_text="refused (`reduce_only`) unless shares held cover all of it"
    )
    self_trade_prevention = serializers.ChoiceField(
        ["cancel_taker", "cancel_maker", "cancel_both"], default="cancel_taker"
    )
    on_suspend = serializers.ChoiceField(
        ["keep", "cancel"], default="keep", help_text="what becomes of it when the market is suspended"
    )
    client_order_id = serializers.RegexField(r"^[A-Za-z0-9_.:-]{1,64}$", required=False)


class AmendSchema(serializers.Serializer):
    """Another price, another total, or a number of shares less. Only a smaller order keeps its place."""

    price = serializers.CharField(required=False)
    quantity = serializers.IntegerField(
        min_value=1, required=False, help_text="the new total, filled part included"
    )
    reduce_by = serializers.IntegerField(min_value=1, required=False)
    client_id = serializers.CharField(
        required=False, help_text="a repetition with the same id changes nothing more"
    )


class FillSchema(serializers.Serializer):
    trade_id = serializers.UUIDField()
    price = serializers.CharField()
    quantity = serializers.IntegerField()
    fee = serializers.CharField()


@extend_schema_serializer(component_name="Order")
class OrderSchema(serializers.Serializer):
    """An order. `remaining` is what still works: 0 once it has ended."""

    order_id = serializers.UUIDField()
    client_order_id = serializers.CharField(allow_null=True)
    market_id = serializers.UUIDField()
    outcome = serializers.CharField()
    side = serializers.ChoiceField(["buy", "sell"])
    type = serializers.ChoiceField(["limit", "market"])
    price = serializers.CharField()
    quantity = serializers.IntegerField()
    filled = serializers.IntegerField()
    remaining = serializers.IntegerField()
    average_price = serializers.CharField(allow_null=True)
    fees = serializers.CharField()
    time_in_force = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    status = serializers.ChoiceField(["open", "filled", "cancelled", "expired", "rejected"])
    reason = serializers.CharField(allow_null=True)
    fills = FillSchema(many=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    seq = serializers.IntegerField()
    as_of = serializers.CharField()


class QuotedFillSchema(serializers.Serializer):
    price = serializers.CharField()
    quantity = serializers.IntegerField()
    fee = serializers.CharField()


@extend_schema_serializer(component_name="Quote")
class QuoteSchema(serializers.Serializer):
    """What an order would do now. Cash changes by `collateral_freed` - `cost` - `fee`."""

    cost = serializers.CharField(
        help_text="what the fills take; negative where they bring money, as selling shares held does"
    )
    average_price = serializers.CharField(allow_null=True, help_text="of the fills; null without one")
    fee = serializers.CharField()
    price_impact = serializers.CharField(
        allow_null=True, help_text="how far the average price is from the first fill's"
    )
    max_loss = serializers.CharField(
        help_text="if the worst outcome happens, with all that a rest of the order reserves"
    )
    payout_if_right = serializers.CharField(
        help_text="what the shares gained pay if the outcome that is hoped for happens"
    )
    collateral_freed = serializers.CharField(help_text="$1 for each complete set that the fills dissolve")
    fills = QuotedFillSchema(many=True)
    filled = serializers.IntegerField()
    resting = serializers.IntegerField(help_text="shares that would wait in the book")
    seq = serializers.IntegerField()
    as_of = serializers.CharField()


class BatchSchema(serializers.Serializer):
    """Each item is an order request with its market_id, or `op` cancel or amend with an order's name."""

    orders = serializers.ListField(child=serializers.DictField(), min_length=1, max_length=500)


class BatchItemSchema(serializers.Serializer):
    status = serializers.IntegerField()
    order = OrderSchema(required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class BatchResultSchema(serializers.Serializer):
    results = BatchItemSchema(many=True)


class CancelledSchema(serializers.Serializer):
    cancelled = serializers.IntegerField()
    as_of = serializers.CharField()


class HeartbeatSchema(serializers.Serializer):
    """By when the next heartbeat has to come."""

    timeout_s = serializers.IntegerField(min_value=0, max_value=300, help_text="5 to 300, or 0 to stop")


class HeartbeatAnswerSchema(serializers.Serializer):
    """When the switch lapses unless another heartbeat comes; null when it is stopped."""

    timeout_s = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True)
