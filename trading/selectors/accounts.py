"""An account's orders, fills, positions and settlements, newest first, and what its positions are worth."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from trading.eventlog.codec import to_us
from trading.order_view import ORDER_COLUMNS, order_view_of
from trading.replicas import reading
from trading.selectors.pages import Cursor, Moment, Number, Page
from trading.selectors.prices import Prices, share_prices
from trading.wire import OrderView

# Where ORDER_COLUMNS have it: an OrderView's place, less the fills before it.
_SEQ_AT = OrderView.__struct_fields__.index("seq") - 1
ORDER_STATUSES = ("open", "filled", "cancelled", "expired", "rejected")


class OwnFill(NamedTuple):
    """One order's part of an execution, in its owner's terms."""

    trade_id: str
    order_id: str
    client_order_id: str | None
    market_id: str
    outcome: int
    side: str
    price_pips: int
    quantity_shares: int
    fee_pips: int
    role: str
    at: dt.datetime


class HeldPosition(NamedTuple):
    """Shares of one outcome. `value_pips` is None where no price is known."""

    market_id: str
    outcome: int
    quantity_shares: int
    cost_pips: int
    realized_pips: int
    value_pips: int | None

    @property
    def average_pips(self) -> int | None:
        """What a share held has cost, half up to whole pips; None without shares."""
        held = self.quantity_shares
        return (2 * self.cost_pips + held) // (2 * held) if held else None

    @property
    def unrealized_pips(self) -> int | None:
        return None if self.value_pips is None else self.value_pips - self.cost_pips


class OwnSettlement(NamedTuple):
    """What the end of a market gave an account and, where it was voided, took back first."""

    settlement_id: str
    market_id: str
    kind: str
    status: str
    payouts: list[int] | None
    paid_pips: int | None
    taken_back_pips: int
    paid_at: dt.datetime | None
    created_at: dt.datetime


class Totals(NamedTuple):
    """Sums over an account's positions; positions without a known price count in `cost_pips` alone."""

    positions: int
    open_orders: int
    value_pips: int
    cost_pips: int
    realized_pips: int
    unrealized_pips: int


# Orders -----------------------------------------------------------------------------------------


class _OrderKey(NamedTuple):
    order_id: UUID


_ORDERS = Cursor("orders", _OrderKey)

_NEWEST = """
SELECT * FROM "order" AS w WHERE w.account_id = %(account)s AND {chosen}
AND (%(before)s::uuid IS NULL OR w.order_id < %(before)s) ORDER BY w.order_id DESC LIMIT %(limit)s
"""
_OPEN = _NEWEST.format(chosen="w.status = 'open' AND (%(market)s::uuid IS NULL OR w.market_id = %(market)s)")
_OF_MARKET = _NEWEST.format(chosen="w.market_id = %(market)s")
# The index has the status before the id: each status is read newest first by itself, and the few rows merged.
_EVERY = """
SELECT o.* FROM unnest(%(statuses)s::text[]) AS wanted(status) CROSS JOIN LATERAL ({newest}) AS o
""".format(newest=_NEWEST.format(chosen="w.status = wanted.status"))
_ORDER_PAGE = f"""
SELECT {ORDER_COLUMNS}
FROM ({{chosen}}) AS o
ORDER BY o.order_id DESC LIMIT %(limit)s
"""  # noqa: S608


def orders_page(
    account_id: str, *, market_id: str | None, only_open: bool, limit: int, cursor: str | None
) -> Page[OrderView]:
    """Orders with their fills, newest first."""
    key = _ORDERS.read(cursor)
    wanted = {
        "account": account_id,
        "market": market_id,
        "statuses": list(ORDER_STATUSES),
        "before": None if key is None else key.order_id,
        "limit": limit + 1,
    }
    chosen = _OPEN if only_open else _EVERY if market_id is None else _OF_MARKET
    rows = _query(_ORDER_PAGE.format(chosen=chosen), wanted)
    page = _ORDERS.page(rows, limit=limit, key_of=lambda row: _OrderKey(UUID(row[0])))
    return Page(_with_fills(page.rows), page.next)


