"""`manage.py verify_log`: walks the hash-chained log and names the first broken event of each slot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from trading.connection import own_connection
from trading.eventlog.archive import open_archived
from trading.eventlog.archive_file import ArchiveFile, BadArchive
from trading.eventlog.archived import archived_months
from trading.eventlog.audit_file import BadAudit, verify_audit
from trading.eventlog.heads import BadHeads, SlotHead, read_published
from trading.eventlog.read import slot_heads
from trading.eventlog.signing import UnusableKey, existing_public_key
from trading.eventlog.verify import Break, verify_slot, verify_slots
from trading.management.moment import moment_us


class Command(BaseCommand):
    help = (
        "Checks offsets, versions, hashes, times and heads of the event log, archived months first, and compares it "
        "with the signed heads that were published; exits 1 at a broken event."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--slot", type=int, action="append", help="only this slot; may be given several times"
        )
        parser.add_argument("--since", metavar="TIME", help="only events recorded from then on (RFC 3339)")
        parser.add_argument(
            "--heads", metavar="PATH", type=Path, help="published heads, a file or a folder (HEADS_DIR)"
        )
        parser.add_argument(
            "--public-key", metavar="HEX", action="append", default=[],
            help="a key whose heads are believed, besides this machine's own and HEADS_PUBLIC_KEYS",
        )  # fmt: skip
        parser.add_argument("--archive", metavar="DIR", type=Path, help="archived months (ARCHIVE_DIR)")
        parser.add_argument("--table-only", action="store_true", help="do without the archived months")
        parser.add_argument(
            "--file", metavar="PATH", type=Path, help="only a market's audit file, without any database"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["file"] is not None:
            self._audit_file(options["file"], options["public_key"])
            return
        since_us = None if options["since"] is None else moment_us(options["since"], "--since")
        # Before the slots' heads: whatever was published by now must be in the log that is walked.
        published = self._published(options["heads"], options["public_key"])
        only_table = options["table_only"] or since_us is not None
        with own_connection("pmarket-verify") as connection:
            with connection.cursor() as cursor:
                heads = slot_heads(cursor)
                months = archived_months(cursor)
            slots = options["slot"] or list(heads)
            if unknown := [slot for slot in slots if slot not in heads]:
                raise CommandError(f"there is no slot {unknown[0]}")
            archived_to = {each.slot: each.next_offset for month in months for each in month.slots}
            breaks = [] if options["slot"] else verify_slots(connection, heads)
            try:
                archives = (
                    []
                    if only_table
                    else open_archived(connection, options["archive"] or settings.ARCHIVE_DIR)
                )
                with tqdm(total=sum(heads[slot] for slot in slots), unit=" events", unit_scale=True) as bar:
                    for slot in slots:
                        bar.set_description(f"slot {slot}")
                        found = verify_slot(
                            connection, slot, since_us=since_us, progress=bar.update,
                            published=published.get(slot, ()), archives=_holding(archives, slot),
                            archived_to=archived_to.get(slot, 0) if only_table else 0,
                        )  # fmt: skip
                        if found is not None:
                            breaks.append(found)
            except BadArchive as error:
                raise CommandError(str(error)) from None
        self._tell(breaks, len(slots))

    def _published(self, path: Path | None, keys: Sequence[str]) -> dict[int, list[SlotHead]]:
        try:
            published = read_published(path or settings.HEADS_DIR, _trusted(keys))
        except (BadHeads, UnusableKey) as error:
            raise CommandError(str(error)) from None
        if not published and path is not None:
            raise CommandError(f"there are no published heads in {path}")
        if not published:
            self.stdout.write(
                "no published heads to compare with: a tail cut off with its head rows would not show"
            )
        return published

    def _audit_file(self, path: Path, keys: Sequence[str]) -> None:
        try:
            manifest = verify_audit(path, trusted=_trusted(keys))
        except (BadAudit, UnusableKey) as error:
            raise CommandError(str(error)) from None
        of_market, of_accounts = manifest.market_events, manifest.account_events
        self.stdout.write(
            f"market {manifest.market} as of {manifest.made_at}: {of_market.events} events in one chain from its first "
            f"to {of_market.last_hash}, {of_accounts.events} of accounts"
        )
        if of_accounts.unproven:
            self.stdout.write(
                f"{of_accounts.unproven} events of accounts are not proven: what stood before them was archived"
            )
        if manifest.heads is None:
            self.stdout.write("no heads had been published when the file was made")

    def _tell(self, breaks: list[Break], slots: int) -> None:
        for each in breaks:
            self.stderr.write(str(each))
        if breaks:
            raise CommandError(f"the log is broken in {len(breaks)} of {slots} slots")
        self.stdout.write(f"the log is as it was written: {slots} slots")


def _trusted(keys: Sequence[str]) -> frozenset[str]:
    """This machine's own key, if it has one, and those that were named. Raises UnusableKey."""
    own = existing_public_key(given=settings.HEADS_KEY, file=settings.HEADS_KEY_FILE)
    return frozenset([*keys, *settings.HEADS_PUBLIC_KEYS, *([own] if own else [])])


def _holding(archives: Sequence[ArchiveFile], slot: int) -> list[ArchiveFile]:
    return [archive for archive in archives if slot in archive.parts]
