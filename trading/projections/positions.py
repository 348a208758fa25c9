"""Owns the tables position and participation: who holds what, what it cost, and who owes whom on balance.

`participation` is the flow between an account and a market by trading alone; pay-outs are not in it.
When a market has ended, an account's position_closed leaves its rows with quantity 0 and what it
earned; a refund or take-back of a voided market is booked on the first outcome's row.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns
from trading.eventlog.codec import LoggedEvent
from trading.money import SHARE_PIPS
from trading.projections.causes import Endings
from trading.projections.creations import Creations
from trading.projections.holding import Holding, Row, leg_flow_pips
from trading.projections.projection import BrokenLog, UnknownEvent, appliers

_MAX_REMEMBERED = 100_000
"""Holdings kept between batches; beyond that all are dropped and read again as they are needed."""

_Key = tuple[str, str]

_READ = """
SELECT w.market_id::text, w.account_id::text, p.outcome, p.quantity, p.cost_pips, p.realized_pips
FROM unnest(%s::uuid[], %s::uuid[]) AS w(market_id, account_id)
JOIN position p ON p.market_id = w.market_id AND p.account_id = w.account_id
"""
_WRITE = """
INSERT INTO position (market_id, account_id, outcome, quantity, cost_pips, realized_pips)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (market_id, account_id, outcome) DO UPDATE SET
    quantity = excluded.quantity, cost_pips = excluded.cost_pips, realized_pips = excluded.realized_pips
"""
_WRITE_PARTICIPATION = """
INSERT INTO participation AS p (market_id, account_id, net_cash_pips, fees_pips)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[])
ON CONFLICT (market_id, account_id) DO UPDATE SET
    net_cash_pips = p.net_cash_pips + excluded.net_cash_pips, fees_pips = p.fees_pips + excluded.fees_pips
"""


class PositionsProjection:
    """Folds in memory over the holdings a batch touches, then writes each once."""

    name = "positions"
    tables = ("position", "participation")

    def __init__(self) -> None:
        self._holdings: dict[_Key, Holding] = {}
        self._creations = Creations()
        self._endings = Endings()

    def forget(self) -> None:
        """Drops the remembered holdings; the number of a market's outcomes never changes."""
        self._holdings.clear()

    def apply(self, cursor: Any, events: Sequence[LoggedEvent]) -> None:
        touched = _touched(events)
        if not touched:
            return
        self._load(cursor, touched)
        batch = _Batch(self._holdings)
        for event in events:
            try:
                self._apply_one(cursor, batch, event)
            except (ValueError, AssertionError) as error:
                raise BrokenLog(
                    f"event {event.event_id} of market or account {event.stream_id}: {error}"
                ) from error
        batch.write(cursor)

    def _apply_one(self, cursor: Any, batch: "_Batch", event: LoggedEvent) -> None:
        if event.type == "position_closed/1":
            _close(batch, event, self._endings.of(cursor, event).payouts)
        elif (applier := _APPLIERS[event.type]) is not None:
            applier(batch, event)

    def _load(self, cursor: Any, touched: dict[_Key, None]) -> None:
        """Brings every touched holding into memory; rows this projection remembers are not read again."""
        if len(self._holdings) + len(touched) > _MAX_REMEMBERED:
            self._holdings.clear()
        wanted = [key for key in touched if key not in self._holdings]
        self._creations.learn(cursor, (market_id for market_id, _ in wanted))
        for key in wanted:
            self._holdings[key] = Holding(self._creations[key[0]].outcomes)
        if wanted:
            cursor.execute(_READ, columns(wanted))
            for market_id, account_id, outcome, *values in cursor.fetchall():
                self._holdings[market_id, account_id].rows[outcome] = Row(*values)


