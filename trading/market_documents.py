"""A market's trades, order book and price as documents, now or at a past moment; either lane answers with them."""

import time
from typing import Any

from trading.as_of import token_of
from trading.checksum import PRICE_TEXTS, Level
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import market_slot
from trading.market_terms import MarketTerms
from trading.read_query import FRESHNESS_NAMES, ReadQuery
from trading.replicas import leave_replica, reading
from trading.selectors.books import Book, order_book, past_order_book
from trading.selectors.prices import last_price
from trading.selectors.tape import Trade, trades_page
from trading.snapshots.past import PastMarket, past_market

TRADES_TAKE = ("outcome", "limit", "cursor", *FRESHNESS_NAMES)
BOOK_TAKES = ("outcome", "depth", "at", *FRESHNESS_NAMES)
PRICE_TAKES = ("outcome", "at", *FRESHNESS_NAMES)
"""The parameters of each."""

DEFAULT_DEPTH = 20
MAX_DEPTH = 500
# What was recorded in the last seconds may not have come to a replica, but would have been seen at that time.
RECENT_US = 30_000_000


def trades_document(query: ReadQuery, terms: MarketTerms) -> dict[str, Any]:
    """A page of the tape, newest first."""
    outcome, limit = query.outcome(terms), query.limit()
    as_of = query.reach(("trades",), [market_slot(terms.market_id)])
    page = trades_page(terms, outcome=outcome, limit=limit, cursor=query.text("cursor"))
    return {"results": [trade_json(row, terms) for row in page.rows], "next": page.next, "as_of": as_of}


def book_document(query: ReadQuery, terms: MarketTerms) -> dict[str, Any]:
    """Resting orders of an outcome, added up by price."""
    depth, outcome = depth_of(query), query.outcome(terms) or 0
    if (past := _past(query, terms)) is not None:
        book = past_order_book(terms, past, outcome=outcome, depth=depth)
        return {**book_json(book, terms), "as_of": _as_of(past)}
    as_of = query.reach(("books", "markets"), [market_slot(terms.market_id)])
    return {**book_json(order_book(terms, outcome=outcome, depth=depth), terms), "as_of": as_of}


def price_document(query: ReadQuery, terms: MarketTerms) -> dict[str, Any]:
    """What an outcome costs."""
    outcome = query.outcome(terms) or 0
    if (past := _past(query, terms)) is not None:
        book = past_order_book(terms, past, outcome=outcome, depth=1)
        status, price, as_of = past.status, past.last_prices[outcome], _as_of(past)
    else:
        as_of = query.reach(("books", "markets"), [market_slot(terms.market_id)])
        book = order_book(terms, outcome=outcome, depth=1)
        status, price = last_price(terms.market_id, outcome)
    return {**price_json(book, price, terms), "status": status, "as_of": as_of}


def depth_of(query: ReadQuery) -> int:
    """How many levels of a side."""
    return query.number("depth", default=DEFAULT_DEPTH, least=1, most=MAX_DEPTH)


def _past(query: ReadQuery, terms: MarketTerms) -> PastMarket | None:
    """The market at the time that was asked for, if one was."""
    at_us = query.moment_us("at")
    if at_us is None:
        return None
    query.reach(())
    if at_us > time.time_ns() // 1000 - RECENT_US:
        leave_replica()
    with reading().cursor() as cursor:
        return past_market(cursor, terms.market_id, at_us)


def _as_of(past: PastMarket) -> str:
    """The event that the past moment reflects."""
    return token_of([(past.slot, past.slot_offset + 1)])


def price_json(book: Book, price_pips: int | None, terms: MarketTerms) -> dict[str, Any]:
    return {
        "outcome": terms.outcomes[book.outcome],
        "price": None if price_pips is None else PRICE_TEXTS[price_pips],
        "best_bid": PRICE_TEXTS[book.bids[0][0]] if book.bids else None,
        "best_ask": PRICE_TEXTS[book.asks[0][0]] if book.asks else None,
        "seq": book.seq,
    }


def trade_json(trade: Trade, terms: MarketTerms) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "outcome": terms.outcomes[trade.outcome],
        "price": PRICE_TEXTS[trade.price_pips],
        "quantity": trade.quantity_shares,
        "taker_side": trade.taker_side,
        "at": timestamp_text(to_us(trade.at)),
        "seq": trade.seq,
    }


def book_json(book: Book, terms: MarketTerms) -> dict[str, Any]:
    return {
        "outcome": terms.outcomes[book.outcome],
        "bids": levels_json(book.bids),
        "asks": levels_json(book.asks),
        "seq": book.seq,
        "checksum": book.checksum,
    }


def levels_json(levels: list[Level]) -> list[list[Any]]:
    return [[PRICE_TEXTS[price_pips], quantity] for price_pips, quantity in levels]