def _with_fills(rows: Sequence[Sequence[Any]]) -> list[OrderView]:
    """The orders of these rows with the fills that they count: others may have come since the rows were read."""
    seqs = {row[0]: row[_SEQ_AT] for row in rows}
    fills: dict[str, list[tuple[str, int, int, int]]] = {}
    found = _query(
        "SELECT seq, order_id::text, trade_id::text, price_pips, quantity, fee_pips FROM fill "
        "WHERE order_id = ANY(%s::uuid[]) ORDER BY seq, trade_id",
        [list(seqs)],
    )
    for seq, order_id, *fill in found:
        if seq <= seqs[order_id]:
            fills.setdefault(order_id, []).append(tuple(fill))
    return [order_view_of(row, fills.get(row[0], [])) for row in rows]


def orders_named(account_id: str, order_ids: Sequence[str]) -> list[OrderView]:
    """These orders of the account with their fills, oldest first; those that are another's are left out."""
    rows = _query(
        f'SELECT {ORDER_COLUMNS} FROM "order" o '  # noqa: S608
        "WHERE o.order_id = ANY(%s::uuid[]) AND o.account_id = %s ORDER BY o.order_id",
        [list(order_ids), account_id],
    )
    return _with_fills(rows)


# Fills ------------------------------------------------------------------------------------------


_FILL_COLUMNS = (
    "trade_id::text, order_id::text, client_order_id, market_id::text, outcome, side, price_pips, quantity, fee_pips, "
    "role, executed_at"
)


class _FillKey(NamedTuple):
    trade_id: UUID
    order_id: UUID


_FILLS = Cursor("fills", _FillKey)


def fills_page(account_id: str, *, market_id: str | None, limit: int, cursor: str | None) -> Page[OwnFill]:
    """Executions of the account's orders, newest first."""
    key = _FILLS.read(cursor)
    rows = _query(
        f"""
        SELECT {_FILL_COLUMNS} FROM fill AS f
        WHERE account_id = %(account)s AND (%(market)s::uuid IS NULL OR market_id = %(market)s)
        AND (%(trade)s::uuid IS NULL OR (trade_id, order_id) < (%(trade)s, %(order)s))
        ORDER BY f.trade_id DESC, f.order_id DESC LIMIT %(limit)s
        """,  # noqa: S608
        {
            "account": account_id,
            "market": market_id,
            "trade": None if key is None else key.trade_id,
            "order": None if key is None else key.order_id,
            "limit": limit + 1,
        },
    )
    fills = [OwnFill(*row) for row in rows]
    return _FILLS.page(
        fills, limit=limit, key_of=lambda fill: _FillKey(UUID(fill.trade_id), UUID(fill.order_id))
    )


def fills_named(account_id: str, trade_ids: Sequence[str]) -> list[OwnFill]:
    """The account's executions in these trades, oldest first."""
    rows = _query(
        f"SELECT {_FILL_COLUMNS} FROM fill AS f "  # noqa: S608
        "WHERE account_id = %s AND trade_id = ANY(%s::uuid[]) ORDER BY f.trade_id, f.order_id",
        [account_id, list(trade_ids)],
    )
    return [OwnFill(*row) for row in rows]


# Positions --------------------------------------------------------------------------------------


class _PositionKey(NamedTuple):
    market_id: UUID
    outcome: Number


_POSITIONS = Cursor("positions", _PositionKey)


def positions_page(
    account_id: str, *, market_id: str | None, only_open: bool, limit: int, cursor: str | None
) -> Page[HeldPosition]:
    """Positions, newest market first; `only_open` leaves out those without shares."""
    key = _POSITIONS.read(cursor)
    rows = _query(
        """
        SELECT market_id::text, outcome, quantity, cost_pips, realized_pips FROM position AS p
        WHERE account_id = %(account)s AND (%(market)s::uuid IS NULL OR market_id = %(market)s)
        AND (quantity > 0 OR NOT %(only_open)s)
        AND (%(before)s::uuid IS NULL OR market_id < %(before)s OR (market_id = %(before)s AND outcome > %(outcome)s))
        ORDER BY p.market_id DESC, p.outcome LIMIT %(limit)s
        """,
        {
            "account": account_id,
            "market": market_id,
            "only_open": only_open,
            "before": None if key is None else key.market_id,
            "outcome": None if key is None else key.outcome,
            "limit": limit + 1,
        },
    )
    prices = share_prices(sorted({row[0] for row in rows}))
    positions = [HeldPosition._make([*row, _value(prices, *row[:3])]) for row in rows]
    return _POSITIONS.page(positions, limit=limit, key_of=lambda held: _PositionKey(UUID(held[0]), held[1]))


