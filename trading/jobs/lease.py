"""What a run holds of its job: renewed while it works, given up when it takes too long.

A thread can not be ended from outside. So a run over its limit takes its whole worker process with it, as a crash
would: the supervisor starts another one, and other jobs of that process come back when their leases are over.
"""

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from django.db import Error, connection

log = logging.getLogger(__name__)

LEASE = dt.timedelta(seconds=30)
"""How long the job of a worker that died stays taken."""

RENEW_S = 10.0
OVERRUN_EXIT = 70


class Lease:
    """Holds a claim for as long as the `with` lasts, from a thread of its own.

    After `limit` the thread calls `on_overrun` and ends the process.
    """

    def __init__(
        self, job_id: str, epoch: int, *, limit: dt.timedelta, on_overrun: Callable[[], object]
    ) -> None:
        self._claim = (job_id, epoch)
        self._limit_s = limit.total_seconds()
        self._on_overrun = on_overrun
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of job {job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _keep(self) -> None:
        over_at, is_ours = time.monotonic() + self._limit_s, True
        try:
            while not self._ended.wait(max(0.0, min(RENEW_S, over_at - time.monotonic()))):
                if time.monotonic() >= over_at:
                    self._end_process()
                # One whose job is another worker's by now works on all the same, and has to end all the same.
                is_ours = is_ours and self._renew()
        finally:
            connection.close()

    def _renew(self) -> bool:
        """False where the job is another worker's."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE job SET claimed_until = clock_timestamp() + make_interval(secs => %s) "
                    "WHERE id = %s AND epoch = %s",
                    [LEASE.total_seconds(), *self._claim],
                )
                return cursor.rowcount == 1
        except Error as error:
            log.warning("the lease of job %s was not renewed: %s", self._claim[0], error)
            connection.close_if_unusable_or_obsolete()
            return True

    def _end_process(self) -> None:
        log.error("job %s ran for more than %s s: this worker ends itself", self._claim[0], self._limit_s)
        try:
            self._on_overrun()
        finally:
            os._exit(OVERRUN_EXIT)
