"""Query strings of reads, on either lane: what is known, checked, and what is not, refused."""

import re
from collections.abc import Iterable, Mapping, Sequence

from trading.as_of import read_as_of, wait_for, wait_for_the_log
from trading.errors import InvalidRequest
from trading.eventlog.codec import to_us
from trading.market_terms import MarketTerms, market_terms
from trading.moments import read_moment
from trading.order_request import refuse_unknown_parameters
from trading.replicas import leave_replica
from trading.selectors.pages import DEFAULT_LIMIT, MAX_LIMIT

FRESHNESS_NAMES = ("min_as_of", "require_fresh")
"""What every read that may come from a replica takes: see ReadQuery."""
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


class ReadQuery:
    """The parameters of one request. Raises InvalidRequest for one that is not among `known`.

    With `require_fresh` all that is read afterwards comes from the primary.
    """

    def __init__(self, given: Mapping[str, str], *known: str) -> None:
        self._given = given
        refuse_unknown_parameters(self._given, known)
        self.requires_fresh = self._flag("require_fresh")
        if self.requires_fresh:
            leave_replica()

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def _flag(self, name: str) -> bool:
        given = self._given.get(name, "false")
        if given not in ("true", "false"):
            raise InvalidRequest(errors={name: ["must be true or false"]})
        return given == "true"

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number in ASCII digits, between `least` and `most`."""
        given = self._given.get(name)
        if given is None:
            return default
        if _DIGITS.fullmatch(given) is None or not least <= int(given) <= most:
            raise InvalidRequest(errors={name: [f"must be a whole number from {least} to {most}"]})
        return int(given)

    def moment_us(self, name: str) -> int | None:
        """A time in RFC 3339, as microseconds since the epoch; what is finer is cut off."""
        given = self._given.get(name)
        if given is None:
            return None
        try:
            return to_us(read_moment(given))
        except ValueError:
            raise InvalidRequest(
                errors={name: ["must be a time such as 2026-11-23T08:30:00Z, a plus sign written as %2B"]}
            ) from None

    def limit(self) -> int:
        return self.number("limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)

    def only_open(self) -> bool:
        return self.choice("status", ("open", "all"), default="open") == "open"

    def choice(self, name: str, allowed: Iterable[str], *, default: str) -> str:
        """One of a few words."""
        given, words = self._given.get(name, default), list(allowed)
        if given not in words:
            raise InvalidRequest(errors={name: [f"must be {', '.join(words[:-1])} or {words[-1]}"]})
        return given

    def market_id(self) -> str | None:
        """The id of the market asked for, by id or slug. Raises NotFound."""
        given = self._given.get("market_id")
        return None if given is None else market_terms(given).market_id

    def outcome(self, terms: MarketTerms) -> int | None:
        """The index of the outcome asked for by name."""
        given = self._given.get("outcome")
        if given is None:
            return None
        if given not in terms.outcomes:
            raise InvalidRequest("There is no such outcome.", errors={"outcome": ["Unknown outcome."]})
        return terms.outcomes.index(given)

    def reach(self, projections: Sequence[str], slots: Sequence[int] | None = None) -> str:
        """How far the reads that follow are at least. Waits for `min_as_of`, and with `require_fresh` for all
        that is committed."""
        min_as_of = self._given.get("min_as_of")
        if min_as_of is not None:
            wait_for(min_as_of, projections)
        if self.requires_fresh:
            wait_for_the_log(projections, slots)
        return read_as_of(projections, slots)
