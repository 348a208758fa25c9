"""Django's registration of the trading app."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    name = "trading"
