"""The resolver `json_url`: a value at a path of a JSON document names the outcome, or is compared with a threshold.

The path is a singular query of RFC 9535, read by python-jsonpath (2.2.2, October 2026): names and indexes alone, so
that it leads to one value or to none. A filter or a wildcard would leave open which of several values was meant.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError

from markets.resolvers.fields import (
    COMPARISONS,
    ComparisonField,
    NumberField,
    OutcomeField,
    UrlField,
    decimal_of,
)
from markets.resolvers.plugin import AskedMarket, Decision, NotYet, Resolver, SettingsForm
from markets.resolvers.reading import read_json
from trading import strict_json
from trading.errors import InvalidRequest
from trading.jobs import GiveUp
from trading.strict_json import JsonNumber

MAX_PATH, MAX_LINES, MAX_TEXT = 200, 100, 10_000
ARROW = "=>"
_PATHS = JSONPathEnvironment(strict=True)

Literal = tuple[str, Any]
"""A JSON scalar as its kind and its value, so that true is not 1, "1" is not 1, and 1 is 1.0."""


class JsonUrlForm(SettingsForm):
    """Where the value is, and what it means: by equality, or by comparison."""

    url = UrlField(label="URL", help_text="Part of the evidence, which everybody may read: no secrets in it.")
    path = forms.CharField(
        max_length=MAX_PATH,
        strip=False,
        help_text="Names and indexes, such as $.match.result or $.rows[0]['final score']",
    )
    values = forms.CharField(
        required=False,
        max_length=MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="By equality. One a line, VALUE => OUTCOME, such as: home => Yes. A value is text, or true, 3, "
        '"3" as in JSON.',
    )
    not_yet = forms.CharField(
        required=False,
        max_length=MAX_TEXT,
        label="Not yet",
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text="Values, one a line, that say that there is no answer yet, as null does. Any other ends the asking.",
    )
    comparison = ComparisonField(required=False, help_text="Or by comparison: the value …")
    threshold = NumberField(required=False, help_text="… with this number; both are exact.")
    outcome_if_true = OutcomeField(required=False)
    outcome_if_false = OutcomeField(required=False)

    def clean_path(self) -> str:
        if compiled_path(self.cleaned_data["path"]) is None:
            raise forms.ValidationError("Must be $ and then names and indexes, such as $.rows[0].result")
        return self.cleaned_data["path"]

    def clean_values(self) -> str:
        text = _plain_lines(self.cleaned_data["values"])
        lines = [line.partition(ARROW) for line in text.splitlines()]
        names = [name.strip() for _, _, name in lines]
        if not all(arrow for _, arrow, _ in lines):
            raise forms.ValidationError(f"Each line is VALUE {ARROW} OUTCOME.")
        if unknown := [name for name in names if name not in self.outcomes]:
            raise forms.ValidationError(f"The market has no outcome {unknown[0]!r}.")
        if len(meanings(text)) != len(lines):
            raise forms.ValidationError("A value stands twice.")
        return text

    def clean_not_yet(self) -> str:
        return _plain_lines(self.cleaned_data["not_yet"])

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.errors:
            return given
        compared = [
            given[name] for name in ("comparison", "threshold", "outcome_if_true", "outcome_if_false")
        ]
        if given["values"]:
            if any(compared):
                raise forms.ValidationError("Give either values or a comparison.")
            if both := meanings(given["values"]).keys() & waiting(given["not_yet"]):
                raise forms.ValidationError(f"{min(map(str, both))} has an outcome and is not yet.")
        elif not all(compared):
            raise forms.ValidationError("Give values, or a comparison with its threshold and both outcomes.")
        elif given["outcome_if_true"] == given["outcome_if_false"]:
            raise forms.ValidationError("The two outcomes must differ.")
        return given


class JsonUrl(Resolver):
    """Reads a URL; the value at a path decides."""

    name = "json_url"
    title = "A value in a JSON document at a URL"
    form = JsonUrlForm

    def decide(self, settings: Mapping[str, Any], market: AskedMarket, now: dt.datetime) -> Decision | NotYet:
        reading = read_json(settings["url"], now)
        if isinstance(reading, NotYet):
            return reading
        path = compiled_path(settings["path"])
        assert path is not None, "the form has judged it"
        found = [node.obj for node in path.finditer(reading.document)]
        if not found or found[0] is None:
            return NotYet(f"there is {'null' if found else 'nothing'} at {settings['path']}")
        value = found[0]
        literal = literal_of(value)
        if literal is None:
            raise GiveUp(f"at {settings['path']} is {_kind(value)}, which is no value to decide by")
        if literal in waiting(settings["not_yet"]):
            return NotYet(f"{settings['path']} is {value}")
        outcome, because = (_equal if settings["values"] else _compared)(settings, value, literal)
        return Decision(outcome, because, reading.evidence(value))


def compiled_path(text: str) -> JSONPath | None:
    """None for what is no singular query."""
    try:
        path = _PATHS.compile(text)
        # Besides its own errors the library lets some of int()'s through.
    except (JSONPathError, ValueError, RecursionError):
        return None
    return path if isinstance(path, JSONPath) and path.singular_query() else None


def literal_of(value: Any) -> Literal | None:
    """What a JSON value is by its kind; None for arrays, objects and numbers beyond reckoning."""
    if value is None:
        return ("null", None)
    if type(value) is bool:
        return ("truth", value)
    if type(value) is str:
        return ("text", value)
    number = decimal_of(value) if isinstance(value, int | JsonNumber) else None
    return None if number is None else ("number", number)


def written(text: str) -> Literal:
    """What somebody means by a value in a line: as JSON has it, and plain text where that is no JSON scalar."""
    try:
        literal = literal_of(strict_json.decode(text.encode("utf-8", errors="replace")))
    except InvalidRequest:
        literal = None
    return ("text", text) if literal is None else literal


def meanings(lines: str) -> dict[Literal, str]:
    """Outcomes by value, of lines VALUE => OUTCOME."""
    parts = (line.partition(ARROW) for line in lines.splitlines())
    return {written(value.strip()): name.strip() for value, _, name in parts}


def waiting(lines: str) -> set[Literal]:
    """The values that say that there is no answer yet."""
    return {written(line) for line in lines.splitlines()}


def _equal(settings: Mapping[str, Any], value: Any, literal: Literal) -> tuple[str, str]:
    outcome = meanings(settings["values"]).get(literal)
    if outcome is None:
        raise GiveUp(
            f"{settings['path']} is {_kind(value)} {str(value)[:100]!a}, which has no meaning in the settings"
        )
    return outcome, f"{settings['path']} is {value}, which means {outcome}."


def _compared(settings: Mapping[str, Any], value: Any, literal: Literal) -> tuple[str, str]:
    number = decimal_of(value)
    if number is None:
        raise GiveUp(f"{settings['path']} is {_kind(value)} {str(value)[:100]!a}, which is no number")
    sign, threshold = settings["comparison"], Decimal(settings["threshold"])
    is_so = COMPARISONS[sign](number, threshold)
    outcome = settings["outcome_if_true" if is_so else "outcome_if_false"]
    return (
        outcome,
        f"{settings['path']} is {value}, which is {'' if is_so else 'not '}{sign} {settings['threshold']}.",
    )


def _kind(value: Any) -> str:
    names = {bool: "a truth value", str: "text", dict: "an object", list: "an array"}
    return names.get(type(value), "a number")


def _plain_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_LINES:
        raise forms.ValidationError(f"At most {MAX_LINES} lines.")
    return "\n".join(lines)
