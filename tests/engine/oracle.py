"""A naive exchange for one market, written from the rules to check the real engine by.

It shares nothing with the engine but the shapes of commands and events and the refusals' codes.
Slow on purpose; clever never. Trades are numbered T1, T2, ...
"""

from dataclasses import dataclass

from tests.engine.naive_accounts import up
from tests.engine.naive_book import DOLLAR, Offer, OpenOrder, in_book, look_ahead, next_offer
from tests.engine.naive_life import REVIEW, NaiveLife, refused
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.rejection import RejectReason

FENCE_FORGOTTEN_US = 60_000_000


@dataclass
class NaiveExchange(NaiveLife):
    """`run` does a command and answers its events."""

    # -- placing and matching ----------------------------------------------------------------

    def run(self, command: cmd.Command, *, now_us: int) -> list[ev.Event]:
        """Does the command and answers its events; nothing where no market has been created."""
        self.now_us = now_us
        if isinstance(command, cmd.CreateMarket):
            return self.create(command)
        if self.status == "unborn":
            return []
        if isinstance(command, cmd.PlaceOrder):
            return self.place(command)
        if isinstance(command, cmd.CancelOrder):
            order = self.mine(command)
            return [self.unknown(command, "cancel") if order is None else self.end(order, "by_owner")]
        if isinstance(command, cmd.AmendOrder):
            return self.amend(command)
        if isinstance(command, cmd.CancelOrders):
            return self.cancel_all(command)
        if isinstance(command, cmd.ExpireOrders):
            due = [order for order in self.orders if order.is_over(now_us)]
            due.sort(key=lambda order: (order.terms.expires_us, order.terms.order_id))
            return [self.expire(order) for order in due[: self.sweep_size]]
        if isinstance(command, REVIEW):
            return self.review(command)
        return self.lifecycle(command)

    def next_offer(self, taker: OpenOrder, orders: list[OpenOrder] | None = None) -> Offer | None:
        return next_offer(
            self.orders if orders is None else orders,
            taker,
            outcomes=self.outcomes,
            tick=self.market.tick_pips,
        )

    def would_cross(self, order: OpenOrder) -> bool:
        alive = [other for other in self.orders if other is not order and not other.is_over(self.now_us)]
        return self.next_offer(order, alive) is not None

    def place(self, command: cmd.PlaceOrder) -> list[ev.Event]:
        account, bought = command.account_id, 0
        order = OpenOrder(command, command.price_pips, command.quantity_shares, self.now_us, self.queued)
        backing = self.coverable(account, command.outcome, command.side)
        if command.max_cost_pips is not None:
            bought = self.affordable(order, command.max_cost_pips)
            order.total = max(1, bought)
        order.backed = min(order.total, backing)
        if command.max_cost_pips is None:
            order.reserve = self.reserve_for(order)
        else:
            order.reserve = 0 if order.backed == order.total else command.max_cost_pips
        reason = self.refusal(command, order)
        terms = {
            "order": command.order_id, "account": account, "client_order_id": command.client_order_id,
            "outcome": command.outcome, "side": command.side, "type": command.order_type,
            "price": command.price_pips, "tif": command.time_in_force, "stp": command.self_trade_prevention,
            "by": command.by, "post_only": command.post_only, "reduce_only": command.reduce_only,
            "on_suspend": command.on_suspend, "expires_us": command.expires_us, "max_cost": command.max_cost_pips,
        }  # fmt: skip
        if reason is not None:
            return [ev.OrderRejected(**terms, quantity=command.quantity_shares, reason=reason.value)]
        self.queued += 1
        self.orders.append(order)
        self.cash[account] -= order.reserve
        said: list[ev.Event] = [ev.OrderPlaced(
            **terms, quantity=order.total, covered=order.backed, reserved=order.reserve, cash=-order.reserve
        )]  # fmt: skip
        if command.max_cost_pips is None or bought:
            said += self.match(order)
        if order in self.orders and command.time_in_force not in ("GTC", "GTD"):
            said.append(self.end(order, "unfilled"))
        return said

    def refusal(self, command: cmd.PlaceOrder, order: OpenOrder) -> RejectReason | None:
        if self.status != "open" or self.now_us >= self.market.closes_us or self.in_phase("cancel_only"):
            return RejectReason.MARKET_NOT_OPEN
        if any(
            time is not None and time <= self.now_us for time in (command.valid_until_us, command.expires_us)
        ):
            return RejectReason.EXPIRED
        if self.is_fenced(command):
            return RejectReason.CANCELLED_BY_OWNER
        if command.price_pips % self.market.tick_pips != 0:
            return RejectReason.OFF_TICK
        if sum(other.account == command.account_id for other in self.orders) >= self.open_limit:
            return RejectReason.EXCEEDS_LIMITS
        quiet = self.in_phase("post_only")
        if quiet and command.time_in_force in ("IOC", "FOK"):
            return RejectReason.WOULD_CROSS
        if (command.post_only or quiet) and self.would_cross(order):
            return RejectReason.WOULD_CROSS
        if command.time_in_force == "FOK" and self.can_meet(order) < order.total:
            return RejectReason.CANNOT_FILL
        if command.reduce_only and order.backed != order.total:
            return RejectReason.REDUCE_ONLY
        if order.reserve > self.cash[command.account_id]:
            return RejectReason.EXCEEDS_AVAILABLE_CASH
        return None

    def is_fenced(self, command: cmd.PlaceOrder) -> bool:
        return any(
            fence.account == command.account_id
            and command.order_id < fence.fence
            and fence.outcome in (None, command.outcome)
            and fence.side in (None, command.side)
            and fence.by in (None, command.by)
            for _, fence in self.fences
        )

    def can_meet(self, order: OpenOrder) -> int:
        found = 0
        for offer, shares in look_ahead(
            self.orders, order, outcomes=self.outcomes, tick=self.market.tick_pips, now_us=self.now_us
        ):
            if not offer.of(order.account):
                found += shares
        return found

    def affordable(self, order: OpenOrder, max_cost: int) -> int:
        """How many shares the money buys, one after another, fees included; past all offers at the worst price."""
        bought = cost = fee_units = 0
        rate, most = self.market.taker_fee_e4, order.terms.quantity_shares
        offers = look_ahead(
            self.orders, order, outcomes=self.outcomes, tick=self.market.tick_pips, now_us=self.now_us
        )
        prices = [(order.own_price(offer.price, self.outcomes), shares, offer.of(order.account))
                  for offer, shares in offers]  # fmt: skip
        for price, shares, own in [*prices, (order.price, most, [])]:
            if own:
                continue
            for _ in range(shares):
                cost += price
                fee_units += rate * price * (DOLLAR - price)
                if cost + up(fee_units) > max_cost or bought == most:
                    return bought
                bought += 1
        return bought

    def match(self, taker: OpenOrder) -> list[ev.Event]:
        said: list[ev.Event] = []
        while taker in self.orders and taker.left > 0:
            offer = self.next_offer(taker)
            if offer is None:
                break
            over = [maker for maker in offer.makers if maker.is_over(self.now_us)]
            own = offer.of(taker.account)
            if over:
                said += [self.expire(maker) for maker in over]
            elif own:
                mode = taker.terms.self_trade_prevention
                if mode != "cancel_taker":
                    said += [self.end(maker, "self_trade") for maker in own]
                if mode != "cancel_maker":
                    said.append(self.end(taker, "self_trade"))
            else:
                quantity = self.within_money(taker, offer)
                if quantity == 0:
                    break
                said += self.trade(offer, taker, quantity)
        return said

    def within_money(self, taker: OpenOrder, offer: Offer) -> int:
        """How much of the offer it takes: all it can, but never for more than its money."""
        quantity = offer.quantity(taker)
        if taker.terms.max_cost_pips is not None:
            price, rate = taker.own_price(offer.price, self.outcomes), self.market.taker_fee_e4
            while (
                quantity
                and taker.cost
                + quantity * price
                + up(taker.fee_units + rate * quantity * price * (DOLLAR - price))
                > taker.terms.max_cost_pips
            ):
                quantity -= 1
        return quantity

    def trade(self, offer: Offer, taker: OpenOrder, quantity: int) -> list[ev.Event]:
        book, taker_is_bid, _ = in_book(taker, self.outcomes)
        parts = [*zip(offer.makers, offer.maker_prices, strict=True), (taker, offer.price)]
        said: list[ev.Event] = []
        for order, _ in parts:
            if order.account not in self.shares:
                self.shares[order.account] = [0] * self.outcomes
                said.append(ev.PositionOpened(account=order.account))
        legs = []
        for order, price in parts:
            role = "taker" if order is taker else "maker"
            legs.append(self.fill(order, role, quantity, order.own_price(price, self.outcomes)))
            self.last_prices[in_book(order, self.outcomes)[0]] = price
        if self.outcomes == 2:
            self.last_prices[1] = DOLLAR - offer.price
        self.volume += quantity * (offer.price if len(legs) == 2 else DOLLAR)
        self.trades += 1
        for index in range(self.outcomes):
            shares = sum(row[index] for row in self.shares.values())
            assert DOLLAR * shares == self.pot, "the pot is not $1 a set"
        said.append(ev.OrderMatched(
            trade=f"T{self.trades}", outcome=book, price=offer.price, quantity=quantity,
            taker_side="buy" if taker_is_bid else "sell", legs=tuple(legs),
        ))  # fmt: skip
        return said

    # -- changes -------------------------------------------------------------------------------

    def unknown(self, command: cmd.CancelOrder | cmd.AmendOrder, verb: str) -> ev.Event:
        foreign = any(order.terms.order_id == command.order_id for order in self.orders)
        reason = RejectReason.NOT_FOUND if foreign else RejectReason.ORDER_NOT_OPEN
        return refused(verb, reason, account=command.account_id, order=command.order_id)

    def amend(self, command: cmd.AmendOrder) -> list[ev.Event]:
        order = self.mine(command)
        if order is None:
            return [self.unknown(command, "amend")]
        total, price = order.total, order.price
        if command.quantity_shares is not None:
            total = command.quantity_shares
        elif command.reduce_by_shares is not None:
            total = order.total - command.reduce_by_shares
        if command.price_pips is not None:
            price = command.price_pips
        if total <= order.filled:
            return [self.end(order, "by_owner")]
        if price == order.price and total <= order.total:
            order.backed = min(order.backed, total - order.filled)
            return [self.amended(order, total, price, requeued=False)]
        return self.requeue(order, total, price)

    def requeue(self, order: OpenOrder, total: int, price: int) -> list[ev.Event]:
        free = self.coverable(order.account, order.terms.outcome, order.terms.side)
        was = (order.total, order.price, order.backed)
        order.total, order.price = total, price
        order.backed = min(order.left, order.backed + free)
        reason = self.amend_refusal(order, price)
        if reason is not None:
            order.total, order.price, order.backed = was
            return [refused("amend", reason, account=order.account, order=order.terms.order_id)]
        order.queued = self.queued
        self.queued += 1
        return [self.amended(order, total, price, requeued=True), *self.match(order)]

    def amend_refusal(self, order: OpenOrder, price: int) -> RejectReason | None:
        if self.status != "open" or self.now_us >= self.market.closes_us or self.in_phase("cancel_only"):
            return RejectReason.MARKET_NOT_OPEN
        if order.is_over(self.now_us):
            return RejectReason.EXPIRED
        if price % self.market.tick_pips != 0:
            return RejectReason.OFF_TICK
        if (order.terms.post_only or self.in_phase("post_only")) and self.would_cross(order):
            return RejectReason.WOULD_CROSS
        if order.terms.reduce_only and order.backed != order.left:
            return RejectReason.REDUCE_ONLY
        if self.reserve_for(order) - order.reserve > self.cash[order.account]:
            return RejectReason.EXCEEDS_AVAILABLE_CASH
        return None

    def amended(self, order: OpenOrder, total: int, price: int, *, requeued: bool) -> ev.Event:
        before = self.cash[order.account]
        order.total = total
        self.cash[order.account] += order.reserve
        order.reserve = self.reserve_for(order)
        self.cash[order.account] -= order.reserve
        netted = self.net(order.account)
        return ev.OrderAmended(
            order=order.terms.order_id, account=order.account, quantity=total, price=price, covered=order.backed,
            netted=netted, cash=self.cash[order.account] - before, reserved=order.reserve, requeued=requeued,
        )  # fmt: skip

    def cancel_all(self, command: cmd.CancelOrders) -> list[ev.Event]:
        said: list[ev.Event] = []
        account = command.account_id
        if command.fence is not None and self.status not in ("resolved", "voided"):
            self.fences = [
                (at_us, fence) for at_us, fence in self.fences
                if fence.account != account or self.now_us - at_us <= FENCE_FORGOTTEN_US
            ]  # fmt: skip
            fence = ev.CancelAllFence(
                account=account,
                by=command.by,
                fence=command.fence,
                outcome=command.outcome,
                side=command.side,
            )
            self.fences.append((self.now_us, fence))
            said.append(fence)
        until = command.placed_until_us
        return said + [
            self.end(order, command.reason)
            for order in list(self.orders)
            if order.account == account
            and until != 0
            and command.outcome in (None, order.terms.outcome)
            and command.side in (None, order.terms.side)
            and command.by in (None, order.terms.by)
            and (until is None or order.created_us <= until or order.terms.order_id < (command.fence or ""))
        ]
