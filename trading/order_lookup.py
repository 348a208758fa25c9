"""Finds one order in the read model, by id or by its owner's client id; waits a little for what is committed.

A claimed client id whose order is not readable yet is on its way: that is what the waiting is for.
"""

import time
from typing import Any

from django.db import connection

from trading.as_of import wait_for
from trading.ids import id_time_ms
from trading.wire import OrderView

WAIT_S = 2.0
POLL_S = 0.01
# An order this old would have been readable long ago: no use in waiting for it.
YOUNG_MS = 10_000

_ORDER = """
SELECT order_id::text, client_order_id, market_id::text, account_id::text, outcome, side, type, price_pips, quantity,
       filled, CASE WHEN status = 'open' THEN quantity - filled ELSE 0 END, cost_pips, fees_pips, time_in_force,
       status, reason, (extract(epoch FROM created_at) * 1000000)::bigint,
       (extract(epoch FROM updated_at) * 1000000)::bigint, seq
FROM "order" WHERE order_id = %s AND account_id = %s
"""


def find_order(
    *, account_id: str, order_id: str | None, client_order_id: str | None, min_as_of: str | None = None
) -> OrderView | None:
    """An order of the account as it now stands, or None. Waits up to 2 s; raises ReadLag for `min_as_of`."""
    if min_as_of is not None:
        wait_for(min_as_of, ("orders", "trades"))
    deadline = time.monotonic() + WAIT_S
    while True:
        claimed = False
        if client_order_id is not None:
            named = _claim(account_id, client_order_id)
            claimed, order_id = named is not None, named[0] if named is not None else None
        view = _read(account_id, order_id) if order_id is not None else None
        if view is not None:
            return view
        may_come = claimed or (order_id is not None and time.time() * 1000 - id_time_ms(order_id) < YOUNG_MS)
        if (not may_come and client_order_id is None) or time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)


def market_of_order(*, account_id: str, order_id: str | None, client_order_id: str | None) -> str | None:
    """The market of an order of the account that was named without it; None if there is no such order."""
    if client_order_id is not None:
        named = _claim(account_id, client_order_id)
        return named[1] if named is not None else None
    view = find_order(account_id=account_id, order_id=order_id, client_order_id=None)
    return view.market_id if view is not None else None


def open_order_markets(*, account_id: str) -> list[str]:
    """The markets in which the account has open orders, as far as the read model knows."""
    rows = _query(
        "SELECT DISTINCT market_id::text FROM \"order\" WHERE account_id = %s AND status = 'open'",
        [account_id],
    )
    return [row[0] for row in rows]


def _claim(account_id: str, key: str) -> tuple[str | None, str] | None:
    rows = _query(
        "SELECT order_id::text, market_id::text FROM client_order WHERE account_id = %s AND key = %s",
        [account_id, key],
    )
    return (rows[0][0], rows[0][1]) if rows else None


def _read(account_id: str, order_id: str) -> OrderView | None:
    rows = _query(_ORDER, [order_id, account_id])
    if not rows:
        return None
    fills = _query(
        "SELECT trade_id::text, price_pips, quantity, fee_pips FROM fill WHERE order_id = %s ORDER BY trade_id",
        [order_id],
    )
    columns = rows[0]
    return OrderView._make([*columns[:16], fills, *columns[16:]])


def _query(sql: str, arguments: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()
