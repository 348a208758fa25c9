"""Reads events of every age as today's code knows them. Pure; what is stored, and its hash, never changes.

A stored name carries its version (`order_placed` and `/1`). When an event's form changes, its writer gets the
next version and UPCASTERS one entry, which makes data of the old version into data of the next:

    UPCASTERS["order_placed/1"] = ("order_placed/2", lambda data: data | {"on_suspend": "keep"})

Entries are followed step by step, so an entry that was right once is never touched again.
"""

from collections.abc import Callable
from typing import Any

from trading.engine.codec import EVENT_TYPES

Data = dict[str, Any]

UPCASTERS: dict[str, tuple[str, Callable[[Data], Data]]] = {
    # Once only a void took money back, and never more than there was.
    "payout_reversed/1": ("payout_reversed/2", lambda data: {**data, "kind": "take_back", "owed": 0}),
}
"""An old stored name, the next one, and what makes the one's data into the other's; the given data may be changed."""

ACCOUNT_EVENTS = frozenset({
    "funds_deposited/1", "funds_withdrawn/1", "debt_repaid/1", "command_refused/1", "position_closed/1",
    "position_reopened/1", "payout_issued/1", "payout_reversed/2",
})  # fmt: skip
"""What account streams hold, as it is written now; what market streams hold is the engine's to say."""

CURRENT_NAMES = frozenset(EVENT_TYPES) | ACCOUNT_EVENTS
_CURRENT_BY_KIND = {name.partition("/")[0]: name for name in sorted(CURRENT_NAMES)}


class UnknownVersion(Exception):
    """The log holds an event in a form that this code cannot read: newer code wrote it, or an upcaster is missing."""

    def __init__(self, event_id: str, name: str, current: str) -> None:
        super().__init__(
            f"event {event_id} is stored as {name}; this code reads {current} and what UPCASTERS lead to it"
        )


def upcast(name: str, data: Data, *, event_id: str) -> tuple[str, Data]:
    """The event's current name and data. Raises UnknownVersion.

    A name that was never heard of is handed on: what it means is for its reader to refuse.
    """
    while (step := UPCASTERS.get(name)) is not None:
        name, change = step
        data = change(data)
    if name not in CURRENT_NAMES:
        current = _CURRENT_BY_KIND.get(name.partition("/")[0])
        if current is not None:
            raise UnknownVersion(event_id, name, current)
    return name, data


def stored_names(*current: str) -> list[str]:
    """Every stored name that is read as one of these today: for a statement that looks for them."""
    names = list(current)
    for name in names:
        names += [old for old, (new, _) in UPCASTERS.items() if new == name and old not in names]
    return names
