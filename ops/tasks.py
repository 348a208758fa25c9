"""Celery's part of ops: totals of months that are over."""

from celery import shared_task
from django.utils import timezone

from ops.monthly import keep_months


@shared_task
def keep_monthly_totals() -> int:
    """Keep the totals of the months that are over. Answers how many were new."""
    return keep_months(timezone.now())
