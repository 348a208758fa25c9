"""Owns the tables resting_order, book_level and quote_bar: the books as the log alone tells them.

An order's later events name no price, so the fold remembers where it stands, and reads that again from its
own table once it has forgotten. An order that does not rest (IOC, FOK) is in no table here, however long its command.

The row of a minute is the top as the minute's last event left it, for each minute in which an order came to the
book, traded, changed or went. A command's events share their time, so no row depends on where batches end.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns
from trading.engine.market import RESTING
from trading.eventlog.codec import LoggedEvent
from trading.projections.creations import Creations
from trading.projections.ladder import Ladder, Level, Resting, Top
from trading.projections.projection import BrokenLog, UnknownEvent, appliers
from trading.projections.rows import insertion, moment

MINUTE_US = 60_000_000
_MAX_ORDERS = 100_000
_MAX_LADDERS = 5_000
"""Kept between batches; beyond that all are dropped and read again as they are needed."""

_LevelKey = tuple[str, int, bool, int]

_INSERT_ORDERS = insertion(
    "resting_order", order_id="uuid", market_id="uuid", outcome="smallint", is_bid="boolean", is_mirrored="boolean",
    price_pips="integer", quantity="bigint", remaining="bigint",
)  # fmt: skip
_READ_ORDERS = """
SELECT order_id::text, market_id::text, outcome, is_bid, is_mirrored, price_pips, quantity, remaining
FROM resting_order WHERE order_id = ANY(%s::uuid[])
"""
_READ_LEVELS = """
SELECT market_id::text, outcome, is_bid, price_pips, quantity, orders FROM book_level
WHERE market_id = ANY(%s::uuid[])
"""
_CHANGE_ORDERS = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%s::uuid[], %s::integer[], %s::bigint[], %s::bigint[])
        AS g(order_id, price_pips, quantity, remaining)
), ended AS (
    DELETE FROM resting_order r USING given g WHERE r.order_id = g.order_id AND g.remaining = 0
)
UPDATE resting_order r SET price_pips = g.price_pips, quantity = g.quantity, remaining = g.remaining
FROM given g WHERE r.order_id = g.order_id AND g.remaining > 0
"""
_WRITE_LEVELS = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::boolean[], %s::integer[], %s::bigint[], %s::bigint[])
        AS g(market_id, outcome, is_bid, price_pips, quantity, orders)
), emptied AS (
    DELETE FROM book_level l USING given g
    WHERE l.market_id = g.market_id AND l.outcome = g.outcome AND l.is_bid = g.is_bid
        AND l.price_pips = g.price_pips AND g.orders = 0
)
INSERT INTO book_level (market_id, outcome, is_bid, price_pips, quantity, orders)
SELECT * FROM given WHERE orders > 0
ON CONFLICT (market_id, outcome, is_bid, price_pips) DO UPDATE SET
    quantity = excluded.quantity, orders = excluded.orders
"""
_WRITE_QUOTES = """
INSERT INTO quote_bar
    (market_id, outcome, at, bid_pips, ask_pips, bid_quantity, ask_quantity, bid_depth, ask_depth)
SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::timestamptz[], %s::integer[], %s::integer[], %s::bigint[],
                     %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (market_id, outcome, at) DO UPDATE SET
    bid_pips = excluded.bid_pips, ask_pips = excluded.ask_pips, bid_quantity = excluded.bid_quantity,
    ask_quantity = excluded.ask_quantity, bid_depth = excluded.bid_depth, ask_depth = excluded.ask_depth
