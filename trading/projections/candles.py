"""Owns the tables trade_bar and activity_hour: what was traded, minute by minute and hour by hour.

Bars are in the book's terms, so a binary market has those of its first outcome only. A market's events come in order,
so a bar's first price is never replaced and its last one always is; everything else adds up in any order.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns, quoted
from trading.engine.codec import event_from
from trading.engine.events import Leg, OrderMatched
from trading.engine.trades import Trade, trades_of
from trading.eventlog.codec import LoggedEvent
from trading.projections.creations import Creations
from trading.projections.projection import KNOWN_EVENTS, UnknownEvent
from trading.projections.rows import moment

RESOLUTIONS = {"1m": 60_000_000, "1h": 3_600_000_000}
HOUR_US = RESOLUTIONS["1h"]

_BarKey = tuple[str, int, str, int]

_WRITE_BARS = """
INSERT INTO trade_bar AS b
    (market_id, outcome, resolution, at, open_pips, high_pips, low_pips, close_pips, volume_pips, quantity, trades,
     buy_quantity)
SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::text[], %s::timestamptz[], %s::integer[], %s::integer[],
                     %s::integer[], %s::integer[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (market_id, outcome, resolution, at) DO UPDATE SET
    high_pips = greatest(b.high_pips, excluded.high_pips),
    low_pips = least(b.low_pips, excluded.low_pips),
    close_pips = excluded.close_pips,
    volume_pips = b.volume_pips + excluded.volume_pips,
    quantity = b.quantity + excluded.quantity,
    trades = b.trades + excluded.trades,
    buy_quantity = b.buy_quantity + excluded.buy_quantity
"""
_WRITE_ACTIVITY = """
INSERT INTO activity_hour AS a
    (at, category, volume_pips, trades, maker_volume_pips, taker_volume_pips, maker_fees_pips, taker_fees_pips,
     taker_buys_pips)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (at, category) DO UPDATE SET
    volume_pips = a.volume_pips + excluded.volume_pips,
    trades = a.trades + excluded.trades,
    maker_volume_pips = a.maker_volume_pips + excluded.maker_volume_pips,
    taker_volume_pips = a.taker_volume_pips + excluded.taker_volume_pips,
    maker_fees_pips = a.maker_fees_pips + excluded.maker_fees_pips,
    taker_fees_pips = a.taker_fees_pips + excluded.taker_fees_pips,
    taker_buys_pips = a.taker_buys_pips + excluded.taker_buys_pips
"""


class _Bar:
    """What a batch adds to one bar."""

    __slots__ = (
        "buy_quantity", "close_pips", "high_pips", "low_pips", "open_pips", "quantity", "trades", "volume_pips",
    )  # fmt: skip

    def __init__(self, first_pips: int) -> None:
        self.open_pips = self.high_pips = self.low_pips = self.close_pips = first_pips
        self.volume_pips = self.quantity = self.trades = self.buy_quantity = 0

    def take(self, trade: Trade) -> None:
        price, quantity = trade.price_pips, trade.quantity_shares
        self.high_pips = max(self.high_pips, price)
        self.low_pips = min(self.low_pips, price)
        self.close_pips = price
        self.volume_pips += price * quantity
        self.quantity += quantity
        self.trades += 1
        if trade.taker_side == "buy":
            self.buy_quantity += quantity

    def values(self) -> tuple[int, ...]:
        return (
            self.open_pips, self.high_pips, self.low_pips, self.close_pips, self.volume_pips, self.quantity,
            self.trades, self.buy_quantity,
        )  # fmt: skip


class _Activity:
    """What a batch adds to one hour of a category."""

    __slots__ = ("fees_pips", "parts_pips", "taker_buys_pips", "trades", "volume_pips")

    def __init__(self) -> None:
        self.volume_pips = self.trades = self.taker_buys_pips = 0
        self.parts_pips = {"maker": 0, "taker": 0}
        self.fees_pips = {"maker": 0, "taker": 0}

    def take(self, trades: Sequence[Trade], legs: Sequence[Leg]) -> None:
        self.trades += len(trades)
        self.volume_pips += sum(trade.price_pips * trade.quantity_shares for trade in trades)
        for leg in legs:
            self.parts_pips[leg.role] += leg.price * leg.quantity
            self.fees_pips[leg.role] += leg.fee
            if leg.role == "taker" and leg.side == "buy":
                self.taker_buys_pips += leg.price * leg.quantity

    def values(self) -> tuple[int, ...]:
        parts, fees = self.parts_pips, self.fees_pips
        return (
            self.volume_pips, self.trades, parts["maker"], parts["taker"], fees["maker"], fees["taker"],
            self.taker_buys_pips,
        )  # fmt: skip


class CandlesProjection:
    """Two upserts a batch."""

    name = "candles"
    tables = ("trade_bar", "activity_hour")

    def __init__(self) -> None:
        self._creations = Creations()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> None:
        matches = []
        for event in events:
            if event.type == "order_matched/1":
                matches.append(event)
            elif event.type not in KNOWN_EVENTS:
                raise UnknownEvent(event)
        if not matches:
            return
        self._creations.learn(connection, (event.stream_id for event in matches))
        bars: dict[_BarKey, _Bar] = {}
        hours: dict[tuple[int, str], _Activity] = {}
        for event in matches:
            match = event_from(event.type, event.data)
            assert isinstance(match, OrderMatched), "a match is a match"
            trades = trades_of(match)
            _take_bars(bars, event, trades)
            hour = (event.recorded_us // HOUR_US, self._creations[event.stream_id].category)
            hours.setdefault(hour, _Activity()).take(trades, match.legs)
        _write(connection, bars, hours)

    def forget(self) -> None:
        """No row is remembered; what a market was created with never changes."""


def _take_bars(bars: dict[_BarKey, _Bar], event: LoggedEvent, trades: Sequence[Trade]) -> None:
    for trade in trades:
        for resolution, length_us in RESOLUTIONS.items():
            key = (event.stream_id, trade.outcome, resolution, event.recorded_us // length_us)
            bar = bars.get(key)
            if bar is None:
                bar = bars[key] = _Bar(trade.price_pips)
            bar.take(trade)


def _write(connection: Any, bars: dict[_BarKey, _Bar], hours: dict[tuple[int, str], _Activity]) -> None:
    rows = [
        (market_id, outcome, resolution, moment(number * RESOLUTIONS[resolution]), *bar.values())
        for (market_id, outcome, resolution, number), bar in bars.items()
    ]
    connection.execute(_WRITE_BARS, columns(rows))
    activity = [
        (moment(number * HOUR_US), quoted(category), *hour.values())
        for (number, category), hour in hours.items()
    ]
    connection.execute(_WRITE_ACTIVITY, columns(activity))
