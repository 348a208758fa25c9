"""A naive exchange for one market, written from ARCHITECTURE §3 to check the real engine by.

It shares nothing with the engine but the shapes of commands and events and the refusals' codes.
Orders are one plain list, sorted anew at every step; shares and money move one share at a time,
and everything an account has free is worked out from the open orders whenever it is asked.
Slow on purpose; clever never. Trades are numbered T1, T2, ... where the engine makes up an id.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.rejection import RejectReason

DOLLAR = 10_000


@dataclass
class OpenOrder:
    """An order that has not ended. `backed` of its remaining shares are covered by shares held."""

    terms: cmd.PlaceOrder
    arrival: int
    total: int
    backed: int = 0
    reserve: int = 0
    filled: int = 0
    fee_units: int = 0  # what the fills cost by the fee formula, exactly: 10^-8 pips
    fees: int = 0

    @property
    def left(self) -> int:
        return self.total - self.filled


@dataclass
class NaiveExchange:
    """One market and everybody's cash. `run` answers the events of a command."""

    sweep_size: int = 500
    open_limit: int = 100_000
    status: str = "unborn"
    terms: cmd.CreateMarket | None = None
    closing: ev.MarketClosed | None = None
    orders: list[OpenOrder] = field(default_factory=list)
    cash: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    shares: dict[str, list[int]] = field(default_factory=dict)
    pot: int = 0
    fees: int = 0
    arrivals: int = 0
    trades: int = 0

    # -- what the rules speak of ------------------------------------------------------------

    @property
    def outcomes(self) -> int:
        assert self.terms is not None
        return len(self.terms.outcomes)

    def needed_shares(self, outcome: int, side: str) -> list[int]:
        """The outcomes whose shares cover an order: its own for a sell, all others for a buy."""
        if side == "sell":
            return [outcome]
        return [index for index in range(self.outcomes) if index != outcome]

    def free_shares(self, account: str) -> list[int]:
        """What an account holds beyond what its open orders have earmarked."""
        free = list(self.shares.get(account, [0] * self.outcomes))
        for order in self.orders:
            if order.terms.account_id == account:
                for index in self.needed_shares(order.terms.outcome, order.terms.side):
                    free[index] -= order.backed
        return free

    def in_book(self, order: cmd.PlaceOrder) -> tuple[int, bool, int]:
        """(book, is it a bid, price there): a binary market has the first outcome's book only."""
        if self.outcomes == 2 and order.outcome == 1:
            return 0, order.side == "sell", DOLLAR - order.price_pips
        return order.outcome, order.side == "buy", order.price_pips

    def queue_for(self, order: cmd.PlaceOrder) -> list[OpenOrder]:
        """The resting orders it may trade with, in the order in which it would."""
        book, is_bid, limit = self.in_book(order)
        queue = []
        for other in self.orders:
            other_book, other_is_bid, price = self.in_book(other.terms)
            crosses = price <= limit if is_bid else price >= limit
            if other_book == book and other_is_bid != is_bid and crosses:
                queue.append((price if is_bid else -price, other.arrival, other))
        return [other for _, _, other in sorted(queue, key=lambda row: row[:2])]

    def depth(self, outcome: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bids and asks of an outcome as (price, quantity), best first."""
        levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for order in self.orders:
            book, is_bid, price = self.in_book(order.terms)
            if self.outcomes == 2 and outcome == 1:
                book, is_bid, price = 1, not is_bid, DOLLAR - price
            if book == outcome:
                side = levels[0 if is_bid else 1]
                side[price] = side.get(price, 0) + order.left
        return sorted(levels[0].items(), reverse=True), sorted(levels[1].items())

    def reserve_for(self, order: OpenOrder) -> int:
        """The most its uncovered shares can still cost: the limit price and the higher fee."""
        assert self.terms is not None
        units, price = order.left - order.backed, order.terms.price_pips
        if units == 0:
            return 0
        rate = max(self.terms.taker_fee_e4, self.terms.maker_fee_e4)
        all_fees = up(order.fee_units + rate * units * price * (DOLLAR - price))
        each = price if order.terms.side == "buy" else DOLLAR - price
        return each * units + all_fees - up(order.fee_units)

    def mine(self, command: cmd.CancelOrder | cmd.AmendOrder) -> OpenOrder | None:
        for order in self.orders:
            wanted, name = command.order_id, order.terms.order_id
            if wanted is None:
                wanted, name = command.client_order_id, order.terms.client_order_id or ""
            if order.terms.account_id == command.account_id and name == wanted:
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
        assert self.terms is not None
        account, outcome, side = order.terms.account_id, order.terms.outcome, order.terms.side
        before, delivered = self.cash[account], 0
        purse = order.reserve
        for _ in range(quantity):
            if order.backed > 0:
                for index in self.needed_shares(outcome, side):
                    self.shares[account][index] -= 1
                order.backed -= 1
                delivered += 1
                paid = -price if side == "sell" else -(DOLLAR - price)
            else:
                gained = [outcome] if side == "buy" else self.needed_shares(outcome, "buy")
                for index in gained:
                    self.shares[account][index] += 1
                paid = price if side == "buy" else DOLLAR - price
            purse -= paid
            self.pot += paid
        order.filled += quantity
        rate = self.terms.taker_fee_e4 if role == "taker" else self.terms.maker_fee_e4
        order.fee_units += rate * quantity * price * (DOLLAR - price)
        fee = up(order.fee_units) - order.fees
        order.fees += fee
        self.fees += fee
        order.reserve = self.reserve_for(order)
        self.cash[account] += purse - fee - order.reserve
        if order.left == 0:
            self.orders.remove(order)
        netted = self.net(account)
        assert self.cash[account] >= before, "a fill took cash beyond the order's reserve"
        return ev.Leg(
            order.terms.order_id, account, role, outcome, side, price, quantity, fee, delivered, netted,
            self.cash[account] - before, order.reserve,
        )  # fmt: skip

    def end(self, order: OpenOrder, reason: str) -> ev.OrderCancelled:
        account, released, left = order.terms.account_id, order.backed, order.left
        before = self.cash[account]
        self.orders.remove(order)
        self.cash[account] += order.reserve
        netted = self.net(account)
        return ev.OrderCancelled(
            order.terms.order_id, account, reason, left, released, netted, self.cash[account] - before
        )

    # -- commands ----------------------------------------------------------------------------

    def run(self, command: cmd.Command, *, now_us: int) -> list[ev.Event]:
        """Does the command and answers its events; nothing where no market has been created."""
        if isinstance(command, cmd.CreateMarket):
            return self.create(command, now_us)
        if self.status == "unborn":
            return []
        if isinstance(command, cmd.PlaceOrder):
            return self.place(command, now_us)
        if isinstance(command, cmd.CancelOrder):
            order = self.mine(command)
            return [self.unknown(command, "cancel") if order is None else self.end(order, "by_owner")]
        if isinstance(command, cmd.AmendOrder):
            return [self.amend(command)]
        if isinstance(command, cmd.CancelOrders):
            return self.cancel_all(command)
        return self.lifecycle(command)

    def place(self, command: cmd.PlaceOrder, now_us: int) -> list[ev.Event]:
        account = command.account_id
        free = self.free_shares(account)
        backing = min(free[index] for index in self.needed_shares(command.outcome, command.side))
        order = OpenOrder(command, self.arrivals, command.quantity_shares)
        order.backed = min(command.quantity_shares, backing)
        order.reserve = self.reserve_for(order)
        reason = self.refusal(command, order.reserve, now_us)
        if reason is not None:
            return [ev.OrderRejected(
                command.order_id, account, command.client_order_id, command.outcome, command.side,
                command.order_type, command.price_pips, command.quantity_shares, command.time_in_force,
                reason.value,
            )]  # fmt: skip
        self.arrivals += 1
        self.orders.append(order)
        self.cash[account] -= order.reserve
        said: list[ev.Event] = [ev.OrderPlaced(
            command.order_id, account, command.client_order_id, command.outcome, command.side,
            command.order_type, command.price_pips, command.quantity_shares, command.time_in_force,
            command.self_trade_prevention, order.backed, order.reserve, -order.reserve,
        )]  # fmt: skip
        said += self.match(order)
        if order in self.orders and command.time_in_force != "GTC":
            said.append(self.end(order, "unfilled"))
        return said

    def refusal(self, command: cmd.PlaceOrder, reserve: int, now_us: int) -> RejectReason | None:
        assert self.terms is not None
        if self.status != "open" or now_us >= self.terms.closes_us:
            return RejectReason.MARKET_NOT_OPEN
        if command.price_pips % self.terms.tick_pips != 0:
            return RejectReason.OFF_TICK
        if sum(order.terms.account_id == command.account_id for order in self.orders) >= self.open_limit:
            return RejectReason.EXCEEDS_LIMITS
        if command.time_in_force == "FOK":
            found = 0
            for maker in self.queue_for(command):
                if maker.terms.account_id == command.account_id:
                    break
                found += maker.left
            if found < command.quantity_shares:
                return RejectReason.CANNOT_FILL
        if reserve > self.cash[command.account_id]:
            return RejectReason.EXCEEDS_AVAILABLE_CASH
        return None

    def match(self, taker: OpenOrder) -> list[ev.Event]:
        said: list[ev.Event] = []
        while taker.left > 0:
            queue = self.queue_for(taker.terms)
            if not queue:
                break
            maker = queue[0]
            if maker.terms.account_id == taker.terms.account_id:
                said.append(self.end(taker, "self_trade"))
                break
            for account in (maker.terms.account_id, taker.terms.account_id):
                if account not in self.shares:
                    self.shares[account] = [0] * self.outcomes
                    said.append(ev.PositionOpened(account))
            said.append(self.trade(maker, taker))
        return said

    def trade(self, maker: OpenOrder, taker: OpenOrder) -> ev.OrderMatched:
        quantity = min(maker.left, taker.left)
        book, taker_is_bid, _ = self.in_book(taker.terms)
        price = self.in_book(maker.terms)[2]
        legs = []
        for order, role in ((maker, "maker"), (taker, "taker")):
            own_price = price if order.terms.outcome == book else DOLLAR - price
            legs.append(self.fill(order, role, quantity, own_price))
        self.trades += 1
        for index in range(self.outcomes):
            shares = sum(row[index] for row in self.shares.values())
            assert DOLLAR * shares == self.pot, "the pot is not $1 a set"
        return ev.OrderMatched(
            f"T{self.trades}", book, price, quantity, "buy" if taker_is_bid else "sell", tuple(legs)
        )

    def unknown(self, command: cmd.CancelOrder | cmd.AmendOrder, verb: str) -> ev.CommandRefused:
        foreign = any(order.terms.order_id == command.order_id for order in self.orders)
        reason = RejectReason.NOT_FOUND if foreign else RejectReason.ORDER_NOT_OPEN
        return ev.CommandRefused(command.account_id, verb, command.order_id, reason.value)

    def amend(self, command: cmd.AmendOrder) -> ev.Event:
        order = self.mine(command)
        if order is None:
            return self.unknown(command, "amend")
        total = command.quantity_shares
        if total is None:
            assert command.reduce_by_shares is not None
            total = order.total - command.reduce_by_shares
        if total > order.total:
            return ev.CommandRefused(
                command.account_id, "amend", order.terms.order_id, RejectReason.NOT_SUPPORTED.value
            )
        if total <= order.filled:
            return self.end(order, "by_owner")
        account, before = command.account_id, self.cash[command.account_id]
        backed = order.backed
        order.total = total
        order.backed = min(order.backed, order.left)
        self.cash[account] += order.reserve
        order.reserve = self.reserve_for(order)
        self.cash[account] -= order.reserve
        netted = self.net(account)
        return ev.OrderAmended(
            order.terms.order_id, account, total, backed - order.backed, netted, self.cash[account] - before,
            order.reserve,
        )  # fmt: skip

    def cancel_all(self, command: cmd.CancelOrders) -> list[ev.Event]:
        return [
            self.end(order, "by_owner")
            for order in list(self.orders)
            if order.terms.account_id == command.account_id
            and command.outcome in (None, order.terms.outcome)
            and command.side in (None, order.terms.side)
        ]

    def create(self, command: cmd.CreateMarket, now_us: int) -> list[ev.Event]:
        if self.status != "unborn":
            return [ev.CommandRefused(None, "create", None, RejectReason.NOT_SUPPORTED.value)]
        self.terms = command
        self.status = "draft"
        said: list[ev.Event] = [ev.MarketCreated(
            command.market_id, command.question, command.outcomes, command.category, command.tick_pips,
            command.taker_fee_e4, command.maker_fee_e4, command.opens_us, command.closes_us, now_us,
        )]  # fmt: skip
        if command.opens_us is None or command.opens_us <= now_us:
            self.status = "open"
            said.append(ev.MarketOpened())
        return said

    def lifecycle(self, command: cmd.Command) -> list[ev.Event]:
        undecided = self.closing is None or self.closing.reason == "time"
        if isinstance(command, cmd.OpenMarket):
            return self.turn("open", ("draft",), "open", ev.MarketOpened())
        if isinstance(command, cmd.SuspendMarket):
            return self.turn("suspend", ("open",), "suspended", ev.MarketSuspended(command.reason))
        if isinstance(command, cmd.ResumeMarket):
            return self.turn("resume", ("suspended",), "open", ev.MarketResumed())
        if isinstance(command, cmd.SweepOrders):
            return self.sweep() if self.status == "closed" else []
        if isinstance(command, cmd.CloseMarket):
            verb, closed, allowed = "close", ev.MarketClosed("time", None, None, ""), self.closing is None
        elif isinstance(command, cmd.ResolveMarket):
            verb, allowed = "resolve", undecided
            closed = ev.MarketClosed(
                "resolution", command.payouts_pips, command.settlement_id, command.evidence
            )
        else:
            assert isinstance(command, cmd.VoidMarket)
            verb, allowed = "void", undecided
            closed = ev.MarketClosed("void", None, command.settlement_id, command.evidence)
        if not allowed:
            return [ev.CommandRefused(None, verb, None, RejectReason.MARKET_NOT_OPEN.value)]
        self.status, self.closing = "closed", closed
        return [closed, *self.sweep()]

    def turn(self, verb: str, where: tuple[str, ...], status: str, event: ev.Event) -> list[ev.Event]:
        if self.status not in where:
            return [ev.CommandRefused(None, verb, None, RejectReason.MARKET_NOT_OPEN.value)]
        self.status = status
        return [event]

    def sweep(self) -> list[ev.Event]:
        closing = self.closing
        assert closing is not None
        said: list[ev.Event] = [self.end(order, "market_closed") for order in self.orders[: self.sweep_size]]
        if self.orders or closing.settlement is None:
            return said
        sets = self.pot // DOLLAR
        if closing.payouts is not None:
            self.status = "resolved"
            return [*said, ev.MarketResolved(
                closing.payouts, closing.settlement, closing.evidence, sets, self.fees
            )]  # fmt: skip
        self.status = "voided"
        return [*said, ev.MarketVoided(closing.settlement, closing.evidence, sets, self.fees)]


def up(fee_units: int) -> int:
    """10^-8 pips to whole pips, rounded up."""
    whole, rest = divmod(fee_units, 100_000_000)
    return whole + 1 if rest else whole
