"""What the read models should show of the markets of one slot, folded plainly from the events' fields.

One fold a projection, since each stands at its own offset when it is compared.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from trading.eventlog.codec import StoredEvent, timestamp_text

DOLLAR = 10_000


@dataclass(slots=True)
class OrdersFold:
    """The tables "order" (each row) and fill (counts and sums a market)."""

    orders: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    fills: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))

    def take(self, event: StoredEvent) -> None:
        data, market_id = event.data, event.stream_id
        match event.type:
            case "order_placed/1":
                self._put(event, status="open", reason=None, reserved=data["reserved"])
            case "order_rejected/1":
                self._put(event, status="rejected", reason=data["reason"], reserved=0)
            case "order_matched/1":
                for leg in data["legs"]:
                    self._fill(event, leg)
            case "order_cancelled/1":
                changed = {"status": "cancelled", "reason": data["reason"], "reserved": 0}
                self._touch(event, data["order"]).update(changed)
            case "order_expired/1":
                changed = {"status": "expired", "reason": "expired", "reserved": 0}
                self._touch(event, data["order"]).update(changed)
            case "order_amended/1":
                order = self._touch(event, data["order"])
                order.update(price=data["price"], quantity=data["quantity"], reserved=data["reserved"])
            case _:
                self.orders[market_id]  # The market is known, even if nobody has traded in it.

    def _put(self, event: StoredEvent, **state: Any) -> None:
        data = event.data
        self.orders[event.stream_id][data["order"]] = {
            "account": data["account"], "client_order_id": data.get("client_order_id"), "outcome": data["outcome"],
            "side": data["side"], "type": data["type"], "price": data["price"], "quantity": data["quantity"],
            "filled": 0, "cost": 0, "fees": 0, "tif": data["tif"], "created": timestamp_text(event.recorded_us),
            "updated": timestamp_text(event.recorded_us), "seq": event.version, **state,
        }  # fmt: skip

    def _touch(self, event: StoredEvent, order_id: str) -> dict[str, Any]:
        order = self.orders[event.stream_id][order_id]
        order["updated"], order["seq"] = timestamp_text(event.recorded_us), event.version
        return order

    def _fill(self, event: StoredEvent, leg: dict[str, Any]) -> None:
        order = self._touch(event, leg["order"])
        order["filled"] += leg["quantity"]
        order["cost"] += leg["price"] * leg["quantity"]
        order["fees"] += leg.get("fee", 0)
        order["reserved"] = leg["reserved"]
        if order["filled"] == order["quantity"]:
            order["status"] = "filled"
        _add(
            self.fills[event.stream_id], 1, leg["quantity"], leg["price"] * leg["quantity"], leg.get("fee", 0)
        )


@dataclass(slots=True)
class TradesFold:
    """Counts and sums of the table trade, and of each resolution of trade_bar."""

    trades: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

    def take(self, event: StoredEvent) -> None:
        if event.type == "order_matched/1":
            data, sums = event.data, self.trades[event.stream_id]
            if len(data["legs"]) == 2:
                _add(sums, 1, data["quantity"], data["price"] * data["quantity"])
                return
            for leg in data["legs"]:
                _add(sums, 1, leg["quantity"], leg["price"] * leg["quantity"])


@dataclass(slots=True)
class BooksFold:
    """The table book_level, from every order that rests, in its owner's terms."""

    orders: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    binary: dict[str, bool] = field(default_factory=dict)

    def take(self, event: StoredEvent) -> None:
        data, orders = event.data, self.orders[event.stream_id]
        match event.type:
            case "market_created/1":
                self.binary[event.stream_id] = len(data["outcomes"]) == 2
            case "order_placed/1" if data["tif"] not in ("IOC", "FOK"):
                terms = {name: data[name] for name in ("outcome", "side", "price", "quantity")}
                orders[data["order"]] = {**terms, "filled": 0}
            case "order_matched/1":
                for leg in data["legs"]:
                    if (order := orders.get(leg["order"])) is not None:
                        order["filled"] += leg["quantity"]
                        if order["filled"] == order["quantity"]:
                            del orders[leg["order"]]
            case "order_cancelled/1" | "order_expired/1":
                orders.pop(data["order"], None)
            case "order_amended/1":
                orders[data["order"]].update(price=data["price"], quantity=data["quantity"])

    def levels(self, market_id: str) -> dict[tuple[int, bool, int], list[int]]:
        """(shares, orders) by outcome, side and price, in the book's terms."""
        found: dict[tuple[int, bool, int], list[int]] = defaultdict(lambda: [0, 0])
        for order in self.orders[market_id].values():
            outcome, price, is_bid = order["outcome"], order["price"], order["side"] == "buy"
            if self.binary[market_id] and outcome == 1:
                outcome, price, is_bid = 0, DOLLAR - price, not is_bid
            _add(found[outcome, is_bid, price], order["quantity"] - order["filled"], 1)
        return dict(found)


