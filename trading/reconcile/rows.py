"""What the tables hold, in the shapes of the folds. Cursors are psycopg's, inside the caller's snapshot."""

from collections.abc import Sequence
from typing import Any, NamedTuple

PROJECTIONS = ("orders", "trades", "positions", "books", "candles", "markets")
ACCOUNT_PROJECTIONS = ("ledger", "positions")
"""Those that add up by account, over all slots."""
ALL_TIME = "-infinity"


class Money(NamedTuple):
    """One moment: the heads of the slots and everything that commits together with them."""

    heads: dict[int, int]
    cash: dict[str, tuple[int, int, int, int]]
    """(cash, reserved, debt, fees paid) by account."""
    in_flight: dict[str, int]
    settlements: dict[str, tuple[str, str, int]]
    """(market, status, paid) by settlement."""


def read_money(cursor: Any) -> Money:
    cursor.execute("SELECT slot, next_offset FROM slot")
    heads = dict(cursor.fetchall())
    cursor.execute(
        "SELECT account_id::text, cash_pips, reserved_pips, debt_pips, fees_paid_pips FROM cash_account"
    )
    cash = {row[0]: row[1:] for row in cursor.fetchall()}
    cursor.execute(
        "SELECT t.account_id::text, sum(t.amount)::bigint "
        "FROM batch b, unnest(b.accounts, b.amounts) AS t(account_id, amount) GROUP BY 1"
    )
    in_flight = dict(cursor.fetchall())
    cursor.execute("SELECT settlement_id::text, market_id::text, status, paid_pips FROM settlement")
    return Money(heads, cash, in_flight, {row[0]: row[1:] for row in cursor.fetchall()})


def read_checkpoints(cursor: Any) -> dict[str, dict[int, int]]:
    """next_offset by projection and slot."""
    cursor.execute("SELECT projection, slot, next_offset FROM projection_checkpoint")
    found: dict[str, dict[int, int]] = {name: {} for name in {*PROJECTIONS, *ACCOUNT_PROJECTIONS}}
    for projection, slot, next_offset in cursor.fetchall():
        found.setdefault(projection, {})[slot] = next_offset
    return found


class MarketRows(NamedTuple):
    """Everything that the read models hold of some markets, by market."""

    orders: dict[str, dict[str, dict[str, Any]]]
    fills: dict[str, list[int]]
    trades: dict[str, list[int]]
    positions: dict[str, dict[tuple[str, int], tuple[int, int, int]]]
    flows: dict[str, dict[str, list[int]]]
    forecasts: dict[str, dict[tuple[str, int], list[int]]]
    markets: dict[str, dict[str, Any]]
    levels: dict[str, dict[tuple[int, bool, int], list[int]]]
    """(shares, orders) by outcome, side and price."""
    bars: dict[str, dict[str, list[int]]]
    """Sums of the bars of each resolution."""


_ORDERS = """
SELECT market_id::text, order_id::text, account_id::text, client_order_id, outcome, side, type, price_pips, quantity,
       filled, cost_pips, fees_pips, time_in_force, {created}, {updated}, seq, status, reason, reserved_pips
FROM "order" WHERE market_id = ANY(%s::uuid[])
"""
_ORDER_FIELDS = (
    "account", "client_order_id", "outcome", "side", "type", "price", "quantity", "filled", "cost", "fees", "tif",
    "created", "updated", "seq", "status", "reason", "reserved",
)  # fmt: skip
_MARKETS = """
SELECT m.market_id::text, ARRAY(SELECT name FROM outcome o WHERE o.market_id = m.market_id ORDER BY index), m.tick_pips,
       m.taker_fee_e4, m.maker_fee_e4, {closes}, m.status, m.resolution->'payouts', m.settlement_id::text,
       s.volume_pips, s.trade_count, s.trader_count, s.open_interest_sets, s.fees_pips, s.last_prices, s.seq
FROM market m LEFT JOIN market_summary s USING (market_id) WHERE m.market_id = ANY(%s::uuid[])
"""
_MARKET_FIELDS = (
    "outcomes", "tick", "taker_fee_e4", "maker_fee_e4", "closes", "status", "payouts", "settlement", "volume", "trades",
    "traders", "sets", "fees", "last", "seq",
)  # fmt: skip


