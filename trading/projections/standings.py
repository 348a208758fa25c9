"""Writes the tables standing and forecast: what each account has earned and traded, and how well it has foretold.

A part of the projection of positions, since what is earned comes out of its holdings. All rows are sums. A day is a UTC
day of the events' times; each account has one more row for all time.

**The score.** Whoever trades at a price is held to it as if he had said it was the chance. An account's score of a
market is the Brier score of its prices, each share counting once:

    sum over its fills of quantity × (price - pay-out)² / sum of quantities

in pips², so 0 is the best and 10**8 the worst, rounded half up. Prices are those of the book: in a binary market a
fill of No at p is one of Yes at 1 - p. The sums of quantity, quantity × price and quantity × price² give the score for
any pay-out.

**When.** A resolution may concern a million accounts, which no transaction could score. But its settlement closes
every account that has traded in the market, a few hundred a transaction, whether it still holds shares or not, and an
account is scored with its own closing: once, at a place in the log, with all its fills before it. The score counts for
the day on which the market was resolved. A void scores nobody.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from trading.array_literals import columns
from trading.eventlog.codec import timestamp_text
from trading.money import SHARE_PIPS

DAY_US = 86_400_000_000
ALL_TIME = "-infinity"

_ADD_FORECASTS = """
INSERT INTO forecast AS f (market_id, account_id, outcome, quantity, price_sum, price_sq_sum)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::smallint[], %s::bigint[], %s::bigint[], %s::numeric[])
ON CONFLICT (market_id, account_id, outcome) DO UPDATE SET
    quantity = f.quantity + excluded.quantity, price_sum = f.price_sum + excluded.price_sum,
    price_sq_sum = f.price_sq_sum + excluded.price_sq_sum
"""
_READ_FORECASTS = """
SELECT f.market_id::text, f.account_id::text, f.outcome, f.quantity, f.price_sum, f.price_sq_sum::text
FROM unnest(%s::uuid[], %s::uuid[]) AS w(market_id, account_id)
JOIN forecast f ON f.market_id = w.market_id AND f.account_id = w.account_id
"""
_ADD_STANDINGS = """
INSERT INTO standing AS s (day, account_id, realized_pips, volume_pips, score_sum_e8, scored_markets)
SELECT * FROM unnest(%s::date[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (day, account_id) DO UPDATE SET
    realized_pips = s.realized_pips + excluded.realized_pips, volume_pips = s.volume_pips + excluded.volume_pips,
    score_sum_e8 = s.score_sum_e8 + excluded.score_sum_e8,
    scored_markets = s.scored_markets + excluded.scored_markets
"""


class Forecast(NamedTuple):
    """The sums over an account's fills in one outcome's book; prices in pips."""

    outcome: int
    quantity: int
    price_sum: int
    price_sq_sum: int


def score_e8(forecasts: Sequence[Forecast], payouts: Sequence[int]) -> int:
    """The Brier score in pips², 0 to 10**8, of at least one fill."""
    quantity = error = 0
    for each in forecasts:
        payout = payouts[each.outcome]
        quantity += each.quantity
        error += each.price_sq_sum - 2 * payout * each.price_sum + payout * payout * each.quantity
    return (2 * error + quantity) // (2 * quantity)


class StandingsBatch:
    """What a batch adds to standings and forecasts."""

    def __init__(self) -> None:
        self._standings: dict[tuple[int, str], list[int]] = {}
        self._forecasts: dict[tuple[str, str, int], list[int]] = {}
        self._endings: list[tuple[tuple[str, str], int, Sequence[int], int]] = []
        """(market and account, day, payouts, +1 or -1) of each score that counts, or does not any more."""

    def fill(self, market_id: str, leg: dict[str, Any], day: int, *, is_binary: bool) -> None:
        """One leg of a match: volume in the owner's terms, the forecast in the book's."""
        account_id, outcome = leg["account"], leg["outcome"]
        price_pips, quantity = leg["price"], leg["quantity"]
        self._standing(account_id, day)[1] += price_pips * quantity
        if is_binary and outcome:
            outcome, price_pips = 0, SHARE_PIPS - price_pips
        sums = self._forecasts.get((market_id, account_id, outcome))
        if sums is None:
            sums = self._forecasts[market_id, account_id, outcome] = [0, 0, 0]
        sums[0] += quantity
        sums[1] += quantity * price_pips
        sums[2] += quantity * price_pips * price_pips

    def earn(self, account_id: str, day: int, realized_pips: int) -> None:
        """What holdings of the account have brought in or lost on a day."""
        self._standing(account_id, day)[0] += realized_pips

    def end(self, market_id: str, account_id: str, day: int, payouts: Sequence[int]) -> None:
        """A market that was resolved on that day is over for the account, which will trade no more in it."""
        self._endings.append(((market_id, account_id), day, payouts, 1))

    def take_back_end(self, market_id: str, account_id: str, day: int, payouts: Sequence[int]) -> None:
        """That resolution was undone: its score counts no more."""
        self._endings.append(((market_id, account_id), day, payouts, -1))

    def write(self, connection: Any) -> None:
        """Forecasts first, since those of the accounts to be scored may be in this batch."""
        if self._forecasts:
            connection.execute(
                _ADD_FORECASTS, columns([(*key, *sums) for key, sums in sorted(self._forecasts.items())])
            )
        if self._endings:
            self._score(connection)
        if self._standings:
            connection.execute(_ADD_STANDINGS, columns(self._rows()))

    def _standing(self, account_id: str, day: int) -> list[int]:
        sums = self._standings.get((day, account_id))
        if sums is None:
            sums = self._standings[day, account_id] = [0, 0, 0, 0]
        return sums

    def _score(self, connection: Any) -> None:
        keys = list(dict.fromkeys(key for key, *_ in self._endings))
        rows = connection.execute(_READ_FORECASTS, columns(keys)).fetchall()
        found: dict[tuple[str, str], list[Forecast]] = {}
        for market_id, account_id, outcome, quantity, price_sum, price_sq_sum in rows:
            forecast = Forecast(outcome, quantity, price_sum, int(price_sq_sum))
            found.setdefault((market_id, account_id), []).append(forecast)
        for key, day, payouts, sign in self._endings:
            if (forecasts := found.get(key)) is not None:
                sums = self._standing(key[1], day)
                sums[2] += sign * score_e8(forecasts, payouts)
                sums[3] += sign

    def _rows(self) -> list[tuple[Any, ...]]:
        """Each day's row and the one for all time, in key order."""
        in_all: dict[str, list[int]] = {}
        for (_, account_id), sums in self._standings.items():
            known = in_all.setdefault(account_id, [0, 0, 0, 0])
            for index, amount in enumerate(sums):
                known[index] += amount
        rows = [(ALL_TIME, account_id, *sums) for account_id, sums in sorted(in_all.items())]
        days = sorted(self._standings.items())
        return rows + [(_day_text(day), account_id, *sums) for (day, account_id), sums in days]


def day_of(recorded_us: int) -> int:
    """The UTC day of an event, counted from the epoch."""
    return recorded_us // DAY_US


def _day_text(day: int) -> str:
    return timestamp_text(day * DAY_US)[:10]
