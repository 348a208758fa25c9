"""The fixtures of these tests."""

from tests.examples.answers import make_client
from tests.examples.scripted_feed import feed, scripted

__all__ = ["feed", "make_client", "scripted"]
