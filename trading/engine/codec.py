"""Stored names of events and commands: explicit and versioned, never class paths.

An event's data is the dictionary of its fields. A stored name that is missing here is an error:
a log is never read with parts left out.
"""

from collections.abc import Callable
from operator import itemgetter
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
    ev.OrderPlaced: "order_placed/1",
    ev.OrderRejected: "order_rejected/1",
    ev.OrderMatched: "order_matched/1",
    ev.OrderCancelled: "order_cancelled/1",
    ev.OrderAmended: "order_amended/1",
    ev.CommandRefused: "command_refused/1",
    ev.PositionOpened: "position_opened/1",
}
COMMAND_NAMES: dict[type, str] = {
    cmd.PlaceOrder: "place",
    cmd.CancelOrder: "cancel",
    cmd.AmendOrder: "amend",
    cmd.CancelOrders: "cancel_orders",
    cmd.CreateMarket: "create_market",
    cmd.OpenMarket: "open_market",
    cmd.SuspendMarket: "suspend_market",
    cmd.ResumeMarket: "resume_market",
    cmd.CloseMarket: "close_market",
    cmd.ResolveMarket: "resolve_market",
    cmd.VoidMarket: "void_market",
    cmd.SweepOrders: "sweep_orders",
}
# JSON and msgpack give lists back where these have tuples.
_WITH_TUPLES = (ev.MarketCreated, ev.MarketClosed, ev.MarketResolved, cmd.CreateMarket, cmd.ResolveMarket)
EVENT_TYPES: dict[str, type] = {name: kind for kind, name in EVENT_NAMES.items()}
COMMAND_TYPES: dict[str, type] = {name: kind for kind, name in COMMAND_NAMES.items()}


def event_data(event: Any) -> dict[str, Any]:
    """The fields of an event as stored."""
    data = dict(zip(event._fields, event, strict=True))
    if type(event) is ev.OrderMatched:
        data["legs"] = [dict(zip(ev.Leg._fields, leg, strict=True)) for leg in event.legs]
    return data


def event_json(event: Any) -> bytes:
    """`event_data` as canonical JSON, by the shortest way: a third of the time that a sorted dictionary takes."""
    form = _sorted_form(event)
    if type(event) is ev.OrderMatched:
        form.legs = [_sorted_form(leg) for leg in event.legs]
    return _encode(form)


def _sorted_form(event: Any) -> Any:
    form, values_of = _SORTED_FORMS[type(event)]
    return form(*values_of(event))


def _sorted_form_of(kind: Any) -> tuple[type, Callable[[Any], Any]]:
    """A struct of the type's fields sorted by name, which is how it is encoded, and the getter of their values."""
    names = sorted(kind._fields)
    form = msgspec.defstruct(kind.__name__, names, gc=False)
    return form, itemgetter(*map(kind._fields.index, names)) if len(names) > 1 else tuple


_encode = msgspec.json.Encoder().encode
_SORTED_FORMS = {kind: _sorted_form_of(kind) for kind in (*EVENT_NAMES, ev.Leg)}


def event_from(type_name: str, data: dict[str, Any]) -> ev.Event:
    """The event of a stored row. Raises KeyError for a name that no code knows."""
    kind = EVENT_TYPES[type_name]
    if kind is ev.OrderMatched:
        data = data | {"legs": tuple(ev.Leg(**leg) for leg in data["legs"])}
    elif kind in _WITH_TUPLES:
        data = {name: tuple(value) if type(value) is list else value for name, value in data.items()}
    event: ev.Event = kind(**data)
    return event


def command_data(command: cmd.Command) -> list[Any]:
    """A command as [name, field, ...], the form of the command stream and of metadata."""
    return [COMMAND_NAMES[type(command)], *command]


def command_from(data: list[Any]) -> cmd.Command:
    """Reverses `command_data`. Raises KeyError or TypeError for what no gateway sends."""
    kind, fields = COMMAND_TYPES[data[0]], data[1:]
    if kind in _WITH_TUPLES:
        fields = [tuple(value) if type(value) is list else value for value in fields]
    command: cmd.Command = kind(*fields)
    return command


def event_from_json(type_name: str, data: bytes | str) -> ev.Event:
    """The same from JSON."""
    return event_from(type_name, msgspec.json.decode(data))
