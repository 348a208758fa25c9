"""Notifications as a projection of the log: what happened to an account while its owner may have looked away.

    an order is filled               order_matched/1      order_filled
    its market closed over it        order_cancelled/1    order_cancelled
    a market it held resolved        position_closed/1    market_resolved
    a market it traded was voided    payout_issued/1, payout_reversed/2    market_voided

Simulated users and accounts without a user get none. Each row's key names the order or the event it tells of, so
reading the log again adds nothing; rows are never rebuilt, because what has been read stays read. After the commit
each new one goes to the owner's sockets, which may lose it: the row is the truth.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
import redis
from django.conf import settings

from accounts.models import Notification
from trading.array_literals import array_of, columns, quoted
from trading.eventlog.codec import LoggedEvent, timestamp_text
from trading.eventlog.read import read_creations
from trading.ids import MARKET_SLOTS, new_id
from trading.money import format_pips
from trading.projections.causes import Endings
from trading.projections.projection import KNOWN_EVENTS, NotReady, UnknownEvent

logger = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

Kind = Notification.Kind
MAX_TITLE = 200
MAX_REMEMBERED = 100_000

_READ_OWNERS = (
    "SELECT account_id::text FROM accounts_user WHERE account_id = ANY(%s::uuid[]) AND NOT is_simulated"
)
_READ_ORDERS = """
SELECT order_id::text, market_id::text, account_id::text, outcome, side, status, quantity, filled, cost_pips, fees_pips,
       (extract(epoch FROM updated_at) * 1000000)::bigint
FROM "order" WHERE order_id = ANY(%s::uuid[])
"""
_READ_ORDERS_REACHED = "SELECT slot, next_offset FROM projection_checkpoint WHERE projection = 'orders'"
_INSERT = """
INSERT INTO accounts_notification (id, account_id, kind, title, body, data, created_at, idempotency_key)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[],
                     %s::text[])
ON CONFLICT (idempotency_key) DO NOTHING RETURNING id::text
"""


class OrdersBehind(NotReady):
    """The orders' read model has not got to these events yet; this projection waits for it."""


class _Order(NamedTuple):
    """An order as its read model has it."""

    order_id: str
    market_id: str
    account_id: str
    outcome: int
    side: str
    status: str
    quantity: int
    filled: int
    cost_pips: int
    fees_pips: int
    updated_us: int

    @property
    def average_pips(self) -> int:
        """Average price, half up, as the API rounds it."""
        return (2 * self.cost_pips + self.filled) // (2 * self.filled)


class _Note(NamedTuple):
    """One notification to be written."""

    account_id: str
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    at_us: int
    key: str


class _Market(NamedTuple):
    """What a market is called."""

    question: str
    outcomes: list[str]


class NotificationsProjection:
    """Follows the log after the orders' projection, whose rows say which orders are filled."""

    name = "notifications"
    tables: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._is_told: dict[str, bool] = {}
        self._markets: dict[str, _Market] = {}
        self._endings = Endings()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> Callable[[], None] | None:
        """Write the notifications of these events; what is returned tells the sockets."""
        orders, settlements = _sort(events)
        self._learn_owners(connection, [*orders.values(), *(event.stream_id for event in settlements)])
        told = [order_id for order_id, account_id in orders.items() if self._is_told[account_id]]
        notes = self._order_notes(connection, told, events) if told else []
        for event in settlements:
            if self._is_told[event.stream_id]:
                notes += self._settlement_notes(connection, event)
        written = _write(connection, notes) if notes else []
        return (lambda: publish(written)) if written else None

    def forget(self) -> None:
        """What is remembered of users and markets is read again."""
        self._is_told.clear()
        self._markets.clear()

    def _learn_owners(self, connection: Any, account_ids: Iterable[str]) -> None:
        if len(self._is_told) > MAX_REMEMBERED:
            self._is_told.clear()
        unknown = list({account_id for account_id in account_ids if account_id not in self._is_told})
        if unknown:
            read = connection.execute(_READ_OWNERS, [array_of(unknown)])
            found = {account_id for (account_id,) in read.fetchall()}
            self._is_told |= {account_id: account_id in found for account_id in unknown}

    def _order_notes(
        self, connection: Any, order_ids: list[str], events: Sequence[LoggedEvent]
    ) -> list[_Note]:
        _require_orders(connection, events)
        read = connection.execute(_READ_ORDERS, [array_of(order_ids)])
        rows = {row[0]: _Order(*row) for row in read.fetchall()}
        notes = []
        for order in (rows[order_id] for order_id in order_ids):
            if order.status == "filled":
                notes.append(self._filled(connection, order))
            elif order.status == "cancelled":
                notes.append(self._cancelled(connection, order))
        return notes

    def _filled(self, connection: Any, order: _Order) -> _Note:
        market = self._market(connection, order.market_id)
        verb = "Bought" if order.side == "buy" else "Sold"
        price = format_pips(order.average_pips)
        data = _order_data(order, market) | {"average_price": price, "fees": format_pips(order.fees_pips)}
        return _Note(
            order.account_id,
            Kind.ORDER_FILLED,
            f"{verb} {order.filled:,} {market.outcomes[order.outcome]} at ${price}",
            market.question,
            data,
            order.updated_us,
            f"order_filled:{order.order_id}",
        )

    def _cancelled(self, connection: Any, order: _Order) -> _Note:
        market = self._market(connection, order.market_id)
        what = f"{order.quantity - order.filled:,} {market.outcomes[order.outcome]}"
        return _Note(
            order.account_id,
            Kind.ORDER_CANCELLED,
            f"Market closed: your order to {order.side} {what} was cancelled",
            market.question,
            _order_data(order, market),
            order.updated_us,
            f"order_cancelled:{order.order_id}",
        )

    def _settlement_notes(self, connection: Any, event: LoggedEvent) -> list[_Note]:
        told = self._settlement_title(connection, event)
        if told is None:
            return []
        kind, title, amount_pips = told
        market_id = event.data["market"]
        data = {
            "market_id": market_id,
            "settlement_id": event.data["settlement"],
            "amount": format_pips(amount_pips),
        }
        key = f"{event.event_id}:{event.stream_id}"
        body = self._market(connection, market_id).question
        return [_Note(event.stream_id, kind, title, body, data, event.recorded_us, key)]

    def _settlement_title(self, connection: Any, event: LoggedEvent) -> tuple[str, str, int] | None:
        """Kind, title and amount; None for events that only accompany another one."""
        if event.type == "position_closed/1":
            if (
                not any(event.data["quantities"])
                or self._endings.of(connection, event, event.data["settlement"]).payouts is None
            ):
                return None
            payout = event.data["payout"]
            paid = f"you were paid ${format_pips(payout)}" if payout else "your shares paid nothing"
            return Kind.MARKET_RESOLVED, f"Market resolved: {paid}", payout
        amount = event.data["amount"]
        if event.type == "payout_reversed/2" and event.data["kind"] != "take_back":
            return None
        if event.type == "payout_reversed/2":
            return Kind.MARKET_VOIDED, f"Market voided: ${format_pips(amount)} was taken back", -amount
        if event.data["kind"] == "refund":
            return Kind.MARKET_VOIDED, f"Market voided: you were returned ${format_pips(amount)}", amount
        return None

    def _market(self, connection: Any, market_id: str) -> _Market:
        market = self._markets.get(market_id)
        if market is None:
            with connection.cursor() as cursor:
                created = read_creations(cursor, [market_id])[market_id]
            market = self._markets[market_id] = _Market(created["question"], created["outcomes"])
        return market


