"""How often a caller may ask: the rates of the throttle (ops.throttle), as GET /status publishes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second, and how many a full bucket holds."""

    per_second: int
    burst: int

    def times(self, factor: int) -> "Rate":
        """The same for a tier that may ask so many times as often."""
        return Rate(self.per_second * factor, self.burst * factor)


RATES = {
    "order": Rate(5, 10),
    "cancel": Rate(50, 500),
    "data": Rate(30, 60),
    "general": Rate(10, 20),
    "sign_in": Rate(1, 5),
}
TIER_FACTORS = {"standard": 1, "professional": 10}
PAST_COST = 10
"""Tokens for a read of a past moment, which may take a replay."""
