"""The answers of the read paths as drf-spectacular shows them."""

from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from trading.api.order_schema import OrderSchema
from trading.projections.ledger import KINDS as LEDGER_KINDS


def page_of(row: type[serializers.Serializer[Any]], name: str) -> serializers.Serializer[Any]:
    """A page of a list."""
    return inline_serializer(
        name,
        {
            "results": row(many=True),
            "next": serializers.CharField(allow_null=True),
            "as_of": serializers.CharField(),
        },
    )


class PortfolioSchema(serializers.Serializer):
    """Sums over the account. Positions without a known price are not in `positions_value`."""

    account_id = serializers.UUIDField()
    cash = serializers.CharField()
    reserved = serializers.CharField()
    debt = serializers.CharField()
    fees_paid = serializers.CharField()
    positions_value = serializers.CharField(help_text="best bid, else last price")
    equity = serializers.CharField()
    cost = serializers.CharField(help_text="what the shares held have cost")
    realized_pnl = serializers.CharField(help_text="fees are taken off here")
    unrealized_pnl = serializers.CharField()
    open_positions = serializers.IntegerField()
    open_orders = serializers.IntegerField()
    as_of = serializers.CharField()


class PositionSchema(serializers.Serializer):
    market_id = serializers.UUIDField()
    outcome = serializers.CharField()
    quantity = serializers.IntegerField()
    average_price = serializers.CharField(allow_null=True, help_text="null without shares")
    cost = serializers.CharField()
    value = serializers.CharField(allow_null=True, help_text="null where no price is known")
    realized_pnl = serializers.CharField()
    unrealized_pnl = serializers.CharField(allow_null=True)


class OwnFillSchema(serializers.Serializer):
    """A fill in its owner's own terms."""

    trade_id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    client_order_id = serializers.CharField(allow_null=True)
    market_id = serializers.UUIDField()
    outcome = serializers.CharField()
    side = serializers.ChoiceField(["buy", "sell"])
    price = serializers.CharField()
    quantity = serializers.IntegerField()
    fee = serializers.CharField()
    role = serializers.ChoiceField(["maker", "taker"])
    at = serializers.DateTimeField()


class OwnSettlementSchema(serializers.Serializer):
    """What a market's end paid this account; a void takes back what was taken out on balance first."""

    settlement_id = serializers.UUIDField()
    market_id = serializers.UUIDField()
    kind = serializers.ChoiceField(["resolve", "void"])
    status = serializers.ChoiceField(["pending", "running", "done", "failed"])
    payouts = serializers.DictField(child=serializers.CharField(), allow_null=True)
    paid = serializers.CharField(allow_null=True, help_text="null while this account is not paid")
    taken_back = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class LedgerEntrySchema(serializers.Serializer):
    """A change of cash. `order_reserved` is negative, `order_released` positive; a `trade` may be either.

    Cash is reserved as an order is placed and comes back as far as it is not needed: with a fill, an amendment or the
    order's end. $1 for each complete set is in the entry of what completed or freed it.
    """

    entry_id = serializers.CharField(help_text="slot-offset-leg")
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(LEDGER_KINDS)
    amount = serializers.CharField(help_text="signed")
    cash_after = serializers.CharField(help_text="negative only while there is debt")
    market_id = serializers.UUIDField(allow_null=True)
    order_id = serializers.UUIDField(allow_null=True)
    event_id = serializers.CharField(help_text="slot-offset, as in /events")


class TradeSchema(serializers.Serializer):
    """One outcome leg of an execution."""

    trade_id = serializers.UUIDField()
    outcome = serializers.CharField()
    price = serializers.CharField()
    quantity = serializers.IntegerField()
    taker_side = serializers.ChoiceField(["buy", "sell"])
    at = serializers.DateTimeField()
    seq = serializers.IntegerField()


class BookSchema(serializers.Serializer):
    """Levels best first. The checksum is over this outcome's ten best levels a side."""

    outcome = serializers.CharField()
    bids = serializers.ListField(child=serializers.ListField())
    asks = serializers.ListField(child=serializers.ListField())
    seq = serializers.IntegerField()
    checksum = serializers.IntegerField()
    as_of = serializers.CharField()