def _touched(events: Sequence[LoggedEvent]) -> dict[_Key, None]:
    """(market, account) of every holding these events change, in order. Refuses unknown types."""
    touched: dict[_Key, None] = {}
    for event in events:
        if event.type == "order_matched/1":
            for leg in event.data["legs"]:
                touched[event.stream_id, leg["account"]] = None
        elif event.type in _RELEASING:
            if event.data.get("netted", 0):
                touched[event.stream_id, event.data["account"]] = None
        elif event.type in _SETTLING:
            touched[event.data["market"], event.stream_id] = None
        elif event.type not in _APPLIERS:
            raise UnknownEvent(event)
    return touched


class _Batch:
    """The holdings as they change, which of them changed, and what flowed."""

    def __init__(self, holdings: dict[_Key, Holding]) -> None:
        self.holdings = holdings
        self.changed: dict[_Key, Holding] = {}
        self.flows: dict[_Key, list[int]] = {}

    def holding(self, market_id: str, account_id: str) -> Holding:
        key = (market_id, account_id)
        holding = self.changed[key] = self.holdings[key]
        return holding

    def flow(self, market_id: str, account_id: str, *, net_cash_pips: int, fees_pips: int) -> None:
        flow = self.flows.setdefault((market_id, account_id), [0, 0])
        flow[0] += net_cash_pips
        flow[1] += fees_pips

    def write(self, cursor: Any) -> None:
        rows = []
        for (market_id, account_id), holding in self.changed.items():
            for outcome, row in enumerate(holding.rows):
                if row.touched:
                    row.touched = False
                    rows.append(
                        (market_id, account_id, outcome, row.quantity, row.cost_pips, row.realized_pips)
                    )
        if rows:
            cursor.execute(_WRITE, columns(rows))
        if self.flows:
            flows = [(*key, *flow) for key, flow in self.flows.items()]
            cursor.execute(_WRITE_PARTICIPATION, columns(flows))


def _matched(batch: _Batch, event: LoggedEvent) -> None:
    for leg in event.data["legs"]:
        batch.holding(event.stream_id, leg["account"]).fill(leg)
        batch.flow(
            event.stream_id, leg["account"], net_cash_pips=leg_flow_pips(leg), fees_pips=leg.get("fee", 0)
        )


def _released(batch: _Batch, event: LoggedEvent) -> None:
    """A cancel or an amendment frees shares, and with them complete sets."""
    netted, account_id = event.data.get("netted", 0), event.data["account"]
    if netted:
        batch.holding(event.stream_id, account_id).net(netted)
        batch.flow(event.stream_id, account_id, net_cash_pips=SHARE_PIPS * netted, fees_pips=0)


def _close(batch: _Batch, event: LoggedEvent, payouts: tuple[int, ...] | None) -> None:
    holding = batch.holding(event.data["market"], event.stream_id)
    if holding.quantities != event.data["quantities"]:
        raise ValueError(f"closes {event.data['quantities']} shares of a position of {holding.quantities}")
    # What a void gives back is not a price for shares: they are written off here, and the refund booked as such.
    holding.close(payouts if payouts is not None else [0] * len(holding.rows))


def _issued(batch: _Batch, event: LoggedEvent) -> None:
    """A winner's money is in the closing of the position already; a refund is not."""
    if event.data["kind"] == "refund":
        batch.holding(event.data["market"], event.stream_id).rows[0].realize(event.data["amount"])


def _reversed(batch: _Batch, event: LoggedEvent) -> None:
    batch.holding(event.data["market"], event.stream_id).rows[0].realize(-event.data["amount"])


_SETTLING = frozenset({"position_closed/1", "payout_issued/1", "payout_reversed/1"})
_RELEASING = frozenset({"order_cancelled/1", "order_expired/1", "order_amended/1"})
_APPLIERS = appliers({
    "order_matched/1": _matched,
    "order_cancelled/1": _released,
    "order_expired/1": _released,
    "order_amended/1": _released,
    "payout_issued/1": _issued,
    "payout_reversed/1": _reversed,
})  # fmt: skip
