"""Reads over a real log: an empty exchange for each test, and a projector stepped by hand."""

from tests.trading.projections.conftest import _empty, hinted, project, projector

__all__ = ["_empty", "hinted", "project", "projector"]
