"""What a tape says, in the exchange's words. Pure data; prices in pips, quantities in shares."""

from collections.abc import Iterator
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


class Tape(Protocol):
    """A recording that can be read from the beginning any number of times."""

    name: str
    tick_pips: int
    total_rows: int
    winner: int | None
    """The outcome that won, if the recording says so."""
    ends_closed: bool
    """Whether the recording ends with the venue closing the market and cancelling every order."""

    def rows(self) -> Iterator[Row]:
        """Every row in order."""


def needed_cash(rows: Iterator[Row]) -> dict[str, int]:
    """Pips that either account needs at most: its open orders at their highest, and all that it bought.

    An upper bound: what selling and netting bring back is not counted.
    """
    reserved: dict[str, tuple[int, int]] = {}  # Of the maker's open orders: a share's reserve, shares left.
    open_pips = peak_pips = spent_pips = taker_pips = 0
    for row in rows:
        for step in row.steps:
            if isinstance(step, Place):
                share_pips = step.price_pips if step.side == "buy" else 10_000 - step.price_pips
                if step.account == TAKER:
                    taker_pips += share_pips * step.quantity_shares
                    for fill in step.expected or ():
                        each, left = reserved[fill.maker_key]
                        reserved[fill.maker_key] = (each, left - fill.quantity_shares)
                        open_pips -= each * fill.quantity_shares
                        spent_pips += each * fill.quantity_shares
                else:
                    reserved[step.key] = (share_pips, step.quantity_shares)
                    open_pips += share_pips * step.quantity_shares
            elif isinstance(step, Cancel):
                each, left = reserved.pop(step.key)
                open_pips -= each * left
            peak_pips = max(peak_pips, open_pips + spent_pips)
    return {MAKER: peak_pips, TAKER: taker_pips}
