"""Celery's part of accounts: markets that close soon, every minute, and what is no longer kept, daily."""

from celery import shared_task

from accounts.notifications import alerts, holders, sign_ins, webhooks


@shared_task
def tell_closing_markets() -> int:
    """Have the holders told of markets that close soon. Answers how many markets."""
    return holders.find_closing()


@shared_task
def forget_old_notices() -> int:
    """Delete old log entries of webhooks, spent alerts, and places and markets that are long past."""
    return (
        webhooks.forget_old_deliveries() + alerts.forget_old() + sign_ins.forget_old() + holders.forget_old()
    )
