"""Portfolio, events, trades and order books through DRF."""

from django.urls import URLPattern

portfolio_patterns: list[URLPattern] = []
