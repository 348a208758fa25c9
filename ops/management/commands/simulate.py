"""`manage.py simulate`: a market maker and a crowd bring the demo's markets to life."""

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from markets.demo import demo_priors
from ops.simulation.play import Plan, play


class Command(BaseCommand):
    help = (
        "Runs a market maker and a crowd of traders, marked as simulated, through the public API of a running "
        "exchange, in the demo's markets only. Stops cleanly on SIGTERM and Ctrl-C; started again, it goes on."
    )
    # It talks to an exchange and is none: its URLs and templates need no check.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="base address of the exchange (default: this machine's, on PORT)")
        parser.add_argument(
            "--orders-url", help="where orders go (default: this machine's fast lane, on WS_PORT)"
        )
        parser.add_argument(
            "--rate", type=float, default=5.0, help="orders a second in all (default: %(default)s)"
        )
        parser.add_argument(
            "--traders", type=int, default=30, help="size of the crowd (default: %(default)s)"
        )
        parser.add_argument("--markets", type=int, help="trade only the first so many of the demo's markets")
        parser.add_argument("--duration", type=float, help="stop after so many seconds (default: never)")
        parser.add_argument(
            "--seed", type=int, default=1, help="start of the random numbers (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["rate"] > 0 or options["traders"] < 1:
            raise CommandError("--rate must be above 0 and --traders at least 1.")
        plan = Plan(
            url=options["url"] or f"http://127.0.0.1:{settings.PORT}",
            orders_url=options["orders_url"] or f"http://127.0.0.1:{settings.WS_PORT}",
            journal=settings.DATA_DIR / "simulation.jsonl",
            priors=demo_priors(),
            seed=options["seed"],
            rate=options["rate"],
            traders=options["traders"],
            most_markets=options["markets"],
            duration_s=options["duration"],
        )
        asyncio.run(play(plan, self._say))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
