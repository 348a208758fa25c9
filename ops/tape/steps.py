"""What a tape says, in the exchange's words. Pure data; prices in pips, quantities in shares."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

MAKER, TAKER = "maker", "taker"


class ExpectedFill(NamedTuple):
    """One fill that a take must give: of which of the maker's orders, at what price in the taker's terms."""

    maker_key: str
    price_pips: int
    quantity_shares: int


class Place(NamedTuple):
    """An order of one of the two accounts. `expected` are all its fills, in order; None says: not a take."""

    account: str
    key: str
    outcome: int
    side: str
    price_pips: int
    quantity_shares: int
    time_in_force: str
    expected: tuple[ExpectedFill, ...] | None = None


class Cancel(NamedTuple):
    """Withdraw the maker's order of that key."""

    key: str


class Amend(NamedTuple):
    """Make the maker's order smaller: to a new total quantity, filled part included."""

    key: str
    quantity_shares: int


Step = Place | Cancel | Amend

Levels = tuple[tuple[int, int], ...]
"""(price_pips, quantity_shares) of each level, best first."""


class ExpectedBook(NamedTuple):
    """How one outcome's book must look, `depth` levels a side."""

    outcome: int
    bids: Levels
    asks: Levels
    depth: int


class Row(NamedTuple):
    """One row of the recording: its number, what is to be done, and the books after it if they are known."""

    number: int
    steps: tuple[Step, ...]
    books: tuple[ExpectedBook, ...] = ()


class BadTape(ValueError):
    """The file does not say what its format promises."""


class Tape(Protocol):
    """A recording that can be read from the beginning any number of times."""

    name: str
    tick_pips: int
    knows_every_book: bool
    """Whether each row has its book, or only some do."""

    @property
    def total_rows(self) -> int:
        """How many rows there are to play."""

    @property
    def winner(self) -> int | None:
        """The outcome that won, if the recording says so."""

    def rows(self, *, with_books: bool = True) -> Iterator[Row]:
        """Every row in order; without books, rows that do nothing may be left out."""


class _Exposure:
    """What the maker's open orders hold, and what has been spent."""

    def __init__(self) -> None:
        self._orders: dict[str, list[int]] = {}  # By key: a share's reserve, shares left, total as amended.
        self.open_pips = 0
        self.spent_pips = 0

    def place(self, step: Place) -> None:
        self._orders[step.key] = [_share_reserve(step), step.quantity_shares, step.quantity_shares]
        self.open_pips += _share_reserve(step) * step.quantity_shares

    def fill(self, fill: ExpectedFill) -> None:
        pips = self._take_off(fill.maker_key, fill.quantity_shares)
        self.spent_pips += pips

    def cancel(self, key: str) -> None:
        self._take_off(key, self._orders[key][1])
        del self._orders[key]

    def amend(self, step: Amend) -> None:
        order = self._orders[step.key]
        self._take_off(step.key, order[2] - step.quantity_shares)
        order[2] = step.quantity_shares

    def _take_off(self, key: str, shares: int) -> int:
        order = self._orders[key]
        order[1] -= shares
        self.open_pips -= order[0] * shares
        return order[0] * shares


def needed_cash(rows: Iterable[Row]) -> dict[str, int]:
    """Pips that either account needs at most: its open orders at their highest, and all that it bought.

    An upper bound: what selling and netting bring back is not counted.
    """
    maker, peak_pips, taker_pips = _Exposure(), 0, 0
    for row in rows:
        for step in row.steps:
            if isinstance(step, Cancel):
                maker.cancel(step.key)
            elif isinstance(step, Amend):
                maker.amend(step)
            elif step.account == MAKER:
                maker.place(step)
                peak_pips = max(peak_pips, maker.open_pips + maker.spent_pips)
            else:
                taker_pips += _share_reserve(step) * step.quantity_shares
                for fill in step.expected or ():
                    maker.fill(fill)
    return {MAKER: peak_pips, TAKER: taker_pips}


def _share_reserve(step: Place) -> int:
    """What a share of an order costs at most, with nothing to cover it."""
    return step.price_pips if step.side == "buy" else 10_000 - step.price_pips
