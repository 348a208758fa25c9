"""A market as the API writes it: ids, four decimals, RFC 3339."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from markets.quotes import Quotes, quotes_for
from markets.selectors import Listing
from markets.volumes import DayBefore, change_pips, day_before
from trading.eventlog.codec import timestamp_text, to_us
from trading.money import format_pips
from trading.resolution_view import resolution_json


def markets_json(rows: Sequence[Listing]) -> list[dict[str, Any]]:
    """Every row with its live figures: one read of Valkey and at most one of the bars for all of them."""
    quotes = quotes_for(rows)
    before = day_before(rows)
    return [market_json(row, quotes[row.market_id], before[row.market_id]) for row in rows]


def market_json(row: Listing, quotes: Quotes, before: DayBefore) -> dict[str, Any]:
    """One market with these figures."""
    return {
        "market_id": row.market_id,
        "slug": row.slug,
        "question": row.question,
        "description": row.description,
        "resolution_criteria": row.resolution_criteria,
        "category": row.category,
        "outcomes": [
            {
                "name": name,
                "last_price": _price(quote.last_pips),
                "price_change_24h": _price(change_pips(quote.last_pips, price_before)),
                "best_bid": _price(quote.bid_pips),
                "best_ask": _price(quote.ask_pips),
            }
            for name, quote, price_before in zip(row.outcomes, quotes.outcomes, before.prices, strict=True)
        ],
        "status": quotes.status,
        "tick": format_pips(row.tick_pips),
        "taker_fee": format_pips(row.taker_fee_e4),
        "maker_fee": format_pips(row.maker_fee_e4),
        "created_at": _moment(row.created_at),
        "opens_at": _moment(row.opens_at),
        "closes_at": _moment(row.closes_at),
        "resolved_at": _moment(row.resolved_at),
        "volume": format_pips(quotes.volume_pips),
        "volume_24h": format_pips(max(0, quotes.volume_pips - before.volume_pips)),
        "trade_count": row.trade_count,
        "trader_count": row.trader_count,
        "open_interest": quotes.open_interest_sets,
        "resolution": resolution_of(row),
        "seq": quotes.seq,
    }


def resolution_of(row: Listing) -> dict[str, Any] | None:
    """How a market ended, if it has."""
    if row.resolution is None:
        return None
    ending = row.resolution
    return resolution_json(
        row.outcomes,
        kind=ending["kind"], payouts=row.payouts, evidence=ending["evidence"], settlement_id=ending["settlement"],
    )  # fmt: skip


def _price(pips: int | None) -> str | None:
    return None if pips is None else format_pips(pips)


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else timestamp_text(to_us(at))
