"""Django's registration of the markets app."""

from django.apps import AppConfig


class MarketsConfig(AppConfig):
    """Questions, not prices: what trades and at what terms is trading's to know."""

    name = "markets"

    def ready(self) -> None:
        # Models can be imported only now, and trading may not import markets: it is told how to read a slug.
        from markets.resolvers.registry import resolvers
        from markets.selectors import market_id_of_slug
        from trading.market_terms import set_slug_resolver

        set_slug_resolver(market_id_of_slug)
        # A path in RESOLVERS that leads nowhere is told at the start, not when a market has closed.
        resolvers()
