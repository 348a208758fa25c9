"""Makes a market's audit file out of the log: what is in the table, and the market's own archived months.

Reads in short statements, a page by version or a few accounts at a time, and holds no transaction open.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trading.errors import ArchivedEvents, NotFound
from trading.eventlog.archive import missing_months, month_of, open_archived
from trading.eventlog.archive_file import read_slot_events
from trading.eventlog.audit_file import (
    SETTLING_EVENTS,
    BadAudit,
    Manifest,
    Proof,
    audit_path,
    proofs_of_chain,
    write_audit,
)
from trading.eventlog.codec import GENESIS, StoredEvent, decode_json
from trading.eventlog.read import STORED_COLUMNS, stored_event
from trading.eventlog.tail import StreamEnd, stream_end
from trading.ids import BEFORE_ALL, MARKET_SLOTS

PAGE_EVENTS = 2000
ACCOUNTS_AT_ONCE = 200
CLOCKS_DIFFER_BY = dt.timedelta(hours=1)
"""More than the clocks of two hosts do; events of accounts are looked for from the decision on, less this."""

Progress = Callable[[int], object]

_SETTLEMENTS = "SELECT settlement_id, created_at FROM settlement WHERE market_id = %s ORDER BY created_at"
_ACCOUNTS = """
SELECT DISTINCT a.account_id::text FROM unnest(%s::uuid[]) AS s(settlement_id), LATERAL (
    SELECT DISTINCT account_id FROM settlement_account AS marked
    WHERE marked.settlement_id = s.settlement_id AND account_id > %s ORDER BY account_id LIMIT %s
) AS a ORDER BY 1 LIMIT %s
"""
_OF_ACCOUNTS = f"""
SELECT {STORED_COLUMNS}, (SELECT hash FROM event AS p WHERE p.stream_id = e.stream_id AND p.version = e.version - 1)
FROM event AS e WHERE stream_id = ANY(%s::uuid[]) AND type = ANY(%s) AND data->>'market' = %s AND recorded_at >= %s
ORDER BY e.stream_id, e.version
"""  # noqa: S608


def make_audit(
    connection: Any,
    market_id: str,
    folder: Path,
    *,
    archives: Path,
    key: Ed25519PrivateKey,
    progress: Progress = lambda events: None,
) -> Manifest:
    """Writes the market's audit file of now into the folder, in the place of an older one.

    `connection` is psycopg's, in autocommit; `archives` the folder with archived months. Raises NotFound; BadArchive
    for a month's file that is missing or altered; ArchivedEvents where events of accounts are archived; BadAudit
    where the log itself lacks an event.
    """
    with connection.cursor() as cursor:
        end = stream_end(cursor, market_id)
        if end is None or end.slot >= MARKET_SLOTS:
            raise NotFound("There is no such market.")
        cursor.execute(_SETTLEMENTS, [market_id])
        settlements = cursor.fetchall()
        cursor.execute("SELECT line FROM published_head ORDER BY published_at DESC LIMIT 1")
        line = cursor.fetchone()
    _refuse_archived_settlement(connection, settlements)
    events = _market_events(connection, market_id, end, archives, progress)
    return write_audit(
        audit_path(folder, market_id),
        market_id=market_id,
        market_events=proofs_of_chain(events),
        account_events=_account_events(connection, market_id, settlements, progress),
        made_us=time.time_ns() // 1000,
        key=key,
        heads=None if line is None else decode_json(line[0]),
    )


def _market_events(
    connection: Any, market_id: str, end: StreamEnd, archives: Path, progress: Progress
) -> Iterator[StoredEvent]:
    """The stream up to where it ended as the file was begun. Raises BadAudit at a gap."""
    version = 0
    archived = _archived_events(connection, market_id, end.slot, archives)
    for event in chain(archived, _table_events(connection, market_id, end.head.version)):
        if event.version != version + 1:
            break
        version = event.version
        yield event
        if version % PAGE_EVENTS == 0:
            progress(PAGE_EVENTS)
    progress(version % PAGE_EVENTS)
    if version != end.head.version:
        raise BadAudit(
            f"version {version + 1} of market {market_id} is not in the log; see manage.py verify_log"
        )


def _archived_events(connection: Any, market_id: str, slot: int, archives: Path) -> Iterator[StoredEvent]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM event WHERE stream_id = %s AND version = 1)", [market_id])
        if cursor.fetchone()[0]:
            return
    for archive in open_archived(connection, archives):
        yield from (event for event in read_slot_events(archive, slot) if event.stream_id == market_id)


def _table_events(connection: Any, market_id: str, upto: int) -> Iterator[StoredEvent]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(version) FROM event WHERE stream_id = %s", [market_id])
        (first,) = cursor.fetchone()
        for after in range((first or 1) - 1, upto, PAGE_EVENTS):
            cursor.execute(
                f"SELECT {STORED_COLUMNS} FROM event WHERE stream_id = %s AND version > %s AND version <= %s "  # noqa: S608
                "ORDER BY version",
                [market_id, after, min(after + PAGE_EVENTS, upto)],
            )
            yield from map(stored_event, cursor.fetchall())


def _account_events(
    connection: Any, market_id: str, settlements: list[tuple[Any, dt.datetime]], progress: Progress
) -> Iterator[Proof]:
    """What the streams of everybody who was settled say of it, by account and version."""
    if not settlements:
        return
    settlement_ids = [settlement_id for settlement_id, _ in settlements]
    since, after = settlements[0][1] - CLOCKS_DIFFER_BY, BEFORE_ALL
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_ACCOUNTS, [settlement_ids, after, ACCOUNTS_AT_ONCE, ACCOUNTS_AT_ONCE])
            accounts = [account_id for (account_id,) in cursor.fetchall()]
            if not accounts:
                return
            cursor.execute(_OF_ACCOUNTS, [accounts, SETTLING_EVENTS, market_id, since])
            rows = cursor.fetchall()
            for *row, previous in rows:
                event = stored_event(tuple(row))
                yield Proof(event, _previous(event, previous))
            progress(len(rows))
            after = accounts[-1]


def _previous(event: StoredEvent, found: Any) -> bytes | None:
    """Nothing where the account's event before this one is archived: the file says so."""
    if event.version == 1:
        return GENESIS
    return None if found is None else bytes(found)


def _refuse_archived_settlement(connection: Any, settlements: list[tuple[Any, dt.datetime]]) -> None:
    """Raises ArchivedEvents if a month is archived in which the market may have been settled."""
    if not settlements:
        return
    since = (settlements[0][1] - CLOCKS_DIFFER_BY).astimezone(dt.UTC).isoformat()
    needed = [each for each in missing_months(connection) if month_of(each.partition).high > since]
    if needed:
        files = ", ".join(month.file for month in reversed(needed))
        raise ArchivedEvents(
            "The events by which accounts were settled are archived, and are not read from there. Bring these months "
            f"back first, in this order, with `manage.py archive --restore`: {files}."
        )
