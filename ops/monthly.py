"""Totals of each UTC month for the operator, from the log and the read models. A month that is over is kept.

Money in and out comes from the events of accounts, a page of a slot at a time; what was traded from the sums by hour
and day that the read models keep. So no statement is long, and what stands here agrees with what `reconcile` adds up.
"""

import csv
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from django.db import connection

from accounts.models import User
from accounts.statements.cells import money, user_text
from ops.models import MonthlyTotal
from trading.as_of import wait_for_the_log
from trading.errors import ArchivedEvents, ReadLag
from trading.eventlog.archive import GONE, place_of
from trading.eventlog.codec import to_us
from trading.eventlog.read import read_creations
from trading.eventlog.upcast import stored_names
from trading.ids import ACCOUNT_SLOTS, BEFORE_ALL, MARKET_SLOTS, first_id_after, first_id_at

PROJECTIONS = ("candles", "markets", "orders", "positions")
PAGE_EVENTS = 20_000
MARKETS_AT_ONCE = 200
IDS_DIFFER_BY = dt.timedelta(hours=1)
"""More than the time that an order's id carries and that of its commit are ever apart."""

OVER_AFTER = dt.timedelta(hours=1)
"""A month is kept once it has been over for so long."""

MONEY = (
    "volume", "fees", "deposits", "withdrawals", "payouts", "refunds", "taken_back", "reversed", "returned", "debts",
)  # fmt: skip
COUNTS = (
    "active_traders", "new_users", "markets_created", "markets_resolved", "markets_voided", "markets_reversed",
    "orders", "trades",
)  # fmt: skip
LABELS = {
    "active_traders": "Active traders", "new_users": "New users", "markets_created": "Markets created",
    "markets_resolved": "Markets resolved", "markets_voided": "Markets voided",
    "markets_reversed": "Resolutions reversed", "orders": "Orders", "trades": "Trades", "volume": "Volume",
    "fees": "Fees", "deposits": "Deposits", "withdrawals": "Withdrawals", "payouts": "Pay-outs", "refunds": "Refunds",
    "taken_back": "Taken back by voids", "reversed": "Taken by reversals", "returned": "Returned by reversals",
    "debts": "Debts at the month's end", "largest_market": "Largest market",
}  # fmt: skip


class Month(NamedTuple):
    """A UTC month: from `begin` to before `end`."""

    begin: dt.datetime
    end: dt.datetime

    @property
    def name(self) -> str:
        return f"{self.begin:%Y-%m}"

    @property
    def partition(self) -> str:
        return f"event_{self.begin:%Y_%m}"


class Totals(NamedTuple):
    """A month's figures by name (COUNTS, and MONEY in pips), and the market in which most was traded.

    `is_final` says that the month is over; of the present one they count until now.
    """

    month: Month
    is_final: bool
    figures: dict[str, int]
    largest_market_id: str | None
    largest_question: str
    largest_volume_pips: int

    def cell(self, name: str) -> str:
        """A figure as text: money with four decimals."""
        if name == "largest_market":
            return self.largest_question
        return money(self.figures[name]) if name in MONEY else str(self.figures[name])


def month_of(moment: dt.datetime) -> Month:
    """The month that a moment lies in."""
    begin = moment.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Month(begin, (begin + dt.timedelta(days=32)).replace(day=1))


def all_totals(now: dt.datetime) -> list[Totals]:
    """Every month from the first event on, oldest first; those that are over come from where they are kept if they are.

    Raises ArchivedEvents for a month that is archived and was never kept.
    """
    kept = {row.month: row.totals for row in MonthlyTotal.objects.all()}
    found: list[Totals] = []
    debts = 0
    for month in _months(min(kept, default=None), now):
        totals = kept.get(month.begin.date())
        found.append(_add_up(month, now, debts) if totals is None else _read(month, totals))
        debts = found[-1].figures["debts"]
    return found


def keep_months(now: dt.datetime) -> int:
    """Keep the totals of the months that are over; answers how many were new. The read models have to be as far."""
    try:
        wait_for_the_log(PROJECTIONS)
    except ReadLag:
        return 0
    new = 0
    for totals in all_totals(now):
        if totals.month.end + OVER_AFTER <= now:
            _, is_new = MonthlyTotal.objects.get_or_create(
                month=totals.month.begin.date(), defaults={"totals": _document(totals), "made_at": now}
            )
            new += is_new
    return new


