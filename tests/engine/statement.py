"""Everybody's cash, reserves and shares, added up from events alone.

A third reading, of the event fields as the log's documentation explains them: it knows neither
books nor prices' priority, and fails where an event's figures do not follow from each other.
"""

from collections import defaultdict

import msgspec

from trading.engine import events as ev

DOLLAR = 10_000


class Statement:
    """Balances of one market's accounts; `add` takes the events in their order."""

    def __init__(self, deposits: dict[str, int]) -> None:
        self.deposited = sum(deposits.values())
        self.cash: dict[str, int] = defaultdict(int, deposits)
        self.orders: dict[str, ev.OrderPlaced] = {}
        self.reserved: dict[str, int] = {}
        self.covered: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.paid_numerator: dict[str, int] = {}
        self.fees_of: dict[str, int] = {}
        self.shares: dict[str, list[int]] = {}
        self.rates = {"maker": 0, "taker": 0}
        self.outcomes = 0
        self.tick = 1
        self.fees = 0
        self.collateral = 0
        self.status = "unborn"
        self.now_us = 0
        self.cost_of: dict[str, int] = {}
        self.fences: list[ev.CancelAllFence] = []

    def add(self, event: ev.Event, now_us: int) -> None:
        self.now_us = now_us
        assert self.status not in ("resolved", "voided") or isinstance(
            event, ev.OrderRejected | ev.CommandRefused | ev.ReversalRequested | ev.ResolutionReversed
        ), "something happened after the end"
        reader = getattr(self, f"_{type(event).__name__}", None)
        if reader is not None:
            reader(event)

    def check(self) -> None:
        """Money is conserved, nobody is below zero, the shares of each outcome back the collateral."""
        held = sum(self.cash.values()) + sum(self.reserved.values()) + self.fees + self.collateral
        assert held == self.deposited, f"{held} pips for {self.deposited} deposited"
        assert all(cash >= 0 for cash in self.cash.values()), "an account is below zero"
        assert all(reserve >= 0 for reserve in self.reserved.values()), "a negative reserve"
        for index in range(self.outcomes):
            assert sum(row[index] for row in self.shares.values()) * DOLLAR == self.collateral
        for account, row in self.shares.items():
            earmarked = self.earmarked(account)
            free = [held - mark for held, mark in zip(row, earmarked, strict=True)]
            assert min(free) == 0, "free shares are below zero or hold a complete set"

        for name, order in self.orders.items():
            assert 0 <= self.covered[name] <= self.left[name], "covered beyond what is left"
            assert not order.reduce_only or self.covered[name] == self.left[name], (
                "reduce-only, yet not covered"
            )

    def coverable(self, account: str, outcome: int, side: str) -> int:
        """Units that the account's free shares could cover."""
        row = self.shares.get(account, [0] * self.outcomes)
        free = [held - mark for held, mark in zip(row, self.earmarked(account), strict=True)]
        return min(free[index] for index in range(self.outcomes) if (index == outcome) == (side == "sell"))

    def needed(self, name: str) -> int:
        """What an order has to hold for its uncovered shares: limit price and higher fee, rounded up once."""
        order, units = self.orders[name], self.left[name] - self.covered[name]
        if units == 0:
            return 0
        paid, fee = (
            self.paid_numerator[name],
            max(self.rates.values()) * units * order.price * (DOLLAR - order.price),
        )
        each = order.price if order.side == "buy" else DOLLAR - order.price
        return each * units - -(paid + fee) // 10**8 + -paid // 10**8

    def earmarked(self, account: str) -> list[int]:
        marks = [0] * self.outcomes
        for name, order in self.orders.items():
            if order.account == account:
                for index in range(self.outcomes):
                    if (index == order.outcome) == (order.side == "sell"):
                        marks[index] += self.covered[name]
        return marks

    def _MarketCreated(self, event: ev.MarketCreated) -> None:
        self.outcomes = len(event.outcomes)
        self.tick = event.tick
        self.rates = {"maker": event.maker_fee_e4, "taker": event.taker_fee_e4}

    def _MarketResolved(self, event: ev.MarketResolved) -> None:
        self._ended(event.sets, event.fees, "resolved")

    def _MarketVoided(self, event: ev.MarketVoided) -> None:
        self._ended(event.sets, event.fees, "voided")

    def _ResolutionReversed(self, event: ev.ResolutionReversed) -> None:
        assert event.sets * DOLLAR == self.collateral
        self.status = "reversed"

    def _ended(self, sets: int, fees: int, status: str) -> None:
        assert not self.orders, "a market ended with open orders"
        assert (sets * DOLLAR, fees) == (self.collateral, self.fees)
        self.status = status

    def _PositionOpened(self, event: ev.PositionOpened) -> None:
        assert event.account not in self.shares, "a position was opened twice"
        self.shares[event.account] = [0] * self.outcomes

    def _OrderPlaced(self, event: ev.OrderPlaced) -> None:
        assert event.order not in self.orders
        assert event.cash == -event.reserved
        assert event.covered == min(event.quantity, self.coverable(event.account, event.outcome, event.side))
        self.orders[event.order] = event
        self.reserved[event.order] = event.reserved
        self.covered[event.order] = event.covered
        self.left[event.order] = event.quantity
        self.paid_numerator[event.order] = self.fees_of[event.order] = 0
        self.cost_of[event.order] = 0
        self.cash[event.account] += event.cash
        assert not any(
            fence.account == event.account
            and event.order < fence.fence
            and fence.outcome in (None, event.outcome)
            and fence.side in (None, event.side)
            and fence.by in (None, event.by)
            for fence in self.fences
        ), "an order came through a fence"
        assert event.expires_us is None or event.expires_us > self.now_us, (
            "an order that had expired was placed"
        )
        if event.max_cost is None:
            assert event.reserved == self.needed(event.order), "another reserve than is needed"
        else:
            assert event.reserved == (0 if event.covered == event.quantity else event.max_cost)

    def _CancelAllFence(self, event: ev.CancelAllFence) -> None:
        self.fences.append(event)

    def _OrderMatched(self, event: ev.OrderMatched) -> None:
        *makers, taker = event.legs
        assert [leg.role for leg in event.legs] == ["maker"] * len(makers) + ["taker"]
        assert taker.account not in {leg.account for leg in makers}, "an account traded with itself"
        assert {leg.quantity for leg in event.legs} == {event.quantity}
        for leg in event.legs:
            expires_us = self.orders[leg.order].expires_us
            assert expires_us is None or expires_us > self.now_us, "an order traded after its time"
        if len(makers) == 1:
            self._direct(makers[0], taker)
        else:
            self._implied(event, makers, taker)
        for leg in event.legs:
            self._leg(leg)

    def _direct(self, maker: ev.Leg, taker: ev.Leg) -> None:
        """Two sides of one book: of one outcome, or mirrored in a binary market."""
        if maker.outcome == taker.outcome:
            assert (maker.price, {maker.side, taker.side}) == (taker.price, {"buy", "sell"})
        else:
            assert (maker.price + taker.price, maker.side, self.outcomes) == (DOLLAR, taker.side, 2)

    def _implied(self, event: ev.OrderMatched, makers: list[ev.Leg], taker: ev.Leg) -> None:
        """One order of every outcome on one side: together they make a set, and $1."""
        assert (event.outcome, event.price, event.taker_side) == (taker.outcome, taker.price, taker.side)
        assert [leg.outcome for leg in makers] == [
            index for index in range(self.outcomes) if index != taker.outcome
        ]
        assert {leg.side for leg in event.legs} == {taker.side}
        assert sum(leg.price for leg in event.legs) == DOLLAR
        assert min(leg.price for leg in event.legs) >= self.tick, "a share for less than a tick"

    def _leg(self, leg: ev.Leg) -> None:
        order = self.orders[leg.order]
        assert (leg.account, leg.outcome, leg.side) == (order.account, order.outcome, order.side)
        assert leg.price <= order.price if leg.side == "buy" else leg.price >= order.price, (
            "worse than the limit"
        )
        assert leg.delivered == min(self.covered[leg.order], leg.quantity), "shares are used before cash"
        row, by_cash, is_buy = self.shares[leg.account], leg.quantity - leg.delivered, leg.side == "buy"
        for index in range(self.outcomes):
            row[index] += by_cash if (index == leg.outcome) == is_buy else -leg.delivered
            row[index] -= leg.netted
        if is_buy:
            flow = (DOLLAR - leg.price) * leg.delivered - leg.price * by_cash
        else:
            flow = leg.price * leg.delivered - (DOLLAR - leg.price) * by_cash
        flow += DOLLAR * leg.netted
        freed = self.reserved[leg.order] - leg.reserved
        assert leg.cash == flow - leg.fee + freed, "a fill moves other cash than it says"
        self.collateral -= flow
        self._fee(leg)
        self.cash[leg.account] += leg.cash
        self.reserved[leg.order] = leg.reserved
        self.covered[leg.order] -= leg.delivered
        self.left[leg.order] -= leg.quantity
        assert self.left[leg.order] >= 0
        self.cost_of[leg.order] += leg.price * leg.quantity
        if order.max_cost is None:
            assert leg.reserved == self.needed(leg.order), "another reserve than is needed"
        else:
            spent = self.cost_of[leg.order] + self.fees_of[leg.order]
            assert spent <= order.max_cost, "more was spent than the order's money"
        if self.left[leg.order] == 0:
            assert leg.reserved == 0, "a filled order kept cash"
            self._forget(leg.order)

    def _fee(self, leg: ev.Leg) -> None:
        self.paid_numerator[leg.order] += (
            self.rates[leg.role] * leg.quantity * leg.price * (DOLLAR - leg.price)
        )
        self.fees_of[leg.order] += leg.fee
        self.fees += leg.fee
        exact, charged = self.paid_numerator[leg.order], self.fees_of[leg.order] * 100_000_000
        assert 0 <= charged - exact < 100_000_000, "an order's fee is the exact one, rounded up once"

    def _OrderCancelled(self, event: ev.OrderCancelled | ev.OrderExpired) -> None:
        assert event.quantity == self.left[event.order]
        assert event.released == self.covered[event.order]
        freed = self.reserved[event.order] + DOLLAR * event.netted
        assert event.cash == freed, "an end frees what was reserved"
        self._release(event.account, event.netted, event.cash)
        self._forget(event.order)

    def _OrderExpired(self, event: ev.OrderExpired) -> None:
        expires_us = self.orders[event.order].expires_us
        assert expires_us is not None
        assert expires_us <= self.now_us, "an order expired before its time"
        self._OrderCancelled(event)

    def _OrderAmended(self, event: ev.OrderAmended) -> None:
        order, covered = self.orders[event.order], self.covered[event.order]
        left = self.left[event.order] + event.quantity - order.quantity
        assert left > 0
        if event.requeued:
            assert (event.price, event.quantity) != (order.price, order.quantity)
            covered += self.coverable(order.account, order.outcome, order.side)
        else:
            assert event.price == order.price
            assert event.quantity <= order.quantity, "a larger order kept its place"
        assert event.covered == min(left, covered)
        assert event.cash == self.reserved[event.order] - event.reserved + DOLLAR * event.netted
        self.orders[event.order] = msgspec.structs.replace(order, quantity=event.quantity, price=event.price)
        self.left[event.order] = left
        self.covered[event.order] = event.covered
        self.reserved[event.order] = event.reserved
        assert event.reserved == self.needed(event.order)
        self._release(event.account, event.netted, event.cash)

    def _release(self, account: str, netted: int, cash: int) -> None:
        self.cash[account] += cash
        if netted:
            self.collateral -= DOLLAR * netted
            self.shares[account] = [shares - netted for shares in self.shares[account]]

    def _forget(self, order: str) -> None:
        for table in (
            self.orders, self.reserved, self.covered, self.left, self.paid_numerator, self.fees_of,
            self.cost_of,
        ):  # fmt: skip
            del table[order]
