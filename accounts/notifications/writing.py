"""The one door by which notes become rows, and jobs for the channels that lead outside.

Rows and jobs commit with what causes them. A job is made only for a channel that the owner has switched on, so a
market of a hundred thousand holders that settles makes jobs for the few who want to hear of it elsewhere.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db import connection as django_connection
from django.db import transaction

from accounts.models import NotificationPreferences
from accounts.notifications.live import publish
from accounts.notifications.preferences import IN_APP, Wishes, read_wishes
from accounts.notifications.texts import Note
from trading.array_literals import columns, quoted
from trading.eventlog.codec import timestamp_text
from trading.ids import new_id
from trading.jobs import NewJob, hint, insert_jobs, new_job

_encode = msgspec.json.Encoder().encode

MAX_TITLE = 200
LATE = dt.timedelta(seconds=10)
"""How long after its period a digest goes: what is being written at that moment still comes to it."""
MAX_HINTS = 100
"""Jobs of one batch of which the workers are told at once; the dispatcher finds the others a second later."""
DIGEST_PERIODS = {
    NotificationPreferences.Digest.HOURLY: dt.timedelta(hours=1),
    NotificationPreferences.Digest.DAILY: dt.timedelta(days=1),
}
SEND_EMAIL, SEND_DIGEST, SEND_WEBHOOK = "accounts.send_email", "accounts.send_digest", "accounts.send_webhook"

_INSERT = """
INSERT INTO accounts_notification
    (id, account_id, kind, title, body, data, created_at, idempotency_key, in_app, by_email)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[],
                     %s::text[], %s::boolean[], %s::boolean[])
ON CONFLICT (idempotency_key) DO NOTHING RETURNING id::text
"""


class Written(NamedTuple):
    """What is to be done after the commit: what sockets show, and jobs that workers may begin."""

    shown: list[dict[str, Any]]
    jobs: list[NewJob]

    def announce(self) -> None:
        """Tell sockets and workers. What is lost here is found later: by a look at the list, by the dispatcher."""
        publish(self.shown)
        hint(self.jobs[:MAX_HINTS])


class _Routed(NamedTuple):
    """A note under its id, and the channels it takes."""

    note_id: str
    note: Note
    in_app: bool
    by_email: bool
    digest: str
    webhooks: list[str]

    @property
    def is_wanted(self) -> bool:
        return self.in_app or self.by_email or bool(self.webhooks)


def write(connection: Any, notes: Sequence[Note], wishes: Mapping[str, Wishes]) -> Written:
    """Insert the notes that are new and wanted, with their jobs, in the transaction of `connection`.

    `connection` is psycopg's, in pipeline mode or not, or a cursor of Django's; every note's account is in `wishes`.
    """
    routed = [route for note in notes if (route := _route(note, wishes[note.account_id])).is_wanted]
    if not routed:
        return Written([], [])
    rows = columns([_row(route) for route in routed])
    new = {identifier for (identifier,) in connection.execute(_INSERT, rows).fetchall()}
    written = [route for route in routed if route.note_id in new]
    now = dt.datetime.now(dt.UTC)
    jobs = [job for route in written for job in _jobs(route, now)]
    insert_jobs(connection, jobs)
    return Written([_shown(route) for route in written if route.in_app], jobs)


def tell(notes: Sequence[Note]) -> None:
    """Write notes in Django's transaction, to those of their owners who may be told anything."""
    with transaction.atomic(), django_connection.cursor() as cursor:
        wishes = read_wishes(cursor, {note.account_id for note in notes})
        written = write(cursor, [note for note in notes if note.account_id in wishes], wishes)
        transaction.on_commit(written.announce)


def _route(note: Note, wish: Wishes) -> _Routed:
    return _Routed(
        new_id(),
        note,
        wish.wants(note.kind, IN_APP),
        wish.mails(note.kind),
        wish.digest,
        wish.webhooks_for(note.kind),
    )


def _jobs(route: _Routed, now: dt.datetime) -> list[NewJob]:
    jobs = [
        new_job(
            SEND_WEBHOOK,
            {"notification": route.note_id, "webhook": webhook_id},
            key=f"webhook:{route.note_id}:{webhook_id}",
        )
        for webhook_id in route.webhooks
    ]
    if not route.by_email:
        return jobs
    period = DIGEST_PERIODS.get(NotificationPreferences.Digest(route.digest))
    if period is None:
        return [
            *jobs,
            new_job(SEND_EMAIL, {"notification": route.note_id}, key=f"email:{route.note_id}"),
        ]
    # One job gathers all of a period; what comes while it runs belongs to the next period's.
    account_id, number = route.note.account_id, int(now.timestamp() // period.total_seconds())
    due_at = dt.datetime.fromtimestamp((number + 1) * period.total_seconds(), dt.UTC) + LATE
    digest = new_job(
        SEND_DIGEST,
        {"account": account_id},
        key=f"digest:{route.digest}:{account_id}:{number}",
        due_at=due_at,
    )
    return [*jobs, digest]


def _row(route: _Routed) -> tuple[Any, ...]:
    note = route.note
    return (
        route.note_id, note.account_id, note.kind, quoted(note.title[:MAX_TITLE]), quoted(note.body),
        quoted(_encode(note.data).decode()), timestamp_text(note.at_us), note.key, route.in_app, route.by_email,
    )  # fmt: skip


def _shown(route: _Routed) -> dict[str, Any]:
    """The row as the sockets show it."""
    note = route.note
    return {
        "id": route.note_id,
        "account_id": note.account_id,
        "kind": str(note.kind),
        "title": note.title[:MAX_TITLE],
        "body": note.body,
        "data": note.data,
        "created_at": timestamp_text(note.at_us),
        "read_at": None,
    }
