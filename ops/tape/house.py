"""What a house market maker must quote so that each trade of a recording finds its counterparty, and what the
trades add up to. Pure: trades in; orders, runs of quotes and sums out. Prices in pips, quantities in shares.

**Complete sets.** An exchange that mints and nets by itself knows no account with a complete set: whoever buys one of
each outcome from the house has paid $1 and gets it back at once. So a starting set is a dollar in cash. A share that is
sold and was never bought is delivered out of a set that is minted for that dollar, and what is left of the
set stays: one share of every other outcome. Hence positions are the recording's net of bought and sold, with
as many complete sets taken out (or put in) as make the smallest of them zero.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ops.tape.polymarket import RecordedMarket, Trade
from trading.money import SHARE_PIPS

HOUSE = "house"
LARGEST_ORDER_SHARES = 1_000_000
OTHER_SIDE = {"buy": "sell", "sell": "buy"}


class Order(NamedTuple):
    """A trader's order, whole or part of a trade. The house's quote for it is the same on the other side."""

    row: int
    key: str
    market: str
    account: str
    outcome: int
    side: str
    price_pips: int
    quantity_shares: int


def account_of(trader: str) -> str:
    """A trader's account as it is called here; no trader's name is the house's."""
    return f"trader {trader}"


def orders_of(trade: Trade) -> Iterator[Order]:
    """The orders that a trade is sent as: more than one if it is larger than an order may be."""
    for part, start in enumerate(range(0, trade.quantity_shares, LARGEST_ORDER_SHARES)):
        yield Order(
            trade.row,
            f"{trade.row}" if part == 0 else f"{trade.row}.{part}",
            trade.market,
            account_of(trade.trader),
            trade.outcome,
            trade.side,
            trade.price_pips,
            min(LARGEST_ORDER_SHARES, trade.quantity_shares - start),
        )


class _Quotes:
    """The house's quotes in one book, all standing at once, in the book's terms."""

    def __init__(self) -> None:
        self._book: int | None = None
        self._asks: list[int] = []
        self._bids: list[int] = []

    def admit(self, book: int, *, is_ask: bool, price_pips: int) -> bool:
        """Add a quote, if then each still is met in turn: by price, then by time, and none by the house itself."""
        own, opposite = (self._asks, self._bids) if is_ask else (self._bids, self._asks)
        sign = 1 if is_ask else -1
        if self._book not in (None, book):
            # Quotes in several books of a market can imply a trade in yet another one.
            return False
        if own and sign * price_pips < sign * own[-1]:
            return False
        if opposite and sign * price_pips <= sign * opposite[0]:
            return False
        self._book = book
        own.append(price_pips)
        return True


def runs(market: RecordedMarket, orders: Iterable[Order], *, most: int) -> Iterator[list[Order]]:
    """A market's orders, in order, in runs as long as the house can quote for all of a run at once, at most `most`."""
    run, quotes = list[Order](), _Quotes()
    for order in orders:
        place = _place_of_quote(market, order)
        if run and (
            len(run) == most or not quotes.admit(place.book, is_ask=place.is_ask, price_pips=place.price)
        ):
            yield run
            run, quotes = [], _Quotes()
        if not run:
            quotes.admit(place.book, is_ask=place.is_ask, price_pips=place.price)
        run.append(order)
    if run:
        yield run


class _Place(NamedTuple):
    book: int
    is_ask: bool
    price: int


def _place_of_quote(market: RecordedMarket, order: Order) -> _Place:
    """Where the house's quote stands: a binary market has one book, in which the second outcome is mirrored."""
    is_ask = order.side == "buy"
    if market.is_binary and order.outcome == 1:
        return _Place(0, not is_ask, SHARE_PIPS - order.price_pips)
    return _Place(order.outcome, is_ask, order.price_pips)


@dataclass(slots=True)
class Sums:
    """What an account has done in a market: `net` shares of each outcome bought less sold, and cash got less paid."""

    net: list[int]
    flow_pips: int = 0
    starting_sets: int = 0

    def add(self, trade: Trade, sign: int) -> None:
        """`sign` is 1 for the trader himself and -1 for the house, which does the opposite."""
        bought = sign if trade.side == "buy" else -sign
        self.net[trade.outcome] += bought * trade.quantity_shares
        self.flow_pips -= bought * trade.quantity_shares * trade.price_pips
        self.starting_sets = max(self.starting_sets, -self.net[trade.outcome])

    @property
    def sets(self) -> int:
        """Complete sets that turned back into $1 each; below zero: minted."""
        return min(self.net)

    @property
    def holding(self) -> list[int]:
        """The shares that the exchange must show."""
        return [shares - self.sets for shares in self.net]

    @property
    def cash_pips(self) -> int:
        """What the market has brought while it was open."""
        return self.flow_pips + SHARE_PIPS * self.sets

    def profit_pips(self, winner: int) -> int:
        """What it has brought once it is settled."""
        return self.cash_pips + SHARE_PIPS * self.holding[winner]


@dataclass(slots=True)
class Books:
    """The sums of every account, by (account, market), and the most cash that each account can need."""

    sums: dict[tuple[str, str], Sums] = field(default_factory=dict)
    needed_pips: dict[str, int] = field(default_factory=lambda: {HOUSE: 0})

    def add(self, trade: Trade, outcomes: int) -> None:
        """Enter a trade for its trader and for the house.

        Each order is counted with all that it can reserve, which for a sale is the starting set's dollar less the
        price: orders of several markets may be under way at once, and none waits for what another frees.
        """
        account = account_of(trade.trader)
        for name, sign in ((account, 1), (HOUSE, -1)):
            self.sums.setdefault((name, trade.market), Sums([0] * outcomes)).add(trade, sign)
        paid = trade.price_pips if trade.side == "buy" else SHARE_PIPS - trade.price_pips
        self.needed_pips[account] = self.needed_pips.get(account, 0) + paid * trade.quantity_shares
        self.needed_pips[HOUSE] += (SHARE_PIPS - paid) * trade.quantity_shares

    def of_account(self, account: str, markets: Iterable[str]) -> dict[str, Sums]:
        """The account's sums by market, of those of these markets where it has traded."""
        return {market: self.sums[account, market] for market in markets if (account, market) in self.sums}

    def of_market(self, market: str) -> dict[str, Sums]:
        """The market's sums by account."""
        return {account: sums for (account, name), sums in self.sums.items() if name == market}

    def collateral_pips(self, market: str) -> int:
        """What the market must hold for the sets outstanding: as many as there are shares of any outcome."""
        return SHARE_PIPS * sum(sums.holding[0] for sums in self.of_market(market).values())


def books_of(markets: Mapping[str, RecordedMarket], trades: Iterable[Trade]) -> Books:
    """Everything that the trades add up to."""
    books = Books()
    for trade in trades:
        books.add(trade, len(markets[trade.market].outcomes))
    return books
