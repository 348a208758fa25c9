"""Which function a job's name means, and what it may answer. Refuses two functions of one name."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.utils.module_loading import autodiscover_modules

from trading.jobs.queues import QUEUES

RUN_LIMIT_S = 300.0
"""How long one run may take unless its registration says otherwise. Long work answers Again long before."""


@dataclass(frozen=True, slots=True)
class Again:
    """There is more to do: the job is due again after `in_s` seconds, with all its tries."""

    in_s: float = 0


class GiveUp(Exception):
    """Trying again would not help: the job becomes a dead letter at once, with this reason."""


class NotYet(Exception):
    """What the job needs is not there yet: it is due again after `retry_in_s`, and this was no try.

    Once the job's `give_up_at` has passed, it becomes a dead letter instead.
    """

    def __init__(self, reason: str = "not yet", *, retry_in_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_in_s = retry_in_s


JobFunction = Callable[[dict[str, Any]], Again | None]
Registered = TypeVar("Registered", bound=JobFunction)


@dataclass(frozen=True, slots=True)
class JobType:
    """A registered function with the terms of its runs."""

    name: str
    queue: str
    function: JobFunction
    atomic: bool
    run_limit: dt.timedelta


_types: dict[str, JobType] = {}


def job(
    name: str, *, queue: str, atomic: bool = False, run_limit_s: float = RUN_LIMIT_S
) -> Callable[[Registered], Registered]:
    """Registers a function `(payload) -> None | Again` under a name, which is stored and must not change.

    With `atomic` it runs in one transaction with the end of its row: what it writes to this database is written
    exactly once. Such a run is bounded by TRANSACTION_TIMEOUT_MS. A run over `run_limit_s` ends its worker process.
    """
    if queue not in QUEUES:
        raise ValueError(f"there is no queue {queue!r}")

    def register(function: Registered) -> Registered:
        known = _types.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(
                f"{name} is registered twice: {known.function.__module__}, {function.__module__}"
            )
        _types[name] = JobType(name, queue, function, atomic, dt.timedelta(seconds=run_limit_s))
        return function

    return register


def job_type(name: str) -> JobType:
    """Raises LookupError where no app registers that name."""
    if name not in _types:
        _import_all()
    if name not in _types:
        raise LookupError(f"no job is called {name!r}")
    return _types[name]


def _import_all() -> None:
    """A worker has imported these already; a process that only enqueues has not."""
    autodiscover_modules("tasks", "jobs")
