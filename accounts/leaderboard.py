"""Who is ahead: by what trading has brought, by what was traded, by how right the prices paid were.

Reads trading's standings, a row an account and day and one for all time, and the users' names. Whoever computes it
looks at every row of the period, one for each user who was active in it; so ask once for many readers.
"""

import datetime as dt
from typing import NamedTuple

import msgspec

from trading.as_of import read_as_of
from trading.money import format_pips
from trading.read_cache import STANDINGS_TOPIC, Answer, ReadCache, answer_of
from trading.replicas import reading

PERIODS = ("day", "week", "all")
MEASURES = ("profit", "volume", "accuracy")
MAX_ROWS = 100

PROJECTIONS = ("positions",)

_boards = ReadCache("leaderboard", l1_s=1, l2_s=300, topic=STANDINGS_TOPIC)

_DAYS = {"day": 1, "week": 7}
_E8_IN_E4 = 10**4


class Ranked(NamedTuple):
    """A user's place. `value` is pips, or for accuracy the mean score in units of 0.0001."""

    rank: int
    username: str
    account_id: str
    value: int

    @property
    def text(self) -> str:
        """The value with its four decimals."""
        return format_pips(self.value)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Ranked]).decode

# The mean decides, as exact as it is; what is shown of it is rounded.
_ACCURACY = "sum(s.score_sum_e8) / sum(s.scored_markets)"
_CHOSEN = {
    "profit": ("sum(s.realized_pips)", "true", "sum(s.realized_pips) DESC"),
    "volume": ("sum(s.volume_pips)", "sum(s.volume_pips) > 0", "sum(s.volume_pips) DESC"),
    "accuracy": (
        "sum(s.score_sum_e8)",
        "sum(s.scored_markets) > 0",
        f"CASE WHEN sum(s.scored_markets) > 0 THEN {_ACCURACY} END, sum(s.scored_markets) DESC",
    ),
}
_LEADERS = """
SELECT u.username, u.account_id::text, {value}::bigint, sum(s.scored_markets)::bigint
FROM standing s JOIN accounts_user u USING (account_id)
WHERE {days} GROUP BY u.id HAVING {known} ORDER BY {order}, upper(u.username) LIMIT %s
"""


def leaderboard(period: str, by: str, limit: int) -> list[Ranked]:
    """The first users, at most `limit`; equal values go by the number of markets (accuracy), then by name.

    `day` is today since 00:00 UTC, `week` today and the six days before it. Accuracy ranks the mean Brier score of the
    markets that were resolved in the period, the lowest first, and nobody without such a market.
    """
    value, known, order = _CHOSEN[by]
    days, arguments = "s.day = '-infinity'", []
    if period != "all":
        days, arguments = "s.day >= %s", [today() - dt.timedelta(days=_DAYS[period] - 1)]
    query = _LEADERS.format(value=value, days=days, known=known, order=order)
    with reading().cursor() as cursor:
        cursor.execute(query, [*arguments, limit])
        rows = cursor.fetchall()
    return [
        Ranked(rank, username, account_id, _mean_e4(found, markets) if by == "accuracy" else found)
        for rank, (username, account_id, found, markets) in enumerate(rows, start=1)
    ]


class Board(NamedTuple):
    """Ranked users, and the token of what they reflect."""

    rows: list[Ranked]
    as_of: str


def remembered_board(period: str, by: str) -> Board:
    """The first MAX_ROWS users, worked out once for many readers; at most five minutes old."""

    def work_out() -> Answer:
        as_of = read_as_of(PROJECTIONS)
        return answer_of(as_of, _encode(leaderboard(period, by, MAX_ROWS)))

    answer = _boards.read(f"{period}:{by}", work_out)
    return Board(_decode(answer.body), answer.as_of)


def today() -> dt.date:
    """The day in UTC."""
    return dt.datetime.now(dt.UTC).date()


def _mean_e4(score_sum_e8: int, markets: int) -> int:
    """Half up."""
    unit = _E8_IN_E4 * markets
    return (2 * score_sum_e8 + unit) // (2 * unit)
