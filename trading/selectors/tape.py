"""A market's trades, newest first. No account is named."""

import datetime as dt
from typing import Any, NamedTuple
from uuid import UUID

from trading.eventlog.codec import to_us
from trading.market_terms import MarketTerms
from trading.money import SHARE_PIPS
from trading.replicas import reading
from trading.selectors.books import is_binary
from trading.selectors.pages import Cursor, Moment, Page

FLIPPED = {"buy": "sell", "sell": "buy"}


class Trade(NamedTuple):
    """One outcome leg of an execution."""

    trade_id: str
    outcome: int
    price_pips: int
    quantity_shares: int
    taker_side: str
    at: dt.datetime
    seq: int


class _Key(NamedTuple):
    at_us: Moment
    trade_id: UUID


_CURSOR = Cursor("trades", _Key)


def trades_page(terms: MarketTerms, *, outcome: int | None, limit: int, cursor: str | None) -> Page[Trade]:
    """Trades of a market, of one outcome if given: a binary market's second shows the first's, mirrored."""
    conditions = ["market_id = %s"]
    arguments: list[Any] = [terms.market_id]
    if outcome is not None and not is_binary(terms):
        conditions.append("outcome = %s")
        arguments.append(outcome)
    if (key := _CURSOR.read(cursor)) is not None:
        conditions.append("(executed_at, trade_id) < (to_timestamp(0) + %s * interval '1 microsecond', %s)")
        arguments += [key.at_us, key.trade_id]
    with reading().cursor() as db:
        db.execute(
            "SELECT trade_id::text, outcome, price_pips, quantity, taker_side, executed_at, seq FROM trade AS t "  # noqa: S608
            f"WHERE {' AND '.join(conditions)} ORDER BY t.executed_at DESC, t.trade_id DESC LIMIT %s",
            [*arguments, limit + 1],
        )
        rows = [Trade(*row) for row in db.fetchall()]
    if is_binary(terms) and outcome == 1:
        rows = [_mirrored(row) for row in rows]
    return _CURSOR.page(rows, limit=limit, key_of=_key)


def _key(trade: Trade) -> _Key:
    return _Key(to_us(trade.at), UUID(trade.trade_id))


def _mirrored(trade: Trade) -> Trade:
    return trade._replace(
        outcome=1, price_pips=SHARE_PIPS - trade.price_pips, taker_side=FLIPPED[trade.taker_side]
    )
