"""`manage.py reconcile`: replays the whole log and compares cash and every read model with it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.errors import ArchivedEvents
from trading.reconcile import reconcile

MOST_TOLD = 200


class Command(BaseCommand):
    help = "Checks that the log explains cash, reserves, positions and every read model, and that money is conserved."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait", type=float, default=10.0, metavar="SECONDS", help="how long to wait for the projections"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with tqdm(unit=" events", unit_scale=True) as bar:

            def begin(events: int) -> None:
                bar.total = events

            try:
                report = reconcile(wait_s=options["wait"], begin=begin, progress=bar.update)
            except ArchivedEvents as error:
                raise CommandError(f"the whole log is needed. {error}") from None
        for difference in report.differences[:MOST_TOLD]:
            self.stderr.write(difference)
        if report.differences:
            raise CommandError(f"{len(report.differences)} differences from the log")
        self.stdout.write(
            f"all is as the log says: {report.events} events, {report.accounts} accounts, {report.markets} markets"
        )
