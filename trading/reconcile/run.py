"""The course of a reconciliation; the package says how it copes with an exchange that goes on trading."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from trading.connection import own_connection
from trading.eventlog.codec import StoredEvent
from trading.eventlog.read import read_slot
from trading.ids import ACCOUNT_SLOTS, BEFORE_ALL, MARKET_SLOTS
from trading.reconcile.accounts import LedgerFold, StandingsFold
from trading.reconcile.compare import compare_ledger, compare_market, compare_money, compare_standing
from trading.reconcile.ledger import Ledger
from trading.reconcile.markets import BooksFold, HoldingsFold, MarketsFold, OrdersFold, TradesFold
from trading.reconcile.rows import (
    ACCOUNT_PROJECTIONS,
    PROJECTIONS,
    Money,
    read_checkpoints,
    read_ledger,
    read_markets,
    read_money,
    read_standings,
    strangers,
)

PAGE_EVENTS = 5000
MARKETS_AT_ONCE = 50
ACCOUNTS_AT_ONCE = 500
POLL_S = 0.05

Progress = Callable[[int], None]


class Report(NamedTuple):
    """What was looked at, and every difference found."""

    events: int
    accounts: int
    markets: int
    differences: list[str]


class Closings:
    """What account streams say of positions, by market: who was closed, and what was given and taken besides."""

    def __init__(self) -> None:
        self.closed: dict[str, dict[str, str]] = defaultdict(dict)
        """By account, the settlement that closed it."""
        self.refunds: dict[tuple[str, str], int] = defaultdict(int)

    def take(self, event: StoredEvent) -> None:
        data = event.data
        if event.type == "position_closed/1":
            self.closed[data["market"]][event.stream_id] = data["settlement"]
        elif event.type == "position_reopened/1":
            self.closed[data["market"]].pop(event.stream_id, None)
        elif event.type == "payout_reversed/2" and data["kind"] != "win":
            self.refunds[data["market"], event.stream_id] -= data["amount"]
        elif event.type == "payout_issued/1" and data["kind"] != "win":
            self.refunds[data["market"], event.stream_id] += data["amount"]


class SlotFolds:
    """One fold a projection for the markets of a slot, each played up to its own offset."""

    def __init__(self) -> None:
        self.orders, self.trades, self.candles = OrdersFold(), TradesFold(), TradesFold()
        self.books = BooksFold()
        self.positions, self.markets = HoldingsFold(), MarketsFold()
        self.reached = dict.fromkeys(PROJECTIONS, 0)

    def take(self, event: StoredEvent, *names: str) -> None:
        for name in names:
            getattr(self, name).take(event)
            self.reached[name] = event.slot_offset + 1


class AccountFolds:
    """One fold a projection for all accounts, each played up to its own offset in every slot."""

    def __init__(self) -> None:
        self.ledger, self.positions = LedgerFold(), StandingsFold()
        self.reached: dict[str, dict[int, int]] = {name: defaultdict(int) for name in ACCOUNT_PROJECTIONS}

    def take(self, event: StoredEvent, *names: str) -> None:
        for name in names:
            getattr(self, name).take(event)
            self.reached[name][event.slot] = event.slot_offset + 1


def reconcile(*, wait_s: float = 10.0, begin: Progress, progress: Progress) -> Report:
    """Compares everything; the read models only if they reach the log as it is at the start, for which it waits.

    `begin` hears how many events there are, `progress` of each page that was replayed.
    """
    with own_connection("pmarket-reconcile") as connection:
        run = _Run(connection, progress)
        begin(sum(run.money.heads.values()))
        run.accounts()
        run.wait_for_projections(wait_s)
        for slot in range(MARKET_SLOTS):
            run.markets(slot)
        run.account_sums()
        run.end()
        return Report(
            sum(run.money.heads.values()), len(run.money.cash), run.compared_markets, run.differences
        )


class _Run:
    def __init__(self, connection: Any, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._ledger = Ledger()
        self._closings = Closings()
        self._accounts_reached: dict[int, int] = {}
        self._account_folds = AccountFolds()
        self.differences: list[str] = []
        self.compared_markets = 0
        self._projections_are_there = False
        with self._snapshot() as cursor:
            self.money: Money = read_money(cursor)

    @contextmanager
    def _snapshot(self) -> Iterator[Any]:
        """One moment of the database. Short: an open snapshot slows the whole exchange down."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield cursor

    def _events(self, slot: int, first: int, end: int) -> Iterator[StoredEvent]:
        for start in range(first, end, PAGE_EVENTS):
            with self._connection.cursor() as cursor:
                page = read_slot(cursor, slot=slot, from_offset=start, limit=min(PAGE_EVENTS, end - start))
            if len(page) != min(PAGE_EVENTS, end - start):
                self.differences.append(f"slot {slot}: events from {start} on are missing; see verify_log")
            yield from page
            self._progress(len(page))

    def accounts(self) -> None:
        """Deposits, withdrawals and settlements, up to the moment of the cash rows."""
        for slot in range(MARKET_SLOTS, MARKET_SLOTS + ACCOUNT_SLOTS):
            head = self.money.heads[slot]
            for event in self._events(slot, 0, head):
                self._ledger.take(event)
                self._closings.take(event)
                self._account_folds.take(event, *ACCOUNT_PROJECTIONS)
            self._accounts_reached[slot] = head

    def wait_for_projections(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while behind := self._behind():
            if time.monotonic() > deadline:
                self.differences += behind
                return
            time.sleep(POLL_S)
        self._projections_are_there = True

    def _behind(self) -> list[str]:
        with self._connection.cursor() as cursor:
            checkpoints = read_checkpoints(cursor)
        heads = self.money.heads
        waiting = {
            name: sum(max(0, head - checkpoints[name].get(slot, 0)) for slot, head in heads.items())
            for name in dict.fromkeys((*PROJECTIONS, *ACCOUNT_PROJECTIONS))
        }
        return [f"projection {name} is {count} events behind" for name, count in waiting.items() if count]

    def markets(self, slot: int) -> None:
        """Replays a slot to the moment of the cash rows, then compares its markets, a few at a time."""
        folds = SlotFolds()
        for event in self._events(slot, 0, self.money.heads[slot]):
            self._ledger.take(event)
            folds.take(event, *PROJECTIONS)
            self._account_folds.take(event, *ACCOUNT_PROJECTIONS)
        if not self._projections_are_there:
            return
        market_ids = sorted(folds.markets.markets)
        for start in range(0, len(market_ids), MARKETS_AT_ONCE):
            self._compare(slot, folds, market_ids[start : start + MARKETS_AT_ONCE])
        self.compared_markets += len(market_ids)

    def _compare(self, slot: int, folds: SlotFolds, market_ids: Sequence[str]) -> None:
        with self._snapshot() as cursor:
            checkpoints = read_checkpoints(cursor)
            rows = read_markets(cursor, market_ids)
        self._play_forward(slot, folds, checkpoints)
        for market_id in market_ids:
            self.differences += compare_market(market_id, rows, folds, self._closings)

    def _play_forward(self, slot: int, folds: SlotFolds, checkpoints: dict[str, dict[int, int]]) -> None:
        """Takes each fold, and the account slots for the positions, to where the rows were read."""
        for name in PROJECTIONS:
            for event in self._events(slot, folds.reached[name], checkpoints[name].get(slot, 0)):
                folds.take(event, name)
        for account_slot, reached in self._accounts_reached.items():
            goal = checkpoints["positions"].get(account_slot, 0)
            for event in self._events(account_slot, reached, goal):
                self._closings.take(event)
            self._accounts_reached[account_slot] = max(goal, reached)

    def account_sums(self) -> None:
        """Compares what adds up by account; all slots have been replayed to the moment of the cash rows."""
        if not self._projections_are_there:
            return
        account_ids = sorted(self._account_folds.ledger.events)
        after: str | None = BEFORE_ALL
        for start in range(0, max(1, len(account_ids)), ACCOUNTS_AT_ONCE):
            chunk = account_ids[start : start + ACCOUNTS_AT_ONCE]
            # Rows of whoever is beyond the last account of the log are strangers'.
            up_to = chunk[-1] if start + ACCOUNTS_AT_ONCE < len(account_ids) else None
            self._compare_accounts(after, up_to, chunk)
            after = up_to

    def _compare_accounts(self, after: str | None, up_to: str | None, account_ids: Sequence[str]) -> None:
        folds = self._account_folds
        with self._snapshot() as cursor:
            checkpoints = read_checkpoints(cursor)
            ledger_rows = read_ledger(cursor, after, up_to)
            standings = read_standings(cursor, after, up_to)
        for name in ACCOUNT_PROJECTIONS:
            for slot, goal in checkpoints[name].items():
                for event in self._events(slot, folds.reached[name][slot], goal):
                    folds.take(event, name)
        for account_id in sorted({*account_ids, *standings}):
            expected = folds.positions.days(account_id)
            self.differences += compare_standing(account_id, standings.get(account_id), expected)
        wanted = {*account_ids, *ledger_rows}
        self.differences += compare_ledger(ledger_rows, {each: folds.ledger.sums(each) for each in wanted})

    def end(self) -> None:
        """Money, and rows of what the log does not know."""
        self.differences += self._ledger.unknown
        self.differences += compare_money(self.money, self._ledger)
        with self._connection.cursor() as cursor:
            self.differences += strangers(cursor)
