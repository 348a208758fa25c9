"""`manage.py play_tape FILE`: plays a recorded order tape through the public batch endpoint."""

import datetime as dt
import itertools
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from ops.tape.exchange import Exchange, Problem
from ops.tape.kalshi import KalshiTape
from ops.tape.local_keys import local_staff_key, raise_tier
from ops.tape.makers import maker_keys, wrong_takes
from ops.tape.night import Choice, play_night
from ops.tape.open import open_tape
from ops.tape.player import Player, Tally
from ops.tape.polymarket import PolymarketTape
from ops.tape.replay import replay
from ops.tape.stage import Stage, set_stage, settle_stage
from ops.tape.steps import BadTape, Row, Tape, needed_cash

SHOWN_DIFFERENCES = 10


class Command(BaseCommand):
    help = (
        "Plays a recorded tape against a running exchange: orders of one market (a LOBSTER or Kalshi driver file), "
        "which --check compares with what was recorded, or trades of many markets (a Polymarket file) against a house "
        "market maker, which are always checked. Exits with 1 on any difference."
    )
    # It talks to an exchange and is none: its URLs and templates need no check.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            help="the driver file, *_driver.csv.gz, or trades.csv.gz; what belongs to it lies beside it",
        )
        parser.add_argument("--url", help="base address of the exchange (default: this machine's, on PORT)")
        parser.add_argument(
            "--orders-url", help="where batches go, if elsewhere: the fast lane's address, on WS_PORT"
        )
        parser.add_argument("--key", help="API key of a staff member (default: one is made in this database)")
        parser.add_argument("--rows", type=int, help="play only the first so many rows")
        parser.add_argument(
            "--batch", type=int, default=500, help="most steps a request, 1 to 500 (default: %(default)s)"
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="compare books, fills, makers and the settlement with the recording",
        )
        parser.add_argument(
            "--every-row", action="store_true", help="send and compare row by row; implies --check"
        )
        parser.add_argument(
            "--replay",
            action="store_true",
            help="then replay the market's log from this database, compare the book after every row; implies --check",
        )
        parser.add_argument(
            "--merge-sweeps",
            action="store_true",
            help="play the takes of one aggressor (LOBSTER's column sweep) as the one order that they were",
        )
        parser.add_argument(
            "--from",
            type=_utc_seconds,
            dest="from_s",
            metavar="TIME",
            help="of a file of trades: only those from this time on, as 2022-11-09T00:00, UTC",
        )
        parser.add_argument(
            "--to", type=_utc_seconds, dest="to_s", metavar="TIME", help="and only those before this time"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= 500:
            raise CommandError("--batch must be 1 to 500.")
        if options["replay"] and options["key"] is not None:
            raise CommandError("--replay reads this database's log; with --key the exchange is another's.")
        try:
            tape = open_tape(options["file"], merge_sweeps=options["merge_sweeps"])
            differences = self._play_any(tape, options)
        except (OSError, BadTape) as error:
            raise CommandError(f"cannot read the tape: {error}") from error
        except Problem as problem:
            raise CommandError(f"the exchange answers {problem}") from problem
        if differences:
            for line in differences[:SHOWN_DIFFERENCES]:
                self.stderr.write(line)
            raise CommandError(f"{len(differences)} differences from the recording.")

    def _play_any(self, tape: Tape | PolymarketTape, options: dict[str, Any]) -> list[str]:
        url = options["url"] or f"http://127.0.0.1:{settings.PORT}"
        exchange = Exchange(url, options["orders_url"])
        try:
            if isinstance(tape, PolymarketTape):
                return self._play_night(tape, exchange, options)
            if options["from_s"] is not None or options["to_s"] is not None:
                raise CommandError("--from and --to are for files of trades.")
            return self._play(tape, exchange, url, options)
        finally:
            exchange.close()

    def _play_night(self, tape: PolymarketTape, exchange: Exchange, options: dict[str, Any]) -> list[str]:
        if options["every_row"] or options["replay"]:
            raise CommandError("--every-row and --replay compare books, of which a file of trades has none.")
        is_local = options["key"] is None
        choice = Choice(options["from_s"], options["to_s"], options["rows"], options["batch"])
        with local_staff_key() if is_local else nullcontext(options["key"]) as staff_key:
            return play_night(
                tape, exchange, choice,
                staff_key=staff_key, is_local=is_local, say=self.stdout.write, bar=self._bar,
            )  # fmt: skip

    def _play(self, tape: Tape, exchange: Exchange, url: str, options: dict[str, Any]) -> list[str]:
        check = options["check"] or options["every_row"] or options["replay"]
        rows = min(tape.total_rows, options["rows"] or tape.total_rows)
        is_local = options["key"] is None
        with local_staff_key() if is_local else nullcontext(options["key"]) as staff_key:
            cash = needed_cash(_first(tape, rows, with_books=False))
            stage = set_stage(
                exchange, tape, staff_key=staff_key, cash=cash, new_key=raise_tier if is_local else _as_it_is
            )
            self.stdout.write(f"Playing {rows} rows of {tape.name} in {url}/markets/{stage.slug}")
            every_row = options["every_row"] or not tape.knows_every_book
            player = Player(stage, batch=options["batch"], check=check, every_row=every_row)
            begun = time.monotonic()
            with self._bar("played", rows) as bar:
                tally = player.play(_first(tape, rows, with_books=check), bar.update)
            seconds = time.monotonic() - begun
            differences = [
                *tally.differences,
                *(_fill_differences(tape, stage, tally, rows) if check else ()),
                *(self._replay(tape, stage, rows) if options["replay"] else ()),
            ]
            if tape.winner is not None:
                differences += settle_stage(stage, winner=tape.winner, staff_key=staff_key)
        self._summarise(tape, tally, seconds, check, len(differences))
        return differences

    def _bar(self, what: str, rows: int) -> Any:
        """Rows done; a terminal is redrawn often, a log gets a line now and then."""
        pause_s = 0.2 if self.stderr.isatty() else 10
        return tqdm(desc=what, total=rows, unit=" rows", smoothing=0.05, mininterval=pause_s)

    def _replay(self, tape: Tape, stage: Stage, rows: int) -> list[str]:
        begun = time.monotonic()
        with connection.cursor() as cursor, self._bar("replayed", rows) as bar:
            replayed = replay(cursor, stage.market_id, _first(tape, rows, with_books=True), bar.update)
        self.stdout.write(
            f"{tape.name}: {replayed.books} books of the replayed log compared, {time.monotonic() - begun:.1f} s, "
            f"{len(replayed.differences)} differences"
        )
        return replayed.differences

    def _summarise(self, tape: Tape, tally: Tally, seconds: float, check: bool, differences: int) -> None:
        compared = f"{tally.books} books and {len(tally.takes)} takes compared, " if check else ""
        settled = "settled at the recorded result, " if tape.winner is not None else ""
        self.stdout.write(
            f"{tape.name}: {tally.rows} rows, {tally.steps} steps in {tally.batches} batches, {seconds:.1f} s "
            f"({tally.steps / seconds:.0f} steps/s), {compared}{settled}{differences} differences"
        )


def _utc_seconds(text: str) -> int:
    """An ISO 8601 date or time, in UTC if it does not say otherwise."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time like 2022-11-09T00:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def _as_it_is(_key: str) -> None:
    """Another's exchange gives its keys the limits it likes."""


def _first(tape: Tape, rows: int, *, with_books: bool) -> Iterator[Row]:
    return itertools.takewhile(lambda row: row.number <= rows, tape.rows(with_books=with_books))


def _fill_differences(tape: Tape, stage: Stage, tally: Tally, rows: int) -> list[str]:
    differences = wrong_takes(tally.takes, maker_keys(stage, tally.as_of))
    if isinstance(tape, KalshiTape) and tape.prints is not None and rows == tape.total_rows:
        printed = sum(shares for _, shares in tape.prints)
        traded = sum(fill.quantity_shares for take in tally.takes for fill in take.fills)
        if printed != traded:
            differences.append(f"{traded} shares traded, the venue printed {printed}")
    return differences
