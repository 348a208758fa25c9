"""Times in text: the one reading of RFC 3339. What an operator types is read by trading.management.moment."""

import datetime as dt
import re
from contextlib import suppress

# Python reads much else that ISO 8601 knows.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
EXAMPLE = "2030-01-31T12:00:00Z"


def read_moment(text: object) -> dt.datetime:
    """A time with its offset from UTC, in UTC; what is finer than a microsecond is cut off. Raises ValueError."""
    if type(text) is str and _MOMENT.fullmatch(text) is not None:
        # An overflow: in UTC it would be in year 0 or 10000.
        with suppress(ValueError, OverflowError):
            return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC)
    raise ValueError(f"not a time such as {EXAMPLE}")
