"""What the read models should show of each account, folded plainly from the events' fields."""

from collections import defaultdict
from dataclasses import dataclass, field

from trading.eventlog.codec import StoredEvent
from trading.ids import MARKET_SLOTS
from trading.reconcile.rows import LedgerSums

_SIGNS = {"funds_deposited/1": 1, "payout_issued/1": 1, "funds_withdrawn/1": -1, "payout_reversed/1": -1}


@dataclass(slots=True)
class LedgerFold:
    """The tables account_ledger and ledger_entry: cash, number of entries and number of events by account."""

    cash_pips: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    events: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, event: StoredEvent) -> None:
        data = event.data
        if event.type == "order_matched/1":
            for account_id in {leg["account"] for leg in data["legs"]}:
                self.events[account_id] += 1
            for leg in data["legs"]:
                self._enter(leg["account"], leg["cash"])
            return
        account_id = data.get("account", event.stream_id if event.slot >= MARKET_SLOTS else None)
        if account_id is not None:
            self.events[account_id] += 1
            self._enter(account_id, data.get("cash", 0) + _SIGNS.get(event.type, 0) * data.get("amount", 0))

    def _enter(self, account_id: str, amount_pips: int) -> None:
        self.cash_pips[account_id] += amount_pips
        self.entries[account_id] += amount_pips != 0

    def sums(self, account_id: str) -> LedgerSums:
        """The account's rows as they should be."""
        cash_pips = self.cash_pips[account_id]
        return LedgerSums(cash_pips, self.events[account_id], cash_pips, self.entries[account_id])