def read_markets(cursor: Any, market_ids: Sequence[str]) -> MarketRows:
    """The rows of some markets."""
    wanted = [list(market_ids)]
    orders: dict[str, dict[str, dict[str, Any]]] = {market_id: {} for market_id in market_ids}
    cursor.execute(_ORDERS.format(created=_text("created_at"), updated=_text("updated_at")), wanted)
    for market_id, order_id, *values in cursor.fetchall():
        orders[market_id][order_id] = dict(zip(_ORDER_FIELDS, values, strict=True))
    cursor.execute(_MARKETS.format(closes=_text("m.closes_at")), wanted)
    markets = {row[0]: dict(zip(_MARKET_FIELDS, row[1:], strict=True)) for row in cursor.fetchall()}
    return MarketRows(
        orders=orders,
        fills=_sums(
            cursor,
            "fill",
            "sum(quantity)::bigint, sum(price_pips * quantity)::bigint, sum(fee_pips)::bigint",
            wanted,
        ),
        trades=_sums(cursor, "trade", "sum(quantity)::bigint, sum(price_pips * quantity)::bigint", wanted),
        positions=_positions(cursor, wanted),
        flows=_flows(cursor, wanted),
        forecasts=_forecasts(cursor, wanted),
        markets=markets,
        levels=_levels(cursor, wanted),
        bars=_bars(cursor, wanted),
    )


def _text(column: str) -> str:
    """A time as the codec writes it, so that microseconds compare exactly."""
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def _sums(cursor: Any, table: str, sums: str, wanted: list[Any]) -> dict[str, list[int]]:
    cursor.execute(
        f"SELECT market_id::text, count(*), {sums} FROM {table} WHERE market_id = ANY(%s::uuid[]) GROUP BY 1",  # noqa: S608
        wanted,
    )
    return {row[0]: list(row[1:]) for row in cursor.fetchall()}


def _positions(cursor: Any, wanted: list[Any]) -> dict[str, dict[tuple[str, int], tuple[int, int, int]]]:
    cursor.execute(
        "SELECT market_id::text, account_id::text, outcome, quantity, cost_pips, realized_pips FROM position "
        "WHERE market_id = ANY(%s::uuid[])",
        wanted,
    )
    found: dict[str, dict[tuple[str, int], tuple[int, int, int]]] = {}
    for market_id, account_id, outcome, *values in cursor.fetchall():
        found.setdefault(market_id, {})[account_id, outcome] = tuple(values)
    return found


def _flows(cursor: Any, wanted: list[Any]) -> dict[str, dict[str, list[int]]]:
    cursor.execute(
        "SELECT market_id::text, account_id::text, net_cash_pips, fees_pips FROM participation "
        "WHERE market_id = ANY(%s::uuid[])",
        wanted,
    )
    found: dict[str, dict[str, list[int]]] = {}
    for market_id, account_id, *values in cursor.fetchall():
        found.setdefault(market_id, {})[account_id] = values
    return found


def _forecasts(cursor: Any, wanted: list[Any]) -> dict[str, dict[tuple[str, int], list[int]]]:
    cursor.execute(
        "SELECT market_id::text, account_id::text, outcome, quantity, price_sum, price_sq_sum::text FROM forecast "
        "WHERE market_id = ANY(%s::uuid[])",
        wanted,
    )
    found: dict[str, dict[tuple[str, int], list[int]]] = {}
    for market_id, account_id, outcome, *values in cursor.fetchall():
        found.setdefault(market_id, {})[account_id, outcome] = [int(value) for value in values]
    return found


def _levels(cursor: Any, wanted: list[Any]) -> dict[str, dict[tuple[int, bool, int], list[int]]]:
    cursor.execute(
        "SELECT market_id::text, outcome, is_bid, price_pips, quantity, orders FROM book_level "
        "WHERE market_id = ANY(%s::uuid[])",
        wanted,
    )
    found: dict[str, dict[tuple[int, bool, int], list[int]]] = {}
    for market_id, outcome, is_bid, price, *values in cursor.fetchall():
        found.setdefault(market_id, {})[outcome, is_bid, price] = values
    return found


