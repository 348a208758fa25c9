"""Consistency tokens: "slot-offset" positions of the log, joined by dots, and waiting for the read side to reach one."""

import re
import time
from collections.abc import Sequence

from django.db import connection

from trading.errors import InvalidRequest, ReadLag

WAIT_S = 2.0
POLL_S = 0.01
_POSITION = re.compile(r"([0-9]{1,3})-([0-9]{1,18})", re.ASCII)


def parse(token: str) -> dict[int, int]:
    """Offsets by slot. Raises InvalidRequest for what no answer has carried."""
    positions: dict[int, int] = {}
    for part in token.split(".") if token else []:
        match = _POSITION.fullmatch(part)
        if match is None or len(positions) >= 64:
            raise InvalidRequest("min_as_of is not a token of this exchange.", errors={"min_as_of": ["Malformed."]})
        positions[int(match[1])] = int(match[2])
    return positions


def wait_for(min_as_of: str, projections: Sequence[str], timeout_s: float = WAIT_S) -> None:
    """Returns once every named projection has applied every named position; raises ReadLag after `timeout_s`."""
    wanted = parse(min_as_of)
    if not wanted:
        return
    deadline = time.monotonic() + timeout_s
    while not _reached(wanted, projections):
        if time.monotonic() > deadline:
            raise ReadLag()
        time.sleep(POLL_S)


def _reached(wanted: dict[int, int], projections: Sequence[str]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot, min(next_offset), count(*) FROM projection_checkpoint "
            "WHERE projection = ANY(%s) AND slot = ANY(%s) GROUP BY slot",
            [list(projections), list(wanted)],
        )
        reached = {slot: lowest for slot, lowest, count in cursor.fetchall() if count == len(projections)}
    return all(reached.get(slot, 0) > offset for slot, offset in wanted.items())
