"""What a resolver is: a name, a form of its settings, and a decision about one market; and what it decides by."""

import datetime as dt
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms

from markets.resolvers.fields import OutcomeField

RETRY_S = 60.0
LONGEST_RETRY_S = 3_600.0
KEPT_BODY_BYTES = 1_024
KEPT_VALUE = 200
KEPT_URL = 600


@dataclass(frozen=True, slots=True)
class AskedMarket:
    """The market to decide; `kept` is what the last NotYet wanted to keep, empty at first."""

    market_id: str
    question: str
    outcomes: Sequence[str]
    closes_at: dt.datetime
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read, where and when. Everybody may read it."""

    url: str
    value: str
    read_at: dt.datetime
    body: bytes

    def text(self) -> str:
        """For people to read, with the body's hash and beginning."""
        beginning = self.body[:KEPT_BODY_BYTES]
        return "\n".join(
            [
                f"URL: {self.url[:KEPT_URL]}",
                f"Value: {self.value[:KEPT_VALUE]}",
                f"Read at: {self.read_at.astimezone(dt.UTC).isoformat(timespec='milliseconds')}",
                f"SHA-256 of the body: {hashlib.sha256(self.body).hexdigest()}",
                f"The first {len(beginning)} of its {len(self.body)} bytes:",
                beginning.decode("utf-8", errors="replace"),
            ]
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome that has come true, by its name; why, in a sentence; and what that was read from."""

    outcome: str
    because: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class NotYet:
    """There is no answer yet: the resolver is asked again in `retry_in_s`, and then finds `kept` in the market."""

    reason: str
    retry_in_s: float = RETRY_S
    kept: Mapping[str, Any] = field(default_factory=dict)


class SettingsForm(forms.Form):
    """The settings of a resolver for one market, whose outcomes its OutcomeFields offer.

    Cleaned values have to be JSON: they are stored, and judged again by this form each time the resolver is asked.
    """

    def __init__(self, outcomes: Sequence[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes = tuple(outcomes)
        for each in self.fields.values():
            if isinstance(each, OutcomeField):
                each.offer(self.outcomes)


class Resolver(ABC):
    """A way to find out how a market has ended. One object serves all markets, in any thread."""

    name: ClassVar[str]
    """Stored with each market that has it; it must not change."""

    title: ClassVar[str]
    """A line for staff."""

    form: ClassVar[type[SettingsForm]]

    @abstractmethod
    def decide(self, settings: Mapping[str, Any], market: AskedMarket, now: dt.datetime) -> Decision | NotYet:
        """What has become of a market that has closed. `settings` is the form's cleaned data.

        Raises trading.jobs.GiveUp where no further answer could ever be meant: a person has to look. Any other
        exception is a failed try, of which a job has six.
        """