def positions_in(account_id: str, market_ids: Sequence[str]) -> list[HeldPosition]:
    """What the account holds or has held in these markets."""
    rows = _query(
        "SELECT market_id::text, outcome, quantity, cost_pips, realized_pips FROM position AS p "
        "WHERE account_id = %s AND market_id = ANY(%s::uuid[]) ORDER BY p.market_id, p.outcome",
        [account_id, list(market_ids)],
    )
    prices = share_prices(sorted({row[0] for row in rows}))
    return [HeldPosition._make([*row, _value(prices, *row[:3])]) for row in rows]


def positions_value(account_id: str) -> int:
    """What all shares of an account are worth, in pips; shares without a known price are left out."""
    return totals(account_id).value_pips


def totals(account_id: str) -> Totals:
    """Sums over everything the account holds or has held."""
    rows = _query(
        "SELECT market_id::text, outcome, quantity, cost_pips, realized_pips FROM position WHERE account_id = %s",
        [account_id],
    )
    prices = share_prices(sorted({row[0] for row in rows if row[2]}))
    held = [HeldPosition._make([*row, _value(prices, *row[:3])]) for row in rows]
    ((open_orders,),) = _query(
        "SELECT count(*) FROM \"order\" WHERE account_id = %s AND status = 'open'", [account_id]
    )
    return Totals(
        positions=sum(each.quantity_shares > 0 for each in held),
        open_orders=open_orders,
        value_pips=sum(each.value_pips or 0 for each in held),
        cost_pips=sum(each.cost_pips for each in held),
        realized_pips=sum(each.realized_pips for each in held),
        unrealized_pips=sum(each.unrealized_pips or 0 for each in held),
    )


def _value(prices: dict[str, Prices], market_id: str, outcome: int, quantity: int) -> int | None:
    if quantity == 0:
        return 0
    known = prices.get(market_id)
    price = known[outcome] if known is not None else None
    return None if price is None else price * quantity


# Settlements ------------------------------------------------------------------------------------


class _SettlementKey(NamedTuple):
    created_us: Moment
    settlement_id: UUID


_SETTLEMENTS = Cursor("settlements", _SettlementKey)

# Who has traded in a market has a position row there, and those are indexed by account; payments are not.
_SETTLEMENT_PAGE = """
SELECT s.settlement_id::text, s.market_id::text, s.kind, s.status, s.payouts, paid.amount_pips,
       coalesce(taken.amount_pips, 0), paid.paid_at, s.created_at
FROM (SELECT DISTINCT market_id FROM position WHERE account_id = %(account)s
      AND (%(market)s::uuid IS NULL OR market_id = %(market)s)) AS traded
JOIN settlement s USING (market_id)
LEFT JOIN settlement_account paid
    ON paid.settlement_id = s.settlement_id AND paid.account_id = %(account)s
    AND paid.step IN ('pay', 'undo_take_back')
LEFT JOIN settlement_account taken
    ON taken.settlement_id = s.settlement_id AND taken.account_id = %(account)s
    AND taken.step IN ('take_back', 'undo_pay')
WHERE %(id)s::uuid IS NULL
   OR (s.created_at, s.settlement_id) < (to_timestamp(0) + %(created_us)s * interval '1 microsecond', %(id)s)
ORDER BY s.created_at DESC, s.settlement_id DESC LIMIT %(limit)s
"""


def settlements_page(
    account_id: str, *, market_id: str | None, limit: int, cursor: str | None
) -> Page[OwnSettlement]:
    """Settlements of the markets in which the account has traded, newest first."""
    key = _SETTLEMENTS.read(cursor)
    rows = _query(
        _SETTLEMENT_PAGE,
        {
            "account": account_id,
            "market": market_id,
            "created_us": 0 if key is None else key.created_us,
            "id": None if key is None else key.settlement_id,
            "limit": limit + 1,
        },
    )
    settlements = [OwnSettlement(*row) for row in rows]
    return _SETTLEMENTS.page(
        settlements,
        limit=limit,
        key_of=lambda each: _SettlementKey(to_us(each.created_at), UUID(each.settlement_id)),
    )


def _query(sql: str, arguments: Any) -> list[tuple[Any, ...]]:
    with reading().cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()
