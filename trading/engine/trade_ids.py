"""Ids of trades: UUIDv7 that follow from the log, so that a replay gives the same."""

from collections.abc import Sequence

from trading.engine.events import OrderMatched


def trade_id(*, now_us: int, seq: int, market_hash: int) -> str:
    """Time in ms, then the event's version and the market; the bits between them number an implied trade's legs."""
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


def leg_trade_ids(event: OrderMatched) -> Sequence[str]:
    """The trade of each leg: a direct trade is one, of an implied one each outcome's leg is a trade of its own."""
    trade = event.trade
    if len(event.legs) == 2:
        return (trade, trade)
    # Six bits, which are 0 in the event's own id, hold the leg's number; a market has at most 50 outcomes.
    prefix, digits, suffix = trade[:24], int(trade[24:28], 16), trade[28:]
    return [f"{prefix}{digits + number:04x}{suffix}" for number in range(len(event.legs))]
