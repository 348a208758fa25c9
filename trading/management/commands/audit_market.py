"""`manage.py audit_market MARKET --to PATH`: writes a market's audit file, which `verify_log --file` proves."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.connection import own_connection
from trading.errors import ArchivedEvents, NotFound
from trading.eventlog.archive_file import BadArchive, manifest_path
from trading.eventlog.audit import make_audit
from trading.eventlog.audit_file import BadAudit, audit_path
from trading.eventlog.signing import UnusableKey, signing_key
from trading.management.moment import market_named


class Command(BaseCommand):
    help = (
        "Writes all events of a market, and those by which accounts were settled, with their hashes into one file and "
        "a signed manifest beside it. Anybody checks them offline: verify_log --file PATH --public-key HEX."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("market", metavar="MARKET", help="a market's id or slug")
        parser.add_argument(
            "--to", metavar="PATH", type=Path, help="the folder to write into (`audits` in DATA_DIR)"
        )
        parser.add_argument("--archive", metavar="DIR", type=Path, help="archived months (ARCHIVE_DIR)")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = options["to"] or settings.AUDIT_DIR
        try:
            key = signing_key(given=settings.HEADS_KEY, file=settings.HEADS_KEY_FILE)
            with (
                own_connection("pmarket-audit") as connection,
                tqdm(unit=" events", unit_scale=True) as bar,
            ):
                with connection.cursor() as cursor:
                    market_id = market_named(cursor, options["market"])
                manifest = make_audit(
                    connection, market_id, folder, key=key, progress=bar.update,
                    archives=options["archive"] or settings.ARCHIVE_DIR,
                )  # fmt: skip
        except (BadArchive, BadAudit, UnusableKey, ArchivedEvents, NotFound, OSError) as error:
            raise CommandError(str(error)) from None
        path = audit_path(folder, market_id)
        self.stdout.write(
            f"{path}: {manifest.market_events.events} events of the market, "
            f"{manifest.account_events.events} of accounts; signed in {manifest_path(path).name}"
        )
