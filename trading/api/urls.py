"""Paths of the trading API, under /api/v1."""

from django.urls import URLPattern

from trading.api.bars import bar_patterns
from trading.api.ledger import ledger_patterns
from trading.api.log import log_patterns
from trading.api.orders import order_patterns
from trading.api.portfolio import portfolio_patterns
from trading.api.quote import quote_patterns
from trading.api.status import status_patterns

api_urlpatterns: list[URLPattern] = [
    *order_patterns,
    *portfolio_patterns,
    *quote_patterns,
    *bar_patterns,
    *ledger_patterns,
    *status_patterns,
    *log_patterns,
]
urlpatterns: list[URLPattern] = []
