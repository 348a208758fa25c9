"""Owns the tables market, outcome, market_summary, market_step and (in resolutions.py) resolution.

`market.seq` is the stream version of the last change of the market itself, `market_summary.seq` that
of its last event of any kind. Open interest stays as the market's end left it.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from trading.array_literals import array_of, columns, quoted
from trading.eventlog.codec import LoggedEvent, canonical_json
from trading.ids import MARKET_SLOTS
from trading.jobs import NewJob, hint, insert_jobs, new_job
from trading.money import SHARE_PIPS
from trading.projections import resolutions
from trading.projections.projection import AfterCommit, BrokenLog, UnknownEvent, appliers
from trading.projections.rows import moment
from trading.read_cache import MARKETS_TOPIC, tell_changed

_INSERT_MARKET = """
INSERT INTO market
    (market_id, slot, status, tick_pips, taker_fee_e4, maker_fee_e4, created_at, opens_at, closes_at, seq)
VALUES (%s, %s, 'draft', %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_OUTCOMES = """
INSERT INTO outcome (market_id, index, name)
SELECT %s, o.position - 1, o.name FROM unnest(%s::text[]) WITH ORDINALITY AS o(name, position)
"""
_INSERT_SUMMARY = """
INSERT INTO market_summary (market_id, last_prices, seq, updated_at)
VALUES (%s, array_fill(NULL::integer, ARRAY[%s]), 0, %s)
"""
_INSERT_STEP = """
INSERT INTO market_step (market_id, seq, slot, slot_offset, type, data, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s)
"""
SETTLE_JOB = "trading.settle"
SETTLEMENT_WAITS = dt.timedelta(days=30)
"""For an earlier settlement that failed, or for positions that stand still, until somebody has mended it."""
SETTLEMENT_SHARES = 4
"""More than there are workers do no harm: who finds nothing to do looks again a little later."""

_READ_LAST_PRICES = (
    "SELECT market_id::text, last_prices FROM market_summary WHERE market_id = ANY(%s::uuid[])"
)
_ADD_TO_SUMMARIES = """
UPDATE market_summary s SET
    volume_pips = s.volume_pips + c.volume_pips,
    trade_count = s.trade_count + c.trade_count,
    trader_count = s.trader_count + c.trader_count,
    open_interest_sets = s.open_interest_sets + c.sets,
    fees_pips = s.fees_pips + c.fees_pips,
    last_prices = coalesce(c.last_prices::integer[], s.last_prices),
    seq = c.seq,
    updated_at = c.updated_at
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::timestamptz[], %s::text[])
     AS c(market_id, volume_pips, trade_count, trader_count, sets, fees_pips, seq, updated_at, last_prices)
WHERE s.market_id = c.market_id
RETURNING 1
"""


_MAX_REMEMBERED = 10_000
"""Markets whose last prices are kept between batches; beyond that all are dropped and read again as needed."""

_LastPrices = list[int | None]


class _Change:
    """What a batch adds to one market's summary."""

    __slots__ = (
        "fees_pips",
        "last_prices",
        "seq",
        "sets",
        "trade_count",
        "trader_count",
        "updated_us",
        "volume_pips",
    )

    def __init__(self) -> None:
        self.volume_pips = self.trade_count = self.trader_count = self.sets = self.fees_pips = 0
        self.last_prices: dict[int, int] = {}
        self.seq = self.updated_us = 0


class MarketsProjection:
    """Lifecycle events, which are few, one by one; trading as one statement a batch."""

    name = "markets"
    tables = ("market", "outcome", "market_summary", "market_step", "resolution")

    def __init__(self) -> None:
        self._last_prices: dict[str, _LastPrices] = {}

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> AfterCommit | None:
        changes: dict[str, _Change] = {}
        opened: list[str] = []
        is_news = False
        for event in events:
            try:
                count = _COUNTERS[event.type]
            except KeyError:
                raise UnknownEvent(event) from None
            if event.slot >= MARKET_SLOTS:
                continue
            lifecycle = _LIFECYCLE.get(event.type)
            if lifecycle is not None:
                opened += lifecycle(connection, event)
                _add_step(connection, event)
                is_news = True
            change = changes.get(event.stream_id)
            if change is None:
                change = changes[event.stream_id] = _Change()
            change.seq, change.updated_us = event.version, event.recorded_us
            if count is not None:
                count(change, event.data)
        if changes:
            _add_to_summaries(connection, changes, self._new_last_prices(connection, changes))
        jobs = [job for settlement_id in opened for job in _settlement_jobs(settlement_id)]
        insert_jobs(connection, jobs)
        return (lambda: _tell(jobs)) if is_news else None

    def forget(self) -> None:
        """Drops the remembered prices."""
        self._last_prices.clear()

    def _new_last_prices(self, connection: Any, changes: dict[str, _Change]) -> dict[str, _LastPrices]:
        """Those of the markets that traded; a binary market's two are complements."""
        traded = {
            market_id: change.last_prices for market_id, change in changes.items() if change.last_prices
        }
        if len(self._last_prices) + len(traded) > _MAX_REMEMBERED:
            self._last_prices.clear()
        if unknown := traded.keys() - self._last_prices.keys():
            read = connection.execute(_READ_LAST_PRICES, [array_of(unknown)])
            self._last_prices |= dict(read.fetchall())
        for market_id, new in traded.items():
            prices = self._last_prices.get(market_id)
            if prices is None:
                raise BrokenLog(f"market {market_id} trades but was never created")
            for outcome, price in new.items():
                prices[outcome] = price
                if len(prices) == 2:
                    prices[1 - outcome] = SHARE_PIPS - price
        return {market_id: self._last_prices[market_id] for market_id in traded}


def _settlement_jobs(settlement_id: str) -> list[NewJob]:
    """What pays it out: several jobs, among which its account slots are shared out."""
    return [
        new_job(
            SETTLE_JOB,
            {"settlement": settlement_id, "share": share},
            key=f"settle:{settlement_id}:{share}",
            give_up_after=SETTLEMENT_WAITS,
        )
        for share in range(SETTLEMENT_SHARES)
    ]


def _tell(jobs: Sequence[NewJob]) -> None:
    """Lists of markets are no longer as they were, and what has ended is to be settled."""
    tell_changed([MARKETS_TOPIC])
    hint(jobs)


def _add_step(connection: Any, event: LoggedEvent) -> None:
    data = canonical_json(event.data).decode()
    connection.execute(
        _INSERT_STEP,
        [event.stream_id, event.version, event.slot, event.slot_offset, event.type, data, moment(event.recorded_us)],
    )  # fmt: skip


def _created(connection: Any, event: LoggedEvent) -> list[str]:
    data = event.data
    opens_at = None if data.get("opens_us") is None else moment(data.get("opens_us"))
    connection.execute(
        _INSERT_MARKET,
        [
            event.stream_id, event.slot, data["tick"], data["taker_fee_e4"], data["maker_fee_e4"],
            moment(data["created_us"]), opens_at, moment(data["closes_us"]), event.version,
        ],
    )  # fmt: skip
    connection.execute(_INSERT_OUTCOMES, [event.stream_id, data["outcomes"]])
    connection.execute(_INSERT_SUMMARY, [event.stream_id, len(data["outcomes"]), moment(event.recorded_us)])
    return []


def _status(status: str) -> Callable[[Any, LoggedEvent], list[str]]:
    def change(connection: Any, event: LoggedEvent) -> list[str]:
        resolutions.change_status(connection, event, status)
        return []

    return change


def _closed(connection: Any, event: LoggedEvent) -> list[str]:
    resolutions.close(connection, event)
    return []


def _matched(change: _Change, data: dict[str, Any]) -> None:
    if len(data["legs"]) == 2:
        change.volume_pips += data["price"] * data["quantity"]
        change.trade_count += 1
        change.last_prices[data["outcome"]] = data["price"]
    else:
        # An implied match trades in every outcome's book, at prices that sum to $1.
        change.volume_pips += SHARE_PIPS * data["quantity"]
        change.trade_count += len(data["legs"])
        change.last_prices |= {leg["outcome"]: leg["price"] for leg in data["legs"]}
    for leg in data["legs"]:
        change.fees_pips += leg.get("fee", 0)
        change.sets -= leg.get("netted", 0)
        # Shares of outcome 0 count the sets. Cash brings them in, delivery takes them out.
        if (leg["outcome"] == 0) == (leg["side"] == "buy"):
            change.sets += leg["quantity"] - leg.get("delivered", 0)
        else:
            change.sets -= leg.get("delivered", 0)


def _released(change: _Change, data: dict[str, Any]) -> None:
    change.sets -= data.get("netted", 0)


def _position_opened(change: _Change, data: dict[str, Any]) -> None:
    change.trader_count += 1


_LIFECYCLE: dict[str, resolutions.Applier] = {
    "market_created/1": _created,
    "market_opened/1": _status("open"),
    "market_suspended/1": _status("suspended"),
    "market_resumed/1": _status("open"),
    "market_closed/1": _closed,
    **resolutions.APPLIERS,
}

_COUNTERS = appliers({
    "order_matched/1": _matched,
    "order_cancelled/1": _released,
    "order_expired/1": _released,
    "order_amended/1": _released,
    "position_opened/1": _position_opened,
})  # fmt: skip


def _add_to_summaries(
    connection: Any, changes: dict[str, _Change], last_prices: dict[str, _LastPrices]
) -> None:
    rows = [
        (
            market_id, change.volume_pips, change.trade_count, change.trader_count, change.sets, change.fees_pips,
            change.seq, moment(change.updated_us), _literal(last_prices.get(market_id)),
        )
        for market_id, change in sorted(changes.items())
    ]  # fmt: skip
    if len(connection.execute(_ADD_TO_SUMMARIES, columns(rows)).fetchall()) != len(changes):
        raise BrokenLog("a market has events but was never created")


def _literal(prices: _LastPrices | None) -> str | None:
    return None if prices is None else quoted(array_of(prices))
