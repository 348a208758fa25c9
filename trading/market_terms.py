"""What never changes about a market once it exists, kept in process: outcome names, tick, fees, closing time.

Markets are named by id or, through the resolver that the catalogue plugs in, by slug.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trading.errors import NotFound
from trading.ids import is_id
from trading.replicas import reading

MAX_CACHED = 50_000


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """A market's fixed terms; `outcomes` are names in index order."""

    market_id: str
    outcomes: tuple[str, ...]
    tick_pips: int
    taker_fee_e4: int
    maker_fee_e4: int
    closes_us: int


_terms: dict[str, MarketTerms] = {}
_resolve_slug: Callable[[str], str | None] = lambda slug: None  # noqa: E731


def set_slug_resolver(resolver: Callable[[str], str | None]) -> None:
    """Plugs in what turns a slug into a market id."""
    global _resolve_slug
    _resolve_slug = resolver


def cached_terms(reference: str) -> MarketTerms | None:
    """The terms if this process knows them already; never any I/O."""
    return _terms.get(reference)


def market_terms(reference: str) -> MarketTerms:
    """The terms of a market by id or slug; one query the first time. Raises NotFound."""
    known = _terms.get(reference)
    if known is not None:
        return known
    market_id = reference if is_id(reference) else _resolve_slug(reference)
    found = _read(market_id) if market_id is not None else None
    if found is None:
        raise NotFound("There is no such market.")
    if len(_terms) >= MAX_CACHED:
        _terms.clear()
    _terms[reference] = _terms[found.market_id] = found
    return found


def _read(market_id: str) -> MarketTerms | None:
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT tick_pips, taker_fee_e4, maker_fee_e4, (extract(epoch FROM closes_at) * 1000000)::bigint, "
            "ARRAY(SELECT name FROM outcome WHERE outcome.market_id = market.market_id ORDER BY index) "
            "FROM market WHERE market_id = %s",
            [market_id],
        )
        row = cursor.fetchone()
    if row is None or not row[4]:
        return None
    return MarketTerms(market_id, tuple(row[4]), row[0], row[1], row[2], row[3])
