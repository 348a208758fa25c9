"""Owns the tables "order" and fill: every order as its events left it, and each of its executions.

Both in one projection, so that an order and its fills always agree. Rows are in the owner's terms.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns, quoted
from trading.engine.trades import leg_trade_ids
from trading.eventlog.codec import LoggedEvent
from trading.projections.projection import BrokenLog, UnknownEvent, appliers
from trading.projections.rows import insertion, moment

_INSERT_ORDERS = insertion(
    "order", order_id="uuid", market_id="uuid", account_id="uuid", client_order_id="text", outcome="smallint",
    side="text", type="text", price_pips="integer", quantity="bigint", filled="bigint", cost_pips="bigint",
    fees_pips="bigint", reserved_pips="bigint", time_in_force="text", expires_at="timestamptz", status="text",
    reason="text", created_at="timestamptz", updated_at="timestamptz", seq="bigint",
)  # fmt: skip
_INSERT_FILLS = insertion(
    "fill", trade_id="uuid", order_id="uuid", account_id="uuid", market_id="uuid", client_order_id="text",
    outcome="smallint", side="text", price_pips="integer", quantity="bigint", fee_pips="bigint", role="text",
    executed_at="timestamptz", seq="bigint",
)  # fmt: skip

# An order that was there before the batch is changed by what the batch adds up to.
_CHANGE_ORDERS = """
UPDATE "order" AS o SET
    price_pips = coalesce(c.price_pips, o.price_pips),
    quantity = coalesce(c.quantity, o.quantity),
    filled = o.filled + c.filled,
    cost_pips = o.cost_pips + c.cost_pips,
    fees_pips = o.fees_pips + c.fees_pips,
    reserved_pips = coalesce(c.reserved_pips, o.reserved_pips),
    status = CASE WHEN c.status IS NOT NULL THEN c.status
                  WHEN o.filled + c.filled = coalesce(c.quantity, o.quantity) THEN 'filled'
                  ELSE o.status END,
    reason = coalesce(c.reason, o.reason),
    updated_at = c.updated_at,
    seq = c.seq
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::text[], %s::text[], %s::timestamptz[], %s::bigint[])
     AS c(order_id, price_pips, quantity, filled, cost_pips, fees_pips, reserved_pips, status, reason, updated_at, seq)
