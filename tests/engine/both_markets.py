"""The engine and the naive exchange behind one face, so that one suite judges both.

A test gives commands, sends one more and compares whole event tuples. Trades are called T1, T2, ...
in either. Prices of a drawn book are cents, everything else is pips.
"""

from collections import defaultdict
from typing import Protocol

import msgspec

from tests.engine.oracle import NaiveExchange
from trading.engine import commands as cmd
from trading.engine import decide, invariants, lifecycle
from trading.engine import events as ev
from trading.engine.market import Market

Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]
START_US = 1_750_000_000_000_000
CLOSES_US = START_US + 3_600_000_000


class MarketUnderTest(Protocol):
    """One market with everybody's cash beside it; `now_us` is the time of the next command."""

    now_us: int

    def deposit(self, account: str, cash_pips: int) -> None: ...
    def run(self, command: cmd.Command) -> tuple[ev.Event, ...]: ...
    def given(self, *commands: cmd.Command) -> None: ...
    def cash_pips(self, account: str) -> int: ...
    def free_shares(self, account: str) -> list[int]: ...
    def depth(self, outcome: int) -> Depth: ...
    def status(self) -> str: ...


class FastMarket:
    """The engine. Cash is what the events' `cash` fields add up to, and is the next budget."""

    def __init__(self) -> None:
        self.market = Market("m")
        self.now_us = START_US
        self.cash: dict[str, int] = defaultdict(int)
        self.trades: dict[str, str] = {}

    def deposit(self, account: str, cash_pips: int) -> None:
        self.cash[account] += cash_pips

    def run(self, command: cmd.Command) -> tuple[ev.Event, ...]:
        budget = self.cash[getattr(command, "account_id", "")]
        events = decide.run(self.market, command, budget_pips=budget, now_us=self.now_us)
        for event in events:
            for part in event.legs if isinstance(event, ev.OrderMatched) else (event,):
                if hasattr(part, "cash"):
                    self.cash[part.account] += part.cash
        invariants.check(self.market, now_us=self.now_us)
        return tuple(self._numbered(event) for event in events)

    def _numbered(self, event: ev.Event) -> ev.Event:
        if not isinstance(event, ev.OrderMatched):
            return event
        assert event.trade not in self.trades, "two trades have one id"
        self.trades[event.trade] = f"T{len(self.trades) + 1}"
        return msgspec.structs.replace(event, trade=self.trades[event.trade])

    def given(self, *commands: cmd.Command) -> None:
        for command in commands:
            self.run(command)

    def cash_pips(self, account: str) -> int:
        return self.cash[account]

    def free_shares(self, account: str) -> list[int]:
        holding = self.market.holdings.get(account)
        return [0] * len(self.market.outcomes) if holding is None else list(holding.free)

    def depth(self, outcome: int) -> Depth:
        if self.market.is_binary and outcome == 1:
            bids, asks = self.depth(0)
            return [(10_000 - price, size) for price, size in asks], [
                (10_000 - price, size) for price, size in bids
            ]
        book = self.market.books[outcome]
        return list(book.bids.depth()), list(book.asks.depth())

    def status(self) -> str:
        return self.market.status


class NaiveMarket:
    """The naive exchange, which keeps its own cash."""

    def __init__(self) -> None:
        self.naive = NaiveExchange()
        self.now_us = START_US

    def deposit(self, account: str, cash_pips: int) -> None:
        self.naive.cash[account] += cash_pips

    def run(self, command: cmd.Command) -> tuple[ev.Event, ...]:
        # A test that lowers the engine's limits means the naive exchange's as well.
        self.naive.open_limit, self.naive.sweep_size = decide.MAX_OPEN_ORDERS, lifecycle.SWEEP_SIZE
        return tuple(self.naive.run(command, now_us=self.now_us))

    def given(self, *commands: cmd.Command) -> None:
        for command in commands:
            self.run(command)

    def cash_pips(self, account: str) -> int:
        return self.naive.cash[account]

    def free_shares(self, account: str) -> list[int]:
        return self.naive.free_shares(account)

    def depth(self, outcome: int) -> Depth:
        return self.naive.depth(outcome)

    def status(self) -> str:
        return self.naive.status


def trades_of(events: tuple[ev.Event, ...]) -> list[tuple[str, int, int]]:
    """(orders in the legs' order, shares, price) of each trade."""
    return [
        (" ".join(leg.order for leg in event.legs), event.quantity, event.price)
        for event in events
        if isinstance(event, ev.OrderMatched)
    ]


def draw_book(market: MarketUnderTest, outcome: int = 0) -> str:
    """The book as text: asks above bids, prices in cents."""
    bids, asks = market.depth(outcome)
    lines = [f"{'':>6}  {cents(price):>5}  {size:>5}" for price, size in reversed(asks)]
    lines += [f"{size:>6}  {cents(price):>5}" for price, size in bids]
    return "\n".join(["   bid  price    ask", *lines])


def cents(price_pips: int) -> str:
    """6200 as 62, 6250 as 62.50."""
    whole, rest = divmod(price_pips, 100)
    return f"{whole}.{rest:02}" if rest else str(whole)


def assert_book(market: MarketUnderTest, drawing: str, outcome: int = 0) -> None:
    """Compares the book with a drawing of it, whatever its spacing; a bid's size stands left of the prices."""
    rows = [line for line in drawing.splitlines() if line.strip()]
    assert rows[0].split() == ["bid", "price", "ask"], "a drawing begins with its heading"
    prices_begin = rows[0].index("price")
    drawn = []
    for line in rows[1:]:
        words = line.split()
        is_ask = line.index(words[0]) + len(words[0]) > prices_begin
        price, size = (words[0], words[1]) if is_ask else (words[1], words[0])
        drawn.append((price, int(size), "ask" if is_ask else "bid"))
    bids, asks = market.depth(outcome)
    seen = [(cents(price), size, "ask") for price, size in reversed(asks)]
    seen += [(cents(price), size, "bid") for price, size in bids]
    assert drawn == seen, "the book is\n" + draw_book(market, outcome)
