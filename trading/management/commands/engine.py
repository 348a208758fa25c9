"""`manage.py engine`: one shard of the matching engine."""

import signal
import sys
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trading.connection import own_connection
from trading.garbage import collect_rarely
from trading.shard.crash_points import POINTS, VARIABLE, arm_from_environment
from trading.shard.process import Shard
from trading.shard.slots import new_shard_id
from trading.snapshots.reach import MarketsOutOfReach


class Command(BaseCommand):
    help = (
        "Run a matching engine process: it owns slots of the log and works their command streams. Any number may run, "
        "on any hosts; they share the slots, and one that dies is replaced by the others. "
        f"For tests, the variable {VARIABLE}=POINT:N has it killed the Nth time that it comes to a point, one of: "
        f"{', '.join(POINTS)}."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            arm_from_environment()
        except ValueError as error:
            raise CommandError(str(error)) from error
        shard = Shard(
            shard_id=new_shard_id(),
            connect=lambda: own_connection("pmarket-engine"),
            bus=redis.Redis.from_url(settings.VALKEY_URL),
            feed=redis.Redis.from_url(settings.FEED_URL),
        )

        def stop(*_: object) -> None:
            shard.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        # Orders live long and form no cycles: scanning them again and again took two thirds of the time.
        collect_rarely(older=1000)
        # The writers' threads have to get their turn as soon as PostgreSQL has answered.
        sys.setswitchinterval(0.0005)
        try:
            shard.run()
        except MarketsOutOfReach as error:
            raise CommandError(str(error)) from None