"""


class BooksProjection:
    """Folds in memory over the books a batch touches, then writes each row once."""

    name = "books"
    tables = ("resting_order", "book_level", "quote_bar")

    def __init__(self) -> None:
        self._orders: dict[str, Resting] = {}
        self._ladders: dict[str, Ladder] = {}
        self._creations = Creations()

    def forget(self) -> None:
        """Drops the remembered orders and levels; how many outcomes a market has never changes."""
        self._orders.clear()
        self._ladders.clear()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> None:
        touching = _touching(events)
        if not touching:
            return
        markets = {event.stream_id for event in touching}
        self._load_ladders(connection, markets)
        self._load_orders(connection, touching)
        batch = _Batch(self._orders, self._ladders, self._creations)
        for event in touching:
            try:
                _APPLIERS[event.type](batch, event)  # type: ignore[misc]
            except ValueError as error:
                raise BrokenLog(f"event {event.event_id} of market {event.stream_id}: {error}") from error
        batch.write(connection)
        self._forget_empty(markets)

    def _load_ladders(self, connection: Any, markets: set[str]) -> None:
        self._creations.learn(connection, markets)
        if len(self._ladders) + len(markets) > _MAX_LADDERS:
            self._ladders.clear()
        wanted = sorted(markets - self._ladders.keys())
        if not wanted:
            return
        self._ladders.update({market_id: Ladder() for market_id in wanted})
        found = connection.execute(_READ_LEVELS, columns([(market_id,) for market_id in wanted])).fetchall()
        for market_id, outcome, is_bid, price_pips, quantity, orders in found:
            self._ladders[market_id].put(outcome, is_bid, price_pips, Level(quantity, orders))

    def _load_orders(self, connection: Any, touching: Sequence[LoggedEvent]) -> None:
        """Brings the orders that this batch changes, and does not place itself, into memory, where they rest."""
        placed = {event.data["order"] for event in touching if event.type == "order_placed/1"}
        changed = {order_id for event in touching for order_id in _named(event)} - placed
        if len(self._orders) + len(placed) + len(changed) > _MAX_ORDERS:
            self._orders.clear()
        if wanted := sorted(changed - self._orders.keys()):
            found = connection.execute(_READ_ORDERS, columns([(order_id,) for order_id in wanted])).fetchall()
            for order_id, *values in found:
                self._orders[order_id] = Resting(*values)

    def _forget_empty(self, markets: set[str]) -> None:
        """An empty book costs nothing to read again, so a market that has ended leaves memory."""
        for market_id in markets:
            if self._ladders[market_id].is_empty:
                del self._ladders[market_id]


def _touching(events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """The events that concern books. Refuses unknown types."""
    touching = []
    for event in events:
        try:
            applier = _APPLIERS[event.type]
        except KeyError:
            raise UnknownEvent(event) from None
        if applier is not None:
            touching.append(event)
    return touching


def _named(event: LoggedEvent) -> Sequence[str]:
    """The orders that an event is about."""
    if event.type == "order_matched/1":
        return [leg["order"] for leg in event.data["legs"]]
    return [event.data["order"]]


class _Batch:
    """The books as they change, what changed in them, and their tops as each minute left them."""

    def __init__(self, orders: dict[str, Resting], ladders: dict[str, Ladder], creations: Creations) -> None:
        self.orders = orders
        self.ladders = ladders
        self.creations = creations
        self.placed: dict[str, Resting] = {}
        self.changed: dict[str, Resting] = {}
        self.levels: dict[_LevelKey, None] = {}
        self._minutes: dict[tuple[str, int], int] = {}
        self._tops: dict[tuple[str, int, int], Top] = {}

    def touch(self, order: Resting, event: LoggedEvent) -> Ladder:
        """Notes, before it happens, that the order's level changes; answers the levels to change."""
        book, minute = (order.market_id, order.outcome), event.recorded_us // MINUTE_US
        ladder = self.ladders[order.market_id]
        last = self._minutes.get(book)
        if last != minute:
            if last is not None:
                self._tops[*book, last] = ladder.top(order.outcome)
            self._minutes[book] = minute
        self.levels[*book, order.is_bid, order.price_pips] = None
        return ladder

    def changes(self, order_id: str, order: Resting) -> None:
        """Notes that the order's row has changed, or goes."""
        if order_id not in self.placed:
            self.changed[order_id] = order
        if order.remaining == 0:
            del self.orders[order_id]
            self.placed.pop(order_id, None)

    def write(self, connection: Any) -> None:
        if self.placed:
            placed = [_order_row(*each) for each in self.placed.items()]
            connection.execute(_INSERT_ORDERS, columns(placed))
        if self.changed:
            orders = self.changed.items()
            rows = [(order_id, each.price_pips, each.quantity, each.remaining) for order_id, each in orders]
            connection.execute(_CHANGE_ORDERS, columns(rows))
        if self.levels:
            connection.execute(_WRITE_LEVELS, columns([(*key, *self._standing(key)) for key in self.levels]))
            connection.execute(
                _WRITE_QUOTES, columns([_quote_row(*each) for each in self._last_tops().items()])
            )

    def _standing(self, key: _LevelKey) -> tuple[int, int]:
        """(shares, orders) of a level as the batch leaves it."""
        level = self.ladders[key[0]].level(*key[1:])
        return (0, 0) if level is None else (level.quantity, level.orders)

    def _last_tops(self) -> dict[tuple[str, int, int], Top]:
        for (market_id, outcome), minute in self._minutes.items():
            self._tops[market_id, outcome, minute] = self.ladders[market_id].top(outcome)
        return self._tops


def _order_row(order_id: str, order: Resting) -> tuple[Any, ...]:
    return (
        order_id, order.market_id, order.outcome, order.is_bid, order.is_mirrored, order.price_pips, order.quantity,
        order.remaining,
    )  # fmt: skip


def _quote_row(key: tuple[str, int, int], top: Top) -> tuple[Any, ...]:
    market_id, outcome, minute = key
    return (market_id, outcome, moment(minute * MINUTE_US), *top)


def _placed(batch: _Batch, event: LoggedEvent) -> None:
    data = event.data
    if data["tif"] not in RESTING:
        return
    order = Resting.placed(
        event.stream_id,
        is_binary=batch.creations[event.stream_id].is_binary,
        outcome=data["outcome"],
        side=data["side"],
        price_pips=data["price"],
        quantity=data["quantity"],
    )
    batch.orders[data["order"]] = batch.placed[data["order"]] = order
    batch.touch(order, event).enter(order)


def _matched(batch: _Batch, event: LoggedEvent) -> None:
    for leg in event.data["legs"]:
        order = batch.orders.get(leg["order"])
        if order is None:
            if leg["role"] == "maker":
                raise ValueError(f"order {leg['order']} trades, which does not rest")
            continue
        batch.touch(order, event).fill(order, leg["quantity"])
        batch.changes(leg["order"], order)


def _ended(batch: _Batch, event: LoggedEvent) -> None:
    """Cancelled or expired."""
    order_id, quantity = event.data["order"], event.data["quantity"]
    order = batch.orders.get(order_id)
    if order is None:
        return
    if order.remaining != quantity:
        raise ValueError(f"order {order_id} ends with {quantity} shares, not {order.remaining}")
    batch.touch(order, event).fill(order, quantity)
    batch.changes(order_id, order)


def _amended(batch: _Batch, event: LoggedEvent) -> None:
    data = event.data
    order = batch.orders.get(data["order"])
    if order is None:
        raise ValueError(f"order {data['order']} is amended, which does not rest")
    batch.touch(order, event).leave(order)
    order.amend(price_pips=data["price"], quantity=data["quantity"])
    batch.touch(order, event).enter(order)
    batch.changes(data["order"], order)


_APPLIERS = appliers({
    "order_placed/1": _placed,
    "order_matched/1": _matched,
    "order_cancelled/1": _ended,
    "order_expired/1": _ended,
    "order_amended/1": _amended,
})  # fmt: skip
