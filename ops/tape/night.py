"""A tape of many traders from beginning to end: set up, play, audit, settle, audit again, reconcile.

A market that the recording leaves undecided stays open: nobody won it, and to void it would take back
money that the recording says was made.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ops.tape.audit import Audit, Verdict
from ops.tape.exchange import Exchange
from ops.tape.house import HOUSE, Books, books_of, orders_of
from ops.tape.local_keys import open_accounts
from ops.tape.polymarket import PolymarketTape, RecordedMarket
from ops.tape.steps import BadTape
from ops.tape.takes import Takings, play
from ops.tape.venue import registering, set_up, settle
from trading.reconcile import reconcile

SIDE_BY_SIDE = 6
"""Requests under way at once, and so the most markets that are played side by side. With more of them the market with
the most trades, which all wait for one another, would be alone for long at the end."""

Say = Callable[[str], object]
Bar = Callable[[str, int], AbstractContextManager[Any]]


class Choice(NamedTuple):
    """What to play of a tape, and how: UTC seconds, the first so many trades, orders a request."""

    from_s: int | None
    to_s: int | None
    rows: int | None
    batch: int


def play_night(
    tape: PolymarketTape,
    exchange: Exchange,
    choice: Choice,
    *,
    staff_key: str,
    is_local: bool,
    say: Say,
    bar: Bar,
) -> list[str]:
    """Play the chosen trades, tell of it, answer one line for each difference from the recording.

    `is_local`: the exchange's database is this process's, to open accounts in and to reconcile.
    """
    recording = tape.read(from_s=choice.from_s, to_s=choice.to_s)
    trades = recording.trades[: choice.rows]
    if not trades:
        raise BadTape(f"{tape.name} has no trades in that time")
    markets = {
        name: market for name, market in tape.markets.items() if name in {trade.market for trade in trades}
    }
    books = books_of(markets, trades)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as executor:
        say(f"{tape.name}: {len(trades)} trades to play, {recording.left_out} rows off the grid left out")
        say(_announcement(markets, books))
        venue = set_up(
            exchange,
            executor,
            name=tape.name,
            tick_pips=tape.tick_pips,
            markets=markets.values(),
            needed_pips=books.needed_pips,
            staff_key=staff_key,
            open_accounts=open_accounts if is_local else registering(exchange, executor),
        )
        orders = [order for trade in trades for order in orders_of(trade)]
        begun = time.monotonic()
        with bar("played", len(orders)) as shown:
            takings = play(venue, executor, markets, orders, batch=choice.batch, progress=shown.update)
        say(_result(len(trades), takings, time.monotonic() - begun))
        audit = Audit(venue, executor, markets, books)
        differences = takings.differences + _tell(say, "positions, fills and cash", audit.before_settlement())
        unsettled = settle(venue, markets.values(), staff_key=staff_key)
        say(_settled(markets, unsettled))
        differences += unsettled + _tell(say, "profits and cash", audit.after_settlement())
    return differences + (_reconcile(say) if is_local else _not_reconciled(say))


def _announcement(markets: dict[str, RecordedMarket], books: Books) -> str:
    short = {
        key: sums.starting_sets for key, sums in books.sums.items() if key[0] != HOUSE and sums.starting_sets
    }
    return (
        f"{len(books.needed_pips) - 1} traders in {len(markets)} markets; {sum(short.values())} starting sets, "
        f"$1 each, for {len({account for account, _ in short})} traders who sell what they have not bought"
    )


def _result(trades: int, takings: Takings, seconds: float) -> str:
    return (
        f"sent {takings.sent} orders for {trades} trades, filled {takings.filled}, in {takings.batches} batches, "
        f"{seconds:.1f} s ({takings.sent / seconds:.0f} trades/s, each a quote and a take)"
    )


def _tell(say: Say, what: str, verdict: Verdict) -> list[str]:
    say(
        f"{verdict.compared} {what} compared with the recording's sums, {len(verdict.differences)} differences"
    )
    for line in verdict.summary:
        say(line)
    return verdict.differences


def _settled(markets: dict[str, RecordedMarket], wrong: list[str]) -> str:
    still_open = [market.name for market in markets.values() if market.winner is None]
    left = f", undecided and left open: {', '.join(still_open)}" if still_open else ""
    paid = f"settled {len(markets) - len(still_open)} markets at their winners, pay-outs equal collateral"
    return f"{paid}, {len(wrong)} differences{left}"


def _reconcile(say: Say) -> list[str]:
    report = reconcile(wait_s=30, begin=lambda _: None, progress=lambda _: None)
    say(
        f"reconcile: {report.events} events, {report.accounts} accounts, {report.markets} markets, "
        f"{len(report.differences)} differences"
    )
    return [f"reconcile: {line}" for line in report.differences]


def _not_reconciled(say: Say) -> list[str]:
    say("reconcile: not run, with --key the exchange's log is another's")
    return []
