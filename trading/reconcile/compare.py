"""Differences between the replay and the tables, one line each."""

from typing import TYPE_CHECKING, Any

from trading.reconcile.ledger import Ledger
from trading.reconcile.rows import LedgerSums, MarketRows, Money, Standing

if TYPE_CHECKING:
    from trading.reconcile.run import Closings, SlotFolds

_NOTHING: dict[Any, Any] = {}


def compare_money(money: Money, ledger: Ledger) -> list[str]:
    """Every account's cash, reserve and fees; every settlement's payments; and that no pip came or went."""
    found = []
    for account_id in sorted({*money.cash, *ledger.free, *ledger.reserved, *money.in_flight}):
        if account_id not in money.cash:
            found.append(f"account {account_id} has no cash row")
            continue
        cash, reserved, debt, fees_paid = money.cash[account_id]
        expected = ledger.free.get(account_id, 0) - money.in_flight.get(account_id, 0)
        found += _differ(f"account {account_id}: cash less debt", cash - debt, expected)
        found += _differ(f"account {account_id}: debt", debt, ledger.debt.get(account_id, 0))
        found += _differ(f"account {account_id}: reserved", reserved, ledger.reserved.get(account_id, 0))
        found += _differ(f"account {account_id}: fees paid", fees_paid, ledger.fees_paid.get(account_id, 0))
    for settlement_id, (_, _, paid) in sorted(money.settlements.items()):
        moved = ledger.moved_by_settlement.get(settlement_id, 0)
        found += _differ(f"settlement {settlement_id}: paid", paid, moved)
    return found + _conservation(money, ledger)


def _conservation(money: Money, ledger: Ledger) -> list[str]:
    """deposits - withdrawals = cash - debt + open batches + orders' reserves + collateral + fees"""
    free = sum(cash - debt for cash, _, debt, _ in money.cash.values())
    reserved = sum(reserved for _, reserved, _, _ in money.cash.values())
    accounted = free + reserved + sum(money.in_flight.values()) + ledger.held_by_markets
    return _differ("money in the exchange", accounted, ledger.deposited - ledger.withdrawn)


def compare_market(market_id: str, rows: MarketRows, folds: "SlotFolds", closings: "Closings") -> list[str]:
    """Everything the read models show of a market."""
    named = f"market {market_id}"
    found = _compare_orders(named, rows.orders[market_id], folds.orders.orders.get(market_id, {}))
    found += _differ(
        f"{named}: fills", rows.fills.get(market_id, [0] * 4), folds.orders.fills.get(market_id, [0] * 4)
    )
    found += _differ(
        f"{named}: trades", rows.trades.get(market_id, [0] * 3), folds.trades.trades.get(market_id, [0] * 3)
    )
    found += _compare_bars(market_id, rows, folds) + _compare_levels(market_id, rows, folds)
    found += _compare_summary(named, rows.markets.get(market_id), folds.markets.markets[market_id])
    found += _compare_holdings(market_id, rows, folds, closings)
    found += _compare_forecasts(market_id, rows, folds)
    return found


def compare_ledger(rows: dict[str, LedgerSums], log: dict[str, LedgerSums]) -> list[str]:
    """Every account's sum of cash, its entries and its number of events."""
    found = []
    for account_id, expected in sorted(log.items()):
        row = rows.get(account_id, LedgerSums(None, None, 0, 0))
        for name, actual, wanted in zip(LedgerSums._fields, row, expected, strict=True):
            found += _differ(f"ledger of account {account_id}: {name}", actual, wanted)
    return found


def compare_standing(account_id: str, row: Standing | None, log: dict[str, tuple[int, ...]]) -> list[str]:
    """Volume and scores of every day; what was realized in all is what the account's positions have realized."""
    row = row or Standing({}, 0, None, 0)
    named, found = f"standing of account {account_id}", []
    for day in sorted(row.days.keys() | log.keys()):
        found += _differ(f"{named}: volume and scores of {day}", row.days.get(day), log.get(day))
    if row.realized is None and not log and not row.realized_by_positions:
        return found
    found += _differ(f"{named}: realized", row.realized, row.realized_by_positions)
    return found + _differ(f"{named}: realized by day", row.realized_by_day, row.realized_by_positions)


def _compare_orders(named: str, rows: dict[str, dict[str, Any]], log: dict[str, dict[str, Any]]) -> list[str]:
    found = [f"{named}: order {order_id} is not in the log" for order_id in rows.keys() - log.keys()]
    for order_id, expected in log.items():
        row = rows.get(order_id)
        if row is None:
            found.append(f"{named}: order {order_id} is missing")
        elif row != expected:
            found += _fields(f"{named}: order {order_id}", row, expected)
    return found


