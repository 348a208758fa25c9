"""Money by the log alone: what each account should have, and what the markets hold. All in pips."""

from collections import defaultdict
from typing import Any

from trading.eventlog.codec import StoredEvent

DOLLAR = 10_000

_PASSED_OVER = frozenset({
    "market_created/1", "market_opened/1", "market_suspended/1", "market_resumed/1", "market_closed/1",
    "resolution_proposed/1", "resolution_approved/1", "resolution_disputed/1", "resolution_withdrawn/1",
    "market_resolved/1", "market_voided/1", "reversal_requested/1", "resolution_reversed/1", "order_rejected/1",
    "cancel_all_fence/1", "command_refused/1", "position_opened/1", "position_closed/1", "position_reopened/1",
})  # fmt: skip


class Ledger:
    """The sums of all slots, fed with every event up to one moment."""

    def __init__(self) -> None:
        self.free: dict[str, int] = defaultdict(int)
        """Cash less debt, as if nothing were in flight."""
        self.reserved: dict[str, int] = defaultdict(int)
        self.fees_paid: dict[str, int] = defaultdict(int)
        self.deposited = self.withdrawn = self.issued = self.reversed = self.fees = self.sets = 0
        self.moved_by_settlement: dict[str, int] = defaultdict(int)
        """What a resolution or a void has paid out, or a reversal has taken of that."""
        self.debt: dict[str, int] = defaultdict(int)
        self.unknown: list[str] = []
        self._reserve_of_order: dict[str, int] = {}

    def take(self, event: StoredEvent) -> None:
        """Adds one event up. Events of one slot come in order, slots in any order."""
        data, kind = event.data, event.type
        if kind == "order_matched/1":
            for leg in data["legs"]:
                self._move(leg)
                self._match(leg)
        elif kind in ("order_placed/1", "order_cancelled/1", "order_expired/1", "order_amended/1"):
            self._move(data)
            self.sets -= data.get("netted", 0)
        elif kind in ("funds_deposited/1", "funds_withdrawn/1", "payout_issued/1", "payout_reversed/2"):
            self._pay(kind, event.stream_id, data)
        elif kind == "debt_repaid/1":
            self.debt[event.stream_id] -= data["amount"]
        elif kind not in _PASSED_OVER:
            self.unknown.append(f"event {event.event_id} has the unknown type {kind}")

    def _move(self, part: dict[str, Any]) -> None:
        """The change of free cash, and what the order holds from now on (nothing, once cancelled)."""
        account_id, order_id, reserve = part["account"], part["order"], part.get("reserved", 0)
        self.free[account_id] += part["cash"]
        self.reserved[account_id] += reserve - self._reserve_of_order.pop(order_id, 0)
        if reserve:
            self._reserve_of_order[order_id] = reserve

    def _match(self, leg: dict[str, Any]) -> None:
        self.fees_paid[leg["account"]] += leg.get("fee", 0)
        self.fees += leg.get("fee", 0)
        # A set is outstanding for every share of outcome 0.
        by_cash = leg["quantity"] - leg.get("delivered", 0)
        brings_in = (leg["side"] == "buy") == (leg["outcome"] == 0)
        self.sets += (by_cash if brings_in else -leg.get("delivered", 0)) - leg.get("netted", 0)

    def _pay(self, kind: str, account_id: str, data: dict[str, Any]) -> None:
        amount = data["amount"]
        if kind == "funds_deposited/1":
            self.deposited += amount
        elif kind == "funds_withdrawn/1":
            self.withdrawn += amount
            amount = -amount
        elif kind == "payout_issued/1":
            self.issued += amount
            if data["kind"] != "returned":
                self.moved_by_settlement[data["settlement"]] += amount
        else:
            self.reversed += amount
            if data["kind"] != "take_back":
                self.moved_by_settlement[data["settlement"]] += amount
            amount = -amount
        self.free[account_id] += amount
        self.debt[account_id] += data.get("owed", 0) - data.get("repaid", 0)

    @property
    def held_by_markets(self) -> int:
        """Collateral and fees of all markets, less what has been paid out of them."""
        return DOLLAR * self.sets + self.fees - self.issued + self.reversed
