"""Frames of the market channels, made from updates and mirrors: each is encoded once, whoever gets it.

    {"channel", "market_id", "seq", "prev_seq", "sent_at", "data"}

`prev_seq` is the `seq` of the frame before it in the same channel; None starts the channel afresh: what came between
is in `data` (book, ticker), or may be missing and has to be looked up (trades). This module sends nothing.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from trading.checksum import PRICE_TEXTS
from trading.eventlog.codec import timestamp_text
from trading.live.book_mirror import BookMirror, FeedLevel, FeedTicker, FeedTrade
from trading.live.shared_frames import Frame
from trading.money import format_pips
from trading.resolution_view import ENDED_AS, resolution_json

json_bytes = msgspec.json.Encoder().encode
"""Plain data as JSON."""


def encode(document: Any) -> Frame:
    """Plain data as a frame of JSON."""
    return Frame(json_bytes(document))


def sent_now() -> str:
    """The moment a frame is made."""
    return timestamp_text(time.time_ns() // 1000)


def frame(*, labels: Mapping[str, str], seq: int | None, prev_seq: int | None, data: Any) -> Frame:
    """One numbered frame; `labels` say of which channel and market."""
    return encode({**labels, "seq": seq, "prev_seq": prev_seq, "sent_at": sent_now(), "data": data})


def book_snapshot(mirror: BookMirror) -> dict[str, Any]:
    """Everything the books hold."""
    return {"type": "snapshot", "bids": mirror.bids(), "asks": mirror.asks(), "checksum": mirror.checksum()}


def book_delta(mirror: BookMirror, levels: Iterable[FeedLevel]) -> dict[str, Any]:
    """The levels that just changed in `mirror`, with their new sizes."""
    names = mirror.names
    changes = [(names[index], side, PRICE_TEXTS[price], quantity) for index, side, price, quantity in levels]
    return {"type": "delta", "changes": changes, "checksum": mirror.checksum()}


def trade_rows(names: Sequence[str], trades: Iterable[FeedTrade]) -> list[dict[str, Any]]:
    """Trades as REST lists them, newest first; `trades` come oldest first."""
    rows = [
        {
            "trade_id": trade_id,
            "outcome": names[index],
            "price": PRICE_TEXTS[price],
            "quantity": quantity,
            "taker_side": taker_side,
            "at": timestamp_text(at_us),
            "seq": seq,
        }
        for trade_id, index, price, quantity, taker_side, at_us, seq in trades
    ]
    rows.reverse()
    return rows


def ticker_data(names: Sequence[str], ticker: FeedTicker) -> dict[str, Any]:
    """Prices by outcome name, volume in dollars and open interest in sets; None where there is no price."""
    data: dict[str, Any] = {
        name: {
            "last_price": _price_text(ticker.last, index),
            "best_bid": _price_text(ticker.bid, index),
            "best_ask": _price_text(ticker.ask, index),
        }
        for index, name in enumerate(names)
    }
    data["volume"] = format_pips(ticker.volume_pips)
    data["open_interest"] = ticker.open_interest
    return data


def lifecycle_data(names: Sequence[str], ticker: FeedTicker) -> dict[str, Any]:
    """A market's status and, once it has ended, how: as REST has it."""
    kind, ending = ENDED_AS.get(ticker.status), ticker.ending
    resolution = None
    if kind is not None and ending is not None:
        resolution = resolution_json(
            names,
            kind=kind, payouts=ending.payouts, evidence=ending.evidence, settlement_id=ending.settlement_id,
        )  # fmt: skip
    return {"status": ticker.status, "resolution": resolution}


def _price_text(prices: Sequence[int | None], index: int) -> str | None:
    price = prices[index] if index < len(prices) else None
    return None if price is None else PRICE_TEXTS[price]
