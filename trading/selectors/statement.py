"""What a statement of an account says in numbers: balances, changes of cash and executions of a span of time.

A balance is an account's cash less its debt, what open orders hold not counted. The one at the beginning is added up
from the first entry on, the one at the end is what the account has now less all that came after; neither is worked out
from the other, so what stands between them is proven by both. Days are added up one by one and entries are read in
pages, so that no statement of the database is long and no span fills memory.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

from trading.eventlog.codec import to_us
from trading.ids import BEFORE_ALL, first_id_after, first_id_at
from trading.replicas import reading

PAGE_ROWS = 1000
DAY = dt.timedelta(days=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
IDS_DIFFER_BY = dt.timedelta(hours=1)
"""More than the time that a trade's id carries and that of its commit are ever apart."""


class Anchor(NamedTuple):
    """A balance that was proven before: what the account had as this moment came."""

    at: dt.datetime
    balance_pips: int


NOTHING_YET = Anchor(EPOCH, 0)


class StatementEntry(NamedTuple):
    """A change of cash. `outcome` and `side` are its order's; the last three are a trade's, while the log has it."""

    at: dt.datetime
    slot: int
    slot_offset: int
    leg: int
    kind: str
    amount_pips: int
    market_id: str | None
    order_id: str | None
    outcome: int | None
    side: str | None
    quantity_shares: int | None
    price_pips: int | None
    fee_pips: int | None

    @property
    def entry_id(self) -> str:
        return f"{self.slot}-{self.slot_offset}-{self.leg}"


class StatementFill(NamedTuple):
    """One order's part of a trade, in its owner's terms, whether cash moved with it or had been reserved before."""

    trade_id: str
    order_id: str
    at: dt.datetime
    market_id: str
    outcome: int
    side: str
    quantity_shares: int
    price_pips: int
    fee_pips: int
    role: str


_SUM = """
SELECT coalesce(sum(amount_pips), 0)::bigint FROM ledger_entry WHERE account_id = %s AND at >= %s AND at < %s
"""
_NEXT = "SELECT min(at) FROM ledger_entry WHERE account_id = %s AND at >= %s AND at < %s"
# In one statement, so that the sum is that of these very entries.
_LESS_LATER = """
SELECT a.cash_pips - (SELECT coalesce(sum(amount_pips), 0)::bigint FROM ledger_entry AS e
                      WHERE e.account_id = a.account_id AND e.at >= %s)
FROM account_ledger AS a WHERE a.account_id = %s
"""
_ENTRIES = """
SELECT e.at, e.slot, e.slot_offset, e.leg, e.kind, e.amount_pips, e.market_id::text, e.order_id::text, o.outcome,
       o.side, (t.leg->>'quantity')::bigint, (t.leg->>'price')::integer,
       CASE WHEN t.leg IS NOT NULL THEN coalesce((t.leg->>'fee')::bigint, 0) END
FROM (
    SELECT * FROM ledger_entry WHERE account_id = %(account)s AND at >= %(at)s AND at < %(end)s
    AND (at, slot, slot_offset, leg) > (%(at)s, %(slot)s, %(offset)s, %(leg)s)
    ORDER BY at, slot, slot_offset, leg LIMIT %(limit)s
) AS e
LEFT JOIN LATERAL (SELECT outcome, side FROM "order" WHERE order_id = e.order_id LIMIT 1) AS o ON true
LEFT JOIN LATERAL (
    SELECT data->'legs'->(e.leg::integer) AS leg FROM event
    WHERE e.kind = 'trade' AND slot = e.slot AND slot_offset = e.slot_offset AND recorded_at = e.at LIMIT 1
) AS t ON true
ORDER BY e.at, e.slot, e.slot_offset, e.leg
"""
_FILLS = """
SELECT trade_id::text, order_id::text, executed_at, market_id::text, outcome, side, quantity, price_pips, fee_pips, role
FROM fill WHERE account_id = %(account)s AND trade_id >= %(trade)s AND trade_id < %(beyond)s
AND (trade_id, order_id) > (%(trade)s, %(order)s) AND executed_at >= %(begin)s AND executed_at < %(end)s
ORDER BY trade_id, order_id LIMIT %(limit)s
"""


def opening_balance(account_id: str, begin: dt.datetime, anchor: Anchor = NOTHING_YET) -> int:
    """What all entries before `begin` add up to, from an anchor on that is not later. O(entries)."""
    return anchor.balance_pips + _sum_between(account_id, anchor.at, begin)


def closing_balance(account_id: str, end: dt.datetime, *, now: dt.datetime) -> int:
    """What the account has, less all entries from `end` on. O(entries since)."""
    today = max(end, _midnight(now))
    with reading().cursor() as cursor:
        cursor.execute(_LESS_LATER, [today, account_id])
        row = cursor.fetchone()
    return (0 if row is None else int(row[0])) - _sum_between(account_id, end, today)


def entries(account_id: str, begin: dt.datetime, end: dt.datetime) -> Iterator[StatementEntry]:
    """The changes of cash from `begin` to before `end`, oldest first."""
    key: dict[str, Any] = {"at": begin, "slot": -1, "offset": -1, "leg": -1}
    while True:
        rows = _query(_ENTRIES, {"account": account_id, "end": end, "limit": PAGE_ROWS, **key})
        yield from map(StatementEntry._make, rows)
        if len(rows) < PAGE_ROWS:
            return
        key = dict(zip(key, rows[-1], strict=False))


def fills(account_id: str, begin: dt.datetime, end: dt.datetime) -> Iterator[StatementFill]:
    """The executions of the account's orders from `begin` to before `end`, oldest first."""
    key = {"trade": first_id_at(max(EPOCH, begin - IDS_DIFFER_BY)), "order": BEFORE_ALL}
    terms = {"account": account_id, "begin": begin, "end": end, "limit": PAGE_ROWS,
             "beyond": first_id_after(to_us(end + IDS_DIFFER_BY))}  # fmt: skip
    while True:
        rows = _query(_FILLS, {**terms, **key})
        yield from map(StatementFill._make, rows)
        if len(rows) < PAGE_ROWS:
            return
        key = dict(zip(key, rows[-1], strict=False))


def _sum_between(account_id: str, begin: dt.datetime, end: dt.datetime) -> int:
    """A day at a time, and no time for days without entries."""
    total = 0
    while begin < end:
        ((first,),) = _query(_NEXT, [account_id, begin, end])
        if first is None:
            break
        begin = min(end, _midnight(first) + DAY)
        ((of_day,),) = _query(_SUM, [account_id, first, begin])
        total += of_day
    return total


def _midnight(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _query(sql: str, arguments: Any) -> list[tuple[Any, ...]]:
    with reading().cursor() as cursor:
        cursor.execute(sql, arguments)
        return list(cursor.fetchall())
