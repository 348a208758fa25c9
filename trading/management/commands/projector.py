"""`manage.py projector`: keeps the read models up to the log until it is told to stop."""

import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from trading.garbage import collect_rarely
from trading.projections.projection import load_projections
from trading.projections.runner import Projector, WakeHint

log = logging.getLogger(__name__)

AUTOGROUP = Path("/proc/self/autogroup")


def be_nice_as_a_session() -> None:
    """Where the kernel weighs sessions against each other, `nice` counts only within one: so a process that leads
    a session gives it its own nice value. See sched(7)."""
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            AUTOGROUP.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))


class Command(BaseCommand):
    help = "Follows the event log and keeps the read models (orders, trades, positions, ledger, markets) up to it."

    def handle(self, *args: Any, **options: Any) -> None:
        projections = load_projections()
        projector = Projector(projections)

        def stop(*_: object) -> None:
            projector.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        collect_rarely()
        be_nice_as_a_session()
        log.info("projecting %s", ", ".join(projection.name for projection in projections))
        projector.run(WakeHint(settings.VALKEY_URL))
        log.info("the projector has stopped")
