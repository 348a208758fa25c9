"""Reads of the catalogue: one market, a page of markets, the categories.

Joins the texts (market_listing) with trading's state and summary, which share the market's id. Markets that the
engine has not confirmed have no state and are not found. Prices are not here: see markets.quotes.
"""

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from markets.models import SEARCH_CONFIG, Market
from trading.errors import NotFound
from trading.eventlog.codec import to_us
from trading.replicas import reading
from trading.selectors.pages import Cursor, Number, Page

STATUSES = (
    "draft", "open", "suspended", "closed", "proposed", "disputed", "resolved", "voided", "reversed",
)  # fmt: skip
NUL = "\0"
QUERY_MAX = 200
_EXCLUSION = re.compile(r"(^|\s)-")
_IDLE_DASH = re.compile(r"(?<=\S)-|-(?![\w\"])")


@dataclass(frozen=True, slots=True)
class Listing:
    """A market as its rows have it. Money in pips, interest in sets; `last_prices` in the outcomes' order."""

    market_id: str
    slug: str
    question: str
    description: str
    resolution_criteria: str
    category: str
    outcomes: Sequence[str]
    status: str
    tick_pips: int
    taker_fee_e4: int
    maker_fee_e4: int
    created_at: dt.datetime
    opens_at: dt.datetime | None
    closes_at: dt.datetime
    resolved_at: dt.datetime | None
    resolution: dict[str, Any] | None
    volume_pips: int
    trade_count: int
    trader_count: int
    open_interest_sets: int
    last_prices: Sequence[int | None]
    seq: int
    updated_at: dt.datetime

    @property
    def is_binary(self) -> bool:
        """Whether one book, of the first outcome, serves both."""
        return len(self.outcomes) == 2

    @property
    def payouts(self) -> Sequence[int] | None:
        """What a share of each outcome has paid, in pips; None unless resolved."""
        return self.resolution["payouts"] if self.resolution else None


# In the order of Listing's fields.
_COLUMNS = """
    l.market_id::text, l.slug, l.question, l.description, l.resolution_criteria, l.category, l.outcomes,
    m.status, m.tick_pips, m.taker_fee_e4, m.maker_fee_e4, m.created_at, m.opens_at, m.closes_at, m.resolved_at,
    m.resolution::text, s.volume_pips, s.trade_count, s.trader_count, s.open_interest_sets, s.last_prices,
    greatest(m.seq, s.seq), s.updated_at
FROM market_listing l JOIN market m USING (market_id) JOIN market_summary s USING (market_id)
"""
_FIELDS = tuple(field.name for field in fields(Listing))


class _Key(NamedTuple):
    """Where a page ended: volume in pips or time in µs, and the market."""

    value: Number
    market_id: uuid.UUID


class _Ordering(NamedTuple):
    """A list's order: the table and its column, how a key's value is compared with it, a row's value, the direction.

    Ties are broken by the same table's market_id, so that one index has the whole order.
    """

    table: str
    column: str
    as_column: str
    value_of: Callable[[Listing], int]
    descending: bool


