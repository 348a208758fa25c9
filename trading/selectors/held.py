"""What an account held at a past moment, and what that was worth then.

Rows of positions are of now. A market in which nothing has happened to the account since then has the same rows; any
other is replayed to that moment. Prices are the top of the book as the minute before left it, else the last trade's.
"""

import datetime as dt
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from trading.eventlog.codec import to_us
from trading.ids import first_id_at
from trading.replicas import reading
from trading.selectors.candles import complement
from trading.selectors.statement import EPOCH, IDS_DIFFER_BY
from trading.snapshots.past import past_shares


class Held(NamedTuple):
    """Shares of one outcome at a moment. `price_pips` is None where no price was known."""

    market_id: str
    outcome: int
    quantity_shares: int
    price_pips: int | None

    @property
    def value_pips(self) -> int | None:
        return None if self.price_pips is None else self.price_pips * self.quantity_shares


# One statement, so that no change stands in one of the tables and not yet in another; projections that are not at the
# same place, as while one is rebuilt, do not tell what has changed.
_ROWS = """
WITH apart AS (
    SELECT FROM projection_checkpoint WHERE projection IN ('ledger', 'orders', 'positions')
    GROUP BY slot HAVING min(next_offset) <> max(next_offset)
), touched AS (
    SELECT market_id FROM fill WHERE account_id = %(account)s AND trade_id >= %(trade)s AND executed_at >= %(at)s
    UNION
    SELECT market_id FROM ledger_entry WHERE account_id = %(account)s AND at >= %(at)s AND market_id IS NOT NULL
    UNION
    SELECT s.market_id FROM (SELECT DISTINCT market_id FROM position WHERE account_id = %(account)s) AS p
    JOIN settlement s USING (market_id)
    JOIN settlement_account a ON a.settlement_id = s.settlement_id AND a.account_id = %(account)s
    WHERE a.paid_at >= %(at)s
)
SELECT p.market_id::text, p.outcome, p.quantity,
       EXISTS (SELECT FROM apart) OR p.market_id IN (SELECT market_id FROM touched), (
           SELECT count(*) FROM outcome AS o WHERE o.market_id = p.market_id
       )
FROM position AS p WHERE p.account_id = %(account)s ORDER BY p.market_id, p.outcome
"""
# 'pay' closes an account's position, and 'undo_pay' opens it again.
_IS_CLOSED = """
SELECT a.step = 'pay' FROM settlement AS s JOIN settlement_account AS a USING (settlement_id)
WHERE s.market_id = %s AND a.account_id = %s AND a.step IN ('pay', 'undo_pay') AND a.paid_at < %s
ORDER BY a.paid_at DESC LIMIT 1
"""
_PRICES = """
SELECT (s.payouts)[w.outcome + 1], q.bid_pips, q.ask_pips, b.close_pips
FROM unnest(%(markets)s::uuid[], %(outcomes)s::smallint[], %(books)s::smallint[])
     WITH ORDINALITY AS w(market_id, outcome, book, place)
LEFT JOIN LATERAL (SELECT payouts FROM settlement WHERE market_id = w.market_id AND created_at < %(at)s
                   ORDER BY created_at DESC LIMIT 1) AS s ON true
LEFT JOIN LATERAL (SELECT bid_pips, ask_pips FROM quote_bar WHERE market_id = w.market_id AND outcome = w.book
                   AND at < %(at)s ORDER BY at DESC LIMIT 1) AS q ON true
LEFT JOIN LATERAL (SELECT close_pips FROM trade_bar WHERE market_id = w.market_id AND outcome = w.book
                   AND resolution = '1m' AND at < %(at)s ORDER BY at DESC LIMIT 1) AS b ON true
ORDER BY w.place
"""


class _Shares(NamedTuple):
    """Shares of one outcome of a market with so many outcomes."""

    market_id: str
    outcome: int
    quantity_shares: int
    outcomes: int


def held_at(account_id: str, at: dt.datetime) -> list[Held]:
    """All shares that the account held as this moment came, by market and outcome.

    Raises Overloaded where a market is too far from a snapshot to be replayed, NotKept where its events are archived.
    """
    trade = first_id_at(max(EPOCH, at - IDS_DIFFER_BY))
    with reading().cursor() as cursor:
        cursor.execute(_ROWS, {"account": account_id, "at": at, "trade": trade})
        rows = cursor.fetchall()
        found: list[_Shares] = []
        for market_id, group in groupby(rows, key=lambda row: row[0]):
            found += _shares(cursor, account_id, market_id, list(group), at)
        return _priced(cursor, [each for each in found if each.quantity_shares], at)


def _shares(
    cursor: Any, account_id: str, market_id: str, rows: list[tuple[Any, ...]], at: dt.datetime
) -> Iterable[_Shares]:
    outcomes = rows[0][4]
    if not any(touched for _, _, _, touched, _ in rows):
        return [_Shares(market_id, outcome, quantity, outcomes) for _, outcome, quantity, _, _ in rows]
    cursor.execute(_IS_CLOSED, [market_id, account_id, at])
    closed = cursor.fetchone()
    if closed is not None and closed[0]:
        return []
    quantities = past_shares(cursor, market_id, account_id, to_us(at) - 1)
    return [_Shares(market_id, outcome, quantity, outcomes) for outcome, quantity in enumerate(quantities)]


def _priced(cursor: Any, shares: list[_Shares], at: dt.datetime) -> list[Held]:
    wanted = {
        "markets": [each.market_id for each in shares],
        "outcomes": [each.outcome for each in shares],
        "books": [0 if each.outcomes == 2 else each.outcome for each in shares],
        "at": at,
    }
    cursor.execute(_PRICES, wanted)
    return [
        Held(each.market_id, each.outcome, each.quantity_shares, _price(each, *prices))
        for each, prices in zip(shares, cursor.fetchall(), strict=True)
    ]


def _price(
    shares: _Shares, payout: int | None, bid: int | None, ask: int | None, last: int | None
) -> int | None:
    """The pay-out once decided, else the best bid, else the last price; a binary market has one book."""
    if payout is not None:
        return payout
    if shares.outcomes == 2 and shares.outcome == 1:
        bid, last = complement(ask), complement(last)
    return last if bid is None else bid
