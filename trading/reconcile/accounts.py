"""What the read models should show of each account, folded plainly from the events' fields."""

from collections import defaultdict
from dataclasses import dataclass, field

from trading.eventlog.codec import StoredEvent, timestamp_text
from trading.ids import MARKET_SLOTS
from trading.reconcile.markets import add_forecast
from trading.reconcile.rows import ALL_TIME, LedgerSums

_SIGNS = {"funds_deposited/1": 1, "payout_issued/1": 1, "funds_withdrawn/1": -1, "payout_reversed/2": -1}


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
        if event.type == "debt_repaid/1":
            # Cash less debt is what it was.
            self.events[event.stream_id] += 1
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


@dataclass(slots=True)
class StandingsFold:
    """The table standing, but for what was realized: volume by account and day, and the scores of what was closed.

    Slots come in any order, so scores are made when they are asked for: all a closing needs has been taken by then.
    """

    volume: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    forecasts: dict[tuple[str, str], dict[int, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    )
    binary: dict[str, bool] = field(default_factory=dict)
    resolved: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    """(day, payouts) by settlement."""
    closed: dict[str, dict[tuple[str, str], int]] = field(default_factory=lambda: defaultdict(dict))
    """Of each account: by market and settlement, 1 if it was closed by it and not opened again."""

    def take(self, event: StoredEvent) -> None:
        data, day = event.data, timestamp_text(event.recorded_us)[:10]
        match event.type:
            case "market_created/1":
                self.binary[event.stream_id] = len(data["outcomes"]) == 2
            case "market_resolved/1":
                self.resolved[data["settlement"]] = (day, data["payouts"])
            case "position_closed/1":
                self.closed[event.stream_id][data["market"], data["settlement"]] = 1
            case "position_reopened/1":
                self.closed[event.stream_id][data["market"], data["reverses"]] = 0
            case "order_matched/1":
                for leg in data["legs"]:
                    self.volume[leg["account"]][day] += leg["price"] * leg["quantity"]
                    forecasts = self.forecasts[event.stream_id, leg["account"]]
                    add_forecast(forecasts, leg, binary=self.binary[event.stream_id])

    def days(self, account_id: str) -> dict[str, tuple[int, ...]]:
        """(volume, sum of scores, scored markets) of each day that has any, and of all time."""
        found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for day, volume in self.volume[account_id].items():
            for each in (day, ALL_TIME):
                found[each][0] += volume
        for (market_id, settlement_id), counts in self.closed[account_id].items():
            if settlement_id in self.resolved:
                day, payouts = self.resolved[settlement_id]
                for each in (day, ALL_TIME):
                    found[each][1] += counts * self._score(market_id, account_id, payouts)
                    found[each][2] += counts
        return {day: tuple(sums) for day, sums in found.items()}

    def _score(self, market_id: str, account_id: str, payouts: list[int]) -> int:
        forecasts = self.forecasts[market_id, account_id]
        shares = sum(quantity for quantity, _, _ in forecasts.values())
        error = sum(
            squares - 2 * payouts[outcome] * prices + payouts[outcome] ** 2 * quantity
            for outcome, (quantity, prices, squares) in forecasts.items()
        )
        return (error * 2 + shares) // (shares * 2)
