"""Owns the table trade: the public tape, one row an outcome leg, naming no account.

A binary market's trades are all in its first outcome's terms.
"""

from collections.abc import Sequence
from typing import Any

from trading.engine.codec import event_from
from trading.engine.events import OrderMatched
from trading.engine.trades import trades_of
from trading.eventlog.codec import LoggedEvent
from trading.projections.projection import KNOWN_EVENTS, UnknownEvent
from trading.projections.rows import copy_into, moment

_COLUMNS = "trade_id, market_id, outcome, price_pips, quantity, taker_side, executed_at, seq"


class TradesProjection:
    """One COPY a batch."""

    name = "trades"
    tables = ("trade",)

    def apply(self, cursor: Any, events: Sequence[LoggedEvent]) -> None:
        lines = []
        for event in events:
            if event.type == "order_matched/1":
                lines += _lines(event)
            elif event.type not in KNOWN_EVENTS:
                raise UnknownEvent(event)
        if lines:
            copy_into(cursor, "trade", _COLUMNS, lines)

    def forget(self) -> None:
        """Nothing is remembered."""


def _lines(event: LoggedEvent) -> list[str]:
    match = event_from(event.type, event.data)
    assert isinstance(match, OrderMatched), "a match is a match"
    return [
        f"{trade.trade_id}\t{event.stream_id}\t{trade.outcome}\t{trade.price_pips}\t{trade.quantity_shares}"
        f"\t{trade.taker_side}\t{moment(event.recorded_us)}\t{event.version}"
        for trade in trades_of(match)
    ]
