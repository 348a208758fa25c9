"""One market for the fast lane: its rows as the read models have them, with the figures that the feed tells."""

from typing import Any, NamedTuple

from markets.quotes import Figures, Quotes, quotes_from, quotes_of
from markets.representation import market_json
from markets.selectors import Listing, find
from markets.volumes import DayBefore, day_before


class Loaded(NamedTuple):
    """All that the read models and the published prices have of a market."""

    row: Listing
    quotes: Quotes
    before: DayBefore


class LiveCatalogue:
    """What trading.live.market_reads asks of the catalogue."""

    @staticmethod
    def load(market_id: str) -> Loaded:
        """Blocks. Raises NotFound."""
        row = find(market_id)
        return Loaded(row, quotes_of(row), day_before([row])[market_id])

    @staticmethod
    def document(loaded: Loaded, *, seq: int, ticker: Figures | None) -> dict[str, Any]:
        """The market as the API writes it, with the feed's figures where there are any."""
        quotes = loaded.quotes if ticker is None else quotes_from(loaded.row, ticker, seq)
        return market_json(loaded.row, quotes, loaded.before)