WHERE o.order_id = c.order_id
RETURNING o.order_id::text, o.client_order_id
"""


class _Change:
    """What a batch does to one order. `placed` is its first event, if that is in the batch too."""

    __slots__ = (
        "cost_pips", "fees_pips", "filled", "placed", "price_pips", "quantity", "reason", "reserved_pips", "seq",
        "status", "updated_us",
    )  # fmt: skip

    def __init__(self) -> None:
        self.placed: LoggedEvent | None = None
        self.filled = self.cost_pips = self.fees_pips = 0
        self.price_pips: int | None = None
        self.quantity: int | None = None
        self.reserved_pips: int | None = None
        self.status: str | None = None
        self.reason: str | None = None
        self.updated_us = self.seq = 0


class _Batch:
    """The changes of one batch, by order, and its fills as (event, leg, trade id)."""

    def __init__(self) -> None:
        self.changes: dict[str, _Change] = {}
        self.fills: list[tuple[LoggedEvent, dict[str, Any], str]] = []

    def change(self, order_id: str, event: LoggedEvent) -> _Change:
        change = self.changes.get(order_id)
        if change is None:
            change = self.changes[order_id] = _Change()
        change.updated_us = event.recorded_us
        change.seq = event.version
        return change


def _placed(batch: _Batch, event: LoggedEvent) -> None:
    change = batch.change(event.data["order"], event)
    change.placed = event
    change.quantity = event.data["quantity"]
    change.reserved_pips = event.data["reserved"]


def _rejected(batch: _Batch, event: LoggedEvent) -> None:
    change = batch.change(event.data["order"], event)
    change.placed = event
    change.quantity = event.data["quantity"]
    change.reserved_pips = 0
    change.status = "rejected"
    change.reason = event.data["reason"]


def _matched(batch: _Batch, event: LoggedEvent) -> None:
    legs = event.data["legs"]
    for leg, trade_id in zip(legs, leg_trade_ids(event.data["trade"], len(legs)), strict=True):
        change = batch.change(leg["order"], event)
        change.filled += leg["quantity"]
        change.cost_pips += leg["price"] * leg["quantity"]
        change.fees_pips += leg.get("fee", 0)
        change.reserved_pips = leg["reserved"]
        batch.fills.append((event, leg, trade_id))


def _cancelled(batch: _Batch, event: LoggedEvent) -> None:
    change = batch.change(event.data["order"], event)
    change.reserved_pips = 0
    change.status = "cancelled"
    change.reason = event.data["reason"]


def _expired(batch: _Batch, event: LoggedEvent) -> None:
    change = batch.change(event.data["order"], event)
    change.reserved_pips = 0
    change.status = change.reason = "expired"


def _amended(batch: _Batch, event: LoggedEvent) -> None:
    change = batch.change(event.data["order"], event)
    change.price_pips = event.data["price"]
    change.quantity = event.data["quantity"]
    change.reserved_pips = event.data["reserved"]


_APPLIERS = appliers({
    "order_placed/1": _placed,
    "order_rejected/1": _rejected,
    "order_matched/1": _matched,
    "order_cancelled/1": _cancelled,
    "order_expired/1": _expired,
    "order_amended/1": _amended,
})  # fmt: skip


class OrdersProjection:
    """Three statements a batch: the new orders, the older ones, the fills."""

    name = "orders"
    tables = ("order", "fill")

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> None:
        batch = _Batch()
        for event in events:
            try:
                applier = _APPLIERS[event.type]
            except KeyError:
                raise UnknownEvent(event) from None
            if applier is not None:
                applier(batch, event)
        client_ids = _insert_new(connection, batch) | _change_older(connection, batch)
        if batch.fills:
            fills = [_fill_row(*fill, client_ids) for fill in batch.fills]
            connection.execute(_INSERT_FILLS, columns(fills))

    def forget(self) -> None:
        """Nothing is remembered."""


def _insert_new(connection: Any, batch: _Batch) -> dict[str, str | None]:
    """Writes the orders that were placed in this batch; answers their client ids."""
    rows, client_ids = [], {}
    for order_id, change in batch.changes.items():
        if (placed := change.placed) is not None:
            rows.append(_order_row(change, placed))
            client_ids[order_id] = placed.data.get("client_order_id")
    if rows:
        connection.execute(_INSERT_ORDERS, columns(rows))
    return client_ids


def _order_row(change: _Change, placed: LoggedEvent) -> tuple[Any, ...]:
    data, expires_us = placed.data, placed.data.get("expires_us")
    price = data["price"] if change.price_pips is None else change.price_pips
    status = change.status or ("filled" if change.filled == change.quantity else "open")
    return (
        data["order"], placed.stream_id, data["account"], _text(data.get("client_order_id")), data["outcome"],
        data["side"], data["type"], price, change.quantity, change.filled, change.cost_pips, change.fees_pips,
        change.reserved_pips, data["tif"], None if expires_us is None else moment(expires_us), status, change.reason,
        moment(placed.recorded_us), moment(change.updated_us), change.seq,
    )  # fmt: skip


def _change_older(connection: Any, batch: _Batch) -> dict[str, str | None]:
    """Changes the orders that earlier batches left; answers their client ids."""
    older = [(order_id, change) for order_id, change in batch.changes.items() if change.placed is None]
    if not older:
        return {}
    rows = [
        (
            order_id, change.price_pips, change.quantity, change.filled, change.cost_pips, change.fees_pips,
            change.reserved_pips, change.status, change.reason, moment(change.updated_us), change.seq,
        )
        for order_id, change in older
    ]  # fmt: skip
    client_ids = dict(connection.execute(_CHANGE_ORDERS, columns(rows)).fetchall())
    missing = [order_id for order_id, _ in older if order_id not in client_ids]
    if missing:
        raise BrokenLog(f"{len(missing)} orders change that were never placed, the first is {missing[0]}")
    return client_ids


def _fill_row(
    event: LoggedEvent, leg: dict[str, Any], trade_id: str, client_ids: dict[str, str | None]
) -> tuple[Any, ...]:
    order_id = leg["order"]
    return (
        trade_id, order_id, leg["account"], event.stream_id, _text(client_ids[order_id]), leg["outcome"], leg["side"],
        leg["price"], leg["quantity"], leg.get("fee", 0), leg["role"], moment(event.recorded_us), event.version,
    )  # fmt: skip


def _text(value: str | None) -> str | None:
    return None if value is None else quoted(value)
