"""A market's audit file for its operators: made as a job, kept under AUDIT_DIR, one a market, made anew on demand."""

from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from trading.connection import own_connection
from trading.errors import ArchivedEvents, NotFound
from trading.eventlog.archive_file import BadArchive, manifest_path
from trading.eventlog.audit import make_audit
from trading.eventlog.audit_file import BadAudit, Manifest, audit_path, read_manifest
from trading.eventlog.signing import signing_key
from trading.jobs import GiveUp, enqueue
from trading.jobs.dead_letters import discard
from trading.models import DeadLetter, Job

MAKE_AUDIT = "markets.make_audit"
RUN_LIMIT_S = 3600.0
"""Millions of events take minutes."""


class AuditFile(NamedTuple):
    """What there is of a market's file: the manifest of the newest one, whether one is being made, why one was not."""

    manifest: Manifest | None
    is_being_made: bool
    failure: str | None


def ask_for_audit(market_id: str, *, by: str) -> bool:
    """Have the market's file made, in the place of an older one; False while that is under way."""
    with transaction.atomic():
        # Asking again is the decision on what failed before.
        for letter in _failures(market_id):
            discard(str(letter.id), by=by)
        return enqueue(MAKE_AUDIT, {"market": market_id}, key=_key(market_id))


def audit_of(market_id: str) -> AuditFile:
    """The state of the market's file, on the host that this process runs on."""
    try:
        manifest = read_manifest(audit_path(settings.AUDIT_DIR, market_id), trusted=None)
    except BadAudit:
        manifest = None
    failure = _failures(market_id).values_list("error", flat=True).first()
    return AuditFile(manifest, Job.objects.filter(key=_key(market_id)).exists(), failure)


def audit_parts(market_id: str) -> dict[str, Path]:
    """Where the two files of a market lie, by what they are called in links."""
    path = audit_path(settings.AUDIT_DIR, market_id)
    return {"events": path, "manifest": manifest_path(path)}


def make(payload: dict[str, Any]) -> None:
    """What the job does. Raises GiveUp where the log cannot tell all."""
    key = signing_key(given=settings.HEADS_KEY, file=settings.HEADS_KEY_FILE)
    try:
        with own_connection("pmarket-audit") as connection:
            make_audit(
                connection, payload["market"], settings.AUDIT_DIR, archives=settings.ARCHIVE_DIR, key=key
            )
    except (ArchivedEvents, BadArchive, BadAudit, NotFound) as error:
        raise GiveUp(str(error)) from error


def _failures(market_id: str) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(job_key=_key(market_id), requeued_at=None, discarded_at=None)


def _key(market_id: str) -> str:
    return f"audit:{market_id}"
