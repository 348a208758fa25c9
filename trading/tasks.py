"""Celery's part of trading: jobs, markets whose time has come, partitions, published heads.

Every task may run twice or die half-way and be sent again: the work itself is idempotent. Nothing waits
in the broker (no ETA): what is due is a row, and a periodic task finds it. Which are beat's, and how often, is in
pmarket/settings/schedule.py.
"""

import logging
import time

from celery import shared_task
from django.conf import settings
from django.db import connection, transaction

from trading import dead_man, debts
from trading.connection import own_connection
from trading.engine.commands import CloseMarket, Command, OpenMarket, SettleResolution
from trading.errors import ExchangeError, OutcomeUnknown, Refused, Unreachable
from trading.eventlog import heads, partitions
from trading.eventlog.signing import signing_key
from trading.gateway import gateway_sync
from trading.ids import new_id
from trading.jobs.dispatch import dispatch
from trading.jobs.queues import beat
from trading.jobs.run import run
from trading.settlement import jobs as settlement_jobs
from trading.snapshots import take
from trading.snapshots.replay import LogUnusable

log = logging.getLogger(__name__)

REGISTERED_JOBS = (settlement_jobs,)
"""Modules whose jobs are known once this one is imported, as Celery and `trading.jobs` do."""

DUE_MARKETS = 100
"""Most that one run opens or closes, and most that it settles; the rest is a second later's."""

MONTHS_AHEAD = 3

SNAPSHOTS_S = 45
"""How long one run goes on to the next market; beat's next one comes after a minute."""


@shared_task
def run_job(job_id: str) -> str:
    """What a hint asks for: run the job if it is due and nobody is at it. Answers what became of it."""
    return run(job_id)


@shared_task
def dispatch_jobs(queue: str) -> int:
    """Hints for what is due in a queue and nobody is at; run by that queue's own workers."""
    return dispatch(queue)


@shared_task
def heartbeat(queue: str) -> None:
    """A sign of life of a queue: that one of its workers runs this."""
    beat(queue)


@shared_task
def close_due_markets() -> int:
    """Open, close and settle the markets whose time has come. Answers how many commands were accepted.

    Only the engine judges: what comes late or twice is refused and changes nothing.
    """
    accepted = 0
    for command in (*_due_commands(), *_due_settlements()):
        try:
            gateway_sync().submit(command, actor="system", request_id=new_id())
            accepted += 1
        except Refused as refusal:
            log.info("%s of market %s: %s", type(command).__name__, command.market_id, refusal.code)
        except ExchangeError as error:
            # What is due stays due, and is found again. One market that cannot be loaded keeps no other waiting.
            log.warning("%s of market %s: %s", type(command).__name__, command.market_id, error)
            if isinstance(error, OutcomeUnknown | Unreachable):
                break  # The engine does not answer, and would be waited for as long for each of them.
    return accepted


@shared_task
def take_snapshots() -> int:
    """Keep the states of markets whose streams have grown. Answers how many were taken."""
    stop_at, taken = time.monotonic() + SNAPSHOTS_S, 0
    with own_connection("pmarket-snapshot") as log_connection, log_connection.cursor() as cursor:
        for market_id in take.due_markets(cursor, least_tail=take.LEAST_TAIL):
            if time.monotonic() > stop_at:
                break
            try:
                take.take_snapshot(cursor, market_id)
                taken += 1
            except LogUnusable as error:
                log.error("no snapshot of market %s: %s", market_id, error)
    return taken


@shared_task
def forget_old_switches() -> int:
    """Delete the dead-man switches of which no engine has to know any more."""
    return dead_man.forget_old()


@shared_task
def collect_debts() -> int:
    """Let accounts in debt repay out of what trading has brought them. Answers how many did."""
    return debts.collect_debts()


@shared_task
def make_partitions() -> list[str]:
    """Partitions of the months to come, made long before a row needs them."""
    with transaction.atomic(), connection.cursor() as cursor:
        return partitions.make_partitions(cursor, months_ahead=MONTHS_AHEAD)


@shared_task
def publish_heads() -> bool:
    """The signed heads of the log, once a minute however often this is sent. Answers whether it did it."""
    key = signing_key(given=settings.HEADS_KEY, file=settings.HEADS_KEY_FILE)
    return heads.publish(key, settings.HEADS_DIR, now_us=time.time_ns() // 1000)


def _due_commands() -> list[Command]:
    with connection.cursor() as cursor:
        cursor.execute(
            # One under review is closed for the sake of its book: once that is empty there is nothing to do.
            "SELECT market_id::text, closes_at <= now() FROM market "
            "WHERE (status IN ('draft', 'open', 'suspended') AND closes_at <= now()) "
            "OR (status IN ('proposed', 'disputed') AND closes_at <= now() AND EXISTS ("
            "SELECT FROM \"order\" o WHERE o.market_id = market.market_id AND o.status = 'open')) "
            "OR (status = 'draft' AND opens_at <= now()) ORDER BY least(closes_at, opens_at) LIMIT %s",
            [DUE_MARKETS],
        )
        return [
            CloseMarket(market_id=market_id) if closes else OpenMarket(market_id=market_id)
            for market_id, closes in cursor.fetchall()
        ]


def _due_settlements() -> list[Command]:
    """Of proposals that have all their approvals and whose dispute window is over."""
    with connection.cursor() as cursor:
        # While the orders of a market that is settled are cancelled its resolution is still there, and nothing is due.
        cursor.execute(
            "SELECT market_id::text, resolution_id::text FROM resolution JOIN market USING (market_id) "
            "WHERE resolution.status = 'approved' AND disputable_until <= now() AND market.status = 'proposed' "
            "ORDER BY disputable_until LIMIT %s",
            [DUE_MARKETS],
        )
        return [
            SettleResolution(market_id=market_id, resolution_id=resolution_id)
            for market_id, resolution_id in cursor.fetchall()
        ]
