"""Django's registration of the markets app."""

from django.apps import AppConfig


class MarketsConfig(AppConfig):
    """Questions, not prices: what trades and at what terms is trading's to know."""

    name = "markets"
