"""The naive exchange's accounts: cash, shares, what covers an order, what a fill or an end moves.

Shares and money move one share at a time, and everything an account has free is worked out from the open
orders whenever it is asked.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.engine.naive_book import DOLLAR, OpenOrder, in_book, queue
from trading.engine import commands as cmd
from trading.engine import events as ev


@dataclass
class NaiveAccounts:
    """One market and everybody's cash."""

    sweep_size: int = 500
    open_limit: int = 100_000
    status: str = "unborn"
    terms: cmd.CreateMarket | None = None
    closing: ev.MarketClosed | None = None
    phase: str = ""
    phase_ends_us: int = 0
    proposed: cmd.ProposeResolution | None = None
    before: str = ""
    friends: list[str] = field(default_factory=list)
    objectors: list[str] = field(default_factory=list)
    window_ends_us: int | None = None
    contested: bool = False
    undoing: cmd.ReverseResolution | None = None
    undoers: list[str] = field(default_factory=list)
    orders: list[OpenOrder] = field(default_factory=list)
    fences: list[tuple[int, ev.CancelAllFence]] = field(default_factory=list)
    cash: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    shares: dict[str, list[int]] = field(default_factory=dict)
    last_prices: dict[int, int] = field(default_factory=dict)
    pot: int = 0
    fees: int = 0
    volume: int = 0
    queued: int = 0
    trades: int = 0
    now_us: int = 0

    # -- what the rules speak of ------------------------------------------------------------

    @property
    def market(self) -> cmd.CreateMarket:
        assert self.terms is not None
        return self.terms

    @property
    def outcomes(self) -> int:
        return len(self.market.outcomes)

    def needed_shares(self, outcome: int, side: str) -> list[int]:
        """The outcomes whose shares cover an order: its own for a sell, all others for a buy."""
        if side == "sell":
            return [outcome]
        return [index for index in range(self.outcomes) if index != outcome]

    def free_shares(self, account: str) -> list[int]:
        """What an account holds beyond what its open orders have earmarked."""
        free = list(self.shares.get(account, [0] * self.outcomes))
        for order in self.orders:
            if order.account == account:
                for index in self.needed_shares(order.terms.outcome, order.terms.side):
                    free[index] -= order.backed
        return free

    def coverable(self, account: str, outcome: int, side: str) -> int:
        free = self.free_shares(account)
        return min(free[index] for index in self.needed_shares(outcome, side))

    def depth(self, outcome: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bids and asks of an outcome as (price, quantity), best first."""
        mirrored = self.outcomes == 2 and outcome == 1
        sides = []
        for bids in (True, False):
            levels: dict[int, int] = {}
            for order in queue(
                self.orders, book=0 if mirrored else outcome, bids=bids != mirrored, outcomes=self.outcomes
            ):
                price = in_book(order, self.outcomes)[2]
                price = DOLLAR - price if mirrored else price
                levels[price] = levels.get(price, 0) + order.left
            sides.append(sorted(levels.items(), reverse=bids))
        return sides[0], sides[1]

    def reserve_for(self, order: OpenOrder) -> int:
        """The most its uncovered shares can still cost: the limit price and the higher fee."""
        units = order.left - order.backed
        if units == 0:
            return 0
        rate = max(self.market.taker_fee_e4, self.market.maker_fee_e4)
        all_fees = up(order.fee_units + rate * units * order.price * (DOLLAR - order.price))
        each = order.price if order.terms.side == "buy" else DOLLAR - order.price
        return each * units + all_fees - up(order.fee_units)

    def mine(self, command: cmd.CancelOrder | cmd.AmendOrder) -> OpenOrder | None:
        for order in self.orders:
            wanted, name = command.order_id, order.terms.order_id
            if wanted is None:
                wanted, name = command.client_order_id, order.terms.client_order_id or ""
            if order.account == command.account_id and name == wanted:
                return order
        return None

    # -- money and shares --------------------------------------------------------------------

    def net(self, account: str) -> int:
        """Turns the account's free complete sets into $1 each; answers how many."""
        if account not in self.shares:
            return 0
        sets = min(self.free_shares(account))
        for index in range(self.outcomes):
            self.shares[account][index] -= sets
        self.cash[account] += DOLLAR * sets
        self.pot -= DOLLAR * sets
        return sets

    def fill(self, order: OpenOrder, role: str, quantity: int, price: int) -> ev.Leg:
        """One side of a trade, at its own price, share by share: held shares first, then cash."""
        account, outcome, side = order.account, order.terms.outcome, order.terms.side
        before, delivered, earned, spent = self.cash[account], 0, 0, 0
        for _ in range(quantity):
            if order.backed > 0:
                for index in self.needed_shares(outcome, side):
                    self.shares[account][index] -= 1
                order.backed -= 1
                delivered += 1
                earned += price if side == "sell" else DOLLAR - price
            else:
                gained = [outcome] if side == "buy" else self.needed_shares(outcome, "buy")
                for index in gained:
                    self.shares[account][index] += 1
                spent += price if side == "buy" else DOLLAR - price
        self.pot += spent - earned
        order.filled += quantity
        order.cost += quantity * price
        rate = self.market.taker_fee_e4 if role == "taker" else self.market.maker_fee_e4
        order.fee_units += rate * quantity * price * (DOLLAR - price)
        fee = up(order.fee_units) - order.fees
        order.fees += fee
        self.fees += fee
        reserve = order.reserve
        if order.terms.max_cost_pips is None:
            order.reserve = self.reserve_for(order)
        elif order.left == 0:
            order.reserve = 0
        elif order.reserve:
            # What was bought by cash comes out of the money set aside; a fee that is due for covered shares
            # comes out of what they earned.
            order.reserve -= max(0, spent + fee - earned)
        self.cash[account] += reserve - order.reserve + earned - spent - fee
        if order.left == 0:
            self.orders.remove(order)
        netted = self.net(account)
        assert self.cash[account] >= before, "a fill took cash beyond the order's reserve"
        return ev.Leg(
            order=order.terms.order_id, account=account, role=role, outcome=outcome, side=side, price=price,
            quantity=quantity, fee=fee, delivered=delivered, netted=netted, cash=self.cash[account] - before,
            reserved=order.reserve,
        )  # fmt: skip

    def let_go(self, order: OpenOrder) -> tuple[int, int]:
        """Takes an order out of the book; answers how many sets that netted and what cash it gave."""
        before = self.cash[order.account]
        self.orders.remove(order)
        self.cash[order.account] += order.reserve
        netted = self.net(order.account)
        return netted, self.cash[order.account] - before

    def end(self, order: OpenOrder, reason: str) -> ev.Event:
        netted, cash = self.let_go(order)
        return ev.OrderCancelled(
            order=order.terms.order_id, account=order.account, reason=reason, quantity=order.left,
            released=order.backed, netted=netted, cash=cash,
        )  # fmt: skip

    def expire(self, order: OpenOrder) -> ev.Event:
        netted, cash = self.let_go(order)
        return ev.OrderExpired(
            order=order.terms.order_id, account=order.account, quantity=order.left, released=order.backed,
            netted=netted, cash=cash,
        )  # fmt: skip


def up(fee_units: int) -> int:
    """10^-8 pips to whole pips, rounded up."""
    whole, rest = divmod(fee_units, 100_000_000)
    return whole + 1 if rest else whole
