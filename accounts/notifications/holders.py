"""Notes for all who hold something in a market: it closes soon, or its resolution was proposed.

There may be a hundred thousand of them, so a job tells them page by page. A repetition adds nothing; who comes to the
market after its page was told is not told.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import ToldMarket
from accounts.notifications import texts
from accounts.notifications.texts import Market, Note
from accounts.notifications.writing import tell
from trading.eventlog.codec import LoggedEvent
from trading.eventlog.read import read_creations
from trading.ids import BEFORE_ALL
from trading.jobs import NewJob, enqueue, new_job

PAGE = 1_000
TELL_CLOSING, TELL_PROPOSED = "accounts.tell_closing", "accounts.tell_proposed"

_HOLDERS = """
SELECT p.account_id FROM position p JOIN accounts_user u ON u.account_id = p.account_id AND NOT u.is_simulated
WHERE p.market_id = %(market)s AND p.quantity > 0 AND p.account_id > %(after)s
"""
_THOSE_WITH_ORDERS = """
SELECT o.account_id FROM "order" o JOIN accounts_user u ON u.account_id = o.account_id AND NOT u.is_simulated
WHERE o.market_id = %(market)s AND o.status = 'open' AND o.account_id > %(after)s
"""
_PAGE = "ORDER BY account_id LIMIT %(limit)s"
_HOLDERS_PAGE = f"SELECT DISTINCT account_id::text FROM ({_HOLDERS}) h {_PAGE}"  # noqa: S608
_CONCERNED_PAGE = f"SELECT account_id::text FROM ({_HOLDERS} UNION {_THOSE_WITH_ORDERS}) h {_PAGE}"  # noqa: S608
_NEWLY_CLOSING = """
INSERT INTO accounts_toldmarket (market_id, told_at)
SELECT market_id, now() FROM market
WHERE status IN ('open', 'suspended') AND closes_at > now() AND closes_at <= now() + make_interval(secs => %s)
ON CONFLICT DO NOTHING RETURNING market_id::text
"""


@transaction.atomic
def find_closing() -> int:
    """Have the holders told of markets that have come within settings.CLOSING_SOON_S of their closing time."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWLY_CLOSING, [settings.CLOSING_SOON_S])
        markets = [market_id for (market_id,) in cursor.fetchall()]
    for market_id in markets:
        enqueue(TELL_CLOSING, {"market": market_id}, key=f"closing:{market_id}")
    return len(markets)


def tell_closing(payload: dict[str, Any]) -> None:
    """A market closes soon: for holders, and for those who have open orders there."""
    market = _market(payload["market"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT closes_at FROM market WHERE market_id = %s", [market.market_id])
        (closes_at,) = cursor.fetchone()
    at_us = _now_us()
    if closes_at.timestamp() * 1_000_000 <= at_us:
        return  # The job came late: their orders' ends have told them.
    _tell_pages(
        _CONCERNED_PAGE,
        market,
        lambda account_id: texts.market_closing(account_id, market, closes_at=closes_at, at_us=at_us),
    )


def proposal_job(event: LoggedEvent) -> NewJob:
    """What tells the holders of a market that a resolution was proposed, out of its resolution_proposed event."""
    payload = {
        "market": event.stream_id,
        "proposal": event.data,
        "event": event.event_id,
        "at_us": event.recorded_us,
    }
    return new_job(TELL_PROPOSED, payload, key=f"proposed:{event.event_id}")


def tell_proposed(payload: dict[str, Any]) -> None:
    """A resolution was proposed: for those who hold shares of the market."""
    market = _market(payload["market"])
    _tell_pages(
        _HOLDERS_PAGE,
        market,
        lambda account_id: texts.resolution_proposed(
            account_id,
            market,
            proposal=payload["proposal"],
            event_id=payload["event"],
            at_us=payload["at_us"],
        ),
    )


def _tell_pages(page: str, market: Market, note: Callable[[str], Note]) -> None:
    for account_ids in _pages(page, market.market_id):
        tell([note(account_id) for account_id in account_ids])


def _pages(page: str, market_id: str) -> Iterator[list[str]]:
    after = BEFORE_ALL
    while True:
        with connection.cursor() as cursor:
            cursor.execute(page, {"market": market_id, "after": after, "limit": PAGE})
            account_ids = [account_id for (account_id,) in cursor.fetchall()]
        if not account_ids:
            return
        yield account_ids
        after = account_ids[-1]


def forget_old() -> int:
    """Forget markets that have long closed. Answers how many."""
    deleted, _ = ToldMarket.objects.filter(told_at__lt=timezone.now() - dt.timedelta(days=2)).delete()
    return deleted


def _market(market_id: str) -> Market:
    with connection.cursor() as cursor:
        created = read_creations(cursor, [market_id])[market_id]
    return Market(market_id, created["question"], created["outcomes"])


def _now_us() -> int:
    return int(timezone.now().timestamp() * 1_000_000)
