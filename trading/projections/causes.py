"""What an account's event waits for: the resolution, in another slot, that it pays out.

Pay-outs close positions, so a projection may apply them only after every trade of their market. The
log itself says where the market ended; no projection has to ask another one.
"""

from typing import Any, NamedTuple

from trading.eventlog.codec import LoggedEvent, decode_json
from trading.eventlog.upcast import stored_names, upcast
from trading.projections.projection import BrokenLog

_WAITING = frozenset({"position_closed/1"})

_FIND = """
SELECT slot, slot_offset, type, data::text, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM event
WHERE stream_id = %s AND type = ANY(%s) AND data->>'settlement' = %s
ORDER BY version DESC LIMIT 1
"""


class Ending(NamedTuple):
    """Where a market's resolved or voided event stands, what each outcome's share pays (None: voided), and when."""

    slot: int
    slot_offset: int
    payouts: tuple[int, ...] | None
    recorded_us: int


class Endings:
    """Looks endings up in the log, each once: they never change."""

    def __init__(self) -> None:
        self._found: dict[str, Ending] = {}

    def of(self, connection: Any, event: LoggedEvent, settlement_id: str) -> Ending:
        """How the settlement's market ended, which an account's event is about."""
        market_id = event.data["market"]
        ending = self._found.get(settlement_id)
        if ending is None:
            endings = stored_names("market_resolved/1", "market_voided/1")
            row = connection.execute(_FIND, [market_id, endings, settlement_id]).fetchone()
            if row is None:
                raise BrokenLog(
                    f"event {event.event_id} settles market {market_id}, which has not ended that way"
                )
            slot, offset, stored_as, text, recorded_us = row
            _, data = upcast(stored_as, decode_json(text), event_id=f"{slot}-{offset}")
            payouts = tuple(data["payouts"]) if "payouts" in data else None
            ending = Ending(slot, offset, payouts, recorded_us)
            self._found[settlement_id] = ending
        return ending


def count_ready(connection: Any, endings: Endings, events: list[LoggedEvent], reached: dict[int, int]) -> int:
    """How many of a slot's events may be applied when the other slots stand at `reached`."""
    for index, event in enumerate(events):
        if event.type in _WAITING:
            ending = endings.of(connection, event, event.data["settlement"])
            if reached.get(ending.slot, 0) <= ending.slot_offset:
                return index
    return len(events)
