"""One sequence of commands, played to the engine and to the naive exchange side by side, and judged after each."""

import json

import msgspec

from tests.engine.digest import state_digest
from tests.engine.oracle import NaiveExchange
from tests.engine.sayings import sweep
from tests.engine.sequences import DEPOSITS
from tests.engine.statement import Statement
from trading.engine import codec, decide, invariants, lifecycle
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.fees import worst_cost_pips
from trading.engine.market import Market


class Trial:
    """`play` raises AssertionError where the two differ, or where anything does not add up."""

    def __init__(self, deposits: dict[str, int] = DEPOSITS, *, compare: bool = True) -> None:
        """Without `compare` the naive exchange stays out of it: only what must add up is judged."""
        self.compare = compare
        self.market = Market("m")
        self.naive = NaiveExchange(sweep_size=lifecycle.SWEEP_SIZE, open_limit=decide.MAX_OPEN_ORDERS)
        self.naive.cash.update(deposits)
        self.statement = Statement(deposits)
        self.log: list[tuple[int, ev.Event]] = []
        self.trade_ids: list[str] = []
        self.levels: dict[tuple[int, bool, int], int] = {}

    def play(self, now_us: int, command: cmd.Command) -> list[ev.Event]:
        budget = self.statement.cash[getattr(command, "account_id", "")]
        events = decide.run(self.market, command, budget_pips=budget, now_us=now_us)
        seen = [self._named(event) for event in events]
        if self.compare:
            wanted = self.naive.run(command, now_us=now_us)
            assert seen == wanted, f"{command}:\n{seen}\ninstead of\n{wanted}"
        for event in events:
            if isinstance(event, ev.OrderPlaced):
                worst = worst_cost_pips(command, self.market.highest_fee_e4)
                assert event.reserved <= worst, "more was reserved than is taken before matching"
            self.statement.add(event, now_us)
            self.log.append((now_us, event))
        self._check(now_us)
        return events

    def _named(self, event: ev.Event) -> ev.Event:
        if not isinstance(event, ev.OrderMatched):
            return event
        self.trade_ids.append(event.trade)
        return msgspec.structs.replace(event, trade=f"T{len(self.trade_ids)}")

    def _check(self, now_us: int) -> None:
        market = self.market
        invariants.check(market, now_us=now_us)
        self.statement.check()
        self._check_touched()
        assert {name: order.reserved_pips for name, order in market.orders.items()} == self.statement.reserved
        if self.compare:
            self._check_against(self.naive)

    def _check_against(self, naive: NaiveExchange) -> None:
        market = self.market
        assert market.status == naive.status
        assert {**self.statement.cash} == {**self.statement.cash, **naive.cash}
        assert (market.collateral_pips, market.fees_pips, market.volume_pips) == (
            naive.pot,
            naive.fees,
            naive.volume,
        )
        prices = {outcome: price for outcome, price in enumerate(market.last_prices) if price is not None}
        assert prices == naive.last_prices
        for account in self.statement.cash:
            holding = market.holdings.get(account)
            assert (holding is None) == (account not in naive.shares)
            assert holding is None or holding.free == naive.free_shares(account)
        for index, book in enumerate(market.books):
            assert (list(book.bids.depth()), list(book.asks.depth())) == naive.depth(index)

    def _check_touched(self) -> None:
        """`touched` names every level that the command has changed."""
        before, self.levels = self.levels, {}
        for index, book in enumerate(self.market.books):
            bids, asks = list(book.bids.depth()), list(book.asks.depth())
            self.levels |= {(index, True, price): size for price, size in bids}
            self.levels |= {(index, False, price): size for price, size in asks}
        changed = {level for level, _ in before.items() ^ self.levels.items()}
        assert changed <= self.market.touched, "a level changed without being touched"
        for index, is_bid, price in self.market.touched:
            book = self.market.books[index]
            size = (book.bids if is_bid else book.asks).size_at(price)
            assert size == self.levels.get((index, is_bid, price), 0)
        self.market.touched.clear()

    def finish(self) -> None:
        """What is to be swept is swept to its end; the log alone, by way of JSON, gives the state again."""
        while lifecycle.needs_sweep(self.market):
            assert self.play(self.log[-1][0], sweep()), "a sweep that is needed does nothing"
        replayed = Market("m")
        for at_us, event in self.log:
            name, data = codec.EVENT_NAMES[type(event)], json.loads(json.dumps(codec.event_data(event)))
            assert codec.event_from(name, data) == event
            apply(replayed, codec.event_from_json(name, codec.event_json(event)), at_us)
        assert state_digest(replayed) == state_digest(self.market), "the log gives another state"
        assert self.trade_ids == sorted(set(self.trade_ids)), "trade ids are unique and in order"
