"""Fields for the settings of resolvers. What they clean to is JSON, so that it can be stored and judged again.

Numbers stay text and are compared as Decimal: a float never appears.
"""

import datetime as dt
import operator
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django import forms

from trading.outside.address import MAX_URL, UrlRefused, read_url
from trading.strict_json import JsonNumber

COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
}
_PLAIN = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)
# An exponent of more digits means no quantity, and would make a Decimal that is slow to handle.
_JSON = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def decimal_of(value: Any) -> Decimal | None:
    """The exact number that a JSON value is: a JSON number, or a string of plain digits. Else None."""
    if type(value) is int:
        return Decimal(value)
    pattern = _JSON if isinstance(value, JsonNumber) else _PLAIN
    return Decimal(value) if isinstance(value, str) and pattern.fullmatch(value) else None


def moment_of(value: Any) -> dt.datetime | None:
    """The moment that an RFC 3339 string names; None for another value or a day that does not exist."""
    if type(value) is not str or not _MOMENT.fullmatch(value):
        return None
    try:
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


class UrlField(forms.CharField):
    """A URL that may be called by its looks. Where its host leads is judged at each call."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.URLInput(attrs={"class": "vURLField", "size": 90})
        super().__init__(max_length=MAX_URL, widget=widget, **kwargs)

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text:
            try:
                read_url(text)
            except UrlRefused as error:
                raise forms.ValidationError(str(error)) from None
        return text


class NumberField(forms.CharField):
    """A decimal number of plain digits, kept as it was written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=62, **kwargs)

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text and decimal_of(text) is None:
            raise forms.ValidationError("Must be a number such as 100000 or -0.25.")
        return text


class MomentField(forms.CharField):
    """A moment with its offset from UTC, kept as it was written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, **kwargs)

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text and moment_of(text) is None:
            raise forms.ValidationError("Must be a moment such as 2027-01-31T12:00:00Z.")
        return text


class ComparisonField(forms.ChoiceField):
    """One of COMPARISONS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[("", "---------"), *((sign, sign) for sign in COMPARISONS)], **kwargs)


class OutcomeField(forms.ChoiceField):
    """One of the market's outcomes, by its name."""

    def offer(self, outcomes: Sequence[str]) -> None:
        # None is chosen beforehand: whoever forgets one is told.
        self.choices = [("", "---------"), *((name, name) for name in outcomes)]
