"""A match as trades: what the public is told of it, and ids that follow from the log."""

from collections.abc import Sequence
from typing import NamedTuple

from trading.engine.events import OrderMatched


class Trade(NamedTuple):
    """An execution in an outcome's book, naming no account. `taker_side` is who came to the book."""

    trade_id: str
    outcome: int
    price_pips: int
    quantity_shares: int
    taker_side: str


def trades_of(event: OrderMatched) -> list[Trade]:
    """One for a direct match; an implied one trades in every outcome's book."""
    if len(event.legs) == 2:
        return [Trade(event.trade, event.outcome, event.price, event.quantity, event.taker_side)]
    opposite = "sell" if event.taker_side == "buy" else "buy"
    return [
        Trade(
            trade_id,
            leg.outcome,
            leg.price,
            leg.quantity,
            event.taker_side if leg.role == "taker" else opposite,
        )
        for trade_id, leg in zip(leg_trade_ids(event.trade, len(event.legs)), event.legs, strict=True)
    ]


def trade_id(*, now_us: int, seq: int, market_hash: int) -> str:
    """A UUIDv7: time in ms, then the event's version and the market; bits between number an implied match's legs."""
    value = (
        ((now_us // 1000) << 80)
        | 0x7 << 76
        | ((seq >> 24) & 0xFFF) << 64
        | 0b10 << 62
        | (seq & 0xFFFFFF) << 38
        | market_hash
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def leg_trade_ids(trade: str, legs: int) -> Sequence[str]:
    """The trade of each leg of a match: one for both of a direct one; of an implied one each leg is its own."""
    if legs == 2:
        return (trade, trade)
    # Six bits, which are 0 in the event's own id, hold the leg's number; a market has at most 50 outcomes.
    prefix, digits, suffix = trade[:24], int(trade[24:28], 16), trade[28:]
    return [f"{prefix}{digits + number:04x}{suffix}" for number in range(legs)]
