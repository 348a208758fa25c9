"""A market's state as bytes and back: the same bytes for the same state, so that their hash tells states apart.

Each class has one list of the fields that are kept. What follows from them (books, look-ups, counts) is made anew,
except for the order of the queues, which decides who trades first and is kept as it is.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from operator import attrgetter
from typing import Any
from zlib import crc32

import msgspec

from trading.engine.apply import enter
from trading.engine.book import Book
from trading.engine.events import OrderPlaced
from trading.engine.market import Closing, Fence, Holding, Market, Order, Phase, Proposal, Reversal

LAYOUT = 2
"""Raise it when the bytes' arrangement changes, or what a field means. A changed list of fields shows by itself."""

MARKET_FIELDS = (
    "market_id", "seq", "status", "outcomes", "is_binary", "tick_pips", "taker_fee_e4", "maker_fee_e4",
    "highest_fee_e4", "closes_us", "opens_us", "closing", "phase",
    "proposal", "reversal", "is_contested", "fences", "sets", "fees_pips", "volume_pips", "last_prices",
)  # fmt: skip
ORDER_FIELDS = (
    "order_id", "account_id", "by", "client_order_id", "outcome", "side", "order_type", "price_pips", "quantity_shares",
    "time_in_force", "self_trade_prevention", "post_only", "reduce_only", "on_suspend", "expires_us", "max_cost_pips",
    "remaining_shares", "status", "reason", "covered_shares", "reserved_pips", "fee_numerator",
    "fees_pips", "cost_pips", "filled_shares", "fills", "created_us", "updated_us", "seq", "book_index",
    "book_price_pips", "is_bid", "queued_seq", "rests",
)  # fmt: skip
HOLDING_FIELDS = ("free", "held")
# What Market holds besides: kept in a form of its own, made anew, or the publisher's and no part of the state.
KEPT_APART = ("books", "orders", "holdings")
MADE_ANEW = ("market_hash", "client_orders", "orders_of", "expiring", "cancelled_when_suspended")
NOT_STATE = ("touched",)
# JSON and msgpack have no tuples: how a field's value is made from a list.
_FROM_PLAIN: dict[str, Callable[[Any], Any]] = {
    "outcomes": tuple,
    "closing": lambda value: Closing(value[0], tuple(value[1]) if value[1] is not None else None, *value[2:]),
    "phase": lambda value: Phase(*value),
    "proposal": lambda value: Proposal._make(_with_tuples(value)),
    "reversal": lambda value: Reversal._make(_with_tuples(value)),
    "fences": lambda value: {
        account: [Fence(*fence) for fence in fences] for account, fences in value.items()
    },
    "fills": lambda value: [tuple(fill) for fill in value],
}


def _with_tuples(values: list[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in values]


def _format_of(*lists: Iterable[str]) -> str:
    names = "|".join(",".join(fields) for fields in lists)
    return f"{LAYOUT}-{crc32(names.encode()):08x}"


FORMAT = _format_of(
    MARKET_FIELDS, ORDER_FIELDS, HOLDING_FIELDS,
    *(kind._fields for kind in (Closing, Fence, Phase, Proposal, Reversal)),
)  # fmt: skip
"""Names the layout. Bytes of another format must not be read: the market is loaded from its events."""

# An order is born of its event; of one from a snapshot every field is then written over.
_TO_FILL_IN = OrderPlaced(
    account="", cash=0, order="", outcome=0, price=0, quantity=0, reserved=0, side="", tif="", type=""
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_market_values = attrgetter(*MARKET_FIELDS)
_order_values = attrgetter(*ORDER_FIELDS)
_holding_values = attrgetter(*HOLDING_FIELDS)


def encode_state(market: Market) -> bytes:
    """The canonical bytes of the state, between two commands. O(open orders + holdings)."""
    place = {order_id: index for index, order_id in enumerate(market.orders)}
    queues = [
        [[place[order.order_id] for order in side.queue()] for side in (book.bids, book.asks)]
        for book in market.books
    ]
    return _encode(
        [
            _market_values(market),
            [_order_values(order) for order in market.orders.values()],
            queues,
            [[account_id, *_holding_values(holding)] for account_id, holding in market.holdings.items()],
        ]
    )


def decode_state(payload: bytes) -> Market:
    """Reverses `encode_state`, for bytes of this FORMAT whose hash was compared: what they say is believed."""
    market_values, order_rows, queues, holding_rows = _decode(payload)
    fields = dict(zip(MARKET_FIELDS, market_values, strict=True))
    market = Market(fields["market_id"])
    _fill_in(market, MARKET_FIELDS, market_values)
    orders = [_order(row) for row in order_rows]
    for order in orders:
        enter(market, order)
    market.books = [Book() for _ in queues]
    for book, sides in zip(market.books, queues, strict=True):
        for side, queue in zip((book.bids, book.asks), sides, strict=True):
            for index in queue:
                side.add(orders[index])
    for account_id, *values in holding_rows:
        holding = market.holdings[account_id] = Holding(0)
        _fill_in(holding, HOLDING_FIELDS, values)
    return market


def state_hash(payload: bytes) -> bytes:
    """SHA-256 of a state's canonical bytes: equal for a snapshot and for a replay of all events."""
    return sha256(payload).digest()


def _order(values: list[Any]) -> Order:
    order = Order(_TO_FILL_IN, at_us=0, seq=0)
    _fill_in(order, ORDER_FIELDS, values)
    return order


def _fill_in(target: object, fields: tuple[str, ...], values: Iterable[Any]) -> None:
    for name, value in zip(fields, values, strict=True):
        if value is not None and name in _FROM_PLAIN:
            value = _FROM_PLAIN[name](value)
        setattr(target, name, value)
