"""A day's statement as a CSV file. Refuses a day that has not begun, and a statement that does not add up.

It is written to a file of its own, which goes to the disk when it is long, and looked at as a whole before anybody gets
a byte of it.
"""

import csv
import datetime as dt
import io
import logging
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from accounts.statements.cells import COLUMNS, ENCODING, moment, money, signed_money, user_text
from trading.errors import InternalError, InvalidRequest, ReadLag
from trading.eventlog.read import read_creations
from trading.replicas import reading
from trading.selectors.held import Held, held_at
from trading.selectors.statement import (
    DAY,
    EPOCH,
    NOTHING_YET,
    Anchor,
    StatementEntry,
    StatementFill,
    closing_balance,
    entries,
    fills,
    opening_balance,
)

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 1_000_000
TRIES = 3
"""Of a day that goes on: what committed while it was read may be in one of its parts and not in another."""

SETTLES_IN = dt.timedelta(minutes=1)
"""So long after its end nothing is recorded any more at a time of the day."""

MOST_MARKETS = 1_000
"""Markets of which the words are kept at once."""


class DoesNotAddUp(InternalError):
    """Opening balance, entries and closing balance contradict each other: the ledger is not as it was written."""


class Statement(NamedTuple):
    """A finished statement. `file` begins at its start and belongs to whoever asked for it. Amounts in pips."""

    account_id: str
    day: dt.date
    until: dt.datetime
    file: IO[bytes]
    opening_pips: int
    closing_pips: int
    entries: int
    fills: int
    fees_pips: int

    @property
    def name(self) -> str:
        return f"statement-{self.day}.csv"


def make_statement(
    account_id: str, day: dt.date, *, now: dt.datetime, anchor: Anchor = NOTHING_YET
) -> Statement:
    """The account's statement of a UTC day, up to now if that is the present one.

    `anchor` is a balance that an earlier statement has proven. Raises InvalidRequest for a day to come; DoesNotAddUp;
    ReadLag where a day that goes on moved too fast; Overloaded and NotKept as `held_at` does.
    """
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    if not EPOCH <= begin <= now:
        raise InvalidRequest(
            "There is no statement of that day.",
            errors={"date": ["must not be in the future, nor before 1970"]},
        )
    end = min(begin + DAY, now)
    goes_on = now < begin + DAY + SETTLES_IN
    for _ in range(TRIES if goes_on else 1):
        opening = opening_balance(account_id, begin, anchor)
        closing = closing_balance(account_id, end, now=now)
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        writer = _Writer(file, account_id, begin, end)
        if writer.entries(opening) == closing:
            writer.rest(closing)
            return writer.finished(day, opening, closing)
        writer.discard()
    if goes_on:
        raise ReadLag("The account changed while it was read; ask again.")
    error = DoesNotAddUp(
        f"The statement of {day} of account {account_id} does not add up and is not given out: from {money(opening)} "
        f"its entries lead to {money(writer.balance)}, and the account's cash to {money(closing)}."
    )
    log.error("%s", error.detail)
    raise error


class _Writer:
    """Writes the records in their order and adds up what they say."""

    def __init__(self, file: IO[bytes], account_id: str, begin: dt.datetime, end: dt.datetime) -> None:
        self._file = file
        self._text = io.TextIOWrapper(file, encoding=ENCODING, newline="", write_through=True)
        self._rows = csv.DictWriter(self._text, COLUMNS, restval="", lineterminator="\r\n")
        self._account_id, self._begin, self._end = account_id, begin, end
        self._words = _Words()
        self.balance = self.count = self.fills = self.fees = 0
        self._rows.writeheader()

    def entries(self, opening: int) -> int:
        """The opening balance and all changes; answers where these lead."""
        self.balance = opening
        self._rows.writerow({"record": "opening", "at": moment(self._begin), "balance": money(opening)})
        for page in _pages(entries(self._account_id, self._begin, self._end)):
            self._words.learn({each.market_id for each in page if each.market_id is not None})
            for entry in page:
                self.balance += entry.amount_pips
                self.count += 1
                self._rows.writerow(self._entry(entry))
        return self.balance

    def rest(self, closing: int) -> None:
        """The closing balance, executions, fees and what is held."""
        self._rows.writerow({"record": "closing", "at": moment(self._end), "balance": money(closing)})
        for page in _pages(fills(self._account_id, self._begin, self._end)):
            self._words.learn({each.market_id for each in page})
            for fill in page:
                self.fills += 1
                self.fees += fill.fee_pips
                self._rows.writerow(self._fill(fill))
        self._rows.writerow({"record": "fees", "at": moment(self._end), "fee": money(self.fees)})
        held = held_at(self._account_id, self._end)
        self._words.learn({each.market_id for each in held})
        for each in held:
            self._rows.writerow(self._position(each))
        worth = sum(each.value_pips or 0 for each in held)
        self._rows.writerow({"record": "positions", "at": moment(self._end), "value": money(worth)})

    def discard(self) -> None:
        """Nobody gets the file."""
        self._text.close()

    def finished(self, day: dt.date, opening: int, closing: int) -> Statement:
        self._text.detach()
        self._file.seek(0)
        return Statement(
            self._account_id, day, self._end, self._file, opening, closing, self.count, self.fills, self.fees
        )

    def _entry(self, entry: StatementEntry) -> dict[str, Any]:
        return {
            "record": "entry",
            "at": moment(entry.at),
            "kind": entry.kind,
            "amount": signed_money(entry.amount_pips),
            "balance": money(self.balance),
            **self._words.of(entry.market_id, entry.outcome),
            "side": entry.side or "",
            "quantity": "" if entry.quantity_shares is None else entry.quantity_shares,
            "price": money(entry.price_pips),
            "fee": money(entry.fee_pips),
            "order_id": entry.order_id or "",
            "id": entry.entry_id,
        }

    def _fill(self, fill: StatementFill) -> dict[str, Any]:
        return {
            "record": "fill",
            "at": moment(fill.at),
            "kind": fill.role,
            **self._words.of(fill.market_id, fill.outcome),
            "side": fill.side,
            "quantity": fill.quantity_shares,
            "price": money(fill.price_pips),
            "fee": money(fill.fee_pips),
            "value": money(fill.price_pips * fill.quantity_shares),
            "order_id": fill.order_id,
            "id": fill.trade_id,
        }

    def _position(self, held: Held) -> dict[str, Any]:
        return {
            "record": "position",
            "at": moment(self._end),
            **self._words.of(held.market_id, held.outcome),
            "quantity": held.quantity_shares,
            "price": money(held.price_pips),
            "value": money(held.value_pips),
        }


class _Words:
    """What markets ask and their outcomes are called, of those that were last seen."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def learn(self, market_ids: set[str]) -> None:
        missing = sorted(market_ids - self._known.keys())
        if len(self._known) + len(missing) > MOST_MARKETS:
            self._known.clear()
            missing = sorted(market_ids)
        if missing:
            with reading().cursor() as cursor:
                self._known.update(read_creations(cursor, missing))

    def of(self, market_id: str | None, outcome: int | None) -> dict[str, str]:
        if market_id is None:
            return {}
        known = self._known[market_id]
        name = "" if outcome is None else known["outcomes"][outcome]
        return {
            "market_id": market_id,
            "question": user_text(known["question"]),
            "outcome": user_text(name),
        }


def _pages(rows: Iterator[Any], size: int = 500) -> Iterator[list[Any]]:
    page = []
    for row in rows:
        page.append(row)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
