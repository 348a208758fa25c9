"""Sends a tape's steps in batches, in order, and compares the books after each run of rows.

Each account's steps go in batches of their own, since a key acts for one account: a batch
ends where another account is next, at its size, and, to compare, at the end of a row.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.tape.makers import Take, take_of
from ops.tape.stage import OUTCOMES, Stage
from ops.tape.steps import MAKER, Cancel, ExpectedBook, Place, Row, Step
from trading.money import format_pips

BOOK_WITHIN_S = 5.0


@dataclass(slots=True)
class Tally:
    """What was done and what differed. `differences` holds one line each."""

    rows: int = 0  # The number of the last one.
    steps: int = 0
    batches: int = 0
    books: int = 0
    takes: list[Take] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    as_of: str | None = None


class Player:
    """Plays rows on a stage. With `check` books are compared; `every_row` ends a run at each row with a book."""

    def __init__(self, stage: Stage, *, batch: int, check: bool, every_row: bool) -> None:
        self.tally = Tally()
        self._stage = stage
        self._batch = batch
        self._check = check
        self._every_row = every_row
        self._account = MAKER
        self._pending: list[tuple[int, Step]] = []
        self._unseen = False  # Whether something was sent since the last comparison.
        self._seq = 0

    def play(self, rows: Iterable[Row], progress: Callable[[int], object]) -> Tally:
        """Send everything; `progress` is told how many rows further each row is."""
        for row in rows:
            if len(self._pending) + len(row.steps) > self._batch:
                self._flush()
            for step in row.steps:
                self._add(row.number, step)
            if self._check and row.books:
                self._compare(row)
            progress(row.number - self.tally.rows)
            self.tally.rows = row.number
        self._flush()
        return self.tally

    def _add(self, number: int, step: Step) -> None:
        if step.account != self._account or len(self._pending) >= self._batch:
            self._flush()
            self._account = step.account
        self._pending.append((number, step))

    def _compare(self, row: Row) -> None:
        """Compare where the recording knows the book only now and then, and else where a run has ended."""
        if self._every_row or self._unseen or len(self._pending) >= self._batch:
            self._flush()
            for expected in row.books:
                self._compare_book(row.number, expected)
            self._unseen = False

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        items = [self._item(number, step) for number, step in pending]
        results = self._stage.exchange.batch(items, key=self._stage.keys[self._account])
        self.tally.batches += 1
        self.tally.steps += len(items)
        self._unseen = True
        for (number, step), result in zip(pending, results, strict=True):
            self._note(number, step, result)

    def _item(self, number: int, step: Step) -> dict[str, Any]:
        if isinstance(step, Place):
            return {
                "market_id": self._stage.market_id,
                "outcome": OUTCOMES[step.outcome],
                "side": step.side,
                "price": format_pips(step.price_pips),
                "quantity": step.quantity_shares,
                "time_in_force": step.time_in_force,
                "client_order_id": step.key,
            }
        reference = {"market_id": self._stage.market_id, "client_order_id": step.key}
        if isinstance(step, Cancel):
            return {"op": "cancel", **reference}
        amendment = f"amend.{step.key}.{step.quantity_shares}"
        return {"op": "amend", **reference, "quantity": step.quantity_shares, "client_id": amendment}

    def _note(self, number: int, step: Step, result: dict[str, Any]) -> None:
        if result["status"] not in (200, 201):
            self.tally.differences.append(
                f"row {number}: {step} answered {result['status']} {result.get('code')}: {result.get('detail')}"
            )
            return
        order = result["order"]
        self._seq = max(self._seq, order["seq"])
        self.tally.as_of = order["as_of"] or self.tally.as_of
        if isinstance(step, Place) and step.expected is not None:
            self.tally.takes.append(take_of(number, step, order))
        elif isinstance(step, Place) and order["fills"]:
            self.tally.differences.append(f"row {number}: {step} was not to trade, but did")

    def _compare_book(self, number: int, expected: ExpectedBook) -> None:
        self.tally.differences += book_differences(number, expected, self._book(expected))
        self.tally.books += 1

    def _book(self, expected: ExpectedBook) -> dict[str, Any]:
        """The exchange's book, not older than the last answer to a batch."""
        path = f"/markets/{self._stage.market_id}/orderbook"
        deadline = time.monotonic() + BOOK_WITHIN_S
        while True:
            book: dict[str, Any] = self._stage.exchange.get(
                path, key=self._stage.keys[MAKER], outcome=OUTCOMES[expected.outcome], depth=expected.depth
            )
            if book["seq"] >= self._seq or time.monotonic() > deadline:
                return book
            time.sleep(0.002)


def book_differences(number: int, expected: ExpectedBook, book: Mapping[str, Any]) -> list[str]:
    """One line for each side that differs from the recording; `book` has levels as the API shows them."""
    differences = []
    for side, levels in (("bids", expected.bids), ("asks", expected.asks)):
        wanted = [[format_pips(price), shares] for price, shares in levels]
        got = book[side]
        if got != wanted:
            level = next(
                (n for n, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b),
                min(len(got), len(wanted)),
            )
            differences.append(
                f"row {number}: {side} of {OUTCOMES[expected.outcome]} differ from level {level + 1} on: "
                f"{got[level : level + 2]} instead of {wanted[level : level + 2]}"
            )
    return differences