def _compare_bars(market_id: str, rows: MarketRows, folds: "SlotFolds") -> list[str]:
    """The bars of each resolution hold together what was traded."""
    expected, sums = folds.candles.trades.get(market_id, [0] * 3), rows.bars.get(market_id, _NOTHING)
    found = []
    for resolution in ("1m", "1h"):
        found += _differ(f"market {market_id}: bars of {resolution}", sums.get(resolution, [0] * 3), expected)
    return found


def _compare_levels(market_id: str, rows: MarketRows, folds: "SlotFolds") -> list[str]:
    """Shares and orders at each price."""
    levels, expected = rows.levels.get(market_id, _NOTHING), folds.books.levels(market_id)
    found = []
    for key in sorted(levels.keys() | expected.keys()):
        outcome, is_bid, price = key
        named = f"market {market_id}: {'bids' if is_bid else 'asks'} of outcome {outcome} at {price}"
        found += _differ(named, levels.get(key), expected.get(key))
    return found


def _compare_summary(named: str, row: dict[str, Any] | None, log: dict[str, Any]) -> list[str]:
    if row is None:
        return [f"{named} is missing"]
    expected = {name: log[name] for name in row}
    found = _fields(named, row, expected) if row != expected else []
    if "counted" in log:
        found += _differ(f"{named}: sets and fees at its end", log["counted"], (log["sets"], log["fees"]))
    return found


def _compare_holdings(
    market_id: str, rows: MarketRows, folds: "SlotFolds", closings: "Closings"
) -> list[str]:
    """Shares, flows, what they have cost and earned, and that the shares add up to the sets outstanding."""
    fold, named = folds.positions, f"market {market_id}"
    shares = fold.shares.get(market_id, _NOTHING)
    flows = fold.flows.get(market_id, _NOTHING)
    positions = rows.positions.get(market_id, _NOTHING)
    closed = closings.closed.get(market_id, _NOTHING)
    found = []
    in_table = rows.flows.get(market_id, _NOTHING)
    for account_id in sorted(flows.keys() | in_table.keys()):
        taken, expected = in_table.get(account_id, [0, 0]), flows.get(account_id, [0, 0])
        found += _differ(f"{named}: net cash and fees of account {account_id}", taken, expected)
    if len(fold.sets(market_id)) != 1 or min(shares.values(), default=0) < 0:
        found.append(f"{named}: outcomes have {sorted(fold.sets(market_id))} shares, which make no sets")
    for account_id, outcome in sorted(shares.keys() | positions.keys()):
        held = positions.get((account_id, outcome), (0, 0, 0))[0]
        expected = 0 if account_id in closed else shares.get((account_id, outcome), 0)
        found += _differ(f"{named}: shares of outcome {outcome} of account {account_id}", held, expected)
    earned: dict[str, int] = {}
    for (account_id, _), (_, cost, realized) in positions.items():
        earned[account_id] = earned.get(account_id, 0) + realized - cost
    for account_id in sorted(flows.keys() | earned.keys()):
        expected = flows.get(account_id, [0])[0] + closings.refunds.get((market_id, account_id), 0)
        if account_id in closed:
            payouts = fold.payouts.get(closed[account_id], [0] * fold.outcomes[market_id])
            expected += sum(shares.get((account_id, index), 0) * pays for index, pays in enumerate(payouts))
        found += _differ(
            f"{named}: realized less cost of account {account_id}", earned.get(account_id, 0), expected
        )
    return found


def _compare_forecasts(market_id: str, rows: MarketRows, folds: "SlotFolds") -> list[str]:
    """Shares, and their prices and squared prices added up, by account and outcome."""
    stored, by_account = rows.forecasts.get(market_id, _NOTHING), folds.positions.forecasts[market_id]
    found = []
    for account_id, outcome in sorted(
        {*stored, *((each, index) for each in by_account for index in by_account[each])}
    ):
        named = f"market {market_id}: forecast of outcome {outcome} of account {account_id}"
        expected = by_account.get(account_id, _NOTHING).get(outcome)
        found += _differ(named, stored.get((account_id, outcome)), expected)
    return found


def _fields(named: str, row: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    return [
        f"{named}: {name} is {row.get(name)!r}, the log says {expected.get(name)!r}"
        for name in sorted(row.keys() | expected.keys())
        if row.get(name) != expected.get(name)
    ]


def _differ(named: str, actual: Any, expected: Any) -> list[str]:
    if actual == expected:
        return []
    if isinstance(actual, int) and isinstance(expected, int):
        return [f"{named} is {actual}, the log says {expected} (off by {actual - expected})"]
    return [f"{named}: {actual!r}, the log says {expected!r}"]
