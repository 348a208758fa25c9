"""Owns the tables ledger_entry and account_ledger: every change of an account's cash, and what they add up to.

    deposit, withdrawal      play money in and out
    order_reserved           an order was placed, or amended to need more
    order_released           an order has ended or needs less; $1 for each complete set that this freed is in it
    trade                    a fill: what shares brought, or what was reserved too much, less fees
    payout, refund           a resolved market paid, a voided one gave back
    take_back                a voided market took what the account had taken out of it
    reversal                 a market's end was undone: what it paid is taken, what it took is given back

An entry's amount is what the event changed free cash by as long as there is no debt. A credit that repays debt stands
there in full, so the entries of an account add up to its cash less its debt; what a batch in flight holds is still
in them. `account_ledger` has that sum, and in `seq` how many events have named the account, whether cash moved or
not. Both are sums and `updated_at` a maximum, so it does not matter in which order slots are read.
"""

from collections.abc import Callable, Sequence
from typing import Any

from trading.account_news import AccountNews, Touched
from trading.array_literals import columns
from trading.eventlog.codec import LoggedEvent
from trading.projections.projection import AfterCommit, UnknownEvent, appliers
from trading.projections.rows import insertion, moment

KINDS = (
    "deposit", "withdrawal", "order_reserved", "order_released", "trade", "payout", "refund", "take_back",
    "reversal",
)  # fmt: skip

_INSERT = insertion(
    "ledger_entry", account_id="uuid", at="timestamptz", slot="smallint", leg="smallint", slot_offset="bigint",
    amount_pips="bigint", market_id="uuid", order_id="uuid", kind="text",
)  # fmt: skip
_ADD_TO_ACCOUNTS = """
INSERT INTO account_ledger AS a (account_id, cash_pips, seq, updated_at)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::timestamptz[])
ON CONFLICT (account_id) DO UPDATE SET
    cash_pips = a.cash_pips + excluded.cash_pips, seq = a.seq + excluded.seq,
    updated_at = greatest(a.updated_at, excluded.updated_at)
RETURNING account_id::text, seq
"""


class _Change:
    """What a batch does to one account, and the events that name it."""

    __slots__ = ("cash_pips", "events", "updated_us")

    def __init__(self) -> None:
        self.cash_pips = self.updated_us = 0
        self.events: list[LoggedEvent] = []


class _Batch:
    """The entries' rows, and the accounts that the events name."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.touched: dict[str, _Change] = {}

    def touch(self, account_id: str, event: LoggedEvent) -> _Change:
        """The account takes part in the event, which counts once."""
        change = self.touched.get(account_id)
        if change is None:
            change = self.touched[account_id] = _Change()
        change.events.append(event)
        if event.recorded_us > change.updated_us:
            change.updated_us = event.recorded_us
        return change

    def enter(
        self, account_id: str, event: LoggedEvent, amount_pips: int, kind: str, *, leg: int = 0,
        market_id: str | None = None, order_id: str | None = None,
    ) -> None:  # fmt: skip
        """An entry of an account that the event has touched; none where cash does not change."""
        if amount_pips:
            self.touched[account_id].cash_pips += amount_pips
            self.rows.append((
                account_id, moment(event.recorded_us), event.slot, leg, event.slot_offset, amount_pips, market_id,
                order_id, kind,
            ))  # fmt: skip


class LedgerProjection:
    """One INSERT and one upsert a batch."""

    name = "ledger"
    tables = ("ledger_entry", "account_ledger")

    def __init__(self) -> None:
        self._news = AccountNews()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> AfterCommit | None:
        batch = _Batch()
        for event in events:
            try:
                applier = _APPLIERS[event.type]
            except KeyError:
                raise UnknownEvent(event) from None
            if applier is not None:
                applier(batch, event)
        if batch.rows:
            connection.execute(_INSERT, columns(batch.rows))
        if not batch.touched:
            return None
        rows = [
            (account_id, change.cash_pips, len(change.events), moment(change.updated_us))
            for account_id, change in sorted(batch.touched.items())
        ]
        added = connection.execute(_ADD_TO_ACCOUNTS, columns(rows))
        return lambda: self._tell(batch, added.fetchall())

    def forget(self) -> None:
        """Nothing is remembered."""

    def _tell(self, batch: _Batch, numbers: Sequence[tuple[str, int]]) -> None:
        self._news.tell({
            account_id: Touched(seq, batch.touched[account_id].events) for account_id, seq in numbers
        })  # fmt: skip


def _ordered(batch: _Batch, event: LoggedEvent) -> None:
    """An order was placed, amended or ended: it holds more or less than before."""
    data = event.data
    account_id, cash_pips = data["account"], data["cash"]
    batch.touch(account_id, event)
    kind = "order_reserved" if cash_pips < 0 else "order_released"
    batch.enter(account_id, event, cash_pips, kind, market_id=event.stream_id, order_id=data["order"])


def _matched(batch: _Batch, event: LoggedEvent) -> None:
    legs = event.data["legs"]
    # Two legs of an implied match may be the same account's.
    for account_id in {leg["account"] for leg in legs}:
        batch.touch(account_id, event)
    for index, leg in enumerate(legs):
        batch.enter(
            leg["account"], event, leg["cash"], "trade", leg=index, market_id=event.stream_id, order_id=leg["order"]
        )  # fmt: skip


def _named(batch: _Batch, event: LoggedEvent) -> None:
    """An event of an account that moves no cash; a refusal may be of nobody's command."""
    if (account_id := event.data.get("account")) is not None:
        batch.touch(account_id, event)


def _own(batch: _Batch, event: LoggedEvent) -> None:
    """An event of an account's own stream that leaves cash less debt as it is."""
    batch.touch(event.stream_id, event)


def _moved(kind: str, sign: int) -> Callable[[_Batch, LoggedEvent], None]:
    def apply(batch: _Batch, event: LoggedEvent) -> None:
        batch.touch(event.stream_id, event)
        market_id = event.data.get("market")
        batch.enter(event.stream_id, event, sign * event.data["amount"], kind, market_id=market_id)

    return apply


_PAID = {"win": _moved("payout", 1), "refund": _moved("refund", 1), "returned": _moved("reversal", 1)}
_TAKEN = {
    "take_back": _moved("take_back", -1), "win": _moved("reversal", -1), "refund": _moved("reversal", -1)
}  # fmt: skip


def _issued(batch: _Batch, event: LoggedEvent) -> None:
    _PAID[event.data["kind"]](batch, event)


def _reversed(batch: _Batch, event: LoggedEvent) -> None:
    _TAKEN[event.data["kind"]](batch, event)


_APPLIERS = appliers({
    "order_placed/1": _ordered,
    "order_amended/1": _ordered,
    "order_cancelled/1": _ordered,
    "order_expired/1": _ordered,
    "order_matched/1": _matched,
    "order_rejected/1": _named,
    "cancel_all_fence/1": _named,
    "command_refused/1": _named,
    "position_opened/1": _named,
    "resolution_disputed/1": _named,
    "position_closed/1": _own,
    "position_reopened/1": _own,
    "debt_repaid/1": _own,
    "funds_deposited/1": _moved("deposit", 1),
    "funds_withdrawn/1": _moved("withdrawal", -1),
    "payout_issued/1": _issued,
    "payout_reversed/2": _reversed,
})  # fmt: skip
