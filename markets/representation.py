"""A market as the API writes it: ids, four decimals, RFC 3339."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from markets.quotes import Quotes, quotes_for
from markets.selectors import Listing
from markets.volumes import DayBefore, change_pips, day_before
from trading.eventlog.codec import timestamp_text, to_us
from trading.money import format_pips


def markets_json(rows: Sequence[Listing]) -> list[dict[str, Any]]:
    """Every row with its live figures: one read of Valkey and at most one of the bars for all of them."""
    quotes = quotes_for(rows)
    before = day_before(rows)
    return [_market_json(row, quotes[row.market_id], before[row.market_id]) for row in rows]


def _market_json(row: Listing, quotes: Quotes, before: DayBefore) -> dict[str, Any]:
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
        "resolution": resolution_json(row),
        "seq": quotes.seq,
    }


def resolution_json(row: Listing) -> dict[str, Any] | None:
    """How a market ended: the winning outcome (None for a tie or a void), pay-outs by name (None for a void)."""
    if row.resolution is None:
        return None
    payouts = row.payouts
    return {
        "kind": row.resolution["kind"],
        "outcome": winner_of(row),
        "payouts": dict(zip(row.outcomes, map(format_pips, payouts), strict=True)) if payouts else None,
        "evidence": row.resolution["evidence"],
        "settlement_id": row.resolution["settlement"],
    }


def winner_of(row: Listing) -> str | None:
    """The one outcome that paid anything."""
    if not row.payouts:
        return None
    paid = [name for name, payout in zip(row.outcomes, row.payouts, strict=True) if payout]
    return paid[0] if len(paid) == 1 else None


def _price(pips: int | None) -> str | None:
    return None if pips is None else format_pips(pips)


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else timestamp_text(to_us(at))
