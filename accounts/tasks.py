"""Celery's part of accounts: markets that close soon, every minute, statements and what is no longer kept, daily."""

from celery import shared_task
from django.utils import timezone

from accounts.notifications import alerts, holders, sign_ins, webhooks
from accounts.statements.mailing import ask_for_statements, forget_old_statements


@shared_task
def tell_closing_markets() -> int:
    """Have the holders told of markets that close soon. Answers how many markets."""
    return holders.find_closing()


@shared_task
def forget_old_notices() -> int:
    """Delete old log entries of webhooks, spent alerts, and places and markets that are long past."""
    return (
        webhooks.forget_old_deliveries()
        + alerts.forget_old()
        + sign_ins.forget_old()
        + holders.forget_old()
        + forget_old_statements()
    )


@shared_task
def ask_for_daily_statements() -> int:
    """Have yesterday's statements made for those who want them by e-mail. Answers how many."""
    return ask_for_statements(timezone.now())