@dataclass(slots=True)
class HoldingsFold:
    """Shares by (account, outcome), net flow by account, forecasts: of position, participation and forecast."""

    shares: dict[str, dict[tuple[str, int], int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    flows: dict[str, dict[str, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0, 0]))
    )
    forecasts: dict[str, dict[str, dict[int, list[int]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(lambda: [0, 0, 0])))
    )
    outcomes: dict[str, int] = field(default_factory=dict)
    payouts: dict[str, list[int]] = field(default_factory=dict)
    """By settlement; a void has none."""

    def take(self, event: StoredEvent) -> None:
        data, market_id = event.data, event.stream_id
        match event.type:
            case "market_created/1":
                self.outcomes[market_id] = len(data["outcomes"])
            case "market_resolved/1":
                self.payouts[data["settlement"]] = data["payouts"]
            case "order_matched/1":
                for leg in data["legs"]:
                    self._leg(market_id, leg)
                    forecasts = self.forecasts[market_id][leg["account"]]
                    add_forecast(forecasts, leg, binary=self.outcomes[market_id] == 2)
            case "order_cancelled/1" | "order_expired/1" | "order_amended/1":
                self._net(market_id, data["account"], data.get("netted", 0))

    def _leg(self, market_id: str, leg: dict[str, Any]) -> None:
        account_id, price = leg["account"], leg["price"]
        delivered, by_cash = leg.get("delivered", 0), leg["quantity"] - leg.get("delivered", 0)
        buys = leg["side"] == "buy"
        for outcome in range(self.outcomes[market_id]):
            gains = buys if outcome == leg["outcome"] else not buys
            self.shares[market_id][account_id, outcome] += by_cash if gains else -delivered
        pays = price if buys else DOLLAR - price
        _add(
            self.flows[market_id][account_id],
            (DOLLAR - pays) * delivered - pays * by_cash - leg.get("fee", 0),
            leg.get("fee", 0),
        )
        self._net(market_id, account_id, leg.get("netted", 0))

    def _net(self, market_id: str, account_id: str, sets: int) -> None:
        if sets:
            for outcome in range(self.outcomes[market_id]):
                self.shares[market_id][account_id, outcome] -= sets
            self.flows[market_id][account_id][0] += DOLLAR * sets

    def sets(self, market_id: str) -> set[int]:
        """Shares outstanding of each outcome, as a set: one number, if all is well."""
        totals = [0] * self.outcomes[market_id]
        for (_, outcome), quantity in self.shares[market_id].items():
            totals[outcome] += quantity
        return set(totals)


@dataclass(slots=True)
class MarketsFold:
    """The tables market, outcome and market_summary."""

    markets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, event: StoredEvent) -> None:
        data = event.data
        if event.type == "market_created/1":
            self.markets[event.stream_id] = {
                "outcomes": data["outcomes"], "tick": data["tick"], "taker_fee_e4": data["taker_fee_e4"],
                "maker_fee_e4": data["maker_fee_e4"], "closes": timestamp_text(data["closes_us"]), "status": "draft",
                "payouts": None, "settlement": None, "volume": 0, "trades": 0, "traders": 0, "sets": 0, "fees": 0,
                "last": [None] * len(data["outcomes"]),
            }  # fmt: skip
        market = self.markets[event.stream_id]
        market["seq"] = event.version
        match event.type:
            case "market_opened/1" | "market_resumed/1":
                market["status"] = "open"
            case "market_suspended/1":
                market["status"] = "suspended"
            case "market_closed/1":
                if data["reason"] != "time" or market["status"] not in ("proposed", "disputed"):
                    market["status"] = "closed"
            case "resolution_proposed/1":
                market["status"] = "proposed"
            case "resolution_disputed/1":
                market["status"] = "disputed"
            case "resolution_withdrawn/1":
                market["status"] = data["status"]
            case "resolution_reversed/1":
                market.update(status="reversed", payouts=None, settlement=data["settlement"])
            case "market_resolved/1" | "market_voided/1":
                self._end(event, market)
            case "position_opened/1":
                market["traders"] += 1
            case "order_matched/1":
                self._trade(data, market)
            case "order_cancelled/1" | "order_expired/1" | "order_amended/1":
                market["sets"] -= data.get("netted", 0)

    @staticmethod
    def _end(event: StoredEvent, market: dict[str, Any]) -> None:
        market["status"] = "resolved" if event.type == "market_resolved/1" else "voided"
        market["payouts"], market["settlement"] = event.data.get("payouts"), event.data["settlement"]
        market["cause"] = (event.slot, event.slot_offset)
        market["counted"] = (event.data["sets"], event.data["fees"])

    @staticmethod
    def _trade(data: dict[str, Any], market: dict[str, Any]) -> None:
        # Each leg of an implied match is a trade; the two of a direct one are one.
        for trade in [data] if len(data["legs"]) == 2 else data["legs"]:
            market["trades"] += 1
            market["volume"] += trade["price"] * trade["quantity"]
            market["last"][trade["outcome"]] = trade["price"]
        if len(market["outcomes"]) == 2:
            market["last"][1 - data["outcome"]] = DOLLAR - data["price"]
        for leg in data["legs"]:
            market["fees"] += leg.get("fee", 0)
            brings_in = (leg["side"] == "buy") == (leg["outcome"] == 0)
            market["sets"] += (
                leg["quantity"] - leg.get("delivered", 0) if brings_in else -leg.get("delivered", 0)
            )
            market["sets"] -= leg.get("netted", 0)


def add_forecast(forecasts: dict[int, list[int]], leg: dict[str, Any], *, binary: bool) -> None:
    """Shares, shares × price and shares × price² by outcome, in the book's terms."""
    outcome, price = leg["outcome"], leg["price"]
    if binary and outcome == 1:
        outcome, price = 0, DOLLAR - price
    _add(forecasts[outcome], leg["quantity"], leg["quantity"] * price, leg["quantity"] * price**2)


def _add(sums: list[int], *amounts: int) -> None:
    for index, amount in enumerate(amounts):
        sums[index] += amount
