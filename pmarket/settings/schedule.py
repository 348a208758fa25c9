"""Beat's schedule: what is done every so often, how often, and by whose workers.

Nothing that is due waits in the broker: what is due is a row, and a round finds it.
"""

from typing import Any

from celery.schedules import crontab

from trading.jobs.periodic import every
from trading.jobs.queues import HEARTBEAT_EVERY_S, QUEUES

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
RESOLVERS_EVERY_S = 5


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Name to entry, as Celery wants it; the name is the round's, by which it is claimed."""
    schedule = {
        "close-due-markets": every(1, "trading.tasks.close_due_markets", queue="market"),
        "collect-debts": every(1, "trading.tasks.collect_debts", queue="market"),
        "forget-old-switches": every(MINUTE, "trading.tasks.forget_old_switches", queue="market"),
        "publish-heads": every(MINUTE, "trading.tasks.publish_heads", queue="market"),
        "make-partitions": every(DAY, "trading.tasks.make_partitions", queue="market", expires_s=HOUR),
        "remind-of-due-resolutions": every(MINUTE, "markets.tasks.remind_of_due_resolutions", queue="market"),
        "ask-resolvers": every(RESOLVERS_EVERY_S, "markets.tasks.ask_resolvers", queue="market"),
        "take-snapshots": every(MINUTE, "trading.tasks.take_snapshots", queue="report"),
        "tell-closing-markets": every(MINUTE, "accounts.tasks.tell_closing_markets", queue="notify"),
        "forget-old-notices": every(DAY, "accounts.tasks.forget_old_notices", queue="report", expires_s=HOUR),
    }
    schedule["keep-monthly-totals"] = every(
        DAY, "ops.tasks.keep_monthly_totals", queue="report", expires_s=HOUR
    )
    # By the clock, first at 00:15 UTC; the later rounds of a day find what was missed.
    schedule["ask-for-statements"] = {
        **every(HOUR, "accounts.tasks.ask_for_daily_statements", queue="report"),
        "schedule": crontab(minute="15"),
    }
    for queue in QUEUES:
        schedule[f"dispatch-{queue}"] = every(1, "trading.tasks.dispatch_jobs", queue=queue, args=(queue,))
        schedule[f"heartbeat-{queue}"] = every(
            HEARTBEAT_EVERY_S, "trading.tasks.heartbeat", queue=queue, args=(queue,), expires_s=MINUTE
        )
    for name, entry in schedule.items():
        entry["options"]["headers"]["round"] = name
    return schedule
