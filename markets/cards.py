"""A market as the pages show it: its rows and live figures put together, one object for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from markets.quotes import Quote, Quotes, quotes_for
from markets.selectors import Listing
from markets.volumes import DayBefore, change_pips, day_before
from trading.resolution_view import winner_of

LEADING = 3


@dataclass(frozen=True, slots=True)
class ShownOutcome:
    """An outcome with its prices, its last one of 24 hours ago, and what a share paid once that is decided (pips)."""

    index: int
    name: str
    quote: Quote
    payout: int | None
    before: int | None

    @property
    def chance(self) -> int | None:
        """In pips."""
        return self.quote.chance_pips

    @property
    def change(self) -> int | None:
        """How far the last price has come in 24 hours, in pips."""
        return change_pips(self.quote.last_pips, self.before)

    @property
    def shown(self) -> int | None:
        """The pay-out once there is one, else the chance."""
        return self.chance if self.payout is None else self.payout


@dataclass(frozen=True, slots=True)
class Card:
    """One market for a list or a page."""

    row: Listing
    quotes: Quotes
    before: DayBefore

    @property
    def status(self) -> str:
        return self.quotes.status

    @property
    def has_book(self) -> bool:
        """Whether orders can wait in it, now or again."""
        return self.status in ("draft", "open", "suspended")

    @property
    def volume_pips(self) -> int:
        return self.quotes.volume_pips

    @property
    def outcomes(self) -> Sequence[ShownOutcome]:
        """In the market's own order."""
        payouts: Sequence[int | None] = self.row.payouts or [None] * len(self.row.outcomes)
        return [
            ShownOutcome(index, name, quote, payout, before)
            for index, (name, quote, payout, before) in enumerate(
                zip(self.row.outcomes, self.quotes.outcomes, payouts, self.before.prices, strict=True)
            )
        ]

    @property
    def ranked(self) -> Sequence[ShownOutcome]:
        """The likeliest first; what has no price comes last, in the market's order."""
        return sorted(self.outcomes, key=lambda each: -1 if each.shown is None else each.shown, reverse=True)

    @property
    def lead(self) -> ShownOutcome:
        """The outcome that a page begins with: a binary market's first, else the likeliest."""
        return self.outcomes[0] if self.row.is_binary else self.ranked[0]

    @property
    def leading(self) -> Sequence[ShownOutcome]:
        return self.ranked[:LEADING]

    @property
    def more(self) -> int:
        """How many outcomes a card leaves out."""
        return max(0, len(self.row.outcomes) - LEADING)

    @property
    def verdict(self) -> str | None:
        """The outcome that won; "Tie" where several were paid, None while undecided and after a void."""
        if not self.row.payouts:
            return None
        return winner_of(self.row.outcomes, self.row.payouts) or "Tie"


def cards_of(rows: Sequence[Listing]) -> list[Card]:
    """Every row with its live figures; one read of Valkey and at most one of the bars."""
    quotes, before = quotes_for(rows), day_before(rows)
    return [Card(row, quotes[row.market_id], before[row.market_id]) for row in rows]
