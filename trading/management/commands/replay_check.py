"""`manage.py replay_check`: would today's code have decided what is in the log?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.connection import own_connection
from trading.management.moment import market_named, moment_us
from trading.snapshots.check import all_markets, check_market
from trading.snapshots.replay import LogUnusable


class Command(BaseCommand):
    help = (
        "Runs the recorded commands through today's rules and names each market's first event that would differ; "
        "exits 1 at a difference. Changes nothing; the exchange may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--market", metavar="MARKET", help="only this market, by id or slug")
        which.add_argument("--all", action="store_true", help="every market, which is what happens anyway")
        parser.add_argument("--since", metavar="TIME", help="only commands recorded from then on (RFC 3339)")

    def handle(self, *args: Any, **options: Any) -> None:
        since_us = None if options["since"] is None else moment_us(options["since"], "--since")
        said = []
        with (
            own_connection("pmarket-replay") as connection,
            connection.cursor() as cursor,
            tqdm(unit=" events", unit_scale=True) as bar,
        ):
            chosen = options["market"]
            market_ids = all_markets(cursor) if chosen is None else [market_named(cursor, chosen)]
            for number, market_id in enumerate(market_ids, start=1):
                bar.set_description(f"market {number} of {len(market_ids)}")
                try:
                    difference = check_market(cursor, market_id, since_us=since_us, progress=bar.update)
                except LogUnusable as error:
                    said.append(str(error))
                    continue
                if difference is not None:
                    said.append(str(difference))
            events = bar.n
        for each in said:
            self.stderr.write(each)
        if said:
            raise CommandError(f"{len(said)} of {len(market_ids)} markets would have gone another way")
        self.stdout.write(f"today's code decides as the log says: {events} events, {len(market_ids)} markets")