def publish(notes: Sequence[dict[str, Any]]) -> None:
    """Send notifications to their owners' sockets, wherever those are; what is lost is still in the list."""
    pipeline = _feed().pipeline(transaction=False)
    for note in notes:
        pipeline.publish(f"account:{note['account_id']}", _encode(note))
    try:
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning("%s notifications were not pushed: %s", len(notes), error)


def _sort(events: Sequence[LoggedEvent]) -> tuple[dict[str, str], list[LoggedEvent]]:
    """The orders that may have ended in these events (order id to account), and the settlement events."""
    orders: dict[str, str] = {}
    settlements = []
    for event in events:
        kind = event.type
        if kind == "order_matched/1":
            orders |= {leg["order"]: leg["account"] for leg in event.data["legs"]}
        elif kind == "order_cancelled/1":
            if event.data["reason"] == "market_closed":
                orders[event.data["order"]] = event.data["account"]
        elif kind in ("position_closed/1", "payout_issued/1", "payout_reversed/2"):
            settlements.append(event)
        elif kind not in KNOWN_EVENTS:
            raise UnknownEvent(event)
    return orders, settlements


def _require_orders(connection: Any, events: Sequence[LoggedEvent]) -> None:
    """Raise OrdersBehind unless the orders' rows hold what these events did to them."""
    reached = dict(connection.execute(_READ_ORDERS_REACHED).fetchall())
    for event in events:
        if event.slot < MARKET_SLOTS and reached.get(event.slot, 0) <= event.slot_offset:
            raise OrdersBehind(f"the orders' projection has not applied event {event.event_id} yet")


def _order_data(order: _Order, market: _Market) -> dict[str, Any]:
    return {
        "market_id": order.market_id,
        "order_id": order.order_id,
        "outcome": market.outcomes[order.outcome],
        "side": order.side,
        "quantity": order.quantity,
        "filled": order.filled,
    }


def _write(connection: Any, notes: Sequence[_Note]) -> list[dict[str, Any]]:
    """Insert what is new; answers those rows as the sockets show them."""
    ids = [new_id() for _ in notes]
    rows = [
        (
            identifier, note.account_id, note.kind, quoted(note.title[:MAX_TITLE]), quoted(note.body),
            quoted(_encode(note.data).decode()), timestamp_text(note.at_us), note.key,
        )
        for identifier, note in zip(ids, notes, strict=True)
    ]  # fmt: skip
    new = {identifier for (identifier,) in connection.execute(_INSERT, columns(rows)).fetchall()}
    return [
        {
            "id": identifier,
            "account_id": note.account_id,
            "kind": str(note.kind),
            "title": note.title[:MAX_TITLE],
            "body": note.body,
            "data": note.data,
            "created_at": timestamp_text(note.at_us),
            "read_at": None,
        }
        for identifier, note in zip(ids, notes, strict=True)
        if identifier in new
    ]


@cache
def _feed() -> redis.Redis:
    return redis.Redis.from_url(settings.FEED_URL, socket_timeout=1.0, socket_connect_timeout=1.0)
