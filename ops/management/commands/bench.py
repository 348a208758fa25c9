"""`manage.py bench`: one table of figures with their yardsticks, and bench.json."""

import logging
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.bench.interpreters import YardstickMissing
from ops.bench.report import Report
from ops.bench.settlement_table import HOLDERS
from ops.bench.stage import StageError
from ops.bench.suite import PARTS, Options, run_suite
from ops.embedded import EmbeddedError


class Command(BaseCommand):
    help = (
        "Measures the exchange on throw-away servers of its own (fsync on, synchronous_commit on, THROTTLE=0): "
        "matching beside packages from PyPI, the commit path beside raw COPY, eventsourcing's recorder and a plain "
        "SQL loop, over HTTP, through both lanes, single orders, orders at a fixed rate and batches, and how fast a "
        "market of many holders is settled. Takes about twelve minutes; docs/BENCHMARKS.md says how to read it. Prints "
        "one table and writes bench.json. Exits non-zero "
        "if an acknowledged order was not committed."
    )
    # It has servers of its own; the configured ones need not be there.
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--quick", action="store_true", help="two repetitions of 3 s: a look, not a measurement"
        )
        parser.add_argument(
            "--only", choices=PARTS, action="append", help="this part alone; may be given again"
        )
        parser.add_argument("--seconds", type=float, help="of each repetition of each figure (6)")
        parser.add_argument("--repetitions", type=int, help="of each figure (3)")
        parser.add_argument(
            "--holders", type=int, default=HOLDERS, help=f"of the market that is settled ({HOLDERS:,})"
        )
        parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where the JSON goes")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = _options(options)
        # Ended from outside, the servers and processes must go too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            report = run_suite(asked, say=self._say)
        except (StageError, EmbeddedError, YardstickMissing) as error:
            raise CommandError(str(error)) from None
        self._show(report, asked.output)

    def _say(self, text: str) -> None:
        self.stderr.write(f"bench: {text} …")

    def _show(self, report: Report, output: Path) -> None:
        report.write(output)
        self.stdout.write(report.table())
        self.stdout.write(f"\nwritten to {output}")
        if not report.is_right:
            self.stderr.write("bench: acknowledged and committed orders differ")
            sys.exit(1)


def _options(options: dict[str, Any]) -> Options:
    quick = options["quick"]
    seconds = options["seconds"] if options["seconds"] is not None else 3.0 if quick else 6.0
    repetitions = options["repetitions"] if options["repetitions"] is not None else 2 if quick else 3
    if not 1 <= seconds <= 600 or not 1 <= repetitions <= 50:
        raise CommandError("--seconds must be from 1 to 600, --repetitions from 1 to 50")
    if not 2 <= options["holders"] <= 2_000_000 or options["holders"] % 2:
        raise CommandError("--holders must be an even number from 2 to 2,000,000")
    parts = tuple(part for part in PARTS if part in (options["only"] or PARTS))
    return Options(
        parts=parts,
        seconds=seconds,
        repetitions=repetitions,
        output=options["output"],
        holders=options["holders"],
    )
