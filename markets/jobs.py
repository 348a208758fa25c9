"""The markets' jobs by their stored names."""

from markets import audits, reminders
from markets.resolvers import asking
from trading.jobs import job

job(reminders.SEND_REMINDER, queue="notify")(reminders.send_reminder)
job(audits.MAKE_AUDIT, queue="report", run_limit_s=audits.RUN_LIMIT_S)(audits.make)
job(asking.ASK, queue="market", run_limit_s=60.0)(asking.ask)
