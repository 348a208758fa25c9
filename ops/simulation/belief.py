"""What outcomes are really worth: probabilities that drift at random and are drawn back to where they began.

Floats are right here: these are opinions, not money. Prices leave as whole pips.
"""

import math
from collections.abc import Sequence
from random import Random

VOLATILITY = 0.012
"""Standard deviation of a second's change, in log-odds: about a cent in ten seconds at even odds."""

PULL = 1 / 1800
"""How much of the distance to the prior is undone in a second."""

SHARE_PIPS = 10_000
LEAST_PROBABILITY = 0.01


class Belief:
    """The probabilities of one market's outcomes at a time, each by its log-weight."""

    def __init__(self, prior: Sequence[float], rng: Random, now_s: float) -> None:
        self._prior = [math.log(max(p, LEAST_PROBABILITY)) for p in prior]
        self._weights = list(self._prior)
        self._rng = rng
        self._now_s = now_s

    def drift_to(self, now_s: float) -> None:
        """Let the time since the last call pass. An exact step of the process, however long it was."""
        passed_s, self._now_s = max(now_s - self._now_s, 0.0), max(now_s, self._now_s)
        kept = math.exp(-PULL * passed_s)
        spread = VOLATILITY * math.sqrt((1 - kept * kept) / (2 * PULL))
        self._weights = [
            prior + (weight - prior) * kept + self._rng.gauss(0.0, spread)
            for prior, weight in zip(self._prior, self._weights, strict=True)
        ]

    def prices_pips(self, noise: float = 0.0) -> list[int]:
        """A price for each outcome, seen with some noise (in log-odds); without it they sum to about $1."""
        seen = [
            math.exp(weight + (self._rng.gauss(0.0, noise) if noise else 0.0)) for weight in self._weights
        ]
        total = sum(seen)
        return [min(max(round(SHARE_PIPS * each / total), 1), SHARE_PIPS - 1) for each in seen]
