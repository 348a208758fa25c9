"""Owns the tables position and participation: who holds what, what it cost, and who owes whom on balance.

Owns standing and forecast too (standings.py has their rules), since one fold of holdings makes them all.

`participation` is the flow between an account and a market by trading alone; pay-outs are not in it.
When a market has ended, an account's position_closed leaves its rows with quantity 0 and what it
earned, and position_reopened brings them back; a refund or take-back of a voided market is booked on
the first outcome's row.
"""

from collections.abc import Sequence
from typing import Any

from trading.array_literals import columns
from trading.eventlog.codec import LoggedEvent
from trading.money import SHARE_PIPS
from trading.projections.causes import Ending, Endings
from trading.projections.creations import Creations
from trading.projections.holding import Holding, Row, leg_flow_pips
from trading.projections.projection import AfterCommit, BrokenLog, UnknownEvent, appliers
from trading.projections.standings import StandingsBatch, day_of
from trading.read_cache import STANDINGS_TOPIC, tell_changed

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
    tables = ("position", "participation", "standing", "forecast")

    def __init__(self) -> None:
        self._holdings: dict[_Key, Holding] = {}
        self._creations = Creations()
        self._endings = Endings()

    def forget(self) -> None:
        """Drops the remembered holdings; the number of a market's outcomes never changes."""
        self._holdings.clear()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> AfterCommit | None:
        touched = _touched(events)
        if not touched:
            return None
        self._load(connection, touched)
        batch = _Batch(self._holdings)
        for event in events:
            try:
                self._apply_one(connection, batch, event)
            except (ValueError, AssertionError) as error:
                raise BrokenLog(
                    f"event {event.event_id} of market or account {event.stream_id}: {error}"
                ) from error
        batch.write(connection)
        # Of a trade the leaderboard hears in its own time; the end of a market is what people wait for.
        is_news = any(event.type in _SETTLING for event in events)
        return (lambda: tell_changed([STANDINGS_TOPIC])) if is_news else None

    def _apply_one(self, connection: Any, batch: "_Batch", event: LoggedEvent) -> None:
        if event.type == "position_closed/1":
            _close(batch, event, self._endings.of(connection, event, event.data["settlement"]))
        elif event.type == "position_reopened/1":
            _reopen(batch, event, self._endings.of(connection, event, event.data["reverses"]))
        elif (applier := _APPLIERS[event.type]) is not None:
            applier(batch, event)

    def _load(self, connection: Any, touched: dict[_Key, None]) -> None:
        """Brings every touched holding into memory; rows this projection remembers are not read again."""
        if len(self._holdings) + len(touched) > _MAX_REMEMBERED:
            self._holdings.clear()
        wanted = [key for key in touched if key not in self._holdings]
        self._creations.learn(connection, (market_id for market_id, _ in wanted))
        for key in wanted:
            self._holdings[key] = Holding(self._creations[key[0]].outcomes)
        if wanted:
            found = connection.execute(_READ, columns(wanted)).fetchall()
            for market_id, account_id, outcome, *values in found:
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
    """The holdings as they change, which of them changed since when, what flowed, and what that adds to standings."""

    def __init__(self, holdings: dict[_Key, Holding]) -> None:
        self.holdings = holdings
        self.marks: dict[_Key, tuple[int, int]] = {}
        """(day, what the holding had realized before) of each that changes."""
        self.flows: dict[_Key, list[int]] = {}
        self.standings = StandingsBatch()

    def holding(self, market_id: str, account_id: str, event: LoggedEvent) -> Holding:
        """The holding, which the event is about to change."""
        key, day = (market_id, account_id), day_of(event.recorded_us)
        holding, mark = self.holdings[key], self.marks.get(key)
        if mark is None or mark[0] != day:
            if mark is not None:
                self._earned(key)
            self.marks[key] = (day, holding.realized_pips)
        return holding

    def _earned(self, key: _Key) -> None:
        day, before_pips = self.marks[key]
        self.standings.earn(key[1], day, self.holdings[key].realized_pips - before_pips)

    def flow(self, market_id: str, account_id: str, *, net_cash_pips: int, fees_pips: int) -> None:
        flow = self.flows.setdefault((market_id, account_id), [0, 0])
        flow[0] += net_cash_pips
        flow[1] += fees_pips

    def write(self, connection: Any) -> None:
        rows = []
        for key in self.marks:
            self._earned(key)
            for outcome, row in enumerate(self.holdings[key].rows):
                if row.touched:
                    row.touched = False
                    rows.append((*key, outcome, row.quantity, row.cost_pips, row.realized_pips))
        if rows:
            connection.execute(_WRITE, columns(rows))
        if self.flows:
            flows = [(*key, *flow) for key, flow in self.flows.items()]
            connection.execute(_WRITE_PARTICIPATION, columns(flows))
        self.standings.write(connection)


