"""The list of markets as the API gives it: its rows remembered for half a minute, its prices for a moment.

What ends a remembered list early is a market that is made or changes its status (trading.read_cache); counts of trades
wait for the next one, and where a price is newer than its row the volume is too (markets.quotes).
"""

from dataclasses import fields
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from markets import selectors
from markets.representation import markets_json
from markets.selectors import Listing, Wanted
from trading.as_of import read_as_of
from trading.ids import MARKET_SLOTS
from trading.read_cache import MARKETS_TOPIC, Answer, ReadCache, answer_of

PROJECTIONS = ("markets",)

_rows = ReadCache("market_rows", l1_s=1, l2_s=30, topic=MARKETS_TOPIC)
listed = ReadCache("market_list", l1_s=1, l2_s=2, topic=MARKETS_TOPIC)
"""Whole answers."""


class _Rows(NamedTuple):
    """A page as it is remembered."""

    rows: list[Listing]
    next: str | None


# Whoever has rows of other fields, as during an upgrade, remembers them elsewhere.
_FORM = f"{crc32(' '.join(field.name for field in fields(Listing)).encode()):08x}"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rows).decode


def page_document(wanted: Wanted, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of markets now, with its `as_of`."""
    as_of = read_as_of(PROJECTIONS, range(MARKET_SLOTS))
    page = selectors.page(wanted, limit=limit, cursor=cursor)
    return {"results": markets_json(page.rows), "next": page.next, "as_of": as_of}


def remembered_page(key: str, wanted: Wanted, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """The same with remembered rows and the prices of now."""

    def read() -> Answer:
        as_of = read_as_of(PROJECTIONS, range(MARKET_SLOTS))
        page = selectors.page(wanted, limit=limit, cursor=cursor)
        return answer_of(as_of, _encode(_Rows(list(page.rows), page.next)))

    answer = _rows.read(f"{_FORM}:{key}", read)
    rows = _decode(answer.body)
    return {"results": markets_json(rows.rows), "next": rows.next, "as_of": answer.as_of}
