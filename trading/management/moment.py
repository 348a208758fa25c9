"""Times and markets as commands take them."""

import datetime as dt
import time
from typing import Any

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime

from trading.errors import NotFound
from trading.eventlog.codec import to_us
from trading.eventlog.tail import stream_end
from trading.ids import MARKET_SLOTS, is_id
from trading.market_terms import market_terms


def moment_us(text: str | None, option: str) -> int:
    """A time as microseconds since the epoch, UTC unless it says otherwise; now if none is given."""
    if text is None:
        return time.time_ns() // 1000
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{option} {text!r} is not a time such as 2026-11-23T00:00:00Z")
    return to_us(moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC))


def market_named(cursor: Any, reference: str) -> str:
    """The id of a market that is named by id or slug; read models need not know it yet."""
    if is_id(reference):
        end = stream_end(cursor, reference)
        if end is not None and end.slot < MARKET_SLOTS:
            return reference
    try:
        return market_terms(reference).market_id
    except NotFound:
        raise CommandError(f"there is no market {reference!r}") from None
