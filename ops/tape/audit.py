"""Compares what the exchange says of a venue's accounts and markets with what the recording adds up to.

Everything is read back through the public API, as each account's owner sees it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from ops.tape.house import HOUSE, Books, Sums
from ops.tape.polymarket import RecordedMarket
from ops.tape.venue import Venue
from trading.money import SHARE_PIPS, format_pips

PAGE = 500


class Money(NamedTuple):
    """What an account is shown of its money, in pips."""

    cash: int
    reserved: int
    debt: int
    fees: int


class Verdict(NamedTuple):
    """How many figures were compared, one line for each that differs, and lines that sum up."""

    compared: int
    differences: list[str]
    summary: list[str]


class _Answer(NamedTuple):
    """What was found of one account. `profit_pips` is what settled markets have brought it."""

    account: str
    money: Money
    compared: int
    differences: list[str]
    profit_pips: int = 0


class Audit:
    """Judges the accounts of a venue before and after its markets are settled."""

    def __init__(
        self, venue: Venue, executor: Executor, markets: Mapping[str, RecordedMarket], books: Books
    ) -> None:
        self._venue = venue
        self._executor = executor
        self._markets = markets
        self._books = books
        self._names = {market_id: name for name, market_id in venue.market_ids.items()}

    def before_settlement(self) -> Verdict:
        """Fills, positions and cash of each account, the sets of each market, and money as a whole."""
        answers = self._every_account(self._account_before)
        collateral, differences = 0, _all_differences(answers)
        for name, market_id in self._venue.market_ids.items():
            shown = SHARE_PIPS * self._venue.exchange.get(f"/markets/{market_id}")["open_interest"]
            collateral += shown
            differences += _unequal(f"{name}: collateral", shown, self._books.collateral_pips(name))
        line, wrong = self._money_line(answers, collateral)
        compared = sum(answer.compared for answer in answers) + len(self._venue.market_ids)
        return Verdict(compared, differences + wrong, [line])

    def after_settlement(self) -> Verdict:
        """Cash and each market's profit of each account, and that together nobody has won anything."""
        answers = self._every_account(self._account_after)
        still_open = [name for name in self._venue.market_ids if self._markets[name].winner is None]
        money, wrong = self._money_line(answers, sum(map(self._books.collateral_pips, still_open)))
        profits, unbalanced = _profits_line(answers)
        compared = sum(answer.compared for answer in answers)
        return Verdict(compared, _all_differences(answers) + wrong + unbalanced, [money, profits])

    def _every_account(self, look: Callable[[str, str], _Answer]) -> list[_Answer]:
        as_of = self._venue.exchange.get("/account", key=self._venue.keys[HOUSE])["as_of"]
        return list(self._executor.map(lambda account: look(account, as_of), self._venue.keys))

    def _account_before(self, account: str, as_of: str) -> _Answer:
        sums = self._books.of_account(account, self._markets)
        held, sold_and_bought = (
            _by_outcome(self._markets, sums, "holding"),
            _by_outcome(self._markets, sums, "net"),
        )
        positions, fills = self._positions(account, as_of), self._fills(account, as_of)
        money = self._money(account)
        cash = self._venue.deposited_pips[account] + sum(each.cash_pips for each in sums.values())
        differences = [
            *_differences(f"{account}: position of", positions, held),
            *_differences(f"{account}: bought less sold of", fills, sold_and_bought),
            *_unequal(f"{account}: cash", money.cash, cash),
            *_unequal(f"{account}: reserved", money.reserved, 0),
        ]
        return _Answer(account, money, len(held) + len(sold_and_bought) + 2, differences)

    def _account_after(self, account: str, as_of: str) -> _Answer:
        sums = self._books.of_account(account, self._markets)
        profits = {
            name: each.profit_pips(winner)
            for name, each in sums.items()
            if (winner := self._markets[name].winner) is not None
        }
        realized = dict.fromkeys(profits, 0)
        for row in self._pages(account, "/portfolio/positions", as_of, status="all"):
            if (name := self._names[row["market_id"]]) in realized:
                realized[name] += _pips(row["realized_pnl"])
        money, open_pips = (
            self._money(account),
            sum(sums[name].cash_pips for name in sums.keys() - profits.keys()),
        )
        cash = self._venue.deposited_pips[account] + open_pips + sum(profits.values())
        differences = [
            *_differences(f"{account}: profit in", realized, profits),
            *_unequal(f"{account}: cash", money.cash, cash),
        ]
        return _Answer(account, money, len(profits) + 1, differences, sum(realized.values()))

    def _money(self, account: str) -> Money:
        shown = self._venue.exchange.get("/account", key=self._venue.keys[account])
        return Money(*(_pips(shown[name]) for name in ("cash", "reserved", "debt", "fees_paid")))

    def _positions(self, account: str, as_of: str) -> dict[str, int]:
        return {
            f"{self._names[row['market_id']]} {row['outcome']}": row["quantity"]
            for row in self._pages(account, "/portfolio/positions", as_of)
        }

    def _fills(self, account: str, as_of: str) -> dict[str, int]:
        """Bought less sold by outcome, out of the account's fills."""
        sums = dict[str, int]()
        for row in self._pages(account, "/portfolio/fills", as_of):
            name = f"{self._names[row['market_id']]} {row['outcome']}"
            sums[name] = sums.get(name, 0) + (row["quantity"] if row["side"] == "buy" else -row["quantity"])
        return sums

    def _pages(self, account: str, path: str, as_of: str, **parameters: str) -> Iterator[dict[str, Any]]:
        asked: dict[str, str | int] = {**parameters, "limit": PAGE}
        more: dict[str, str | int] = {"min_as_of": as_of} if as_of else {}
        while True:
            page = self._venue.exchange.get(path, key=self._venue.keys[account], **asked, **more)
            yield from page["results"]
            if page["next"] is None:
                return
            more = {"cursor": page["next"]}

    def _money_line(self, answers: Sequence[_Answer], collateral_pips: int) -> tuple[str, list[str]]:
        """What all own, and what they have deposited."""
        cash, reserved, debt, fees = (
            sum(column) for column in zip(*(each.money for each in answers), strict=True)
        )
        owned, deposits = (
            cash + reserved + collateral_pips + fees - debt,
            sum(self._venue.deposited_pips.values()),
        )
        line = (
            f"money: cash {format_pips(cash)} + reserved {format_pips(reserved)} + collateral "
            f"{format_pips(collateral_pips)} + fees {format_pips(fees)} - debt {format_pips(debt)} = "
            f"{format_pips(owned)}, deposits {format_pips(deposits)}"
        )
        return line, _unequal("money", owned, deposits)


