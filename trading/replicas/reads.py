"""Where reads go. All reads of one answer go to one server, so that its rows and its `as_of` agree.

Outside a block everything goes to the primary. A block is opened by `may_lag` or `on_replica` and may end on the
primary, which is never behind a replica, but not on another replica, which may be. What is written, who signs in and
what money decides on uses `django.db.connection` and knows no blocks.
"""

import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import Http404

from trading.errors import NotFound
from trading.metrics import REPLICA_READS
from trading.outage import OUTAGES
from trading.patience import pauses
from trading.replicas.watch import watch_of

BRIEFLY_S = 0.1

Answer = TypeVar("Answer")
Given = ParamSpec("Given")
log = logging.getLogger(__name__)


class _Block:
    """The reads of one answer, and the server they go to."""

    __slots__ = ("alias",)

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def is_on_replica(self) -> bool:
        return self.alias != DEFAULT_DB_ALIAS


# One a thread, and one a task of an event loop; `sync_to_async` takes it along.
_block: ContextVar[_Block | None] = ContextVar("replica_block", default=None)
_turn = itertools.count()


def may_lag(view: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Makes a function whose reads may come from a replica. It must only read: see `on_replica`."""

    @functools.wraps(view)
    def answer(*args: Given.args, **named: Given.kwargs) -> Answer:
        return on_replica(lambda: view(*args, **named))

    return answer


def on_replica(read: Callable[[], Answer]) -> Answer:
    """What `read` answers on a replica whose turn it is, else on the primary.

    It is run once more, on the primary, where the replica fails or does not have what was asked for: that may be
    newer than the replica is. Inside another block it belongs to that one.
    """
    if not settings.REPLICAS or _block.get() is not None:
        return read()
    block = _Block(_choose())
    token = _block.set(block)
    try:
        try:
            return read()
        except (*OUTAGES, NotFound, Http404) as error:
            if not block.is_on_replica:
                raise
            if isinstance(error, OUTAGES):
                _leave_out(block.alias, error)
            block.alias = DEFAULT_DB_ALIAS
        return read()
    finally:
        _block.reset(token)
        REPLICA_READS.labels(server=block.alias if block.is_on_replica else "primary").inc()


def reading() -> Any:
    """The connection that a read which may lag uses: the block's server's."""
    return connections[current_alias()]


def current_alias() -> str:
    """The name in DATABASES of the server that reads go to now."""
    block = _block.get()
    return DEFAULT_DB_ALIAS if block is None else block.alias


def leave_replica() -> None:
    """What this answer still reads, it reads on the primary."""
    block = _block.get()
    if block is not None:
        block.alias = DEFAULT_DB_ALIAS


def wait_until(is_so: Callable[[], bool], *, timeout_s: float) -> bool:
    """Polls what `is_so` reads; whether it came true in time. A replica gets 0.1 s of it, the primary the rest."""
    started, pause = time.monotonic(), pauses()
    while not is_so():
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            return False
        if waited_s > BRIEFLY_S:
            leave_replica()
        time.sleep(next(pause))
    return True


def _choose() -> str:
    """The next of the replicas that may serve; the primary if none may."""
    fit = [alias for alias in settings.REPLICAS if watch_of(alias).is_fit()]
    return fit[next(_turn) % len(fit)] if fit else DEFAULT_DB_ALIAS


def _leave_out(alias: str, error: Exception) -> None:
    log.warning("a read failed on %s and goes to the primary: %s", alias, error)
    watch_of(alias).suspect()
    with contextlib.suppress(*OUTAGES):
        connections[alias].close()
