"""`manage.py projector`: keeps the read models up to the log until it is told to stop."""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from trading.garbage import collect_rarely
from trading.projections.projection import load_projections
from trading.projections.runner import Projector, WakeHint

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Follows the event log and keeps the read models (orders, trades, positions, markets) up to it."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        projections = load_projections()
        collect_rarely()
        log.info("projecting %s", ", ".join(projection.name for projection in projections))
        Projector(projections).run(stop, WakeHint(settings.VALKEY_URL))
        log.info("the projector has stopped")
