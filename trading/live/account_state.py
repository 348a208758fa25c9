"""What sockets are told of an account, read from one moment of the primary: all of it, or the rows that changed."""

from typing import Any, NamedTuple

from django.db import connection, transaction

from trading.account_news import Changes
from trading.account_view import fill_json, position_json
from trading.as_of import covers, read_as_of
from trading.cash import account_balance
from trading.live.blocking import in_thread
from trading.market_terms import market_terms
from trading.money import format_pips
from trading.order_view import order_json
from trading.selectors import accounts
from trading.wire import OrderView

PROJECTIONS = ("orders", "positions", "ledger")
MOST_ORDERS = 500


class Wanted(NamedTuple):
    """An account, what has changed of it (None: nothing that is known), and whether all of it is asked for."""

    account_id: str
    changes: Changes | None
    everything: bool


class State(NamedTuple):
    """The account at its number `seq`; the parts that were asked for."""

    seq: int
    update: dict[str, Any] | None
    snapshot: dict[str, Any] | None


def read_accounts(wanted: list[Wanted]) -> dict[str, State]:
    """The accounts whose rows have come as far as their changes say; the others are left out."""
    return {
        each.account_id: state for each in wanted if (state := _read(each)) is not None
    }  # fmt: skip


def read_numbers(account_ids: list[str]) -> dict[str, int]:
    """How many events have named each account; 0 for one that none has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT account_id::text, seq FROM account_ledger WHERE account_id = ANY(%s::uuid[])",
            [account_ids],
        )
        found = dict(cursor.fetchall())
    return {account_id: found.get(account_id, 0) for account_id in account_ids}


def _read(wanted: Wanted) -> State | None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        as_of = read_as_of(PROJECTIONS)
        if wanted.changes is not None and not covers(as_of, wanted.changes.as_of):
            return None
        seq = read_numbers([wanted.account_id])[wanted.account_id]
        balance = _balance(wanted.account_id)
        update = (
            None if wanted.changes is None else _update(wanted.account_id, wanted.changes, balance, as_of)
        )
        snapshot = _snapshot(wanted.account_id, balance, as_of) if wanted.everything else None
    return State(seq, update, snapshot)


def _update(account_id: str, changes: Changes, balance: dict[str, str], as_of: str) -> dict[str, Any]:
    return {
        "type": "update",
        "orders": _orders(accounts.orders_named(account_id, changes.orders), as_of),
        "fills": [fill_json(fill) for fill in accounts.fills_named(account_id, changes.trades)],
        "positions": [position_json(held) for held in accounts.positions_in(account_id, changes.markets)],
        "balance": balance,
        "as_of": as_of,
    }


def _snapshot(account_id: str, balance: dict[str, str], as_of: str) -> dict[str, Any]:
    """The newest open orders and positions, and whether there are more, which REST has."""
    page = {"market_id": None, "only_open": True, "limit": MOST_ORDERS, "cursor": None}
    orders = accounts.orders_page(account_id, **page)  # type: ignore[arg-type]
    positions = accounts.positions_page(account_id, **page)  # type: ignore[arg-type]
    return {
        "type": "snapshot",
        "orders": _orders(orders.rows, as_of),
        "positions": [position_json(held) for held in positions.rows],
        "balance": balance,
        "more_orders": orders.next is not None,
        "more_positions": positions.next is not None,
        "as_of": as_of,
    }


def _orders(views: Any, as_of: str) -> list[dict[str, Any]]:
    return [_order(view, as_of) for view in views]


def _order(view: OrderView, as_of: str) -> dict[str, Any]:
    return order_json(view, market_terms(view.market_id).outcomes, as_of)


def _balance(account_id: str) -> dict[str, str]:
    balance = account_balance(account_id)
    return {name: format_pips(balance[f"{name}_pips"]) for name in ("cash", "reserved", "debt", "fees_paid")}


async def accounts_now(wanted: list[Wanted]) -> dict[str, State]:
    """`read_accounts` for an event loop."""
    return await in_thread(lambda: read_accounts(wanted))


async def numbers_now(account_ids: list[str]) -> dict[str, int]:
    """`read_numbers` for an event loop."""
    return await in_thread(lambda: read_numbers(account_ids))