def write_csv(file: IO[str], rows: list[Totals]) -> None:
    """RFC 4180, a row a month; the columns are `month`, the names of LABELS and what the largest market traded."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(["month", *LABELS, "largest_market_id", "largest_market_volume", "is_final"])
    for row in rows:
        cells = [user_text(row.cell(name)) if name == "largest_market" else row.cell(name) for name in LABELS]
        largest = [row.largest_market_id or "", money(row.largest_volume_pips)]
        writer.writerow([row.month.name, *cells, *largest, "yes" if row.is_final else "no"])


# Adding up ----------------------------------------------------------------------------------------


def _add_up(month: Month, now: dt.datetime, debts_before: int) -> Totals:
    if (file := _archive_of(month)) is not None:
        raise ArchivedEvents(
            f"The events of {month.name} are archived in {file} and its totals were not kept before that; "
            f"`manage.py archive --restore {file}` brings them back."
        )
    figures = dict.fromkeys((*COUNTS, *MONEY), 0)
    figures |= _traded(month) | _markets(month) | _moved(month)
    figures["orders"] = sum(_orders(day) for day in _days(month, now))
    figures["new_users"] = User.objects.filter(
        date_joined__gte=month.begin, date_joined__lt=month.end
    ).count()
    figures["debts"] += debts_before
    market_id, volume = _largest(month)
    question = ""
    if market_id is not None:
        with connection.cursor() as cursor:
            question = read_creations(cursor, [market_id])[market_id]["question"]
    return Totals(month, month.end <= now, figures, market_id, question, volume)


_TRADED = """
SELECT coalesce(sum(trades), 0)::bigint, coalesce(sum(volume_pips), 0)::bigint,
       coalesce(sum(maker_fees_pips + taker_fees_pips), 0)::bigint,
       (SELECT count(DISTINCT account_id) FROM standing WHERE day >= %s AND day < %s AND volume_pips > 0)
FROM activity_hour WHERE at >= %s AND at < %s
"""
_MARKETS = """
SELECT (SELECT count(*) FROM market WHERE created_at >= %s AND created_at < %s),
       count(*) FILTER (WHERE kind = 'resolve'), count(*) FILTER (WHERE kind = 'void'),
       count(*) FILTER (WHERE kind = 'reverse')
FROM settlement WHERE created_at >= %s AND created_at < %s
"""
_ORDERS = """
SELECT count(*) FROM "order" WHERE order_id >= %s AND order_id < %s AND created_at >= %s AND created_at < %s
AND status <> 'rejected'
"""
_BOUNDS = """
SELECT min(slot_offset), max(slot_offset) FROM event WHERE slot = %s AND recorded_at >= %s AND recorded_at < %s
"""
# What a stored form before the present one lacks is what its upcaster puts there.
_MOVED = """
SELECT type, coalesce(data->>'kind', 'take_back'), sum((data->>'amount')::bigint)::bigint,
       sum(coalesce((data->>'owed')::bigint, 0) - coalesce((data->>'repaid')::bigint, 0))::bigint
