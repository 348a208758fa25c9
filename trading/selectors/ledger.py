"""An account's changes of cash, newest first, each with what it left.

What an entry left is not stored, since a late slot may put another one before it. The newest left the account's sum;
going back in time, each one's own amount is taken off. A cursor carries how far that has come, so that any page costs
what it shows. An entry that is folded after its place in the list has been passed is not in the later pages' sums.
"""

import datetime as dt
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec

from trading.eventlog.codec import timestamp_text, to_us
from trading.replicas import reading
from trading.selectors.pages import Cursor, Moment, Number, Page

Place = Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)]
Amount = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class LedgerEntry(NamedTuple):
    """One change of an account's cash less its debt, and what that was after it."""

    at: dt.datetime
    slot: int
    slot_offset: int
    leg: int
    kind: str
    amount_pips: int
    market_id: str | None
    order_id: str | None
    cash_after_pips: int

    @property
    def event_id(self) -> str:
        return f"{self.slot}-{self.slot_offset}"

    @property
    def entry_id(self) -> str:
        return f"{self.event_id}-{self.leg}"


class _Key(NamedTuple):
    """The last entry of a page, and the cash before it."""

    at_us: Moment
    slot: Place
    slot_offset: Number
    leg: Place
    cash_before_pips: Amount


_ENTRIES = Cursor("ledger", _Key)

_COLUMNS = "at, slot, slot_offset, leg, kind, amount_pips, market_id::text, order_id::text"
_IN_ORDER = "ORDER BY e.at DESC, e.slot DESC, e.slot_offset DESC, e.leg DESC LIMIT %(limit)s"
# In one statement, so that the sum is that of these very entries.
_NEWEST = f"""
SELECT {_COLUMNS}, a.cash_pips FROM account_ledger a, LATERAL (
    SELECT * FROM ledger_entry AS e WHERE e.account_id = a.account_id {_IN_ORDER}
) AS e WHERE a.account_id = %(account)s
"""  # noqa: S608
# The first bound says the same as the second one, but by it older months are found without a look at the younger.
_OLDER = f"""
SELECT {_COLUMNS}, %(cash)s::bigint FROM ledger_entry AS e WHERE account_id = %(account)s
AND at <= %(at)s::timestamptz
AND (at, slot, slot_offset, leg) < (%(at)s::timestamptz, %(slot)s, %(offset)s, %(leg)s) {_IN_ORDER}
"""  # noqa: S608


def ledger_page(account_id: str, *, limit: int, cursor: str | None) -> Page[LedgerEntry]:
    """Entries of an account, newest first. Raises InvalidRequest for another list's cursor. O(limit)."""
    key = _ENTRIES.read(cursor)
    wanted: dict[str, Any] = {"account": UUID(account_id), "limit": limit + 1}
    if key is not None:
        wanted |= {"at": timestamp_text(key.at_us), "slot": key.slot, "offset": key.slot_offset,
                   "leg": key.leg, "cash": key.cash_before_pips}  # fmt: skip
    with reading().cursor() as database:
        database.execute(_NEWEST if key is None else _OLDER, wanted)
        rows = database.fetchall()
    return _ENTRIES.page(_with_cash(rows), limit=limit, key_of=_key_of)


def _with_cash(rows: list[tuple[Any, ...]]) -> list[LedgerEntry]:
    """Each row with what its entry left; the rows carry what the first of them left."""
    entries: list[LedgerEntry] = []
    for row in rows:
        cash = entries[-1].cash_after_pips - entries[-1].amount_pips if entries else row[-1]
        entries.append(LedgerEntry._make((*row[:-1], cash)))
    return entries


def _key_of(entry: LedgerEntry) -> _Key:
    cash_before = entry.cash_after_pips - entry.amount_pips
    return _Key(to_us(entry.at), entry.slot, entry.slot_offset, entry.leg, cash_before)
