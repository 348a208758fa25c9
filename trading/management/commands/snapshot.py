"""`manage.py snapshot`: keeps states of markets, so that they open fast and their past is near."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.connection import own_connection
from trading.engine.market import Market
from trading.engine.snapshot import encode_state, state_hash
from trading.management.moment import market_named
from trading.snapshots import take
from trading.snapshots.check import all_markets
from trading.snapshots.replay import LogUnusable, State, replay
from trading.snapshots.store import newest_snapshots
from trading.snapshots.take import due_markets, take_snapshot


class Command(BaseCommand):
    help = (
        "Takes snapshots of markets whose streams have grown since their last one; the exchange may run. Exits 1 where "
        "the log is not as it was written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--market", metavar="MARKET", help="only this market, by id or slug, due or not")
        which.add_argument("--all", action="store_true", help="every market, due or not")
        parser.add_argument(
            "--check",
            action="store_true",
            help="compare each with a replay of all its events, which takes longer",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with own_connection("pmarket-snapshot") as connection, connection.cursor() as cursor:
            if options["market"] is not None:
                market_ids = [market_named(cursor, options["market"])]
            elif options["all"]:
                market_ids = all_markets(cursor)
            else:
                market_ids = due_markets(cursor)
            wrong = self._treat(cursor, market_ids, check=options["check"])
        for each in wrong:
            self.stderr.write(each)
        if wrong:
            raise CommandError(f"{len(wrong)} of {len(market_ids)} markets have no sound snapshot")
        if not market_ids:
            self.stdout.write(f"no market is due: none has {take.LEAST_TAIL} events since its last snapshot")
        else:
            self.stdout.write(f"{len(market_ids)} markets have a snapshot of now")

    def _treat(self, cursor: Any, market_ids: list[str], *, check: bool) -> list[str]:
        wrong = []
        with tqdm(unit=" events", unit_scale=True) as bar:
            for number, market_id in enumerate(market_ids, start=1):
                bar.set_description(f"market {number} of {len(market_ids)}")
                try:
                    version = take_snapshot(cursor, market_id, progress=bar.update)
                    if check:
                        _compare(cursor, market_id, bar.update)
                except LogUnusable as error:
                    wrong.append(str(error))
                    continue
                self.stdout.write(f"market {market_id}: snapshot after event {version}")
        return wrong


def _compare(cursor: Any, market_id: str, progress: Any) -> None:
    """Raises LogUnusable where the newest snapshot is not the state that all events lead to."""
    snapshot = newest_snapshots(cursor, market_id)[0]
    state = replay(
        cursor, State(Market(market_id)), upto_version=snapshot.version, progress=progress, prove=True
    )
    if state_hash(encode_state(state.market)) != snapshot.state_hash:
        raise LogUnusable(
            f"snapshot {snapshot.version} of market {market_id} is not what its events lead to; delete its row"
        )
