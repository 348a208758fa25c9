"""The one JSON decoder for requests, in both lanes and on the sockets: bytes in, plain Python out.

It refuses, as InvalidRequest: invalid UTF-8, duplicate keys, NaN and Infinity, integers beyond 64 bits,
numbers longer than 40 characters, nesting deeper than 32, unpaired surrogates and NUL in strings
(PostgreSQL's text takes neither), anything after the document; and as BodyTooLarge a body over 1 MB.

No float ever appears. A number with a fraction or an exponent stays the text it was written as, as
`JsonNumber`; `JsonNumber` is a subclass of str, so whoever wants a JSON *string* asks `type(value) is str`.
"""

import json
from typing import Any, NoReturn

from trading.errors import BodyTooLarge, InvalidRequest

MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NUMBER_LENGTH = 40
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)


class JsonNumber(str):
    """A JSON number with a fraction or an exponent, as written. Prices refuse those with an exponent."""

    __slots__ = ()


def decode(body: bytes) -> Any:
    """The document in `body`: dict, list, str, int, bool, None and JsonNumber, nothing else. O(length)."""
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
    try:
        document = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest(_TOO_DEEP) from None
    # A body with few brackets cannot be deep, and one without \u cannot hold what the walk looks for.
    if b"\\u" in body or body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _walk(document)
    return document


def decode_object(body: bytes) -> dict[str, Any]:
    """As `decode`, for a body that has to be a JSON object."""
    document = decode(body)
    if type(document) is not dict:
        raise InvalidRequest("The body must be a JSON object.")
    return document


_TOO_DEEP = f"The body is nested deeper than {MAX_DEPTH}."


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidRequest(f"The key {key[:64]!a} stands twice in one object.")
        seen.add(key)
    raise AssertionError("a dict shorter than its pairs has a duplicate key")


def _integer(literal: str) -> int:
    # The length is judged first: int() of a long literal takes quadratic time.
    if len(literal) <= MAX_NUMBER_LENGTH:
        value = int(literal)
        if MIN_INTEGER <= value <= MAX_INTEGER:
            return value
    raise InvalidRequest("An integer is beyond 64 bits.")


def _number(literal: str) -> JsonNumber:
    if len(literal) > MAX_NUMBER_LENGTH:
        raise InvalidRequest(f"A number is longer than {MAX_NUMBER_LENGTH} characters.")
    return JsonNumber(literal)


def _constant(literal: str) -> NoReturn:
    raise InvalidRequest(f"{literal} is not a JSON value.")


def _walk(document: Any) -> None:
    """Refuse what is too deep, and strings that cannot be stored. Iterative, so that depth cannot hurt it."""
    level, depth = [document], 0
    while level:
        below: list[Any] = []
        for value in level:
            if type(value) is dict:
                for key in value:
                    _check_text(key)
                below.extend(value.values())
            elif type(value) is list:
                below.extend(value)
            elif type(value) is str:
                _check_text(value)
                continue
            else:
                continue
            if depth == MAX_DEPTH:
                raise InvalidRequest(_TOO_DEEP)
        level, depth = below, depth + 1


def _check_text(text: str) -> None:
    if "\0" in text:
        raise InvalidRequest("A string holds the character NUL.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequest("A string holds half of a surrogate pair.") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_pairs, parse_float=_number, parse_int=_integer, parse_constant=_constant
)
