"""`manage.py monthly_totals`: what each month came to, as a table or as CSV."""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ops.monthly import LABELS, Totals, all_totals, write_csv
from trading.errors import ArchivedEvents


class Command(BaseCommand):
    help = "Prints traders, markets, orders, volume, fees and money in and out of each UTC month."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--month", metavar="YYYY-MM", help="only this month")
        parser.add_argument("--csv", action="store_true", help="a row a month, RFC 4180")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = options["month"]
        if wanted is not None and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", wanted, re.ASCII) is None:
            raise CommandError(f"--month {wanted!r} is not a month such as 2026-03")
        try:
            rows = [row for row in all_totals(timezone.now()) if wanted in (None, row.month.name)]
        except ArchivedEvents as error:
            raise CommandError(error.detail) from None
        if not rows:
            raise CommandError(f"nothing happened in {wanted}")
        if options["csv"]:
            self.stdout.ending = ""
            write_csv(self.stdout, rows)  # type: ignore[arg-type]
        else:
            for row in rows:
                self.stdout.write(_drawn(row))


def _drawn(row: Totals) -> str:
    width = max(map(len, LABELS.values()))
    lines = [row.month.name + ("" if row.is_final else " until now")]
    lines += [f"  {label.ljust(width)}  {row.cell(name):>24}" for name, label in LABELS.items()]
    return "\n".join(lines)
