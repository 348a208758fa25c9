"""The fixtures of these tests."""

from tests.examples.answers import make_client

__all__ = ["make_client"]
