"""`manage.py archive`: moves old months of the event log to files and back."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.connection import own_connection
from trading.eventlog.archive import (
    GONE,
    ArchiveRefused,
    archive_month,
    missing_months,
    month_of,
    months_in_table,
    place_of,
    restore_month,
)
from trading.eventlog.archive_file import BadArchive
from trading.eventlog.needs import wait_for_projections, why_needed
from trading.projections.projection import load_projections

QUIET_HOURS = 1
"""How long a month must have been over: clocks of several hosts may differ a little."""

Progress = Callable[[int], None]


class Command(BaseCommand):
    help = (
        "Moves the event log's months before a given one, oldest first, to files in ARCHIVE_DIR: each file is written, "
        "read back and compared before its partition is detached and dropped. Stops at a month that somebody still "
        "needs. An interrupted run is simply run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--before", metavar="YYYY-MM", help="archive the months before this one")
        what.add_argument("--restore", metavar="FILE", type=Path, help="bring a month back, the newest first")
        what.add_argument("--list", action="store_true", help="only show what is archived")
        parser.add_argument("--dir", metavar="DIR", type=Path, help="where the files are (ARCHIVE_DIR)")
        parser.add_argument(
            "--wait", type=float, default=10.0, metavar="SECONDS", help="how long to wait for the projections"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = options["dir"] or settings.ARCHIVE_DIR
        try:
            with own_connection("pmarket-archive") as connection:
                if options["list"]:
                    self._list(connection)
                    return
                with tqdm(unit=" events", unit_scale=True) as bar:
                    if options["restore"] is not None:
                        self._restore(connection, _found(options["restore"], folder), bar.update)
                    else:
                        before = _month_start(options["before"])
                        self._archive(connection, before, folder, options["wait"], bar.update)
        except (BadArchive, ArchiveRefused, psycopg.OperationalError) as error:
            raise CommandError(str(error)) from None

    def _list(self, connection: Any) -> None:
        months = missing_months(connection)
        for month in months:
            count = sum(each.next_offset - each.first_offset for each in month.slots)
            self.stdout.write(f"{month.partition}  {count:>12,} events  {month.file}  sha256 {month.sha256}")
        if not months:
            self.stdout.write("nothing is archived")

    def _restore(self, connection: Any, path: Path, progress: Progress) -> None:
        archive = restore_month(connection, path, progress)
        self.stdout.write(f"{archive.month.partition}: {archive.events} events are back in the table")

    def _archive(
        self, connection: Any, before: dt.datetime, folder: Path, wait_s: float, progress: Progress
    ) -> None:
        done = self._finish(connection, folder, progress)
        names = [projection.name for projection in load_projections()]
        with connection.cursor() as cursor:
            months = [month for month in months_in_table(cursor) if month.high <= before.isoformat()]
            if months and (behind := wait_for_projections(cursor, names, wait_s=wait_s)):
                raise CommandError("; ".join(behind))
        for month in months:
            with connection.cursor() as cursor:
                reason = why_needed(cursor, month.partition)
            if reason is not None:
                raise CommandError(f"{month.partition} stays, and what is newer: {reason}")
            self._tell(archive_month(connection, month, folder, progress))
        if not months and not done:
            self.stdout.write("there is no such month in the table")

    def _finish(self, connection: Any, folder: Path, progress: Progress) -> bool:
        """Ends what an interrupted run has begun: nobody who was asked then needs it now."""
        begun = []
        for noted in missing_months(connection):
            with connection.cursor() as cursor:
                if place_of(cursor, noted.partition) != GONE:
                    begun.append(noted)
        for noted in begun:
            self._tell(archive_month(connection, month_of(noted.partition), folder, progress))
        return bool(begun)

    def _tell(self, archive: Any) -> None:
        self.stdout.write(f"{archive.month.partition}: {archive.events} events are in {archive.path}")


def _found(path: Path, folder: Path) -> Path:
    """A file named as a path, or by its name in the archive's folder."""
    return path if path.exists() else folder / path.name


def _month_start(text: str) -> dt.datetime:
    try:
        start = dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC)
    except ValueError:
        raise CommandError(f"--before {text!r} is not a month such as 2026-03") from None
    if start > dt.datetime.now(dt.UTC) - dt.timedelta(hours=QUIET_HOURS):
        raise CommandError(f"--before {text}: only months that are over can be archived")
    return start
