"""The accounts' jobs by their stored names. Each is a function of accounts.notifications or accounts.statements."""

from accounts.notifications import addresses, deliveries, holders, mail
from accounts.notifications.writing import SEND_DIGEST, SEND_EMAIL, SEND_WEBHOOK
from accounts.statements import mailing
from trading.jobs import job

NOTIFY = "notify"

job(SEND_EMAIL, queue=NOTIFY)(mail.send_email)
job(SEND_DIGEST, queue=NOTIFY)(mail.send_digest)
job(addresses.CONFIRM_EMAIL, queue=NOTIFY)(addresses.send_question)
job(SEND_WEBHOOK, queue=NOTIFY)(deliveries.send_webhook)
job(holders.TELL_CLOSING, queue=NOTIFY)(holders.tell_closing)
job(holders.TELL_PROPOSED, queue=NOTIFY)(holders.tell_proposed)
job(mailing.SEND_STATEMENT, queue="report")(mailing.send_statement)
