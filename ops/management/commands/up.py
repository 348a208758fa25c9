"""`manage.py up`: a whole exchange on this machine, from empty directory to address, until Ctrl-C."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ops.embedded import EmbeddedError
from ops.exchange import CannotStart, Exchange, Plan
from ops.supervisor import Console


class Command(BaseCommand):
    help = (
        "Starts PostgreSQL and Valkey (unless DATABASE_URL and VALKEY_URL are given), migrates, seeds, starts the "
        "processes of the Procfile, watches them, and stops all of it on Ctrl-C."
    )
    # The database is not there yet.
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            plan = Plan.from_environment(settings.DATA_DIR, os.environ)
        except CannotStart as error:
            raise CommandError(str(error)) from None
        exchange = Exchange(plan, Console(sys.stdout, settings.DATA_DIR / "logs"))
        exchange.supervisor.listen_to_signals()
        try:
            exchange.prepare()
            code = exchange.run()
        except (CannotStart, EmbeddedError) as error:
            raise CommandError(str(error)) from None
        finally:
            exchange.close()
        sys.exit(code)