def _bars(cursor: Any, wanted: list[Any]) -> dict[str, dict[str, list[int]]]:
    cursor.execute(
        "SELECT market_id::text, resolution, sum(trades)::bigint, sum(quantity)::bigint, sum(volume_pips)::bigint "
        "FROM trade_bar WHERE market_id = ANY(%s::uuid[]) GROUP BY 1, 2",
        wanted,
    )
    found: dict[str, dict[str, list[int]]] = {}
    for market_id, resolution, *sums in cursor.fetchall():
        found.setdefault(market_id, {})[resolution] = sums
    return found


class Standing(NamedTuple):
    """What an account's standings say."""

    days: dict[str, tuple[int, ...]]
    """(volume, sum of scores, scored markets) of each day and of all time, those without any of it left out."""
    realized_by_day: int
    realized: int | None
    """In the row of all time; None: there is none."""
    realized_by_positions: int


class LedgerSums(NamedTuple):
    """What the ledger says of an account: its own row (None: there is none), and its entries added up."""

    cash_pips: int | None
    seq: int | None
    entered_pips: int
    entries: int


def strangers(cursor: Any) -> list[str]:
    """Tables with rows of a market that the log has never heard of."""
    found = []
    for table in (
        "order", "fill", "trade", "position", "participation", "forecast", "market", "market_summary", "book_level",
        "trade_bar",
    ):  # fmt: skip
        cursor.execute(
            f'SELECT market_id::text FROM "{table}" t '  # noqa: S608
            "WHERE NOT EXISTS (SELECT FROM stream WHERE id = t.market_id) LIMIT 1"
        )
        found += [
            f"{table} has rows of market {market_id}, unknown to the log"
            for (market_id,) in cursor.fetchall()
        ]
    return found


_WITHIN = "account_id > %(after)s AND (%(up_to)s::uuid IS NULL OR account_id <= %(up_to)s)"


def read_ledger(cursor: Any, after: str | None, up_to: str | None) -> dict[str, LedgerSums]:
    """What the ledger holds of the accounts in a range of ids, which has no end where `up_to` is None."""
    cursor.execute(
        "SELECT account_id::text, a.cash_pips, a.seq, coalesce(e.cash_pips, 0), coalesce(e.entries, 0) "  # noqa: S608
        f"FROM (SELECT * FROM account_ledger WHERE {_WITHIN}) AS a FULL JOIN ("
        "SELECT account_id, sum(amount_pips)::bigint AS cash_pips, count(*) AS entries FROM ledger_entry "
        f"WHERE {_WITHIN} GROUP BY 1) AS e USING (account_id)",
        {"after": after, "up_to": up_to},
    )
    return {account_id: LedgerSums(*values) for account_id, *values in cursor.fetchall()}


def read_standings(cursor: Any, after: str | None, up_to: str | None) -> dict[str, Standing]:
    """What standings, and the positions they come from, hold of the accounts in a range of ids."""
    within = {"after": after, "up_to": up_to}
    cursor.execute(
        "SELECT account_id::text, day::text, realized_pips, volume_pips, score_sum_e8, scored_markets "  # noqa: S608
        f"FROM standing WHERE {_WITHIN}",
        within,
    )
    rows: dict[str, dict[str, tuple[int, ...]]] = {}
    for account_id, day, *values in cursor.fetchall():
        rows.setdefault(account_id, {})[day] = tuple(values)
    cursor.execute(
        f"SELECT account_id::text, sum(realized_pips)::bigint FROM position WHERE {_WITHIN} GROUP BY 1",  # noqa: S608
        within,
    )
    by_positions = dict(cursor.fetchall())
    return {
        account_id: _standing(rows.get(account_id, {}), by_positions.get(account_id, 0))
        for account_id in rows.keys() | by_positions.keys()
    }


def _standing(days: dict[str, tuple[int, ...]], realized_by_positions: int) -> Standing:
    return Standing(
        days={day: values[1:] for day, values in days.items() if any(values[1:])},
        realized_by_day=sum(values[0] for day, values in days.items() if day != ALL_TIME),
        realized=days[ALL_TIME][0] if ALL_TIME in days else None,
        realized_by_positions=realized_by_positions,
    )
