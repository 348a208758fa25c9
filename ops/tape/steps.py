"""What a tape says, in the exchange's words. Pure data; prices in pips, quantities in shares."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

MAKER, TAKER = "maker", "taker"
SWEEPERS = ("sweeper", "sweeper-2")
"""Whose orders take and then rest. Nobody may trade with himself, so one that meets a sweeper's rest is the other's."""


class ExpectedFill(NamedTuple):
    """One fill that a take must give: of which of the maker's orders, at what price in the taker's terms."""

    maker_key: str
    price_pips: int
    quantity_shares: int


class Place(NamedTuple):
    """An order of one of the accounts. `expected` are all its fills, in order; None says: not a take.

    What is left of a take that is GTC rests.
    """

    account: str
    key: str
    outcome: int
    side: str
    price_pips: int
    quantity_shares: int
    time_in_force: str
    expected: tuple[ExpectedFill, ...] | None = None


class Cancel(NamedTuple):
    """Withdraw the order of that key, as a rule the maker's."""

    key: str
    account: str = MAKER


class Amend(NamedTuple):
    """Make an order smaller, as a rule the maker's: to a new total quantity, filled part included."""

    key: str
    quantity_shares: int
    account: str = MAKER


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

    def do(self, step: Step) -> None:
        if isinstance(step, Place):
            self._place(step)
        elif isinstance(step, Amend):
            self._amend(step)
        else:
            self._take_off(step.key, self._orders[step.key][1])
            del self._orders[step.key]

    def fill(self, fill: ExpectedFill) -> None:
        """A fill of an order of the maker's; of another's nothing needs to be known."""
        if fill.maker_key in self._orders:
            self.spent_pips += self._take_off(fill.maker_key, fill.quantity_shares)

    def _place(self, step: Place) -> None:
        self._orders[step.key] = [_share_reserve(step), step.quantity_shares, step.quantity_shares]
        self.open_pips += _share_reserve(step) * step.quantity_shares

    def _amend(self, step: Amend) -> None:
        order = self._orders[step.key]
        self._take_off(step.key, order[2] - step.quantity_shares)
        order[2] = step.quantity_shares

    def _take_off(self, key: str, shares: int) -> int:
        order = self._orders[key]
        order[1] -= shares
        self.open_pips -= order[0] * shares
        return order[0] * shares


def needed_cash(rows: Iterable[Row]) -> dict[str, int]:
    """Pips that each account needs at most: the maker its open orders at their highest and all that it bought,
    the others all their orders.

    An upper bound: what selling and netting bring back is not counted.
    """
    maker, needed = _Exposure(), {MAKER: 0, TAKER: 0}
    for row in rows:
        for step in row.steps:
            if isinstance(step, Place) and step.account != MAKER:
                cost_pips = _share_reserve(step) * step.quantity_shares
                needed[step.account] = needed.get(step.account, 0) + cost_pips
                for fill in step.expected or ():
                    maker.fill(fill)
            elif step.account == MAKER:
                maker.do(step)
                needed[MAKER] = max(needed[MAKER], maker.open_pips + maker.spent_pips)
    return needed


def _share_reserve(step: Place) -> int:
    """What a share of an order costs at most, with nothing to cover it."""
    return step.price_pips if step.side == "buy" else 10_000 - step.price_pips
