"""Consistency tokens: positions of the log ("slot-offset", joined by dots), and waiting for the read side to reach one.

An answer's token names, for each slot it read, the last event it is sure to reflect. A token is a
promise about the past, never a lock: what is read may be newer. Whether an event exists at all only the primary
knows.
"""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from trading.errors import InvalidRequest, ReadLag
from trading.ids import ACCOUNT_SLOTS, MARKET_SLOTS
from trading.replicas import reading, wait_until

WAIT_S = 2.0
BRIEFLY_S = 0.25
GIVEN_UP_S = 1.0
_given_up_until: dict[tuple[str, ...], float] = {}
LONGEST_TOKEN = 10_000
_POSITION = re.compile(r"([0-9]{1,2})-([0-9]{1,18})", re.ASCII)


def parse(token: str) -> dict[int, int]:
    """Offsets by slot, the highest where a slot comes twice. Raises InvalidRequest for what no answer has carried."""
    positions: dict[int, int] = {}
    if len(token) > LONGEST_TOKEN:
        raise _malformed()
    for part in token.split(".") if token else []:
        match = _POSITION.fullmatch(part)
        if match is None or int(match[1]) >= MARKET_SLOTS + ACCOUNT_SLOTS:
            raise _malformed()
        slot, offset = int(match[1]), int(match[2])
        positions[slot] = max(offset, positions.get(slot, 0))
    return positions


def covers(as_of: str, wanted: str) -> bool:
    """Whether an answer with the first token reflects every event of the second. Raises InvalidRequest."""
    reached = parse(as_of)
    return all(reached.get(slot, -1) >= offset for slot, offset in parse(wanted).items())


def join(*tokens: str) -> str:
    """A token of all that these name."""
    positions = parse(".".join(token for token in tokens if token))
    return token_of((slot, offset + 1) for slot, offset in positions.items())


def token_of(next_offsets: Iterable[tuple[int, int]]) -> str:
    """The token of (slot, next offset) pairs; empty where nothing has happened yet."""
    return ".".join(
        f"{slot}-{next_offset - 1}" for slot, next_offset in sorted(next_offsets) if next_offset > 0
    )


def read_as_of(projections: Sequence[str], slots: Sequence[int] | None = None) -> str:
    """How far all of the projections are, in the given slots or in all. Ask before reading the rows, not after."""
    return token_of(_reached(projections, slots).items())


def wait_for(min_as_of: str, projections: Sequence[str], timeout_s: float = WAIT_S) -> None:
    """Returns once every named projection has applied every named event.

    Raises ReadLag after `timeout_s`, and InvalidRequest at once for an event that the log does not have.
    Without projections only the log itself is asked. A replica that is not as far soon is left for the primary.
    """
    wanted = parse(min_as_of)
    if not wanted or _is_reached(wanted, projections):
        return
    _refuse_unwritten(wanted)
    if not wait_until(lambda: _is_reached(wanted, projections), timeout_s=timeout_s):
        raise ReadLag()


def wait_briefly(as_of: str, projections: Sequence[str]) -> None:
    """Lets the projections catch up with what was read elsewhere, which they are about to as a rule.

    Where they were not, nobody of this process waits for a while.
    """
    key = tuple(projections)
    if time.monotonic() < _given_up_until.get(key, 0.0):
        return
    try:
        wait_for(as_of, projections, BRIEFLY_S)
    except ReadLag:
        _given_up_until[key] = time.monotonic() + GIVEN_UP_S


def wait_for_the_log(
    projections: Sequence[str], slots: Sequence[int] | None = None, timeout_s: float = WAIT_S
) -> None:
    """Returns once every named projection has applied all that the given slots, or all, have now.

    For reads on the primary. Raises ReadLag after `timeout_s`.
    """
    written = {
        slot: next_offset - 1 for slot, next_offset in _heads(connection, slots).items() if next_offset
    }
    if projections and not wait_until(lambda: _is_reached(written, projections), timeout_s=timeout_s):
        raise ReadLag()


def _is_reached(wanted: dict[int, int], projections: Sequence[str]) -> bool:
    slots = list(wanted)
    reached = _reached(projections, slots) if projections else _heads(reading(), slots)
    return all(reached.get(slot, 0) > offset for slot, offset in wanted.items())


def _reached(projections: Sequence[str], slots: Sequence[int] | None) -> dict[int, int]:
    """The next offset of each slot that every one of the projections has applied all before of."""
    if not projections:
        return {}
    chosen = None if slots is None else list(slots)
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT slot, min(next_offset) FROM projection_checkpoint "
            "WHERE projection = ANY(%s) AND (%s::smallint[] IS NULL OR slot = ANY(%s::smallint[])) "
            "GROUP BY slot HAVING count(*) = %s",
            [list(projections), chosen, chosen, len(projections)],
        )
        return dict(cursor.fetchall())


def _heads(server: Any, slots: Sequence[int] | None) -> dict[int, int]:
    """The next offset of each slot, the given ones or all, as that server has it."""
    chosen = None if slots is None else list(slots)
    with server.cursor() as cursor:
        cursor.execute(
            "SELECT slot, next_offset FROM slot WHERE %s::smallint[] IS NULL OR slot = ANY(%s::smallint[])",
            [chosen, chosen],
        )
        return dict(cursor.fetchall())


def _refuse_unwritten(wanted: dict[int, int]) -> None:
    heads = _heads(connection, list(wanted))
    if any(offset >= heads.get(slot, 0) for slot, offset in wanted.items()):
        raise InvalidRequest(
            "min_as_of names an event that does not exist.", errors={"min_as_of": ["Names no event."]}
        )


def _malformed() -> InvalidRequest:
    return InvalidRequest("min_as_of is not a token of this exchange.", errors={"min_as_of": ["Malformed."]})