def _matched(batch: _Batch, event: LoggedEvent) -> None:
    market_id, day = event.stream_id, day_of(event.recorded_us)
    for leg in event.data["legs"]:
        account_id = leg["account"]
        holding = batch.holding(market_id, account_id, event)
        holding.fill(leg)
        batch.flow(market_id, account_id, net_cash_pips=leg_flow_pips(leg), fees_pips=leg.get("fee", 0))
        batch.standings.fill(market_id, leg, day, is_binary=len(holding.rows) == 2)


def _released(batch: _Batch, event: LoggedEvent) -> None:
    """A cancel or an amendment frees shares, and with them complete sets."""
    netted, account_id = event.data.get("netted", 0), event.data["account"]
    if netted:
        batch.holding(event.stream_id, account_id, event).net(netted)
        batch.flow(event.stream_id, account_id, net_cash_pips=SHARE_PIPS * netted, fees_pips=0)


def _close(batch: _Batch, event: LoggedEvent, ending: Ending) -> None:
    market_id, account_id, payouts = event.data["market"], event.stream_id, ending.payouts
    holding = batch.holding(market_id, account_id, event)
    if holding.quantities != event.data["quantities"]:
        raise ValueError(f"closes {event.data['quantities']} shares of a position of {holding.quantities}")
    # What a void gives back is not a price for shares: they are written off here, and the refund booked as such.
    holding.close(payouts if payouts is not None else [0] * len(holding.rows))
    if payouts is not None:
        batch.standings.end(market_id, account_id, day_of(ending.recorded_us), payouts)


def _reopen(batch: _Batch, event: LoggedEvent, ending: Ending) -> None:
    """The holding is as it was before it was closed, what it had cost included, and the score is taken back."""
    market_id, account_id, payouts = event.data["market"], event.stream_id, ending.payouts
    holding = batch.holding(market_id, account_id, event)
    if any(holding.quantities):
        raise ValueError(f"opens a position that holds {holding.quantities}")
    holding.reopen(
        event.data["quantities"],
        event.data["costs"],
        payouts if payouts is not None else [0] * len(holding.rows),
    )
    if payouts is not None:
        batch.standings.take_back_end(market_id, account_id, day_of(ending.recorded_us), payouts)


def _issued(batch: _Batch, event: LoggedEvent) -> None:
    """A winner's money is in the closing of the position already; a refund or what a void had taken is not."""
    if event.data["kind"] != "win":
        batch.holding(event.data["market"], event.stream_id, event).rows[0].realize(event.data["amount"])


def _reversed(batch: _Batch, event: LoggedEvent) -> None:
    if event.data["kind"] != "win":
        batch.holding(event.data["market"], event.stream_id, event).rows[0].realize(-event.data["amount"])


_SETTLING = frozenset({
    "position_closed/1", "position_reopened/1", "payout_issued/1", "payout_reversed/2"
})  # fmt: skip
_RELEASING = frozenset({"order_cancelled/1", "order_expired/1", "order_amended/1"})
_APPLIERS = appliers({
    "order_matched/1": _matched,
    "order_cancelled/1": _released,
    "order_expired/1": _released,
    "order_amended/1": _released,
    "payout_issued/1": _issued,
    "payout_reversed/2": _reversed,
})  # fmt: skip
