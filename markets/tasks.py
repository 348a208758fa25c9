"""Celery's part of markets: rounds that find markets whose end is due, and those that a resolver can be asked about."""

from celery import shared_task

from markets import reminders
from markets.resolvers import asking


@shared_task
def remind_of_due_resolutions() -> int:
    """Have staff told of markets that fall due, are overdue or escalated. Answers how many markets."""
    return reminders.remind()


@shared_task
def ask_resolvers() -> int:
    """Have the resolvers of markets that have closed asked. Answers how many."""
    return asking.start()
