"""Average-cost arithmetic of one account's shares in one market, in integer pips. Pure.

Fees go to `realized_pips` at once, so that an average price is a price. While a market trades, the
sum over outcomes of realized - cost is what the account has taken out of the market on balance:
every pip that moves is either in a cost or realized.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trading.money import SHARE_PIPS


class Row:
    """One outcome: shares held, what those cost, and what earlier ones have brought in.

    `touched` says that something was booked since the row was last written. A stored row exists from
    the first booking on, whatever it adds up to, so that rows do not depend on how events are batched.
    """

    __slots__ = ("cost_pips", "quantity", "realized_pips", "touched")

    def __init__(self, quantity: int = 0, cost_pips: int = 0, realized_pips: int = 0) -> None:
        self.quantity = quantity
        self.cost_pips = cost_pips
        self.realized_pips = realized_pips
        self.touched = False

    def acquire(self, units: int, paid_pips: int) -> None:
        self.touched = True
        self.quantity += units
        self.cost_pips += paid_pips

    def take_out(self, units: int) -> int:
        """Removes units and answers what they cost, on average and rounded down; the last unit takes the rest."""
        if units > self.quantity:
            raise ValueError(f"{units} shares leave a position of {self.quantity}")
        cost = self.cost_pips if units == self.quantity else self.cost_pips * units // self.quantity
        self.touched = True
        self.quantity -= units
        self.cost_pips -= cost
        return cost

    def dispose(self, units: int, proceeds_pips: int) -> None:
        self.realize(proceeds_pips - self.take_out(units))

    def realize(self, gain_pips: int) -> None:
        self.touched = True
        self.realized_pips += gain_pips


def split_evenly(total: int, parts: int) -> Iterator[int]:
    """`parts` whole numbers that add up to `total`, the first of them taking the remainder."""
    share, rest = divmod(total, parts)
    yield share + rest
    for _ in range(parts - 1):
        yield share


class Holding:
    """The rows of one account in one market, one an outcome."""

    __slots__ = ("rows",)

    def __init__(self, outcomes: int) -> None:
        self.rows = [Row() for _ in range(outcomes)]

    def fill(self, leg: dict[str, Any]) -> None:
        """One leg of a match: `delivered` units against shares held, the rest against cash, then netting."""
        delivered, price = leg.get("delivered", 0), leg["price"]
        by_cash = leg["quantity"] - delivered
        own = self.rows[leg["outcome"]]
        others = [row for row in self.rows if row is not own]
        if leg["side"] == "buy":
            if delivered:
                _dispose_all(others, delivered, (SHARE_PIPS - price) * delivered)
            if by_cash:
                own.acquire(by_cash, price * by_cash)
        else:
            if delivered:
                own.dispose(delivered, price * delivered)
            if by_cash:
                _acquire_all(others, by_cash, (SHARE_PIPS - price) * by_cash)
        if netted := leg.get("netted", 0):
            self.net(netted)
        if fee := leg.get("fee", 0):
            # The fee stands with the shares that moved.
            moved_own = by_cash if leg["side"] == "buy" else delivered
            (own if moved_own else others[0]).realize(-fee)

    def net(self, sets: int) -> None:
        """Complete sets turn into $1 each. Each outcome gets back its cost; what is over is split evenly."""
        costs = [row.take_out(sets) for row in self.rows]
        over = SHARE_PIPS * sets - sum(costs)
        for row, gain in zip(self.rows, split_evenly(over, len(self.rows)), strict=True):
            row.realize(gain)

    def close(self, payouts: Iterable[int]) -> None:
        """Every share is paid what its outcome pays."""
        for row, payout in zip(self.rows, payouts, strict=True):
            if row.quantity:
                row.dispose(row.quantity, payout * row.quantity)

    def reopen(self, quantities: Sequence[int], costs_pips: Sequence[int], payouts: Sequence[int]) -> None:
        """Undoes `close`, after which nothing else was booked on shares."""
        for row, quantity, cost, payout in zip(self.rows, quantities, costs_pips, payouts, strict=True):
            if quantity:
                row.acquire(quantity, cost)
                row.realize(cost - payout * quantity)

    @property
    def realized_pips(self) -> int:
        return sum([row.realized_pips for row in self.rows])

    @property
    def quantities(self) -> list[int]:
        return [row.quantity for row in self.rows]


def _acquire_all(rows: list[Row], units: int, paid_pips: int) -> None:
    for row, paid in zip(rows, split_evenly(paid_pips, len(rows)), strict=True):
        row.acquire(units, paid)


def _dispose_all(rows: list[Row], units: int, proceeds_pips: int) -> None:
    for row, proceeds in zip(rows, split_evenly(proceeds_pips, len(rows)), strict=True):
        row.dispose(units, proceeds)


def leg_flow_pips(leg: dict[str, Any]) -> int:
    """What the account takes out of the market (+) or puts in (-) by a leg, fee and netting included."""
    delivered, price = leg.get("delivered", 0), leg["price"]
    by_cash = leg["quantity"] - delivered
    if leg["side"] == "buy":
        flow = (SHARE_PIPS - price) * delivered - price * by_cash
    else:
        flow = price * delivered - (SHARE_PIPS - price) * by_cash
    flow += SHARE_PIPS * leg.get("netted", 0) - leg.get("fee", 0)
    return int(flow)
