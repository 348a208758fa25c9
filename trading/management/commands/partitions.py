"""`manage.py partitions`: makes the monthly partitions of the coming months; run daily by a task."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from trading.eventlog.partitions import KEY, make_partitions

MONTHS_AHEAD = 3


class Command(BaseCommand):
    help = "Makes the missing monthly partitions of the log, orders, trades, fills and the ledger, three months ahead."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--list", action="store_true", help="only show what there is, with its size")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._show()
            return
        with transaction.atomic(), connection.cursor() as cursor:
            made = make_partitions(cursor, months_ahead=MONTHS_AHEAD)
        for name in made:
            self.stdout.write(f"made {name}")
        if not made:
            self.stdout.write("all partitions are there")

    def _show(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.relname, pg_size_pretty(pg_total_relation_size(c.oid)), pg_get_expr(c.relpartbound, c.oid) "
                "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent "
                "WHERE p.relname = ANY(%s) AND p.relnamespace = 'public'::regnamespace ORDER BY p.relname, c.relname",
                [list(KEY)],
            )
            for name, size, bounds in cursor.fetchall():
                self.stdout.write(f"{name:<20} {size:>10}  {bounds}")