FROM event WHERE slot = %s AND slot_offset >= %s AND slot_offset < %s AND recorded_at >= %s AND recorded_at < %s
AND type = ANY(%s) GROUP BY 1, 2
"""
_LIVING = """
SELECT market_id::text FROM market WHERE created_at < %s AND market_id > %s ORDER BY market_id LIMIT %s
"""
_VOLUMES = """
SELECT market_id::text, sum(volume_pips)::bigint FROM trade_bar
WHERE market_id = ANY(%s::uuid[]) AND resolution = '1h' AND at >= %s AND at < %s
GROUP BY market_id ORDER BY 2 DESC, 1 LIMIT 1
"""
_FIRST = "SELECT min(recorded_at) FROM event WHERE slot BETWEEN 0 AND %s AND slot_offset = 0"
_DEPOSITED, _WITHDRAWN, _REPAID = "funds_deposited/1", "funds_withdrawn/1", "debt_repaid/1"
_ISSUED, _REVERSED = "payout_issued/1", "payout_reversed/2"
_MOVING = stored_names(_DEPOSITED, _WITHDRAWN, _REPAID, _ISSUED, _REVERSED)
_ISSUED_AS = {"win": "payouts", "refund": "refunds", "returned": "returned"}


def _traded(month: Month) -> dict[str, int]:
    days = [month.begin.date(), month.end.date()]
    ((trades, volume, fees, active),) = _query(_TRADED, [*days, month.begin, month.end])
    return {"trades": trades, "volume": volume, "fees": fees, "active_traders": active}


def _markets(month: Month) -> dict[str, int]:
    names = ("markets_created", "markets_resolved", "markets_voided", "markets_reversed")
    (counts,) = _query(_MARKETS, [month.begin, month.end] * 2)
    return dict(zip(names, counts, strict=True))


def _orders(day: Month) -> int:
    ids = [first_id_at(day.begin - IDS_DIFFER_BY), first_id_after(to_us(day.end + IDS_DIFFER_BY))]
    ((count,),) = _query(_ORDERS, [*ids, day.begin, day.end])
    return int(count)


def _moved(month: Month) -> dict[str, int]:
    """Money in and out of accounts, and by how much debts grew."""
    found: Counter[str] = Counter()
    for slot in range(MARKET_SLOTS, MARKET_SLOTS + ACCOUNT_SLOTS):
        ((first, last),) = _query(_BOUNDS, [slot, month.begin, month.end])
        for start in range(first or 0, -1 if last is None else last + 1, PAGE_EVENTS):
            bounds = [slot, start, start + PAGE_EVENTS, month.begin, month.end]
            for kind, how, amount, owed in _query(_MOVED, [*bounds, _MOVING]):
                found["debts"] += -amount if kind == _REPAID else owed
                if kind != _REPAID:
                    found[_name(kind, how)] += amount
    return dict(found)


def _name(kind: str, how: str) -> str:
    if kind == _DEPOSITED:
        return "deposits"
    if kind == _WITHDRAWN:
        return "withdrawals"
    if kind == _ISSUED:
        return _ISSUED_AS[how]
    return "taken_back" if how == "take_back" else "reversed"


def _largest(month: Month) -> tuple[str | None, int]:
    """The market in which most was traded, and how much; the one that is older where two are even."""
    best: tuple[str | None, int] = (None, 0)
    after = BEFORE_ALL
    while page := [row[0] for row in _query(_LIVING, [month.end, after, MARKETS_AT_ONCE])]:
        for market_id, volume in _query(_VOLUMES, [page, month.begin, month.end]):
            if volume > best[1]:
                best = (market_id, volume)
        after = page[-1]
    return best


def _months(first_kept: dt.date | None, now: dt.datetime) -> Iterator[Month]:
    ((first,),) = _query(_FIRST, [MARKET_SLOTS + ACCOUNT_SLOTS - 1])
    begins = [now if first is None else first]
    if first_kept is not None:
        begins.append(dt.datetime.combine(first_kept, dt.time(), dt.UTC))
    month = month_of(min(begins))
    while month.begin <= now:
        yield month
        month = month_of(month.end)


def _days(month: Month, now: dt.datetime) -> Iterator[Month]:
    begin = month.begin
    while begin < min(month.end, now):
        yield Month(begin, begin + dt.timedelta(days=1))
        begin += dt.timedelta(days=1)


def _archive_of(month: Month) -> str | None:
    rows = _query("SELECT file FROM event_archive WHERE partition = %s", [month.partition])
    with connection.cursor() as cursor:
        return rows[0][0] if rows and place_of(cursor, month.partition) == GONE else None


def _query(sql: str, arguments: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return list(cursor.fetchall())


# Keeping ------------------------------------------------------------------------------------------


def _document(totals: Totals) -> dict[str, Any]:
    return {
        "figures": totals.figures,
        "largest": [totals.largest_market_id, totals.largest_question, totals.largest_volume_pips],
    }


def _read(month: Month, document: dict[str, Any]) -> Totals:
    return Totals(month, True, document["figures"], *document["largest"])
