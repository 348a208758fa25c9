"""Pages of a list by key: a cursor is the key of the last row, opaque to callers and checked when it comes back."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec

from trading.errors import InvalidRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
LONGEST_CURSOR = 400

Item = TypeVar("Item")
Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A whole number in a key, within what PostgreSQL's bigint takes."""
Moment = Annotated[int, msgspec.Meta(ge=0, le=250_000_000_000_000_000)]
"""Microseconds since the epoch in a key, before the year 9999."""


class Page(NamedTuple, Generic[Item]):
    """Rows, and the cursor of the page after them (None at the end)."""

    rows: Sequence[Item]
    next: str | None


class Cursor:
    """The cursors of one list. `key_type` is a NamedTuple; a cursor that does not fit it is refused."""

    def __init__(self, name: str, key_type: type[Any]) -> None:
        self._name = name
        # A type made at run time is beyond the type checker.
        decoder = msgspec.json.Decoder(tuple[str, key_type])  # type: ignore[valid-type]
        self._decode: Callable[[bytes], tuple[str, Any]] = decoder.decode

    def write(self, key: Any) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode((self._name, key))).rstrip(b"=").decode()

    def read(self, cursor: str | None) -> Any:
        """The key in a cursor; None without one. Raises InvalidRequest for one that this list has not given out."""
        if cursor is None:
            return None
        try:
            if len(cursor) > LONGEST_CURSOR:
                raise ValueError
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            name, key = self._decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            name, key = "", None
        if name != self._name:
            raise InvalidRequest(
                "The cursor is not one of this list.", errors={"cursor": ["Unknown cursor."]}
            )
        return key

    def page(self, rows: Sequence[Item], *, limit: int, key_of: Callable[[Item], Any]) -> Page[Item]:
        """A page of `limit` rows out of the `limit` + 1 that were asked for."""
        if len(rows) <= limit:
            return Page(rows, None)
        return Page(rows[:limit], self.write(key_of(rows[limit - 1])))
