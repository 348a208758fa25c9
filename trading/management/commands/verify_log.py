"""`manage.py verify_log`: walks the hash-chained log and names the first broken event of each slot."""

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from tqdm import tqdm

from trading.connection import own_connection
from trading.eventlog.codec import to_us
from trading.eventlog.read import slot_heads
from trading.eventlog.verify import Break, verify_slot


class Command(BaseCommand):
    help = "Checks offsets, versions, hashes, times and heads of the event log; exits 1 at a broken event."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--slot", type=int, action="append", help="only this slot; may be given several times"
        )
        parser.add_argument("--since", metavar="TIME", help="only events recorded from then on (RFC 3339)")

    def handle(self, *args: Any, **options: Any) -> None:
        since_us = None if options["since"] is None else _moment_us(options["since"])
        with own_connection("pmarket-verify") as connection:
            with connection.cursor() as cursor:
                heads = slot_heads(cursor)
            slots = options["slot"] or list(heads)
            if unknown := [slot for slot in slots if slot not in heads]:
                raise CommandError(f"there is no slot {unknown[0]}")
            breaks = []
            with tqdm(total=sum(heads[slot] for slot in slots), unit=" events", unit_scale=True) as bar:
                for slot in slots:
                    bar.set_description(f"slot {slot}")
                    if (
                        found := verify_slot(connection, slot, since_us=since_us, progress=bar.update)
                    ) is not None:
                        breaks.append(found)
        self._tell(breaks, len(slots))

    def _tell(self, breaks: list[Break], slots: int) -> None:
        for each in breaks:
            self.stderr.write(str(each))
        if breaks:
            raise CommandError(f"the log is broken in {len(breaks)} of {slots} slots")
        self.stdout.write(f"the log is as it was written: {slots} slots")


def _moment_us(text: str) -> int:
    moment = parse_datetime(text)
    if moment is None:
        raise CommandError(f"--since {text!r} is not a time such as 2026-11-23T00:00:00Z")
    return to_us(moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC))
