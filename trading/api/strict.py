"""Serializers and fields for request bodies that take nothing on trust.

DRF's own fields are lenient: "5" is an integer to them and 5 a text, and unknown fields vanish. Here each
JSON type stays what it is, unknown fields are errors, and money is pips. For use with `trading.strict_json`,
whose JsonNumber is a str subclass; hence the exact `type(...) is str` below.
"""

from collections.abc import Mapping
from typing import Any, Self

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from trading.money import format_pips, parse_pips
from trading.strict_json import JsonNumber

# A hostile body may hold a hundred thousand unknown fields; naming a few is enough.
MAX_UNKNOWN_NAMED = 20


class StrictSerializer(serializers.Serializer):
    """A request body: a JSON object whose every field is known."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """The body of a request, valid. Raises DRF's ValidationError, which names every wrong field."""
        body = cls(data=request.data)
        body.is_valid(raise_exception=True)
        return body

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError(
                {api_settings.NON_FIELD_ERRORS_KEY: ["The body must be a JSON object."]}
            )
        writable = {name for name, field in self.fields.items() if not field.read_only}
        unknown = [name for name in data if name not in writable][:MAX_UNKNOWN_NAMED]
        errors: dict[str, Any] = {str(name)[:64]: ["This field is not known."] for name in unknown}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            # A serializer's detail names its fields; only the types allow a list too.
            raise serializers.ValidationError({**error.detail, **errors}) from None  # type: ignore[dict-item]
        if errors:
            raise serializers.ValidationError(errors)
        return value


class StrictCharField(serializers.CharField):
    """A JSON string; numbers and booleans are refused."""

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer; "5", 5.0 and true are refused."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """A JSON boolean; "true" and 1 are refused."""

    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return data


@extend_schema_field({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4})?$", "example": "1250.0000"})
class PipsField(serializers.Field):
    """Money or a price: exact to four places, as JSON string or number without exponent; pips inside.

    `min_pips` and `max_pips` are inclusive.
    """

    default_error_messages = {
        "invalid": "Must be a decimal number with at most four places.",
        "min": "Must be at least {limit}.",
        "max": "Must be at most {limit}.",
    }

    def __init__(self, *, min_pips: int = 0, max_pips: int = 10**15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_pips = min_pips
        self.max_pips = max_pips

    def to_internal_value(self, data: Any) -> int:
        if type(data) not in (str, int, JsonNumber):
            self.fail("invalid")
        try:
            pips = parse_pips(str(data))
        except ValueError:
            self.fail("invalid")
        if pips < self.min_pips:
            self.fail("min", limit=format_pips(self.min_pips))
        if pips > self.max_pips:
            self.fail("max", limit=format_pips(self.max_pips))
        return pips

    def to_representation(self, value: int) -> str:
        return format_pips(value)


@extend_schema_field(OpenApiTypes.STR)
class ClientIdField(serializers.RegexField):
    """A caller's own id of a command: `[A-Za-z0-9_.:-]{1,64}`."""

    def __init__(self, **kwargs: Any) -> None:
        # \Z, not $: a trailing newline is not part of an id.
        super().__init__(r"\A[A-Za-z0-9_.:-]{1,64}\Z", trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("invalid")
        return super().to_internal_value(data)
