"""`manage.py rebuild_projections`: the read models anew from the first event, or compared with such a replay."""

from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.errors import ArchivedEvents
from trading.projections.projection import Projection, load_projections
from trading.projections.rebuild import RebuildFailed, check, rebuild
from trading.projections.shadow import TableInUse


class Command(BaseCommand):
    help = (
        "Replays the event log into fresh tables and swaps them in; the exchange and the projector may run. "
        "With --check the replay is only compared with the live tables."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", metavar="NAME", help="one projection instead of all")
        parser.add_argument(
            "--check", action="store_true", help="change nothing, exit 1 if the live rows differ"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        differences = []
        try:
            for projection in _chosen(options["only"]):
                differences += self._treat(projection, only_check=options["check"])
        except (ArchivedEvents, RebuildFailed, TableInUse, psycopg.OperationalError) as error:
            raise CommandError(str(error)) from None
        for difference in differences:
            self.stderr.write(difference)
        if differences:
            raise CommandError(f"{len(differences)} tables differ from the log")

    def _treat(self, projection: Projection, *, only_check: bool) -> list[str]:
        with tqdm(desc=projection.name, unit=" events", unit_scale=True) as bar:

            def progress(applied: int, total: int) -> None:
                bar.total = total
                bar.update(applied - bar.n)

            if only_check:
                return check(projection, progress)
            rebuild(projection, progress)
            return []


def _chosen(name: str | None) -> list[Projection]:
    """Those with tables to make anew: a projection without any only tells others, once for each event."""
    projections = [projection for projection in load_projections() if projection.tables]
    chosen = [projection for projection in projections if name in (None, projection.name)]
    if not chosen:
        known = ", ".join(projection.name for projection in projections)
        raise CommandError(f"there is no projection {name!r} to rebuild; there are {known}")
    return chosen
