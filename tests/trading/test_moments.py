"""Times in text: RFC 3339 and nothing else of what Python reads."""

import datetime as dt

import pytest

from trading.moments import read_moment


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-23T08:30:00Z", "2026-11-23T08:30:00+00:00"),
        ("2026-11-23t08:30:00z", "2026-11-23T08:30:00+00:00"),
        ("2026-11-23T08:30:00.5+01:30", "2026-11-23T07:00:00.500000+00:00"),
        ("2026-11-23T08:30:00.123456789-08:00", "2026-11-23T16:30:00.123456+00:00"),
    ],
)
def test_time_is_read_in_utc_to_the_microsecond(text: str, read: str) -> None:
    moment = read_moment(text)
    assert moment.isoformat() == read
    assert moment.tzinfo is dt.UTC


@pytest.mark.parametrize(
    "text",
    [
        "", "tomorrow", "2026-11-23", "2026-11-23T08:30:00", "2026-11-23 08:30:00Z", "20261123T083000Z",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-W48-1T08:30:00Z",
        "2026-11-23T08:30:00,5Z", "2026-11-23T08:30:00.1234567890Z", "٢٠٢٦-11-23T08:30:00Z",
        "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-11-23T08:30:00Z\n",
        1_790_000_000, None, ["2026-11-23T08:30:00Z"],
    ],
)  # fmt: skip
def test_anything_else_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match="time"):
        read_moment(text)
