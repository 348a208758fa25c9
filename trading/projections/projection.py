"""What a projection is: a name, the tables it owns and a fold of events into their rows.

An event of a type that is not listed here stops the projection that meets it: a read model that
skipped what it did not understand would be wrong without anybody knowing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.utils.module_loading import import_string

from trading.eventlog.codec import LoggedEvent
from trading.eventlog.upcast import CURRENT_NAMES
from trading.projections import DEFAULT_PROJECTIONS

KNOWN_EVENTS = CURRENT_NAMES

AfterCommit = Callable[[], None]
Applier = TypeVar("Applier")


class Projection(Protocol):
    """A read model. `apply` gets events in order within each slot and runs inside the transaction that
    also moves the checkpoint; what it returns runs after the commit, and may be lost with the process.

    `tables` is what a rebuild makes anew; a projection whose rows must outlive that names none.
    """

    name: str
    tables: tuple[str, ...]

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> AfterCommit | None:
        """Fold the events into the rows.

        `connection` is psycopg's, in pipeline mode: a statement is waited for where its rows are fetched, and only
        there; its `rowcount` says nothing before that, and COPY is impossible.
        """

    def forget(self) -> None:
        """Drop what is remembered of rows: another process may have changed them, or a batch was undone."""


class UnknownEvent(Exception):
    """The log holds an event that this code does not know; it has to be deployed or repaired first."""

    def __init__(self, event: LoggedEvent) -> None:
        super().__init__(
            f"event {event.event_id} of stream {event.stream_id} has the unknown type {event.type!r}"
        )


class NotReady(Exception):
    """Raised by `apply` for events that wait for another projection: they are offered again in the next round."""


class BrokenLog(Exception):
    """An event contradicts what the events before it have left; verify_log and reconcile tell more."""


def appliers(known: dict[str, Applier]) -> dict[str, Applier | None]:
    """A table of all known types: what to do with those in `known`, None for those to pass over."""
    strange = known.keys() - KNOWN_EVENTS
    assert not strange, f"not among the known events: {strange}"
    return {kind: known.get(kind) for kind in KNOWN_EVENTS}


def load_projections() -> list[Projection]:
    """One instance of each projection of settings.PROJECTIONS, in their order."""
    return [import_string(path)() for path in getattr(settings, "PROJECTIONS", DEFAULT_PROJECTIONS)]