_MICROSECONDS = "to_timestamp(0) + %s * interval '1 microsecond'"
ORDERINGS = {
    "newest": _Ordering("m", "created_at", _MICROSECONDS, lambda row: to_us(row.created_at), descending=True),
    "volume": _Ordering("s", "volume_pips", "%s", lambda row: row.volume_pips, descending=True),
    "closes_at": _Ordering(
        "m", "closes_at", _MICROSECONDS, lambda row: to_us(row.closes_at), descending=False
    ),
}
_CURSORS = {name: Cursor(f"markets:{name}", _Key) for name in ORDERINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which markets, and in which order."""

    statuses: Sequence[str] = ()
    category: str | None = None
    query: str | None = None
    ordering: str = "newest"


def find(id_or_slug: str) -> Listing:
    """The market with that id or slug. Raises NotFound."""
    identifier = market_uuid(id_or_slug)
    if identifier is not None:
        rows = _fetch("WHERE l.market_id = %s", [identifier])
    elif NUL in id_or_slug:
        rows = []
    else:
        rows = _fetch("WHERE l.slug = %s", [id_or_slug])
    if not rows:
        raise NotFound("There is no such market.")
    return rows[0]


def market_id_of_slug(slug: str) -> str | None:
    """The id behind a slug, for trading's paths, where a slug serves wherever an id does."""
    if NUL in slug:
        return None
    found = Market.objects.filter(slug=slug).values_list("market_id", flat=True).first()
    return None if found is None else str(found)


def by_ids(market_ids: Collection[str]) -> dict[str, Listing]:
    """The markets with these ids, by id."""
    return {row.market_id: row for row in _fetch("WHERE l.market_id = ANY(%s::uuid[])", [list(market_ids)])}


def page(wanted: Wanted, *, limit: int, cursor: str | None) -> Page[Listing]:
    """One page of markets. O(limit) past the index, by key.

    Raises InvalidRequest for a cursor of another list. Volume only grows, so with `volume` no market comes twice, but
    one that passes the cursor's between two pages is missed.
    """
    ordering, cursors = ORDERINGS[wanted.ordering], _CURSORS[wanted.ordering]
    conditions, arguments = _conditions(wanted)
    column, market_id = f"{ordering.table}.{ordering.column}", f"{ordering.table}.market_id"
    if (key := cursors.read(cursor)) is not None:
        sign = "<" if ordering.descending else ">"
        conditions.append(f"({column}, {market_id}) {sign} ({ordering.as_column}, %s)")
        arguments += [key.value, key.market_id]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    direction = "DESC" if ordering.descending else "ASC"
    rows = _fetch(
        f"{where} ORDER BY {column} {direction}, {market_id} {direction} LIMIT %s",
        [*arguments, limit + 1],
    )
    return cursors.page(
        rows, limit=limit, key_of=lambda row: _Key(ordering.value_of(row), uuid.UUID(row.market_id))
    )


def categories() -> list[tuple[str, int]]:
    """Every category with its number of markets that are open, the fullest first."""
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT l.category, count(*) FILTER (WHERE m.status = 'open') AS open "
            "FROM market_listing l JOIN market m USING (market_id) GROUP BY 1 ORDER BY open DESC, 1"
        )
        return cursor.fetchall()


def market_uuid(text: str) -> str | None:
    """The canonical id if the text is one, else None: no slug has this form."""
    try:
        return str(uuid.UUID(text)) if len(text) == 36 else None
    except ValueError:
        return None


def _fetch(rest: str, arguments: Sequence[Any]) -> list[Listing]:
    with reading().cursor() as cursor:
        cursor.execute(f"SELECT {_COLUMNS} {rest}", arguments)
        rows = [dict(zip(_FIELDS, row, strict=True)) for row in cursor.fetchall()]
    return [Listing(**{**row, "resolution": json.loads(row["resolution"] or "null")}) for row in rows]


def _conditions(wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    arguments: list[Any] = []
    if wanted.statuses:
        conditions.append("m.status = ANY(%s)")
        arguments.append(list(wanted.statuses))
    if wanted.category is not None:
        conditions.append("l.category = %s")
        arguments.append(wanted.category)
    if wanted.query:
        # Whole words as people search the web, or else every word as the beginning of one. An array, so that it is the
        # index of words that is asked first: how many markets a beginning fits cannot be estimated.
        conditions.append(
            "l.market_id = ANY(ARRAY(SELECT market_id FROM market_listing WHERE search @@ "
            "(websearch_to_tsquery(%s::regconfig, %s) || to_tsquery(%s::regconfig, %s))))"
        )
        arguments += [SEARCH_CONFIG, web_query(wanted.query), SEARCH_CONFIG, prefix_query(wanted.query)]
    return conditions, arguments


def web_query(text: str) -> str:
    """The text with only those dashes that exclude a word: PostgreSQL fails on 33 of them that stand together."""
    return _IDLE_DASH.sub(" ", text)


def prefix_query(text: str) -> str:
    """`infla tar` as `infla:* & tar:*`; nothing for a text with quotes or exclusions, which mean what they say.

    Only letters and digits get through, so that nothing is an operator.
    """
    if '"' in text or _EXCLUSION.search(text):
        return ""
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return " & ".join(f"{word}:*" for word in words)