class PriceSchema(serializers.Serializer):
    outcome = serializers.CharField()
    price = serializers.CharField(allow_null=True, help_text="of the last trade; null before the first")
    best_bid = serializers.CharField(allow_null=True)
    best_ask = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    seq = serializers.IntegerField()
    as_of = serializers.CharField()


class CandleSchema(serializers.Serializer):
    """One interval from `at` on. Prices are null without a trade; a quote stands until the next one."""

    at = serializers.DateTimeField()
    open = serializers.CharField(allow_null=True)
    high = serializers.CharField(allow_null=True)
    low = serializers.CharField(allow_null=True)
    close = serializers.CharField(allow_null=True)
    volume = serializers.CharField(help_text="price times quantity, in this outcome's terms")
    quantity = serializers.IntegerField()
    trades = serializers.IntegerField()
    bid_close = serializers.CharField(allow_null=True, help_text="the best bid as the interval ended")
    ask_close = serializers.CharField(allow_null=True)


class TopSchema(serializers.Serializer):
    """A book as it is: best prices, and what rests within $0.05 of them. All null before its first order."""

    best_bid = serializers.CharField(allow_null=True)
    best_ask = serializers.CharField(allow_null=True)
    spread = serializers.CharField(allow_null=True)
    bid_depth = serializers.IntegerField(allow_null=True)
    ask_depth = serializers.IntegerField(allow_null=True)
    imbalance = serializers.CharField(
        allow_null=True, help_text="from -1.0000 (only asks) to 1.0000 (only bids)"
    )


class BookHourSchema(serializers.Serializer):
    """An hour of a book: averages over the minutes of which it is known, and what was traded."""

    at = serializers.DateTimeField()
    average_spread = serializers.CharField(
        allow_null=True, help_text="over minutes that ended with both sides"
    )
    bid_depth = serializers.IntegerField(allow_null=True)
    ask_depth = serializers.IntegerField(allow_null=True)
    imbalance = serializers.CharField(allow_null=True)
    volume = serializers.CharField()
    quantity = serializers.IntegerField()
    trades = serializers.IntegerField()
    taker_buy_share = serializers.CharField(allow_null=True)


class AnalyticsSchema(serializers.Serializer):
    """A book now and over the last day."""

    outcome = serializers.CharField()
    now = TopSchema()
    taker_buy_share = serializers.CharField(
        allow_null=True, help_text="of the shares of these hours, what takers bought"
    )
    hours = BookHourSchema(many=True)
    as_of = serializers.CharField()


class ActivitySchema(serializers.Serializer):
    """An hour of a category. What makers and takers traded is in their own terms, so the two add up to 1.0000."""

    at = serializers.DateTimeField()
    category = serializers.CharField()
    volume = serializers.CharField()
    trades = serializers.IntegerField()
    maker_volume = serializers.CharField()
    taker_volume = serializers.CharField()
    maker_share = serializers.CharField()
    taker_share = serializers.CharField()
    taker_buy_share = serializers.CharField(
        allow_null=True, help_text="of the takers' volume, what they bought"
    )
    maker_fees = serializers.CharField()
    taker_fees = serializers.CharField()


ORDER_PAGE = page_of(OrderSchema, "OrderPage")
POSITION_PAGE = page_of(PositionSchema, "PositionPage")
FILL_PAGE = page_of(OwnFillSchema, "OwnFillPage")
LEDGER_PAGE = page_of(LedgerEntrySchema, "LedgerPage")
SETTLEMENT_PAGE = page_of(OwnSettlementSchema, "OwnSettlementPage")
# A field called `data` cannot be an attribute of a serializer class.
EVENT = inline_serializer(
    "Event",
    {
        "event_id": serializers.CharField(help_text="slot-offset"),
        "stream": serializers.UUIDField(),
        "version": serializers.IntegerField(),
        "type": serializers.CharField(),
        "data": serializers.DictField(),
        "hash": serializers.CharField(),
        "recorded_at": serializers.DateTimeField(),
    },
)
EVENT_PAGE = page_of(type(EVENT), "EventPage")
TRADE_PAGE = page_of(TradeSchema, "TradePage")
CANDLE_PAGE = page_of(CandleSchema, "CandlePage")
ACTIVITY_PAGE = page_of(ActivitySchema, "ActivityPage")
