"""Stored names of events: explicit and versioned, never class paths; and events and commands as plain data.

An event is stored as the JSON object of its fields, a command as the array of its tag and fields. A stored name
that is missing here is an error: a log is never read with parts left out.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from trading.engine import commands as cmd
from trading.engine import events as ev

EVENT_NAMES: dict[type, str] = {
    ev.MarketCreated: "market_created/1",
    ev.MarketOpened: "market_opened/1",
    ev.MarketSuspended: "market_suspended/1",
    ev.MarketResumed: "market_resumed/1",
    ev.MarketClosed: "market_closed/1",
    ev.MarketResolved: "market_resolved/1",
    ev.MarketVoided: "market_voided/1",
    ev.ResolutionProposed: "resolution_proposed/1",
    ev.ResolutionApproved: "resolution_approved/1",
    ev.ResolutionDisputed: "resolution_disputed/1",
    ev.ResolutionWithdrawn: "resolution_withdrawn/1",
    ev.ReversalRequested: "reversal_requested/1",
    ev.ResolutionReversed: "resolution_reversed/1",
    ev.OrderPlaced: "order_placed/1",
    ev.OrderRejected: "order_rejected/1",
    ev.OrderMatched: "order_matched/1",
    ev.OrderCancelled: "order_cancelled/1",
    ev.OrderExpired: "order_expired/1",
    ev.OrderAmended: "order_amended/1",
    ev.CancelAllFence: "cancel_all_fence/1",
    ev.CommandRefused: "command_refused/1",
    ev.PositionOpened: "position_opened/1",
}
EVENT_TYPES: dict[str, type] = {name: kind for kind, name in EVENT_NAMES.items()}

# Canonical JSON, since fields are declared in alphabetical order.
event_json = msgspec.json.Encoder().encode
_event_decoders: dict[str, Callable[[bytes | str], Any]] = {
    name: msgspec.json.Decoder(kind).decode for name, kind in EVENT_TYPES.items()
}


def event_data(event: ev.Event) -> dict[str, Any]:
    """The fields of an event as stored."""
    data: dict[str, Any] = msgspec.to_builtins(event)
    return data


def event_from(type_name: str, data: dict[str, Any]) -> ev.Event:
    """The event of stored data. Raises KeyError for a name that no code knows, ValidationError for other fields."""
    event: ev.Event = msgspec.convert(data, EVENT_TYPES[type_name])
    return event


def event_from_json(type_name: str, data: bytes | str) -> ev.Event:
    """The same from JSON, by the shortest way."""
    event: ev.Event = _event_decoders[type_name](data)
    return event


def command_data(command: cmd.Command) -> list[Any]:
    """A command as [tag, field, ...], the form of the command stream and of metadata."""
    data: list[Any] = msgspec.to_builtins(command)
    return data


def command_from(data: list[Any]) -> cmd.Command:
    """Reverses `command_data`. Raises ValidationError for what no gateway sends."""
    return msgspec.convert(data, cmd.Command)
