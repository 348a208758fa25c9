"""Owns the table trade: the public tape, one row an outcome leg, naming no account.

A binary market's trades are all in its first outcome's terms.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns
from trading.engine.codec import event_from
from trading.engine.events import OrderMatched
from trading.engine.trades import trades_of
from trading.eventlog.codec import LoggedEvent
from trading.projections.projection import KNOWN_EVENTS, UnknownEvent
from trading.projections.rows import insertion, moment

_INSERT = insertion(
    "trade", trade_id="uuid", market_id="uuid", outcome="smallint", price_pips="integer", quantity="bigint",
    taker_side="text", executed_at="timestamptz", seq="bigint",
)  # fmt: skip


class TradesProjection:
    """One INSERT a batch."""

    name = "trades"
    tables = ("trade",)

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> None:
        rows: list[tuple[Any, ...]] = []
        for event in events:
            if event.type == "order_matched/1":
                rows += _rows(event)
            elif event.type not in KNOWN_EVENTS:
                raise UnknownEvent(event)
        if rows:
            connection.execute(_INSERT, columns(rows))

    def forget(self) -> None:
        """Nothing is remembered."""


def _rows(event: LoggedEvent) -> list[tuple[Any, ...]]:
    match = event_from(event.type, event.data)
    assert isinstance(match, OrderMatched), "a match is a match"
    return [
        (
            trade.trade_id,
            event.stream_id,
            trade.outcome,
            trade.price_pips,
            trade.quantity_shares,
            trade.taker_side,
            moment(event.recorded_us),
            event.version,
        )
        for trade in trades_of(match)
    ]
