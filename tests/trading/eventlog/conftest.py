"""Each test of the log has a log of its own."""

from tests.trading.projections.conftest import _empty

__all__ = ["_empty"]
