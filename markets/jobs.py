"""The markets' jobs by their stored names."""

from markets import reminders
from trading.jobs import job

job(reminders.SEND_REMINDER, queue="notify")(reminders.send_reminder)