def _profits_line(answers: Sequence[_Answer]) -> tuple[str, list[str]]:
    """What one wins another has lost, but for fees."""
    fees = sum(each.money.fees for each in answers)
    house = sum(each.profit_pips for each in answers if each.account == HOUSE)
    traders = sum(each.profit_pips for each in answers) - house
    line = (
        f"profits in settled markets: traders {format_pips(traders)}, house {format_pips(house)}, "
        f"fees {format_pips(fees)}"
    )
    return line, _unequal("profits and fees together", traders + house + fees, 0)


def _all_differences(answers: Sequence[_Answer]) -> list[str]:
    return [line for answer in answers for line in answer.differences]


def _by_outcome(markets: Mapping[str, RecordedMarket], sums: Mapping[str, Sums], what: str) -> dict[str, int]:
    return {
        f"{name} {outcome}": shares
        for name, each in sums.items()
        for outcome, shares in zip(markets[name].outcomes, getattr(each, what), strict=True)
    }


def _differences(what: str, seen: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """One line for each figure that differs; what is left out is 0."""
    names = sorted({*seen, *wanted})
    return [
        line for name in names for line in _unequal(f"{what} {name}", seen.get(name, 0), wanted.get(name, 0))
    ]


def _unequal(what: str, seen: int, wanted: int) -> list[str]:
    return [] if seen == wanted else [f"{what}: {seen} instead of {wanted}"]


def _pips(text: str) -> int:
    """Pips of money that the exchange shows, which has four places and may be negative."""
    return int(text.replace(".", ""))
