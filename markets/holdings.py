"""An account's part in the markets, for its own pages: cash, positions with their value, open orders, fills.

Puts names to what trading's selectors read. Unknown values stay unknown (None) and count as nothing in a sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from markets.selectors import Listing, by_ids
from trading.cash import account_balance, balance_with_positions, equity_pips
from trading.money import SHARE_PIPS
from trading.selectors.accounts import (
    HeldPosition,
    OwnFill,
    Totals,
    fills_page,
    orders_page,
    positions_page,
    totals,
)
from trading.wire import OrderView

MAX_POSITIONS = 500
MAX_ORDERS = 200
FILLS_SHOWN = 50


class _InMarket(Protocol):
    @property
    def market_id(self) -> str: ...


Held = TypeVar("Held", bound=_InMarket)


@dataclass(frozen=True, slots=True)
class ShownPosition:
    """Shares of one outcome."""

    row: Listing
    held: HeldPosition

    @property
    def outcome(self) -> str:
        return self.row.outcomes[self.held.outcome]

    @property
    def payout_pips(self) -> int:
        """What it pays if the outcome comes true."""
        return self.held.quantity_shares * SHARE_PIPS


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """An open order."""

    row: Listing
    order: OrderView

    @property
    def outcome(self) -> str:
        return self.row.outcomes[self.order.outcome]


@dataclass(frozen=True, slots=True)
class ShownFill:
    """A fill in its owner's terms."""

    row: Listing
    fill: OwnFill

    @property
    def outcome(self) -> str:
        return self.row.outcomes[self.fill.outcome]


@dataclass(frozen=True, slots=True)
class MarketHoldings:
    """What an account has in one market, and the cash it could use there."""

    cash_pips: int
    positions: Sequence[ShownPosition]
    orders: Sequence[ShownOrder]

    @property
    def shares(self) -> dict[str, int]:
        """Shares by outcome name, less what open orders may hold of them: for the ticket, on the safe side.

        In a binary market an order to buy the other outcome can hold them too.
        """
        free = {each.outcome: each.held.quantity_shares for each in self.positions}
        for each in self.orders:
            names = [each.outcome] if each.order.side == "sell" else []
            if each.order.side == "buy" and each.row.is_binary:
                names = [each.row.outcomes[1 - each.order.outcome]]
            for name in names:
                free[name] = max(0, free.get(name, 0) - each.order.remaining_shares)
        return free


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Everything an account has."""

    balance: Mapping[str, int]
    totals: Totals
    positions: Sequence[ShownPosition]
    orders: Sequence[ShownOrder]
    fills: Sequence[ShownFill]

    @property
    def equity_pips(self) -> int:
        """What the account is worth."""
        return equity_pips(self.balance, self.totals.value_pips)

    @property
    def has_unknown_values(self) -> bool:
        """Whether some position has no price, so that the sums leave it out."""
        return any(each.held.value_pips is None for each in self.positions)


def market_holdings(account_id: str, row: Listing) -> MarketHoldings:
    """An account's cash, positions and open orders in one market."""
    positions, orders = _open(account_id, row.market_id)
    return MarketHoldings(
        cash_pips=account_balance(account_id)["cash_pips"],
        positions=[ShownPosition(row, each) for each in positions],
        orders=[ShownOrder(row, each) for each in orders],
    )


def portfolio_of(account_id: str) -> Portfolio:
    """Everything at once, for the portfolio page."""
    balance = balance_with_positions(account_id)
    positions, orders = _open(account_id, None)
    fills = fills_page(account_id, market_id=None, limit=FILLS_SHOWN, cursor=None).rows
    rows = by_ids({each.market_id for found in (positions, orders, fills) for each in found})
    return Portfolio(
        balance=balance,
        totals=totals(account_id),
        positions=[ShownPosition(row, each) for row, each in _listed(positions, rows)],
        orders=[ShownOrder(row, each) for row, each in _listed(orders, rows)],
        fills=[ShownFill(row, each) for row, each in _listed(fills, rows)],
    )


def _open(account_id: str, market_id: str | None) -> tuple[Sequence[HeldPosition], Sequence[OrderView]]:
    """Positions with shares and open orders, in one market or in all."""
    positions = positions_page(
        account_id, market_id=market_id, only_open=True, limit=MAX_POSITIONS, cursor=None
    )
    orders = orders_page(account_id, market_id=market_id, only_open=True, limit=MAX_ORDERS, cursor=None)
    return positions.rows, orders.rows


def _listed(found: Iterable[Held], rows: Mapping[str, Listing]) -> list[tuple[Listing, Held]]:
    """Each with its market; what belongs to a market that the catalogue does not have is left out."""
    return [(rows[each.market_id], each) for each in found if each.market_id in rows]
